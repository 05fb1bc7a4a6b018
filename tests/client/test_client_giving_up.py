"""When it ends without success: at once where waiting can't help, honestly always, and never not at all."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from koodrive_async import (
    AttemptFailed,
    AttemptTimeout,
    ConnectFailed,
    ConnectionLost,
    Forbidden,
    Pace,
    RetryPolicy,
    ServerFault,
    Status,
    Throttled,
    Timeout,
    TransportFailure,
)
from koodrive_async.testing import BlackHole, LateEffect, dropped, lost_reply, throttled, unavailable
from koodrive_async.testing import Status as Answered
from tests.client.wire import some_ids
from tests.engine.kit import unanswered
from tests.support.blackhole import closed_port, full_backlog

pytestmark = pytest.mark.usefixtures("leaks")

NOBODY = f"http://127.0.0.1:{closed_port()}"

FEW = RetryPolicy(attempts=2, base=0.002, cap=0.01)


def always(fault):
    return lambda _seen: fault


# -- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [throttled(1), unavailable(1)], ids=["429", "503"])
async def test_retry_after_is_waited_for(koodrive, connect, fault):
    koodrive.script(fault)
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids)
    first, second = koodrive.log
    assert 1.0 <= second.monotonic - first.monotonic < 2.0
    assert report.counts[Status.CANCELLED] == 100


async def test_retry_after_holds_for_everybody(make_koodrive, connect):
    emulator = make_koodrive(shares=600, latency=0.01)
    emulator.script(None, throttled(1))
    async with connect(emulator, pace=Pace(concurrency=4)) as client:
        report = await client.cancel(emulator.share_ids)
    assert report.counts[Status.CANCELLED] == 600
    refused = next(seen for seen in emulator.log if seen.status == 429)
    waits = [seen.monotonic - refused.finished for seen in emulator.log if seen.monotonic > refused.finished]
    early = [wait for wait in waits if wait < 0.99]
    assert len(waits) >= 1
    assert len(early) < 4  # what was on its way already
    assert all(wait < 0.4 for wait in early)


@pytest.mark.parametrize("after", ["86400", "1000000000"])
async def test_a_wait_beyond_patience_ends_the_call_at_once(make_koodrive, connect, after):
    emulator = make_koodrive(shares=250)
    emulator.inject(always(throttled(after)))
    async with connect(emulator) as client:
        with anyio.fail_after(2), pytest.raises(Throttled) as caught:
            await client.cancel(emulator.share_ids)
    error = caught.value
    assert error.retry_after == float(after)
    assert error.gave_up == "retry-after"
    assert error.retry_at is not None
    expected = datetime.now(UTC) + timedelta(seconds=float(after))
    assert abs((error.retry_at - expected).total_seconds()) < 10
    assert emulator.requests == 1
    assert len(error.report.outcomes) == 250
    assert error.report.counts[Status.REJECTED] == 100
    assert error.report.counts[Status.NOT_SENT] == 150
    assert len(error.report.retryable_ids) == 250
    assert {type(outcome.error) for outcome in error.report.rejected} == {Throttled}


async def test_a_wait_that_a_503_asks_for_beyond_the_budget(koodrive, connect):
    koodrive.inject(always(unavailable(86400)))
    async with connect(koodrive) as client:
        with anyio.fail_after(2):
            report = await client.cancel(koodrive.share_ids)
    assert koodrive.requests == 1
    assert report.counts[Status.UNKNOWN] == 100
    error = report.outcomes[0].error
    assert isinstance(error, ServerFault)
    assert error.gave_up == "retry-after"


@pytest.mark.parametrize("fault", [throttled(86400), unavailable(86400)], ids=["429", "503"])
async def test_the_primitive_gives_up_at_once_too(koodrive, connect, fault):
    koodrive.inject(always(fault))
    async with connect(koodrive) as client:
        with anyio.fail_after(2), pytest.raises((Throttled, ServerFault)) as caught:
            await client.cancel_batch(koodrive.share_ids)
    assert caught.value.gave_up == "retry-after"
    assert koodrive.requests == 1


# -- a service that never recovers ----------------------------------------------------------------

DEAD = {
    "503": (unavailable(), ServerFault),
    "a lost reply": (lost_reply(), ConnectionLost),
    "a dropped connection": (dropped(), ConnectionLost),
    "silence": (BlackHole(), AttemptTimeout),
    "a gateway that times out": (LateEffect(after=0), ServerFault),
}


@pytest.mark.parametrize("fault", DEAD)
async def test_a_service_that_never_recovers_gives_unknown(koodrive, connect, fault):
    dead, error = DEAD[fault]
    koodrive.inject(always(dead))
    ids = some_ids(100)
    async with connect(koodrive, retry=FEW, timeout=Timeout(read=0.1)) as client:
        with anyio.fail_after(5):
            if issubclass(error, TransportFailure):  # never answered
                report = await unanswered(client.cancel(ids), error)
            else:
                report = await client.cancel(ids)
    assert not report
    assert report.counts[Status.UNKNOWN] == 100
    assert list(report.retryable_ids) == ids
    assert koodrive.requests == report.requests == 4  # two attempts, and a second chance of as many
    for outcome in report.outcomes:
        assert isinstance(outcome.error, error)
        assert outcome.error.gave_up == "attempts"
        assert outcome.error.ambiguous
        assert outcome.attempts == 4
        assert outcome.trace_id == koodrive.log[-1].trace_id


async def test_the_error_says_which_limit_fired(koodrive, connect):
    koodrive.inject(always(unavailable()))
    for retry, limit in [
        (RetryPolicy(attempts=3, base=0.001), "attempts"),
        (RetryPolicy(attempts=100, budget=0.2, base=0.01), "budget"),
    ]:
        async with connect(koodrive, retry=retry) as client:
            with anyio.fail_after(5), pytest.raises((ServerFault, AttemptTimeout)) as caught:
                await client.cancel_batch(koodrive.share_ids)
        assert caught.value.gave_up == limit
        assert limit in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "status"), [(unavailable(), Status.UNKNOWN), (throttled(), Status.REJECTED)]
)
async def test_a_dead_service_ends_the_whole_call_after_patience(make_koodrive, connect, fault, status):
    emulator = make_koodrive(shares=2_000)
    emulator.inject(always(fault))
    retry = RetryPolicy(base=0.002, cap=0.01, patience=0.6)
    async with connect(emulator, retry=retry) as client:
        with anyio.fail_after(5), pytest.raises((ServerFault, Throttled)) as caught:
            await client.cancel(emulator.share_ids)
    report = caught.value.report
    assert caught.value.gave_up == "patience"
    assert len(report.outcomes) == 2_000
    assert report.counts[status] + report.counts[Status.NOT_SENT] == 2_000
    assert report.counts[status] > 0
    assert report.counts[Status.NOT_SENT] > 1_000
    sent = {share_id for seen in emulator.log for share_id in seen.share_ids}
    assert sent == {outcome.share_id for outcome in report.outcomes if outcome.status is status}
    assert report.elapsed < 3
    assert report.requests == emulator.requests < 40


async def test_ambiguity_sticks(koodrive, connect):
    """After one lost reply a certain refusal does not make it certain that nothing was done."""
    koodrive.script(lost_reply())
    koodrive.inject(always(Answered(403, b"{}")))
    async with connect(koodrive, retry=FEW) as client:
        with pytest.raises(Forbidden) as caught:
            await client.cancel(koodrive.share_ids)
    assert koodrive.cancelled_count == 100
    assert caught.value.report.counts[Status.UNKNOWN] == 100


async def test_ambiguity_sticks_when_the_server_then_goes_away(koodrive, connect):
    koodrive.script(lost_reply())
    gone = [lambda event: koodrive.stop() if isinstance(event, AttemptFailed) else None]
    async with connect(koodrive, retry=FEW, hooks=gone) as client:
        report = await unanswered(client.cancel(koodrive.share_ids), ConnectFailed)
    assert report.counts[Status.UNKNOWN] == 100
    assert all(outcome.error.ambiguous for outcome in report.outcomes)


# -- nobody there ---------------------------------------------------------------------------------


async def test_a_refused_connection_gives_not_sent(connect):
    ids = some_ids(100)
    async with connect(NOBODY, retry=FEW) as client:
        with anyio.fail_after(5):
            report = await unanswered(client.cancel(ids), ConnectFailed)
    assert report.counts[Status.NOT_SENT] == 100
    assert list(report.retryable_ids) == ids
    error = report.outcomes[0].error
    assert (error.sent, error.permanent, error.ambiguous, error.gave_up) == ("no", False, False, "attempts")
    assert "connect" in str(error).lower()


async def test_nobody_there_for_many_ids_ends_after_patience(connect):
    retry = RetryPolicy(base=0.002, cap=0.01, patience=0.6)
    async with connect(NOBODY, retry=retry) as client:
        with anyio.fail_after(5), pytest.raises(ConnectFailed) as caught:
            await client.cancel(some_ids(5_000))
    assert caught.value.report.counts[Status.NOT_SENT] == 5_000
    assert caught.value.gave_up == "patience"


async def test_a_connection_that_never_comes_about_gives_not_sent(connect):
    with full_backlog() as port:
        options = {"retry": FEW, "timeout": Timeout(connect=0.1)}
        async with connect(f"http://127.0.0.1:{port}", **options) as client:
            with anyio.fail_after(5):
                report = await unanswered(client.cancel(some_ids(3)), AttemptTimeout)
    assert report.counts[Status.NOT_SENT] == 3
    assert {outcome.error.sent for outcome in report.outcomes} == {"no"}


async def test_an_attempt_cut_by_its_total_while_connecting_was_not_sent(connect):
    """`total` may fire before `connect` does: still nothing can have been sent."""
    with full_backlog() as port:
        options = {"retry": FEW, "timeout": Timeout(connect=5, total=0.1)}
        async with connect(f"http://127.0.0.1:{port}", **options) as client:
            with anyio.fail_after(5):
                report = await unanswered(client.cancel(some_ids(3)), AttemptTimeout)
    assert report.counts[Status.NOT_SENT] == 3


async def test_a_name_that_does_not_exist_gives_not_sent(connect, monkeypatch):
    import socket

    async def unknown(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("anyio._core._sockets.getaddrinfo", unknown)
    monkeypatch.setattr("trio._highlevel_open_tcp_stream.getaddrinfo", unknown)
    async with connect("https://koodrive.invalid", retry=FEW) as client:
        with anyio.fail_after(5):
            report = await unanswered(client.cancel(some_ids(3)), ConnectFailed)
    assert report.counts[Status.NOT_SENT] == 3
    assert not report.outcomes[0].error.permanent


async def test_reading_from_nobody_raises_the_failure_itself(connect):
    async with connect(NOBODY, retry=FEW) as client:
        with anyio.fail_after(5), pytest.raises(TransportFailure) as caught:
            await client.get_share_info("abc")
    assert caught.value.attempts == 2
    assert len(caught.value.trace_id) == 58


# -- deadlines ------------------------------------------------------------------------------------


async def test_a_deadline_leaves_the_rest_unsent(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.3)
    async with connect(emulator, pace=Pace(concurrency=1)) as client:
        report = await client.cancel(emulator.share_ids, deadline=0.8)
    assert 0.8 <= report.elapsed < 1.6
    done = report.counts[Status.CANCELLED]
    assert done == emulator.cancelled_count
    assert 100 <= done <= 300  # what was under way when it came was let end
    assert report.counts[Status.NOT_SENT] == 1_000 - done


async def test_a_deadline_and_its_grace_cut_what_is_under_way(koodrive, connect):
    koodrive.inject(always(BlackHole()))
    async with connect(koodrive) as client:
        with anyio.fail_after(3):
            report = await client.cancel(koodrive.share_ids, deadline=0.1, grace=0.1)
    assert 0.15 <= report.elapsed < 0.6
    assert report.counts[Status.UNKNOWN] == 100
