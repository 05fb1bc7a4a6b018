"""Rows 45-52: the service is busy, or away for a while. Nobody makes it worse, and nothing is lost."""

import time
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate

import anyio
import pytest

from koodrive_async import (
    AttemptStarted,
    AttemptTimeout,
    ClockSkewed,
    ConnectionLost,
    Pace,
    PaceChanged,
    RetryPolicy,
    RetryScheduled,
    ServerFault,
    Status,
    Throttled,
)
from koodrive_async.testing import Chaos, LateEffect, RateLimit, gateway_timeout, throttled, unavailable
from koodrive_async.testing import Status as Answered
from tests.faults.line import FEW, LONG, always, statuses

pytestmark = pytest.mark.usefixtures("leaks")


def paces(seen):
    return [lambda event: seen.append(event) if isinstance(event, PaceChanged) else None]


def begun_while_closed(events):
    """How many attempts began while the gate was closed."""
    closed, begun = False, 0
    for event in events:
        if isinstance(event, PaceChanged):
            closed = event.closed
        begun += closed and isinstance(event, AttemptStarted)
    return begun


async def test_45_408_request_timeout(line):
    """The service may have got it all: ambiguous."""
    failure, _ = await line.suffers(Answered(408), ServerFault, acted=False, seen=True)
    assert failure.status == 408


async def test_45_425_too_early(line):
    """Refused before anything was done (RFC 8470): certain."""
    fault = Answered(425)
    failure, _ = await line.suffers(fault, ServerFault, acted=False, seen=True, finally_=Status.REJECTED)
    assert failure.status == 425


async def test_46_429_without_a_header(make_koodrive, made):
    """Everybody waits, one tries; it costs none of the attempts."""
    emulator = make_koodrive(shares=800, latency=0.01)
    emulator.script(None, None, throttled(), throttled())
    seen = []
    options = {"retry": RetryPolicy(attempts=1), "pace": Pace(concurrency=4), "hooks": [seen.append]}
    async with made.client(emulator, **options) as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 800}
    assert emulator.requests == 8 + emulator.statuses[429]
    assert emulator.statuses[429] == 2
    changes = [event for event in seen if isinstance(event, PaceChanged)]
    assert any(event.closed for event in changes)
    assert not changes[-1].closed
    assert {type(failure) for failure in made.failures} == {Throttled}
    assert begun_while_closed(seen) <= 2  # the probe that is refused as well, and the one that opens the gate


async def test_46_429_without_a_header_for_good(make_koodrive, made):
    emulator = make_koodrive(shares=1_000)
    emulator.inject(always(throttled()))
    retry = RetryPolicy(attempts=2, patience=0.5)
    async with made.client(emulator, retry=retry) as client:
        with anyio.fail_after(LONG), pytest.raises(Throttled) as caught:
            await client.cancel(emulator.share_ids)
        report = caught.value.report
        assert caught.value.gave_up == "patience"
        assert statuses(report) == {
            "rejected": 100,
            "not_sent": 900,
        }  # refused, for certain
        assert len(report.retryable_ids) == 1_000
        assert emulator.requests <= 10
        emulator.behave()
        assert await client.cancel(report.retryable_ids[:100])


def in_seconds(seconds):
    return formatdate(time.time() + seconds, usegmt=True)


WAITS = {
    "1": (["1"], 1.0),
    "0.3": (["0.3"], 0.3),
    "date in the past": ([lambda: in_seconds(-3_600)], 0.0),
    "-1": (["-1"], 0.0),
    "abc": (["abc"], 0.0),
    "NaN": (["NaN"], 0.0),
    "1e9": (["1e9"], 0.0),  # no number in the sense of RFC 9110, 10.2.3
    "two headers": (["0.4", "abc", "0.1"], 0.4),
}


