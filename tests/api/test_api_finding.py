"""Finding and cancelling in one go: nothing is skipped, with either kind of cursor; memory stays flat."""

import resource
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from koodrive_async import Age, FoundShares, Pace, ShareState, Status, share_state
from koodrive_async.testing import Rewrite
from koodrive_async.testing import Status as Answered
from tests.api.conftest import client_of

pytestmark = pytest.mark.usefixtures("leaks")

BUSY = Pace(concurrency=8, adaptive=False)


@pytest.fixture(params=["stable", "offset"])
def emulator(request, make_koodrive):
    """A service with each kind of cursor, and empty pages."""
    return make_koodrive(shares=1_250, cursor=request.param, empty_page_every=3)


def expired_ids(emulator):
    now = emulator.now()
    return [i for i in emulator.share_ids if emulator.share(i).expired(now)]


# -- nothing is skipped ---------------------------------------------------------------------------


async def test_cancel_all_my_expired_links(emulator):
    wanted = expired_ids(emulator)
    assert 100 < len(wanted) < 1_250
    async with client_of(emulator, pace=BUSY) as client:
        report = await client.cancel(client.find_shares(expired=True))
    assert report.counts[Status.CANCELLED] == len(wanted)
    assert emulator.cancelled == set(wanted)


async def test_the_same_as_a_stream(emulator):
    wanted = expired_ids(emulator)
    emulator.latency = 0.001
    async with (
        client_of(emulator, pace=BUSY) as client,
        client.open_cancel(client.find_shares(expired=True)) as stream,
    ):
        ids = [outcome.share_id async for outcome in stream if outcome.status is Status.CANCELLED]
    assert ids == list(dict.fromkeys(ids))
    assert emulator.cancelled == set(ids) == set(wanted)
    assert stream.report.counts[Status.CANCELLED] == len(wanted)


async def test_everything_at_all(emulator):
    async with client_of(emulator, pace=BUSY) as client:
        async with client.open_cancel(client.list_my_shares()) as stream:
            assert [o async for o in stream if o.status is not Status.CANCELLED] == []
        assert await client.list_my_shares().collect() == []
    assert emulator.cancelled_count == 1_250


async def test_cancelling_while_one_iterates_does_skip_with_an_offset(make_koodrive):
    """Why lists are read to their end first; were the emulator kinder, these tests would prove nothing."""
    emulator = make_koodrive(shares=1_250, cursor="offset")
    async with client_of(emulator) as client:
        async for page in client.list_my_shares().pages():
            await client.cancel(share.share_id for share in page.items)
    assert emulator.cancelled_count < 1_250


async def test_shares_that_shift_into_two_pages_are_cancelled_once(make_koodrive):
    emulator = make_koodrive(shares=400, cursor="offset")
    first = True

    def grow(seen):
        nonlocal first
        if seen.operation == "listShareByMe" and "pageCursor" in seen.target and first:
            first = False
            emulator.books[emulator.user_id].create(lambda share: share)

    emulator.inject(grow)
    async with client_of(emulator) as client, client.open_cancel(client.list_my_shares()) as stream:
        ids = [outcome.share_id async for outcome in stream]
    assert len(ids) == len(set(ids)) == 400
    assert stream.report


async def test_a_list_that_cannot_be_read_to_its_end_cancels_nothing(emulator):
    emulator.inject(lambda seen: Answered(403) if "pageCursor" in seen.target else None)

    async def consume(client):
        async with client.open_cancel(client.find_shares()) as stream:
            return [outcome async for outcome in stream]

    async with client_of(emulator) as client:
        with pytest.raises(Exception, match="403"):
            await consume(client)
        with pytest.raises(Exception, match="403"):
            await client.cancel(client.find_shares())
    assert emulator.cancelled_count == 0


@pytest.mark.parametrize("how", ["stop", "leave", "cancel"])
async def test_leaving_while_the_list_is_read(emulator, how):
    emulator.latency = 0.02
    async with client_of(emulator) as client:
        with anyio.move_on_after(0.05 if how == "cancel" else 10):
            async with client.open_cancel(client.find_shares()) as stream:
                if how == "cancel":
                    await anyio.sleep_forever()
                await anyio.sleep(0.05)
                if how == "stop":
                    stream.stop()
                    assert [outcome async for outcome in stream] == []
    assert emulator.counts["batchCancel"] == 0
    assert stream.report.counts == dict.fromkeys(Status, 0)


async def test_found_shares_feed_exit_too(make_koodrive):
    emulator = make_koodrive(received=350, cursor="offset")
    async with client_of(emulator, pace=BUSY) as client:
        report = await client.exit(client.list_received_shares())
    assert report.counts[Status.CANCELLED] == 350


async def test_one_object_plans_cancels_and_iterates(emulator):
    async with client_of(emulator) as client:
        found = client.find_shares(expired=True)
        assert isinstance(found, FoundShares)
        plan = await found.plan()
        assert emulator.cancelled_count == 0
        assert len([share async for share in found]) == plan.found
        report = await client.cancel(found)
        assert report.counts[Status.CANCELLED] == plan.found
        assert not await client.find_shares(expired=True).plan()


# -- what is found --------------------------------------------------------------------------------


async def test_a_plan_counts_by_age_and_state(emulator):
    wanted = expired_ids(emulator)
    async with client_of(emulator) as client:
        plan = await client.find_shares(expired=True).plan(first=3)
        everything = await client.find_shares().plan(first=0)
    assert plan.found == len(wanted) == sum(plan.by_age.values()) == sum(plan.by_state.values())
    assert list(plan.first_ids) == wanted[::-1][:3]
    assert plan.listed == everything.listed == everything.found == 1_250
    assert everything.first_ids == ()
    assert everything.by_state[ShareState.ACTIVE] > 0
    assert list(everything.by_age) == [age for age in Age if age is not Age.UNKNOWN]
    assert (plan.undecided, plan.malformed) == (0, 0)
    assert emulator.counts["batchCancel"] == 0


