"""How a call ended, and whether its source was read to its end: `complete`, `ended`, `all_well`, `bool()`."""

import json
import pickle

import anyio
import pytest

from koodrive_async import (
    AttemptTimeout,
    CallEnded,
    CancelIncomplete,
    CancelReport,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    Ended,
    Forbidden,
    Journal,
    JournalFailed,
    Pace,
    RetryPolicy,
    ServerFault,
    Status,
    Timeout,
)
from koodrive_async.testing import BlackHole, dropped, forbidden, throttled, unavailable
from tests.client.wire import some_ids
from tests.conftest import QUICK
from tests.engine.cancelling import cancelled_after
from tests.engine.kit import always, collect, honest, perform, statuses
from tests.engine.transports import BOTH, over
from tests.support.blackhole import closed_port, full_backlog
from tests.support.threaded import until

pytestmark = pytest.mark.usefixtures("leaks")

#: Held from now on, so that no test is blamed for its socket.
CLOSED = closed_port()

FEW = RetryPolicy(attempts=2, base=0.001, cap=0.002)


def ending(report):
    return report.complete, report.ended, report.all_well, bool(report)


# -- a source that is not read to its end ---------------------------------------------------------


def stalling(ids):
    async def source():
        for share_id in ids:
            yield share_id
        await anyio.sleep_forever()

    return source()


@pytest.mark.parametrize("count", [0, 5, 250])
async def test_a_source_that_stalls_beyond_the_deadline_of_cancel(make_koodrive, connect, count):
    emulator = make_koodrive(shares=max(count, 1))
    async with connect(emulator) as client:
        report = await client.cancel(stalling(emulator.share_ids[:count]), deadline=0.1)
    assert ending(report) == (False, Ended.DEADLINE, count == 0, False)
    assert statuses(report) == ({"not_sent": count} if count else {})
    with pytest.raises(CancelIncomplete, match="not read to its end"):
        report.raise_for_failures()
    assert {outcome.error.gave_up for outcome in report.outcomes} <= {"deadline"}
    assert emulator.requests == 0


@pytest.mark.parametrize("count", [0, 5, 250])
async def test_a_source_that_stalls_beyond_the_deadline_of_a_stream(make_koodrive, connect, count):
    emulator = make_koodrive(shares=max(count, 1))
    ids = emulator.share_ids[:count]
    async with connect(emulator) as client, client.open_cancel(stalling(ids), deadline=0.4) as stream:
        outcomes = [outcome async for outcome in stream]
    assert ending(stream.report) == (False, Ended.DEADLINE, True, False)
    assert len(outcomes) == count
    with pytest.raises(CancelIncomplete, match="not read to its end"):
        stream.report.raise_for_failures()


async def test_a_slow_listing_beyond_the_deadline(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.05)
    async with connect(emulator) as client:
        report = await client.cancel(client.find_shares(), deadline=0.12)
        async with client.open_cancel(client.find_shares(), deadline=0.12) as stream:
            outcomes = [outcome async for outcome in stream]
    assert ending(report)[:2] == ending(stream.report)[:2] == (False, Ended.DEADLINE)
    assert not report
    assert not stream.report
    assert outcomes == []
    assert emulator.cancelled_count == 0


# -- why it ended ---------------------------------------------------------------------------------


@BOTH
async def test_all_was_read_and_done(make_koodrive, connect, transport):
    emulator = make_koodrive(shares=250)
    async with over(transport, connect, emulator) as client:
        report = await client.cancel(iter(emulator.share_ids), deadline=60)
        async with client.open_cancel(emulator.share_ids, deadline=60) as stream:
            assert ending(stream.report) == (False, Ended.EXHAUSTED, True, False)  # so far
            await collect_from(stream)
    assert ending(report) == ending(stream.report) == (True, Ended.EXHAUSTED, True, True)
    report.raise_for_failures()
    stream.report.raise_for_failures()


async def collect_from(stream):
    return [outcome async for outcome in stream]


async def test_nothing_to_do(koodrive, connect):
    async with connect(koodrive) as client:
        report = await client.cancel([])
        async with client.open_cancel([]) as stream:
            assert await collect_from(stream) == []
    assert ending(report) == ending(stream.report) == (True, Ended.EXHAUSTED, True, True)


@pytest.mark.parametrize("how", ["stop", "leave", "raise", "cancel"])
async def test_a_stream_that_is_cut_short(make_koodrive, connect, how):
    emulator = make_koodrive(shares=5_000, latency=0.005)
    taken = []
    held = []

    async def run(client):
        async with client.open_cancel(iter(emulator.share_ids)) as stream:
            held.append(stream)
            async for outcome in stream:
                taken.append(outcome)
                if len(taken) == 150:
                    if how == "stop":
                        stream.stop()
                    elif how == "leave":
                        break
                    elif how == "raise":
                        raise OSError("the consumer's")
                    else:
                        scope.cancel()

    async with connect(emulator, pace=Pace(concurrency=2)) as client:
        with anyio.CancelScope() as scope:
            if how == "raise":
                with pytest.raises(OSError, match="the consumer's"):
                    await run(client)
            else:
                await run(client)
    wanted = {"stop": Ended.STOPPED, "cancel": Ended.CANCELLED}.get(how, Ended.LEFT)
    report = held[0].report
    assert (report.complete, report.ended, bool(report)) == (False, wanted, False)
    for failure in report.failures:
        if failure.status is Status.NOT_SENT:
            assert isinstance(failure.error, CallEnded)
            assert failure.error.gave_up == wanted
            assert failure.error.retryable


