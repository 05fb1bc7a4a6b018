"""The caller is cancelled at every scheduling tick: no send is aborted, and what is said of it is true."""

import asyncio
import itertools
import random
from contextlib import suppress

import anyio
import httpx
import pytest

from koodrive_async import BatchSettled, Journal, NotFound, Pace, Status, Timeout
from koodrive_async.testing import BlackHole
from tests.client.wire import some_ids
from tests.engine.cancelling import WAYS, cancelled_after
from tests.engine.kit import asked, statuses
from tests.support.threaded import until

pytestmark = pytest.mark.usefixtures("leaks")

#: Every tick at first, where tasks start and connections come about; then some, until the reply is in.
TICKS = [*range(25), *range(25, 60, 3), *range(60, 400, 20)]


async def consume(opened):
    async with opened as stream:
        async for _ in stream:
            pass


async def look(client):
    with suppress(NotFound):
        await client.get_share_info("abc")


CALLS = {
    "cancel": lambda client, share_id: client.cancel([share_id]),
    "cancel_batch": lambda client, share_id: client.cancel_batch([share_id]),
    "get_share_info": lambda client, share_id: look(client),
    "open_cancel": lambda client, share_id: consume(client.open_cancel([share_id])),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CALLS)
async def test_at_every_tick_no_send_is_aborted(make_koodrive, connect, anyio_backend_name, name, way):
    emulator = make_koodrive(shares=len(TICKS) + 1)
    cut_short = 0
    async with connect(emulator, pace=Pace(concurrency=2)) as client:
        for ticks, share_id in zip(TICKS, emulator.share_ids, strict=False):
            cut_short += await cancelled_after(
                ticks, lambda i=share_id: CALLS[name](client, i), way=way, backend=anyio_backend_name
            )
        with anyio.fail_after(5):
            assert await client.cancel(emulator.share_ids[-1:])
        assert emulator.open_connections <= 2
        assert emulator.connections_opened <= 2  # not one connection was spoilt
    assert cut_short >= 5
    # whatever the emulator has seen it has also been let answer
    assert all(seen.acted and seen.status for seen in emulator.log)
    assert emulator.settled()


@pytest.mark.parametrize("way", WAYS)
async def test_at_every_tick_the_report_is_true(make_koodrive, connect, anyio_backend_name, way, tmp_path):
    """What landed while it was drained is in the stream's report, in the hooks and in the journal."""
    emulator = make_koodrive(shares=3 * len(TICKS))
    told = dict.fromkeys(Status, 0)
    reports = []

    def hook(event):
        if isinstance(event, BatchSettled):
            for status, count in event.counts.items():
                told[status] += count

    async def call(ids, journal):
        try:
            async with client.open_cancel(ids, journal=journal) as stream:
                async for _ in stream:
                    pass
        finally:
            if "stream" in locals():
                reports.append(stream.report)

    journal = Journal(tmp_path / "journal")
    batches = [emulator.share_ids[start : start + 3] for start in range(0, 3 * len(TICKS), 3)]
    async with connect(emulator, hooks=[hook]) as client:
        for ticks, ids in zip(TICKS, batches, strict=True):
            before = emulator.cancelled_count
            reports.clear()
            await cancelled_after(
                10 * ticks, lambda i=ids: call(list(i), journal), way=way, backend=anyio_backend_name
            )
            landed = emulator.cancelled_count - before
            for report in reports:
                assert report.counts[Status.CANCELLED] == landed
                assert report.counts[Status.UNKNOWN] == 0
            assert landed == 0 or reports
        landed = emulator.cancelled_count
        assert told[Status.CANCELLED] == landed
        # whoever asks again with the journal is told, and sends only the rest
        report = await client.cancel(emulator.share_ids, journal=journal)
    assert statuses(report) == {"cancelled": 3 * len(TICKS)}
    assert set(asked(emulator).values()) == {1}


@pytest.mark.parametrize("way", WAYS)
async def test_a_second_cancellation_during_the_drain(make_koodrive, connect, anyio_backend_name, way):
    emulator = make_koodrive(shares=200, latency=0.05)
    ids = emulator.share_ids
    reports = []

    async def call(share_id):
        try:
            async with client.open_cancel([share_id]) as stream:
                await anext(stream)
        finally:
            reports.append(stream.report)

    async with connect(emulator, pace=Pace(concurrency=3, adaptive=False)) as client:
        assert await client.cancel(ids[-1:])
        for again, share_id in zip((1, 2, 5, 20), ids, strict=False):
            assert await cancelled_after(
                200, lambda i=share_id: call(i), way=way, backend=anyio_backend_name, again=again
            )
            assert await cancelled_after(
                200, lambda i=share_id: client.cancel([i]), way=way, backend=anyio_backend_name, again=again
            )
        assert await client.cancel(ids[-2:-1])
        assert emulator.connections_opened == 1
    assert all(seen.acted and seen.status for seen in emulator.log)
    landed = set(asked(emulator)) & set(ids[:4])
    assert sum(report.counts[Status.CANCELLED] for report in reports) == len(landed)
    assert all(report.counts[Status.UNKNOWN] == 0 for report in reports)


# -- storms ---------------------------------------------------------------------------------------


