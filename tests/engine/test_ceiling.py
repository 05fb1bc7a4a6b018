"""One client, many users: its pace is the ceiling of all its views together."""

import anyio
import pytest

from koodrive_async import ConfigurationError, Pace, TokenCredentials
from koodrive_async.testing import throttled
from tests.engine.kit import most_in_a_second, statuses

pytestmark = pytest.mark.usefixtures("leaks")


def users(client, count, token="demo-token", user="1"):
    return [
        client.with_options(credentials=TokenCredentials(token, user, f"agent{number}"))
        for number in range(count)
    ]


async def test_forty_users_stay_below_one_ceiling(make_koodrive, connect):
    emulator = make_koodrive(shares=2_000, latency=0.02)
    pace = Pace(concurrency=4, per_second=30)
    async with connect(emulator, pace=pace) as client:
        own = client._caller.gate.auth.credentials
        views = users(client, 40, own.token.reveal(), own.user_id)
        async with anyio.create_task_group() as tasks:
            for number, view in enumerate(views):
                tasks.start_soon(view.cancel, emulator.share_ids[number * 50 : number * 50 + 50])
    assert emulator.cancelled_count == 2_000
    assert emulator.max_in_flight <= 4
    assert most_in_a_second(seen.monotonic for seen in emulator.log) <= 30 + 1


async def test_users_without_a_success_leave_half_of_it_to_the_others(make_koodrive, connect):
    emulator = make_koodrive(shares=100, latency=0.3)
    async with connect(emulator, pace=Pace(concurrency=6)) as client:
        own = client._caller.gate.auth.credentials
        async with anyio.create_task_group() as tasks:
            for view in users(client, 12, own.token.reveal(), own.user_id):
                tasks.start_soon(view.cancel, emulator.share_ids[:1])
            await anyio.sleep(0.15)
            assert emulator.requests == 3


async def test_what_is_refused_to_one_user_is_that_users(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.005)
    async with connect(emulator) as client:
        own = client._caller.gate.auth.credentials
        await client.cancel(emulator.share_ids[:100])
        (other,) = users(client, 1, own.token.reveal(), own.user_id)
        emulator.script(throttled("1"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.cancel, emulator.share_ids[100:101])
            await anyio.sleep(0.1)
            with anyio.fail_after(0.8):
                assert statuses(await client.cancel(emulator.share_ids[200:])) == {"cancelled": 800}


async def test_what_is_refused_to_several_users_closes_for_all(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.005)
    async with connect(emulator) as client:
        own = client._caller.gate.auth.credentials
        await client.cancel(emulator.share_ids[:100])
        one, other = users(client, 2, own.token.reveal(), own.user_id)
        emulator.script(throttled("1"), throttled("1"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.cancel, emulator.share_ids[100:101])
            tasks.start_soon(other.cancel, emulator.share_ids[101:102])
            await anyio.sleep(0.1)
            before = emulator.requests
            tasks.start_soon(client.cancel, emulator.share_ids[200:])
            await anyio.sleep(0.4)
            assert emulator.requests == before


@pytest.mark.parametrize(
    ("pace", "narrower"),
    [
        (Pace(concurrency=4, per_second=20), True),
        (Pace(concurrency=2, per_second=1), True),
        (Pace(concurrency=5, per_second=20), False),
        (Pace(concurrency=4, per_second=21), False),
        (Pace(concurrency=4), False),
    ],
)
async def test_the_pace_of_a_view_is_narrower(koodrive, connect, pace, narrower):
    async with connect(koodrive, pace=Pace(concurrency=4, per_second=20)) as client:
        if narrower:
            client.with_options(pace=pace)
        else:
            with pytest.raises(ConfigurationError, match="wider"):
                client.with_options(pace=pace)


async def test_a_proof_outlives_its_view(make_koodrive, connect):
    emulator = make_koodrive(shares=10)
    async with connect(emulator) as client:
        own = client._caller.gate.auth.credentials
        (view,) = users(client, 1, own.token.reveal(), own.user_id)
        await view.cancel(emulator.share_ids[:1])
        del view
        (view,) = users(client, 1, own.token.reveal(), own.user_id)
        assert view._caller.gate._pacer.proven


async def test_a_priority_that_is_not_one(koodrive, connect):
    async with connect(koodrive) as client:
        with pytest.raises(ConfigurationError, match="priority"):
            client.with_options(priority="urgent")
