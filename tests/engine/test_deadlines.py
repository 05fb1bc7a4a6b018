"""Deadlines: it returns by then plus the grace, with a report that is complete and true."""

import anyio
import pytest

from koodrive_async import Pace, RetryPolicy, Status, Throttled, Timeout
from koodrive_async.testing import BlackHole, Drip, dropped, throttled, unavailable
from tests.client.wire import some_ids
from tests.conftest import QUICK
from tests.engine.kit import always, asked, honest, statuses
from tests.support.blackhole import full_backlog

pytestmark = pytest.mark.usefixtures("leaks")

#: By so much a loaded machine may be late.
LATE = 1.5

WEATHER = {
    "slow": None,
    "silent": BlackHole(),
    "failing": unavailable(),
    "throttling": throttled(),
    "dropping": dropped(),
    "dripping": Drip(0.05),
    "503 and wait": unavailable(1),
}


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
@pytest.mark.parametrize("weather", WEATHER)
async def test_it_returns_by_then_with_every_id_accounted_for(make_koodrive, connect, weather, how):
    emulator = make_koodrive(shares=3_000, latency=0.03)
    if WEATHER[weather] is not None:
        emulator.inject(always(WEATHER[weather]))
    pace = Pace(concurrency=3, adaptive=False)
    limits = {"deadline": 0.3, "grace": 0.2}
    began = anyio.current_time()
    async with connect(emulator, pace=pace, retry=RetryPolicy(base=0.02, cap=0.1)) as client:
        if how == "cancel":
            report = await client.cancel(emulator.share_ids, **limits)
            outcomes, sources = report.outcomes, emulator.share_ids
        else:
            outcomes = []
            async with client.open_cancel(emulator.share_ids, **limits) as stream:
                async for outcome in stream:
                    outcomes.append(outcome)
            report, sources = stream.report, [outcome.share_id for outcome in outcomes]
        took = anyio.current_time() - began
    assert 0.25 < took < 0.5 + LATE
    assert report.elapsed <= took
    assert sum(report.counts.values()) == len(sources)
    assert report.counts[Status.NOT_SENT] > 0 or how == "open_cancel"
    honest(outcomes, sources, emulator)
    if weather == "slow":
        assert report.counts[Status.CANCELLED] == emulator.cancelled_count > 0
    if weather in ("silent", "dripping", "dropping", "failing"):
        assert report.counts[Status.UNKNOWN] > 0
    if weather == "throttling":
        assert report.counts[Status.UNKNOWN] == 0
        assert {type(o.error) for o in outcomes if o.status is Status.REJECTED} <= {Throttled}


async def test_what_was_connecting_was_not_sent(connect):
    with full_backlog() as port:
        async with connect(f"http://127.0.0.1:{port}", retry=QUICK) as client:
            report = await client.cancel(some_ids(500), deadline=0.2, grace=0.1)
    assert statuses(report) == {"not_sent": 500}
    assert report.elapsed < 0.3 + LATE


async def test_sends_may_use_the_grace(make_koodrive, connect):
    emulator = make_koodrive(shares=300, latency=0.4)
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids, deadline=0.2, grace=5)
    assert statuses(report) == {"cancelled": 100, "not_sent": 200}
    assert emulator.cancelled_count == 100


async def test_a_deadline_of_nothing_sends_nothing(koodrive, connect):
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids, deadline=0)
        async with client.open_cancel(koodrive.share_ids, deadline=0) as stream:
            outcomes = [outcome async for outcome in stream]
    assert statuses(report) == {"not_sent": 100}
    assert {outcome.status for outcome in outcomes} <= {Status.NOT_SENT}
    assert koodrive.requests == 0


async def test_reading_the_ids_is_part_of_the_time(koodrive, connect):
    """`cancel` reads all ids before the first send; the deadline counts from the call, not from there."""

    async def slow():
        for share_id in koodrive.share_ids[:20]:
            await anyio.sleep(0.02)
            yield share_id

    async with connect(koodrive) as client:
        report = await client.cancel(slow(), deadline=0.1)
    assert koodrive.requests == 0
    assert set(statuses(report)) <= {"not_sent"}


async def test_the_deadline_of_a_stream_counts_while_nobody_takes(make_koodrive, connect):
    emulator = make_koodrive(shares=3_000)
    async with (
        connect(emulator, pace=Pace(concurrency=1)) as client,
        client.open_cancel(emulator.share_ids, deadline=0.2) as stream,
    ):
        await anyio.sleep(0.4)
        outcomes = [outcome async for outcome in stream]
    honest(outcomes, [outcome.share_id for outcome in outcomes], emulator)
    assert len(outcomes) == sum(stream.report.counts.values()) <= 300


async def test_a_total_limit_cuts_a_reply_that_drips(make_koodrive, connect):
    """Each byte comes well within `read`: only a limit of the whole attempt helps."""
    emulator = make_koodrive(shares=3)
    emulator.script(Drip(0.03, head=True))
    async with connect(emulator, timeout=Timeout(read=1, total=0.3)) as client:
        with anyio.fail_after(5):
            report = await client.cancel(emulator.share_ids)
    first, second = emulator.log
    assert 0.25 < second.monotonic - first.monotonic < 0.3 + LATE
    assert statuses(report) == {"already_gone": 3}  # the first had done it


async def test_a_deadline_beats_a_long_back_off_and_a_full_retry_budget(koodrive, connect):
    koodrive.inject(always(unavailable()))
    async with connect(koodrive, retry=RetryPolicy(base=20, cap=20)) as client:
        report = await client.cancel(koodrive.share_ids, deadline=0.3)
    assert report.elapsed < 0.3 + LATE
    assert statuses(report) == {"unknown": 100}
    assert set(asked(koodrive).values()) == {1}