async def test_a_deadline_in_mid_job(make_koodrive, connect):
    emulator = make_koodrive(shares=2_000, latency=0.05)
    async with connect(emulator, pace=Pace(concurrency=1)) as client:
        report = await client.cancel(emulator.share_ids, deadline=0.3)
    assert ending(report) == (True, Ended.DEADLINE, False, False)
    assert {type(outcome.error) for outcome in report.not_sent} == {CallEnded}
    assert {outcome.error.gave_up for outcome in report.not_sent} == {"deadline"}


async def test_a_refusal_never_says_that_it_was_not_sent(make_koodrive, connect):
    """Throttled until the deadline: REJECTED by the 429, not by the deadline."""
    emulator = make_koodrive(shares=300)
    emulator.inject(always(throttled()))
    async with connect(emulator, retry=RetryPolicy(base=0.02, cap=0.1)) as client:
        report = await client.cancel(emulator.share_ids, deadline=0.3)
    assert report.counts[Status.REJECTED] > 0
    for outcome in report.rejected:
        assert type(outcome.error).__name__ == "Throttled"
        assert "deadline passed" not in str(outcome.error)


async def test_a_fatal_error_is_the_reason_of_what_it_kept_from_going(make_koodrive, connect):
    emulator = make_koodrive(shares=3_000)
    emulator.inject(lambda seen: forbidden() if seen.number > 5 else None)
    async with connect(emulator, pace=Pace(concurrency=1)) as client:
        with pytest.raises(Forbidden) as caught:
            await client.cancel(emulator.share_ids)
    report = caught.value.report
    assert ending(report) == (True, Ended.FAILED, False, False)
    assert report.counts[Status.NOT_SENT] > 2_000
    assert {type(outcome.error) for outcome in report.not_sent} == {Forbidden}
    assert all(outcome.error for outcome in report.outcomes if not outcome.ok)


# -- a dead endpoint is one story -----------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("count", [1, 3_000])
@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_a_dead_endpoint_raises_whatever_the_number_of_ids(connect, transport, count, how):
    ids, outcomes = some_ids(count), []
    retry = RetryPolicy(attempts=2, base=0.001, cap=0.002, patience=0.5)
    async with over(transport, connect, f"http://127.0.0.1:{CLOSED}", retry=retry) as client:
        with pytest.raises(ConnectFailed) as caught:
            await perform(client, how, ids, outcomes)
    report = caught.value.report
    assert report.ended is Ended.FAILED
    assert statuses(report) == {"not_sent": sum(report.counts.values())}
    if how == "cancel":
        assert sum(report.counts.values()) == count
        assert {type(outcome.error) for outcome in report.outcomes} == {ConnectFailed}


@pytest.mark.parametrize("fault", [dropped(), BlackHole()], ids=["lost", "silent"])
async def test_lost_replies_and_silence_too(make_koodrive, connect, fault):
    emulator = make_koodrive(shares=3)
    emulator.inject(always(fault))
    async with connect(emulator, retry=FEW, timeout=Timeout(read=0.05)) as client:
        with pytest.raises((ConnectionLost, AttemptTimeout)) as caught:
            await client.cancel(emulator.share_ids)
    assert statuses(caught.value.report) == {"unknown": 3}
    honest(caught.value.report.outcomes, emulator.share_ids, emulator)


async def test_once_anything_was_answered_failures_are_outcomes(make_koodrive, connect):
    emulator = make_koodrive(shares=3)
    emulator.inject(lambda seen: unavailable() if seen.number == 1 else dropped())
    async with connect(emulator, retry=FEW) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"unknown": 3}
    assert ending(report) == (True, Ended.EXHAUSTED, False, False)
    assert {type(outcome.error) for outcome in report.outcomes} == {ConnectionLost}


async def test_a_5xx_is_an_answer(make_koodrive, connect):
    emulator = make_koodrive(shares=3)
    emulator.inject(always(unavailable()))
    async with connect(emulator, retry=FEW) as client:
        report = await client.cancel(emulator.share_ids)
    assert {type(outcome.error) for outcome in report.outcomes} == {ServerFault}


async def test_a_deadline_ends_it_before_the_endpoint_is_called_dead(connect):
    with full_backlog() as port:
        async with connect(f"http://127.0.0.1:{port}", retry=QUICK) as client:
            report = await client.cancel(some_ids(3), deadline=0.2, grace=0.1)
    assert ending(report) == (True, Ended.DEADLINE, False, False)
    assert all(outcome.error for outcome in report.outcomes)


