"""Outages: no storm of retries, nothing failed that could wait, and an end to waiting."""

import time
from itertools import pairwise

import pytest

from koodrive_async import AttemptStarted, Pace, PaceChanged, RetryPolicy, ServerFault, Status
from koodrive_async.testing import Chaos, server_error, unavailable
from tests.engine.kit import asked, honest, statuses

pytestmark = pytest.mark.usefixtures("leaks")


def outage(emulator, seconds, *, after):
    """503s only, from one request on, for so long."""
    began = []

    def rule(seen):
        if seen.number <= after:
            return None
        began.append(time.monotonic())
        return unavailable() if time.monotonic() - began[0] < seconds else None

    emulator.inject(rule)


async def survives(emulator, connect, seconds, after):
    outage(emulator, seconds, after=after)
    batches = len(emulator.share_ids) // 100
    async with connect(emulator, retry=RetryPolicy()) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": len(emulator.share_ids)}
    assert emulator.requests - batches <= 0.1 * batches + 10
    assert report.elapsed >= seconds
    return report


@pytest.mark.parametrize("after", [0, 40], ids=["from the start", "in mid-run"])
async def test_a_job_survives_an_outage_without_a_storm(make_koodrive, connect, after):
    emulator = make_koodrive(shares=20_000)
    report = await survives(emulator, connect, 3.0, after)
    assert report.elapsed < 3 + 6 + 5  # the longest pause of the gate, and a busy machine


@pytest.mark.heavy
@pytest.mark.parametrize("anyio_backend", ["trio"])  # the short ones above run on both
async def test_a_job_survives_a_minute_of_it(make_koodrive, anyio_backend, connect):
    await survives(make_koodrive(shares=60_000), connect, 60.0, 100)


@pytest.mark.parametrize("after", [0, 30], ids=["from the start", "in mid-run"])
async def test_a_service_that_stays_dead_ends_the_call_after_patience(make_koodrive, connect, after):
    emulator = make_koodrive(shares=20_000)
    emulator.inject(lambda seen: unavailable() if seen.number > after else None)
    retry = RetryPolicy(base=0.01, cap=0.1, patience=1.0)
    async with connect(emulator, retry=retry) as client:
        with pytest.raises(ServerFault) as caught:
            await client.cancel(emulator.share_ids)
    assert caught.value.gave_up == "patience"
    report = caught.value.report
    honest(report.outcomes, emulator.share_ids, emulator)
    assert report.counts[Status.CANCELLED] == after * 100
    assert report.counts[Status.NOT_SENT] > 10_000
    assert 1.0 <= report.elapsed < 6  # the patience once, and not for each of 200 batches
    assert emulator.requests < after + 60


async def test_nobody_sends_while_the_gate_is_closed(make_koodrive, connect):
    """One probe at a time; the others wait without a permit."""
    emulator = make_koodrive(shares=5_000, latency=0.005)
    outage(emulator, 1.5, after=10)
    closed, sent = False, []

    def hook(event):
        nonlocal closed
        if isinstance(event, PaceChanged):
            closed = event.closed
        elif isinstance(event, AttemptStarted) and closed:
            sent.append(time.monotonic())

    async with connect(emulator, hooks=[hook], pace=Pace(concurrency=8)) as client:
        assert await client.cancel(emulator.share_ids)
    assert 1 <= len(sent) <= 6
    assert all(later - earlier > 0.4 for earlier, later in pairwise(sent))


async def weathers(emulator, connect):
    ids = emulator.share_ids
    emulator.inject(Chaos(5, {unavailable(): 0.15, server_error(): 0.15}))
    async with connect(emulator) as client:
        report = await client.cancel(ids)
    assert report, statuses(report)
    assert report.counts[Status.CANCELLED] + report.counts[Status.ALREADY_GONE] == len(ids)
    assert emulator.cancelled_count == len(ids)
    assert emulator.requests < 1.5 * len(ids) / 100


async def test_a_third_of_all_requests_fails(make_koodrive, connect):
    await weathers(make_koodrive(shares=10_000), connect)


@pytest.mark.heavy
async def test_a_third_of_all_requests_fails_for_long(make_koodrive, connect):
    await weathers(make_koodrive(shares=60_000), connect)


async def test_what_used_up_its_attempts_gets_a_second_chance(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000)
    unlucky = emulator.share_ids[300]

    def rule(seen):
        return unavailable() if unlucky in seen.share_ids and asked(emulator)[unlucky] <= 6 else None

    emulator.inject(rule)
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 1_000}
    assert unlucky in emulator.log[-1].share_ids
