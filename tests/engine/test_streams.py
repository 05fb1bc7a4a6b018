"""Streams: laziness, back-pressure, sources of every kind and with every kind of failure."""

import asyncio
import itertools

import anyio
import pytest
from anyio.lowlevel import checkpoint

from koodrive_async import Pace, Status
from koodrive_async.shell import bulk
from koodrive_async.testing import BlackHole, Delay
from tests.engine.kit import asked, honest, statuses
from tests.support.threaded import until

pytestmark = pytest.mark.usefixtures("leaks")


class Source:
    """Ids, and how many of them were read; sync and async iterators of it, and generators."""

    def __init__(self, ids):
        self.ids = ids
        self.read = 0
        self.closed_in = None

    def __iter__(self):
        for share_id in self.ids:
            self.read += 1
            yield share_id

    def generator(self):
        return iter(self)

    async def flow(self):
        try:
            for share_id in self.ids:
                self.read += 1
                yield share_id
        finally:
            self.closed_in = anyio.get_current_task().id


class AsyncSource(Source):
    __iter__ = None
    __aiter__ = Source.flow


KINDS = {
    "iterable": lambda source: source,
    "generator": Source.generator,
    "async generator": Source.flow,
    "async iterable": lambda source: source,
}


def source_of(kind, ids):
    source = AsyncSource(ids) if kind == "async iterable" else Source(ids)
    return source, KINDS[kind](source)


# -- how far ahead --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_every_id_of_any_source_gets_one_outcome(make_koodrive, connect, kind):
    emulator = make_koodrive(shares=1_234)
    _, ids = source_of(kind, emulator.share_ids)
    async with connect(emulator) as client, client.open_cancel(ids) as stream:
        outcomes = [outcome async for outcome in stream]
    honest(outcomes, emulator.share_ids, emulator)
    assert statuses(stream.report) == {"cancelled": 1_234}
    assert stream.report
    assert stream.report.requests == emulator.requests <= 14


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("concurrency", [1, 4])
async def test_it_never_reads_further_ahead_than_it_says(make_koodrive, connect, kind, concurrency):
    emulator = make_koodrive(shares=3_000, max_log=100)
    source, ids = source_of(kind, emulator.share_ids)
    window = (concurrency + 1) * 100
    taken = 0
    async with (
        connect(emulator, pace=Pace(concurrency=concurrency)) as client,
        client.open_cancel(ids) as stream,
    ):
        async for _ in stream:
            assert source.read <= taken + window + 1
            taken += 1
            if taken % 700 == 0:  # a consumer that is slow at times
                await anyio.sleep(0.03)
                assert source.read <= taken + window
    assert taken == source.read == 3_000


async def test_a_consumer_that_takes_nothing_stops_the_reading(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000)
    source = Source(emulator.share_ids)
    async with connect(emulator, pace=Pace(concurrency=2)) as client, client.open_cancel(source) as stream:
        await until(lambda: stream.progress.settled == 300)
        for _ in range(20):
            await anyio.sleep(0.005)
            assert source.read <= 300
            assert emulator.requests == 3
        taken = [await anext(stream) for _ in range(250)]
        await until(lambda: stream.progress.settled == 500)
        await anyio.sleep(0.02)
        assert source.read == 500
    assert len(taken) == 250
    assert statuses(stream.report) == {"cancelled": 500}
    assert emulator.cancelled_count == 500


async def test_nothing_is_read_before_the_block(koodrive, connect):
    source = Source(koodrive.share_ids)
    async with connect(koodrive) as client:
        opened = client.open_cancel(source)
        await checkpoint()
        assert source.read == 0
        async with opened as stream:
            assert [outcome async for outcome in stream]


async def test_an_endless_source(make_koodrive, connect):
    emulator = make_koodrive()
    ids = map(str, itertools.count(10**17))
    seen = set()
    async with connect(emulator) as client, client.open_cancel(ids) as stream:
        async for outcome in stream:
            assert outcome.status is Status.ALREADY_GONE
            seen.add(outcome.share_id)
            if len(seen) == 3_000:
                stream.stop()
                break
    assert 3_000 <= sum(stream.report.counts.values()) <= 3_000 + 1_700
    assert len(seen) == 3_000


async def test_an_empty_source(koodrive, connect):
    async with connect(koodrive) as client, client.open_cancel([]) as stream:
        assert [outcome async for outcome in stream] == []
    assert stream.report
    assert koodrive.requests == 0


async def test_a_source_that_never_waits_starves_nobody(make_koodrive, connect):
    emulator = make_koodrive()
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    def repeating():
        for _ in range(200_000):
            yield "1"

    async with connect(emulator) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        async with client.open_cancel(repeating()) as stream:
            assert {outcome.share_id async for outcome in stream} == {"1"}
        tasks.cancel_scope.cancel()
    assert turns >= 1_000
    assert emulator.requests < 200  # of 2,000; how many half-full ones are sent is a matter of time


# -- half-full batches ----------------------------------------------------------------------------