# -- errors that come before anything is sent -----------------------------------------------------


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_a_journal_that_can_not_be_opened(koodrive, connect, tmp_path, how):
    async with connect(koodrive) as client:
        with pytest.raises(JournalFailed) as caught:
            await perform(client, how, koodrive.share_ids, journal=Journal(tmp_path))
    report = caught.value.report
    assert (report.ended, bool(report)) == (Ended.FAILED, False)
    if how == "cancel":
        assert statuses(report) == {"not_sent": 100}
        assert {type(outcome.error) for outcome in report.outcomes} == {JournalFailed}


@pytest.mark.parametrize("kind", [list, iter])
async def test_a_closed_client(koodrive, connect, kind):
    async with connect(koodrive) as client:
        pass
    with pytest.raises(ClientClosed) as caught:
        await client.cancel(kind(koodrive.share_ids))
    assert not caught.value.report
    assert statuses(caught.value.report) == ({"not_sent": 100} if kind is list else {})
    with pytest.raises(ClientClosed) as caught:
        await collect(client.open_cancel(kind(koodrive.share_ids)), [])
    assert not caught.value.report


async def test_a_client_that_is_closed_meanwhile(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000, latency=0.01)
    async with connect(emulator, pace=Pace(concurrency=2)) as client, anyio.create_task_group() as tasks:

        async def close():
            await until(lambda: emulator.requests >= 5)
            await client.aclose()

        tasks.start_soon(close)
        with pytest.raises(ClientClosed) as caught:
            await client.cancel(emulator.share_ids)
    report = caught.value.report
    assert (report.complete, report.ended, bool(report)) == (True, Ended.FAILED, False)
    honest(report.outcomes, emulator.share_ids, emulator)
    assert all(outcome.error for outcome in report.outcomes if not outcome.ok)


# -- the values -----------------------------------------------------------------------------------


async def test_a_sum_is_complete_only_if_both_are(make_koodrive, connect):
    emulator = make_koodrive(shares=20)
    async with connect(emulator) as client:
        cut = await client.cancel(stalling(emulator.share_ids[:10]), deadline=0.05)
        rest = await client.cancel(emulator.share_ids)
    for total in (cut + rest, rest + cut):
        assert (total.complete, total.ended, total.all_well, bool(total)) == (
            False,
            Ended.DEADLINE,
            True,
            False,
        )
    assert ending(rest + CancelReport()) == ending(rest)


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_plain_data(make_koodrive, connect, how):
    emulator = make_koodrive(shares=1_500, received=1)
    ids = [*emulator.share_ids, *emulator.received_ids]
    async with connect(emulator) as client:
        if how == "cancel":
            report = await client.cancel(ids)
        else:
            async with client.open_cancel(ids) as stream:
                await collect_from(stream)
            report = stream.report
    data = json.loads(json.dumps(report.to_dict()))
    assert (data["version"], data["ok"], data["complete"], data["ended"]) == (1, False, True, "exhausted")
    assert data["counts"] == {str(status): report.counts[status] for status in Status}
    listed = data["outcomes" if how == "cancel" else "failures"]
    assert len(listed) == (1_501 if how == "cancel" else 1)
    (refused,) = [entry for entry in listed if not entry["ok"]]
    assert refused["error"]["type"] == "Forbidden"
    assert pickle.loads(pickle.dumps(report)).to_dict() == report.to_dict()


async def test_a_summary_says_where_it_is_cut(make_koodrive, connect):
    emulator = make_koodrive(shares=3_000, received=1_500)
    async with connect(emulator) as client:
        async with client.open_cancel(emulator.share_ids, deadline=0) as stream:
            outcomes = await collect_from(stream)
        report = stream.report
        assert len(report.failures) == len(report.retryable_ids) == len(outcomes)
        assert not report.failures_truncated
        async with client.open_cancel(emulator.received_ids) as stream:
            outcomes = await collect_from(stream)
    report = stream.report
    assert statuses(report) == {"rejected": 1_500}
    assert len(report.failures) == 1_000
    assert report.failures_truncated
    assert report.retryable_truncated
    assert report.retryable_ids == []  # of those that are kept


@pytest.mark.parametrize("way", ["native", "anyio"])
async def test_a_cancelled_caller(make_koodrive, connect, anyio_backend, way):
    emulator = make_koodrive(shares=3_000, latency=0.01)
    held = []

    async with connect(emulator, pace=Pace(concurrency=1)) as client:

        async def run():
            async with client.open_cancel(iter(emulator.share_ids)) as stream:
                held.append(stream)
                await collect_from(stream)

        assert await cancelled_after(0.1, run, way=way, backend=anyio_backend)
    report = held[0].report
    assert (report.complete, report.ended, bool(report)) == (False, Ended.CANCELLED, False)