FILTERS = {
    "before": ({"created_before": 100}, lambda s, now: s.shared_at < now - 100 * 86_400),
    "after": ({"created_after": 100}, lambda s, now: s.shared_at > now - 100 * 86_400),
    "scope": ({"scope": 2}, lambda s, now: s.scope == 2),
    "status": ({"status": 1}, lambda s, now: s.status == 1),
    "state": ({"status": ShareState.ACTIVE}, lambda s, now: s.opens(now)),
    "not expired": ({"expired": False}, lambda s, now: not s.expired(now)),
    "name": ({"name": "BUDGET"}, lambda s, now: "budget" in s.name),
    "views": ({"without_views": True}, lambda s, now: s.views == 0),
    "where": ({"where": lambda share: len(share.files) > 2}, lambda s, now: s.files > 2),
    "all": (
        {"expired": True, "scope": 3, "without_views": True},
        lambda s, now: s.expired(now) and s.scope == 3 and s.views == 0,
    ),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_filters(make_koodrive, name):
    emulator = make_koodrive(shares=400)
    wishes, holds = FILTERS[name]
    wishes = {
        key: datetime.now(UTC) - timedelta(days=value) if key.startswith("created") else value
        for key, value in wishes.items()
    }
    now = emulator.now()
    wanted = [i for i in emulator.share_ids[::-1] if holds(emulator.share(i), now)]
    assert 0 < len(wanted) < 400
    async with client_of(emulator) as client:
        found = client.find_shares(**wishes)
        assert [share.share_id for share in await found.collect()] == wanted


DOUBTS = [
    ("expireTime", "some day", {"expired": True}),
    ("expireTime", "some day", {"expired": False}),
    ("status", None, {"expired": True}),
    ("status", "?", {"status": 0}),
    ("shareTime", "long ago", {"created_before": datetime.now(UTC)}),
    ("shareTime", None, {"created_after": datetime(2000, 1, 1, tzinfo=UTC)}),
    ("viewCnt", None, {"without_views": True}),
    ("viewCnt", "many", {"without_views": True}),
    ("scope", None, {"scope": 2}),
]


@pytest.mark.parametrize(("field", "value", "wishes"), DOUBTS)
async def test_what_cannot_be_judged_is_not_found_but_counted(make_koodrive, field, value, wishes):
    emulator = make_koodrive(shares=20)

    def change(reply):
        links = [{**link, "expireTime": None, field: value} for link in reply["shareLinks"]]
        return {**reply, "shareLinks": links}

    emulator.inject(lambda _seen: Rewrite(change))
    async with client_of(emulator) as client:
        found = client.find_shares(**wishes)
        plan = await found.plan()
        assert (plan.found, plan.undecided, plan.listed) == (0, 20, 20)
        assert await found.collect() == []


async def test_a_filter_that_raises_is_the_callers(emulator):
    async with client_of(emulator) as client:
        with pytest.raises(ZeroDivisionError):
            await client.cancel(client.find_shares(where=lambda _share: 1 / 0))
    assert emulator.cancelled_count == 0


async def test_expiry_goes_by_the_services_clock(make_koodrive):
    """Ours may be a day off."""
    emulator = make_koodrive(shares=307, clock_offset=30 * 86_400)
    wanted = expired_ids(emulator)
    async with client_of(emulator) as client:
        await client.list_my_shares(page_size=1).pages().__anext__()  # learns the time
        assert (await client.find_shares(expired=True).plan()).found == len(wanted)


@pytest.mark.parametrize(
    ("status", "expire_time", "state"),
    [
        (0, "", "active"),
        (0, "2030-01-01 00:00:00", "active"),
        (0, "2024-06-03T02:20:24.274Z", "expired"),
        (0, "2025-01-01T00:00:00Z", "expired"),
        (0, "whenever", "unknown"),
        (1, "2030-01-01 00:00:00", "deleted"),
        (2, "", "invalid"),
        (3, "2030-01-01 00:00:00", "expired"),
        (4, "", "unknown"),
        (-1, "", "unknown"),
        (None, "", "unknown"),
    ],
)
def test_the_state_of_a_share(status, expire_time, state):
    assert share_state(status, expire_time, datetime(2025, 1, 1, tzinfo=UTC)) == state


# -- memory ---------------------------------------------------------------------------------------


async def cancel_all_but_three(emulator, client):
    """Three shares are spared by a filter; all others are found and cancelled."""
    ids = emulator.share_ids
    spared = {ids[0], ids[len(ids) // 2], ids[-1]}
    cancelled = 0
    found = client.find_shares(where=lambda share: share.share_id not in spared)
    async with client.open_cancel(found) as stream:
        async for outcome in stream:
            cancelled += outcome.status is Status.CANCELLED
    assert set(emulator.live_ids) == spared
    assert cancelled == len(ids) - 3


def highest() -> float:
    """The most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


@pytest.mark.heavy
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("cursor", ["stable", "offset"])
async def test_memory_is_flat_for_sixty_thousand(make_koodrive, anyio_backend, cursor):
    """Without tracemalloc, which would take most of the time. The models of all shares would be 240 MB."""
    warm_up = make_koodrive(shares=2_000, cursor=cursor, max_log=10)
    emulator = make_koodrive(shares=60_000, cursor=cursor, max_log=10)
    async with client_of(warm_up, pace=BUSY) as client:
        await cancel_all_but_three(warm_up, client)
    before = highest()
    async with client_of(emulator, pace=BUSY) as client:
        await cancel_all_but_three(emulator, client)
        assert highest() - before < 40
