"""Single ids that the service refuses for now, inside a reply that is good for the others."""

import pytest

from koodrive_async import Pace, PaceChanged, RetryPolicy, Status, Throttled
from koodrive_async.testing import lost_reply
from tests.engine.kit import asked, honest, statuses

pytestmark = pytest.mark.usefixtures("leaks")

BUSY = "13009999"


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_a_code_declared_retryable_is_asked_again(make_koodrive, connect, how):
    emulator = make_koodrive(shares=1_000)
    busy = emulator.share_ids[::100]
    emulator.item_codes.update({share_id: [BUSY] * 2 for share_id in busy})
    async with connect(emulator, item_retry_codes={BUSY}) as client:
        if how == "cancel":
            report = await client.cancel(emulator.share_ids)
        else:
            async with client.open_cancel(emulator.share_ids) as stream:
                outcomes = [outcome async for outcome in stream]
            honest(outcomes, emulator.share_ids, emulator)
            report = stream.report
    assert statuses(report) == {"cancelled": 1_000}
    counts = asked(emulator)
    assert {counts[share_id] for share_id in busy} == {3}
    assert sum(counts.values()) == 1_000 + 2 * 10  # only those, and no others, again


async def test_a_code_that_is_not_declared_is_final(make_koodrive, connect):
    emulator = make_koodrive(shares=100)
    busy = emulator.share_ids[3]
    emulator.item_codes[busy] = [BUSY]
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert [outcome.share_id for outcome in report.rejected] == [busy]
    assert report.rejected[0].code == BUSY
    assert not report.retryable_ids
    assert emulator.requests == 1


async def test_the_rounds_are_bounded(make_koodrive, connect):
    emulator = make_koodrive(shares=300)
    busy = emulator.share_ids[:150]
    emulator.item_codes.update(dict.fromkeys(busy, BUSY))
    async with connect(emulator, item_retry_codes={BUSY}) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 150, "rejected": 150}
    assert list(report.retryable_ids) == busy
    assert {outcome.code for outcome in report.rejected} == {BUSY}
    counts = asked(emulator)
    assert {counts[share_id] for share_id in busy} == {4}
    assert {outcome.attempts for outcome in report.rejected} == {4}
    assert {counts[share_id] for share_id in emulator.share_ids[150:]} == {1}


async def test_what_gone_means_is_a_setting(make_koodrive, connect):
    emulator = make_koodrive(shares=10)
    ids = [*emulator.share_ids, "404"]
    emulator.item_codes[ids[0]] = "13000999"
    async with connect(emulator, gone_codes={"13000999"}) as client:
        report = await client.cancel(ids)
    assert statuses(report) == {"cancelled": 9, "already_gone": 1, "rejected": 1}
    assert report.already_gone[0].share_id == ids[0]
    assert report.rejected[0].share_id == "404"


async def test_throttling_of_single_ids_closes_the_gate(make_koodrive, connect):
    """Row 49: only those ids are asked again, and everybody goes slower."""
    emulator = make_koodrive(shares=2_000, latency=0.002)
    throttled = emulator.share_ids[150:160]
    emulator.item_codes.update({share_id: ["APIG.0308"] for share_id in throttled})
    closed = []
    hooks = [lambda event: closed.append(event.closed) if isinstance(event, PaceChanged) else None]
    async with connect(emulator, hooks=hooks, pace=Pace(concurrency=4)) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 2_000}
    counts = asked(emulator)
    assert {share_id for share_id, count in counts.items() if count > 1} == set(throttled)
    assert True in closed
    assert closed[-1] is False


async def test_throttled_to_the_end(make_koodrive, connect):
    emulator = make_koodrive(shares=100)
    emulator.item_codes[emulator.share_ids[0]] = "APIG.0308"
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert report.counts[Status.CANCELLED] == 99
    assert isinstance(report.rejected[0].error, Throttled)
    assert list(report.retryable_ids) == emulator.share_ids[:1]
    assert asked(emulator)[emulator.share_ids[0]] == 4


async def test_doubt_sticks_to_an_id_that_is_asked_again(make_koodrive, connect):
    """Refused for now, then a reply that never came: UNKNOWN, not REJECTED."""
    emulator = make_koodrive(shares=2)
    first, second = emulator.share_ids
    emulator.item_codes[first] = [BUSY]
    emulator.script(None)
    emulator.inject(lambda _seen: lost_reply())
    retry = RetryPolicy(attempts=1, base=0.001)
    async with connect(emulator, item_retry_codes={BUSY}, retry=retry) as client:
        report = await client.cancel([first, second])
    assert statuses(report) == {"cancelled": 1, "unknown": 1}
    assert report.unknown[0].share_id == first
