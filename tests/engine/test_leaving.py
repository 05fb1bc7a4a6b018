"""Leaving a stream early: nothing new is sent, what is under way ends, the report is complete."""

import gc
import warnings
from contextlib import suppress

import anyio
import pytest
from anyio.lowlevel import checkpoint

from koodrive_async import ClientClosed, Pace, Status
from koodrive_async.testing import BlackHole, Delay
from tests.engine.kit import always, asked, honest, statuses
from tests.support.threaded import until

pytestmark = pytest.mark.usefixtures("leaks")


class LeftError(Exception):
    pass


def what_came_in(emulator):
    return {share_id for seen in emulator.log for share_id in seen.share_ids}


async def by_break(client, ids):
    async with client.open_cancel(ids) as stream:
        for _ in range(150):
            await anext(stream)
    return stream


async def by_return(client, ids):
    async with client.open_cancel(ids) as stream:
        for _ in range(150):
            await anext(stream)
        return stream


async def by_stop(client, ids):
    async with client.open_cancel(ids) as stream:
        for _ in range(150):
            await anext(stream)
        stream.stop()
        async for _ in stream:
            pass
    return stream


async def by_error(client, ids):
    with suppress(LeftError):
        async with client.open_cancel(ids) as stream:
            for _ in range(150):
                await anext(stream)
            raise LeftError
    return stream


async def by_cancellation(client, ids):
    with anyio.CancelScope() as scope:
        async with client.open_cancel(ids) as stream:
            for _ in range(150):
                await anext(stream)
            scope.cancel()
            await checkpoint()
    return stream


@pytest.mark.parametrize("leave", [by_break, by_return, by_stop, by_error, by_cancellation])
async def test_what_is_under_way_ends_and_nothing_new_begins(make_koodrive, connect, leave):
    emulator = make_koodrive(shares=5_000, latency=0.03)
    async with connect(emulator, pace=Pace(concurrency=4)) as client:
        stream = await leave(client, emulator.share_ids)
        requests = emulator.requests
        counts = stream.report.counts
        # everything that was sent had its answer, and the report says so
        assert counts[Status.CANCELLED] == emulator.cancelled_count == len(what_came_in(emulator))
        assert 150 <= counts[Status.CANCELLED] < 1_500
        assert set(statuses(stream.report)) <= {"cancelled", "not_sent"}
        assert stream.report.requests == requests
        await anyio.sleep(0.05)
        assert emulator.requests == requests
        assert (await client.cancel(emulator.share_ids[-50:])).counts[Status.CANCELLED] == 50


async def test_after_a_stop_the_outcomes_of_what_was_read_still_come(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000, latency=0.01)
    outcomes = []
    read = 0

    def source():
        nonlocal read
        for share_id in emulator.share_ids:
            read += 1
            yield share_id

    async with connect(emulator, pace=Pace(concurrency=4)) as client, client.open_cancel(source()) as stream:
        async for outcome in stream:
            outcomes.append(outcome)
            if len(outcomes) == 250:
                stream.stop()
                stream.stop()
    honest(outcomes, emulator.share_ids[:read], emulator)
    assert stream.report.counts[Status.CANCELLED] == emulator.cancelled_count
    assert stream.report.counts[Status.NOT_SENT] == read - emulator.cancelled_count


async def test_stopped_before_anything_was_taken(koodrive, connect):
    async with connect(koodrive) as client, client.open_cancel(koodrive.share_ids) as stream:
        stream.stop()
        assert {outcome.status async for outcome in stream} <= {Status.NOT_SENT}
    assert koodrive.requests == 0


async def test_left_before_anything_was_taken(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000, latency=0.01)
    async with connect(emulator) as client:
        async with client.open_cancel(emulator.share_ids) as stream:
            await until(lambda: emulator.requests > 0)
        assert stream.report.counts[Status.CANCELLED] == emulator.cancelled_count > 0
        async with client.open_cancel(emulator.share_ids) as stream:
            pass
    assert stream.report.counts[Status.CANCELLED] == 0