@pytest.mark.parametrize("what", WAITS)
async def test_47_retry_after(koodrive, made, what):
    """What can be read is waited for in full; what can't is as if it were not there."""
    values, least = WAITS[what]
    headers = [("retry-after", value() if callable(value) else value) for value in values]
    body = throttled().body
    koodrive.script(Answered(429, body, headers))
    async with made.client(koodrive, retry=RetryPolicy(attempts=1)) as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(koodrive.share_ids)
        assert statuses(report) == {"cancelled": 100}
        first, second = koodrive.log
        assert second.monotonic - first.finished >= least - 0.01
    (failure,) = made.failures
    assert type(failure) is Throttled
    if least == 0.0:
        assert failure.retry_after in (None, 0.0)
    else:
        assert failure.retry_after == pytest.approx(least, abs=1.2)


async def test_47_retry_after_a_date(koodrive, made):
    """Measured from the reply's own `Date`: nothing comes before it by the service's clock, an hour off."""
    koodrive.clock_offset = -3_600
    instant = int(koodrive.now()) + 2
    koodrive.script(throttled(formatdate(instant, usegmt=True)))
    async with made.client(koodrive, retry=RetryPolicy(attempts=1)) as client:
        with anyio.fail_after(LONG):
            assert await client.cancel(koodrive.share_ids)
    assert koodrive.log[-1].at >= instant - 0.01
    failure, *others = made.failures
    assert failure.retry_after <= 2
    assert [type(other) for other in others] == [ClockSkewed]  # one date teaches nothing, a refusal does


@pytest.mark.parametrize("after", ["121", "1000000000", "HTTP-date"])
async def test_47_retry_after_beyond_patience(make_koodrive, made, after):
    """Nobody waits for that: the job ends at once, and says when to come back."""
    emulator = make_koodrive(shares=1_000)
    seconds = 3_600.0 if after == "HTTP-date" else float(after)
    emulator.inject(always(throttled(in_seconds(3_600) if after == "HTTP-date" else after)))
    async with made.client(emulator, retry=RetryPolicy()) as client:
        with anyio.fail_after(LONG), pytest.raises(Throttled) as caught:
            await client.cancel(emulator.share_ids)
        error = caught.value
        assert emulator.requests == 1
        assert error.gave_up == "retry-after"
        assert error.retry_after == pytest.approx(seconds, abs=5)
        assert abs((error.retry_at - datetime.now(UTC)).total_seconds() - seconds) < 30
        assert statuses(error.report) == {"rejected": 100, "not_sent": 900}
        assert format_datetime(error.retry_at)


async def test_48_429_that_names_the_limit(make_koodrive, made):
    """ "limit:10,time:1 second": 3 % below it from then on, and no second time too fast."""
    emulator = make_koodrive(shares=2_500, rate_limit=RateLimit(per_second=10, window=1))
    seen = []
    async with made.client(emulator, hooks=paces(seen)) as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 2_500}
    rates = [event.rate for event in seen if event.rate is not None]
    assert rates
    assert max(rates) <= 9.7 + 1e-9
    assert rates[0] == pytest.approx(9.7)
    assert 1 <= emulator.statuses[429] <= 20  # those in flight when it was first said


async def test_49_single_ids_throttled_inside_a_200(line):
    """Only those are asked again, and the gate takes it for what it is."""
    busy = line.passing[40:45]
    line.emulator.item_codes.update(dict.fromkeys(busy, ("APIG.0308", 0)))
    seen = []
    async with line.client(hooks=paces(seen)) as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(line.passing)
        assert statuses(report) == {"cancelled": 100}
        assert [entry.share_ids for entry in line.emulator.log] == [tuple(line.passing), tuple(busy)]
        assert [outcome.attempts for outcome in report.outcomes] == [1] * 40 + [2] * 5 + [1] * 55
        await line.is_well(client)
    assert any(event.closed for event in seen)


async def test_49_single_ids_throttled_for_good(line):
    busy = line.passing[40:45]
    line.emulator.item_codes.update(dict.fromkeys(busy, "APIG.0308"))
    async with line.client() as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(line.passing)
        assert statuses(report) == {"cancelled": 95, "rejected": 5}
        assert [outcome.share_id for outcome in report.rejected] == list(report.retryable_ids) == busy
        assert {type(outcome.error) for outcome in report.rejected} == {Throttled}
        assert line.emulator.requests <= 5
        await line.is_well(client)