async def test_a_half_full_batch_of_a_source_that_pauses_is_sent(make_koodrive, connect):
    emulator = make_koodrive(shares=150)
    more = anyio.Event()

    async def pausing():
        for share_id in emulator.share_ids[:130]:
            yield share_id
        await more.wait()
        for share_id in emulator.share_ids[130:]:
            yield share_id

    async with connect(emulator) as client, client.open_cancel(pausing()) as stream:
        with anyio.fail_after(5):
            first = [await anext(stream) for _ in range(130)]  # the source gives nothing more before
        assert sorted(len(seen.share_ids) for seen in emulator.log) == [30, 100]
        more.set()
        rest = [outcome async for outcome in stream]
    honest([*first, *rest], emulator.share_ids, emulator)


async def test_a_source_that_trickles_is_not_kept_waiting_for_a_hundred(make_koodrive, connect):
    """Each id comes sooner than the pause that sends a half-full batch; the first must not wait for all."""
    emulator = make_koodrive(shares=40)

    async def trickling():
        for share_id in emulator.share_ids:
            yield share_id
            await anyio.sleep(0.03)

    async with connect(emulator) as client, client.open_cancel(trickling()) as stream:
        with anyio.fail_after(10):
            first = await anext(stream)
        assert first.share_id == emulator.share_ids[0]
        assert len(emulator.log[0].share_ids) <= 25
        rest = [outcome async for outcome in stream]
    honest([first, *rest], emulator.share_ids, emulator)


async def test_waiting_with_a_half_full_batch_costs_nothing(make_koodrive, connect, monkeypatch):
    """A half-full batch that may not go yet (one request at a time, for now) must not make workers spin."""
    looks = 0
    look = bulk.Engine._may_begin

    def counted(self):
        nonlocal looks
        looks += 1
        return look(self)

    monkeypatch.setattr(bulk.Engine, "_may_begin", counted)
    emulator = make_koodrive(shares=130)
    emulator.script(Delay(0.6))

    async def pausing():
        for share_id in emulator.share_ids:
            yield share_id
        await anyio.sleep(0.9)

    async with connect(emulator) as client, client.open_cancel(pausing()) as stream:
        assert len([outcome async for outcome in stream]) == 130
    assert looks < 60


async def test_several_consumers_may_share_a_stream(make_koodrive, connect):
    """Tasks that take outcomes from one stream: each outcome comes once, and all of them come to an end."""
    emulator = make_koodrive(shares=3_000, latency=0.003)
    outcomes = []

    async def consume(stream):
        async for outcome in stream:
            outcomes.append(outcome)
            await checkpoint()

    async with connect(emulator) as client:
        with anyio.fail_after(10):
            async with client.open_cancel(emulator.share_ids) as stream, anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(consume, stream)
    honest(outcomes, emulator.share_ids, emulator)


async def test_taking_an_outcome_may_time_out_without_losing_one(make_koodrive, connect, anyio_backend_name):
    emulator = make_koodrive(shares=1_000, latency=0.02)
    outcomes = []
    async with (
        connect(emulator, pace=Pace(concurrency=2)) as client,
        client.open_cancel(emulator.share_ids) as stream,
    ):
        while len(outcomes) < 1_000:
            if anyio_backend_name == "asyncio":
                try:
                    outcomes.append(await asyncio.wait_for(anext(stream), 0.002))
                except TimeoutError:
                    continue
            else:
                with anyio.move_on_after(0.002):
                    outcomes.append(await anext(stream))
    honest(outcomes, emulator.share_ids, emulator)


async def test_an_id_is_sent_twice_only_beyond_the_window(make_koodrive, connect):
    emulator = make_koodrive(shares=300)
    ids = [*emulator.share_ids, *emulator.share_ids[-50:], *emulator.share_ids]
    async with connect(emulator, pace=Pace(concurrency=1)) as client, client.open_cancel(ids) as stream:
        outcomes = [outcome async for outcome in stream]
    counts = asked(emulator)
    assert set(counts) == set(emulator.share_ids)
    assert {outcome.status for outcome in outcomes} == {Status.CANCELLED, Status.ALREADY_GONE}
    assert sum(counts.values()) == len(outcomes) == sum(stream.report.counts.values())


async def test_report_and_progress_are_true_at_every_moment(make_koodrive, connect):
    emulator = make_koodrive(shares=2_000, latency=0.001)
    emulator.script(None, None, BlackHole())
    taken = 0
    async with (
        connect(emulator, pace=Pace(concurrency=3)) as client,
        client.open_cancel(emulator.share_ids, grace=0.2) as stream,
    ):
        async for _ in stream:
            taken += 1
            report, progress = stream.report, stream.progress
            assert sum(report.counts.values()) == progress.settled >= taken
            assert report.counts == progress.counts
            assert report.counts[Status.CANCELLED] <= emulator.cancelled_count
            assert progress.in_flight <= 3
            if taken == 1_500:
                break
    assert sum(stream.report.counts.values()) == stream.progress.settled
    assert stream.progress.in_flight == 0
    assert stream.report.counts[Status.UNKNOWN] == 100