async def test_leaving_waits_for_the_grace_at_most(make_koodrive, connect):
    emulator = make_koodrive(shares=500)
    emulator.script(None, BlackHole(), Delay(0.05))
    async with connect(emulator, pace=Pace(concurrency=2, adaptive=False)) as client:
        async with client.open_cancel(emulator.share_ids, grace=0.3) as stream:
            await anext(stream)
            await until(lambda: emulator.requests >= 3)
            left = anyio.current_time()
        assert 0.2 < anyio.current_time() - left < 2
    assert statuses(stream.report)["unknown"] == 100
    assert stream.report.counts[Status.CANCELLED] == emulator.cancelled_count
    lost = {outcome.share_id for outcome in stream.report.failures if outcome.status is Status.UNKNOWN}
    assert lost == set(emulator.log[1].share_ids)


async def test_a_grace_of_nothing_cuts_at_once(make_koodrive, connect):
    emulator = make_koodrive(shares=300)
    emulator.inject(always(BlackHole()))
    async with connect(emulator) as client:
        with anyio.fail_after(2):
            async with client.open_cancel(emulator.share_ids, grace=0) as stream:
                await until(lambda: emulator.requests == 1)
    assert statuses(stream.report)["unknown"] == 100
    assert sum(stream.report.counts.values()) == stream.progress.settled


async def test_nothing_is_left_to_the_garbage_collector(make_koodrive, connect):
    """No `async generator ignored GeneratorExit`, no `was never awaited`, no unraisable error."""
    emulator = make_koodrive(shares=1_000)

    async def flow():
        try:
            for share_id in emulator.share_ids:
                await checkpoint()
                yield share_id
        finally:
            await checkpoint()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with connect(emulator) as client:
            for _ in range(5):
                async with client.open_cancel(flow()) as stream:
                    async for _ in stream:
                        break
                del stream
                gc.collect()
                await checkpoint()


async def test_a_stream_that_is_never_entered_costs_nothing(koodrive, connect):
    async with connect(koodrive) as client:
        opened = client.open_cancel(koodrive.share_ids)
        del opened
        gc.collect()
        assert await client.cancel(koodrive.share_ids)


async def test_the_client_is_closed_inside_the_block(make_koodrive, connect):
    """Closing waits for sends, not for blocks: this one can't be left before closing has returned."""
    emulator = make_koodrive(shares=5_000, latency=0.01)
    outcomes = []
    took = 0.0

    async def consume(stream):
        nonlocal took
        async for outcome in stream:
            outcomes.append(outcome)
            if len(outcomes) == 1:
                began = anyio.current_time()
                await client.aclose()
                took = anyio.current_time() - began

    async with connect(emulator) as client:
        with pytest.raises(ClientClosed):
            async with client.open_cancel(emulator.share_ids) as stream:
                await consume(stream)
    assert took < 3
    assert statuses(stream.report)["cancelled"] == emulator.cancelled_count
    assert sum(stream.report.counts.values()) == len(outcomes)


async def test_the_error_that_left_the_block_is_not_wrapped(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000)

    async def leave():
        async with client.open_cancel(emulator.share_ids) as stream:
            await anext(stream)
            raise LeftError

    async with connect(emulator) as client:
        with pytest.raises(LeftError) as caught:
            await leave()
    assert type(caught.value) is LeftError


async def test_two_streams_and_a_call_at_once(make_koodrive, connect):
    emulator = make_koodrive(shares=3_000, latency=0.002)
    ids = emulator.share_ids
    async with (
        connect(emulator, pace=Pace(concurrency=3)) as client,
        client.open_cancel(ids[:1_000]) as one,
        client.open_cancel(ids[1_000:2_000]) as two,
    ):
        report = await client.cancel(ids[2_000:])
        outcomes = [outcome async for outcome in one]
        async for _ in two:
            break
    assert statuses(report) == statuses(one.report) == {"cancelled": 1_000}
    assert len(outcomes) == 1_000
    assert emulator.max_in_flight <= 3
    assert set(asked(emulator).values()) == {1}