async def storm(call, backend, *, seed):
    """20 workers that begin calls and cancel them some ticks later, and then some milliseconds later."""
    chance = random.Random(seed)

    async def work():
        for turn in range(20):
            moment = chance.randrange(60) if turn < 10 else chance.random() * 0.006
            with suppress(httpx.HTTPError):
                await cancelled_after(moment, call, way="native", backend=backend)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(work)


async def serves(call, count):
    """Whether so many calls at once all get their answer."""
    failures = []

    async def one():
        try:
            await call()
        except httpx.HTTPError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return failures


@pytest.mark.parametrize("name", ["cancel", "cancel_batch", "get_share_info", "open_cancel"])
async def test_after_a_storm_of_cancellations_the_pool_still_serves(
    make_koodrive, connect, anyio_backend_name, name
):
    emulator = make_koodrive(shares=100, latency=0.002)
    ids = itertools.cycle(emulator.share_ids)
    pace = Pace(concurrency=10, adaptive=False)
    async with connect(emulator, pace=pace, timeout=Timeout(pool=0.5)) as client:

        async def call():
            await CALLS[name](client, next(ids))

        assert await client.cancel(emulator.share_ids[:1])
        await storm(call, anyio_backend_name, seed=1)
        with anyio.fail_after(5):
            assert not await serves(lambda: client.cancel(some_ids(1)), 20)
        assert emulator.connections_opened <= 10
        emulator.latency = 0.1
        emulator.max_in_flight = 0
        assert not await serves(lambda: client.cancel(some_ids(1)), 20)
        assert emulator.max_in_flight == 10  # every slot is of use
    assert emulator.settled()
    assert all(seen.acted and seen.status for seen in emulator.log)


async def test_a_bare_client_of_httpx_does_not_survive_the_same_storm(make_koodrive, anyio_backend_name):
    """The twin of the test above: without drained sends it is the pool that is lost."""
    emulator = make_koodrive(latency=0.002)
    url = f"{emulator.url}/koodrive/ose/v1/share/userInfo?shortUrl=abc"
    limits = httpx.Limits(max_connections=10, max_keepalive_connections=10)
    failures = []

    async def call():
        with suppress(httpx.HTTPError):
            await client.get(url)

    async with httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(5, pool=0.5)) as client:
        for seed in range(10):
            await storm(call, anyio_backend_name, seed=seed)
            failures = await serves(lambda: client.get(url), 20)
            if failures:
                break
    assert {type(error) for error in failures} == {httpx.PoolTimeout}


# -- time limits of the caller --------------------------------------------------------------------


async def limited(call, seconds, backend):
    """A call under the usual time limit of its event loop."""
    if backend == "asyncio":
        return await asyncio.wait_for(call, seconds)
    with anyio.fail_after(seconds):
        return await call


async def test_wait_for_is_late_by_the_send_and_no_more(make_koodrive, connect, anyio_backend_name):
    emulator = make_koodrive(shares=3, latency=0.3)
    async with connect(emulator) as client:
        began = anyio.current_time()
        with pytest.raises(TimeoutError):
            await limited(client.cancel(emulator.share_ids), 0.1, anyio_backend_name)
        assert 0.29 < anyio.current_time() - began < 2
        assert emulator.cancelled_count == 3


@pytest.mark.parametrize("grace", [0.0, 0.3])
async def test_wait_for_is_late_by_the_grace_at_most(koodrive, connect, anyio_backend_name, grace):
    koodrive.inject(lambda _seen: BlackHole())
    async with connect(koodrive) as client:
        began = anyio.current_time()
        with pytest.raises(TimeoutError):
            await limited(client.cancel(koodrive.share_ids, grace=grace), 0.1, anyio_backend_name)
        assert grace <= anyio.current_time() - began < grace + 2
        koodrive.behave()
        assert await client.cancel(koodrive.share_ids)


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_nested_time_limits_raise_the_callers_own(koodrive, connect, how):
    """Row 61: the inner limit fires, the result of what was drained is kept."""
    koodrive.latency = 0.2
    async with connect(koodrive) as client:
        with anyio.fail_after(20):
            with pytest.raises(TimeoutError), anyio.fail_after(0.05):
                await CALLS[how](client, koodrive.share_ids[0])
            koodrive.latency = 0
            assert await client.cancel(koodrive.share_ids)
    assert asked(koodrive)[koodrive.share_ids[0]] == 2


class SiblingError(Exception):
    pass


async def test_a_sibling_that_fails_lets_the_sends_end(make_koodrive, connect):
    """Row 62: the group's error is the sibling's alone; what was under way ended, and is known."""
    emulator = make_koodrive(shares=2_000, latency=0.05)
    reports = []

    async def work():
        async with client.open_cancel(emulator.share_ids) as stream:
            try:
                async for _ in stream:
                    pass
            finally:
                reports.append(stream)

    async def fail():
        await until(lambda: emulator.cancelled_count >= 100)
        raise SiblingError

    async def together():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            tasks.start_soon(fail)

    async with connect(emulator) as client:
        with pytest.raises(ExceptionGroup) as caught:
            await together()
        assert [type(error) for error in caught.value.exceptions] == [SiblingError]
        assert statuses(reports[0].report)["cancelled"] == emulator.cancelled_count
        assert all(seen.status for seen in emulator.log)
