"""`on_progress` and hooks: what is told, how often, and that listeners can do no harm."""

import logging

import attrs
import pytest

from koodrive_async import (
    AttemptFailed,
    AttemptStarted,
    BatchSettled,
    ClockCorrected,
    Pace,
    PaceChanged,
    RetryScheduled,
    Status,
)
from koodrive_async.testing import lost_reply, throttled, unavailable
from tests.engine.kit import statuses

pytestmark = pytest.mark.usefixtures("leaks")


async def told(client, ids, how, listener):
    if how == "cancel":
        return await client.cancel(ids, on_progress=listener)
    async with client.open_cancel(ids, on_progress=listener) as stream:
        async for _ in stream:
            pass
    return stream.report


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_progress(make_koodrive, connect, how):
    emulator = make_koodrive(shares=6_000, latency=0.02)
    seen = []
    async with connect(emulator, pace=Pace(concurrency=4)) as client:
        report = await told(client, emulator.share_ids, how, seen.append)
    last = seen[-1]
    assert (last.settled, last.total, last.eta, last.in_flight) == (6_000, 6_000, 0.0, 0)
    assert last.counts == report.counts
    assert last.requests == report.requests == 60
    assert len(seen) > 2
    assert len(seen) <= report.elapsed / 0.1 + 2
    assert [progress.settled for progress in seen] == sorted(progress.settled for progress in seen)
    for progress in seen:
        assert sum(progress.counts.values()) == progress.settled
        assert 0 <= progress.in_flight <= 4
        assert progress.rate >= 0
        if how == "cancel":
            assert progress.total == 6_000
    middle = seen[len(seen) // 2]
    assert middle.in_flight > 0
    if how == "cancel":
        assert 0 < middle.eta < 100
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        last.settled = 0
    with pytest.raises(TypeError):
        last.counts[Status.UNKNOWN] = 1


async def test_the_last_one_is_complete_however_it_ended(make_koodrive, connect):
    emulator = make_koodrive(shares=2_000, latency=0.02)
    seen = []
    async with connect(emulator, pace=Pace(concurrency=2)) as client:
        async with client.open_cancel(emulator.share_ids, on_progress=seen.append) as stream:
            async for _ in stream:
                break
        assert seen[-1].counts == stream.report.counts
        assert seen[-1].in_flight == 0
        seen.clear()
        report = await client.cancel(emulator.share_ids, deadline=0.05, on_progress=seen.append)
        assert seen[-1].counts == report.counts
        assert seen[-1].settled == 2_000


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_a_callback_that_raises_does_no_harm(koodrive, connect, how, caplog):
    def broken(_progress):
        raise RuntimeError("the callback is broken")

    async with connect(koodrive) as client:
        report = await told(client, koodrive.share_ids, how, broken)
    assert statuses(report) == {"cancelled": 100}
    assert "the callback is broken" in caplog.text
    assert {record.name for record in caplog.records if record.levelno >= logging.ERROR} == {"koodrive_async"}


async def test_a_callback_may_stop_its_stream(make_koodrive, connect):
    emulator = make_koodrive(shares=20_000, latency=0.01)

    def enough(progress):
        if progress.settled >= 500:
            stream.stop()

    async with (
        connect(emulator, pace=Pace(concurrency=2)) as client,
        client.open_cancel(emulator.share_ids, on_progress=enough) as stream,
    ):
        outcomes = [outcome async for outcome in stream]
    assert len(outcomes) == sum(stream.report.counts.values()) < 5_000
    assert stream.report.counts[Status.CANCELLED] == emulator.cancelled_count >= 500


# -- hooks ----------------------------------------------------------------------------------------


async def test_every_event_when_it_happens(make_koodrive, connect, by_app):
    emulator = make_koodrive(shares=1_000, clock_offset=7_200)
    emulator.script(None, None, unavailable(), None, throttled(), None, lost_reply())
    events = []
    async with connect(emulator, by_app, hooks=[events.append], pace=Pace(concurrency=1)) as client:
        report = await client.cancel(emulator.share_ids)
    assert report.counts[Status.CANCELLED] + report.counts[Status.ALREADY_GONE] == 1_000

    def of(kind):
        return [event for event in events if isinstance(event, kind)]

    assert len(of(AttemptStarted)) == emulator.requests
    assert {event.trace_id for event in of(AttemptStarted)} == {seen.trace_id for seen in emulator.log}
    assert len(of(AttemptFailed)) == 4  # a date, a 429, a 503, a lost reply
    assert 1 <= len(of(RetryScheduled)) <= 2  # waiting at the gate is none, nor is a stale connection
    assert all(event.delay >= 0 for event in of(RetryScheduled))
    assert [round(event.seconds, -2) for event in of(ClockCorrected)] == [7_200]
    closed = [event.closed for event in of(PaceChanged)]
    assert True in closed
    assert closed[-1] is False
    settled = {status: sum(event.counts[status] for event in of(BatchSettled)) for status in Status}
    assert settled == dict(report.counts)
    for event in events:
        assert emulator.share_ids[0] not in repr(event)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            event.anything = 1


async def test_a_hook_that_raises_does_no_harm(koodrive, connect, caplog):
    heard = []

    def broken(event):
        raise RuntimeError("the hook is broken")

    koodrive.script(unavailable(), throttled())
    async with connect(koodrive, hooks=[broken, heard.append]) as client:
        report = await client.cancel(koodrive.share_ids)
    assert statuses(report) == {"cancelled": 100}
    assert len(heard) > 5
    assert [record.exc_info[0] for record in caplog.records] == [RuntimeError] * len(heard)