async def test_50_30_percent_503(make_koodrive, made):
    """20,000 ids; the dice roll once per request, so their number depends on the seed alone."""
    emulator = make_koodrive(shares=20_000)
    emulator.inject(Chaos(1, {unavailable(): 0.3}))
    async with made.client(emulator) as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(emulator.share_ids)
        assert statuses(report) == {"cancelled": 20_000}
        assert emulator.cancelled_count == 20_000
        assert report.requests == emulator.requests <= 1.5 * 200
        assert emulator.requests == 200 + emulator.statuses[503]
        emulator.behave()
        again = await client.cancel(emulator.share_ids[:100])
        assert again.requests == 1


class Outage:
    """A rule: 503 from some request on, for so many seconds."""

    def __init__(self, after, seconds):
        self.after, self.seconds, self.ends = after, seconds, None

    def __call__(self, seen):
        if seen.number < self.after:
            return None
        if self.ends is None:
            self.ends = seen.monotonic + self.seconds
        return unavailable() if seen.monotonic < self.ends else None


async def outage(make_koodrive, made, batches, after, seconds):
    emulator = make_koodrive(shares=100 * batches, latency=0.005, max_log=100_000)
    emulator.inject(Outage(after, seconds))
    waits = []
    hooks = [lambda event: waits.append(event) if isinstance(event, RetryScheduled) else None]
    async with made.client(emulator, retry=RetryPolicy(), hooks=hooks) as client:
        with anyio.fail_after(seconds + 60):
            report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 100 * batches}
    assert {type(failure) for failure in made.failures} == {ServerFault}
    assert emulator.requests - batches == emulator.statuses[503] >= 3
    assert emulator.requests - batches <= batches / 10 + 10
    assert report.elapsed >= seconds


@pytest.mark.parametrize("after", [1, 60], ids=["from the beginning", "in the middle"])
async def test_51_outage(make_koodrive, made, after):
    await outage(make_koodrive, made, batches=300, after=after, seconds=1.4)


async def test_51_outage_with_nobody_listening(make_koodrive, made):
    """The same where connections are refused: the server is down, and comes back."""
    emulator = make_koodrive(shares=10_000, latency=0.005)
    url = emulator.url
    emulator.stop()
    async with made.client(url, retry=RetryPolicy(patience=30)) as client, anyio.create_task_group() as tasks:
        reports = []

        async def work():
            reports.append(await client.cancel(emulator.share_ids))

        with anyio.fail_after(LONG):
            tasks.start_soon(work)
            await anyio.sleep(1.5)
            emulator.start()
            while not reports:  # noqa: ASYNC110 - the other task is the client's
                await anyio.sleep(0.01)
    assert statuses(reports[0]) == {"cancelled": 10_000}
    assert len(made.failures) <= 10 + 10
    assert not [failure for failure in made.failures if isinstance(failure, AttemptTimeout | ConnectionLost)]


async def test_52_504_and_the_work_is_done_later(line):
    """By the time of the second attempt it has been done: no such share, which is what was wished."""
    failure, report = await line.suffers(LateEffect(after=0.0), ServerFault, acted=True)
    assert (failure.status, failure.code) == (504, "APIG.0203")
    assert (report.outcomes[0].error.status, report.outcomes[0].code) == (504, "APIG.0203")


async def test_52_504_and_the_work_is_done_later_than_the_retry(line):
    """The retry does it, and the late effect finds nothing left to do."""
    line.emulator.script(LateEffect(after=0.5))
    async with line.client() as client:
        report = await client.cancel(line.passing)
        assert statuses(report) == {"cancelled": 100}
        await anyio.sleep(0.5)
        assert line.emulator.cancelled == set(line.passing)
        assert statuses(await client.cancel(line.passing)) == {"already_gone": 100}
        await line.is_well(client)


@pytest.mark.parametrize("act", [False, True])
async def test_52_504_for_good(line, act):
    failure, _ = await line.suffers(gateway_timeout(act=act), ServerFault, acted=act, seen=True)
    assert failure.status == 504
    assert FEW.attempts == 2
