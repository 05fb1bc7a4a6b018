"""Many calls of one client: each gets its turn, whatever the others do."""

import statistics
import time

import anyio
import pytest

from koodrive_async import Pace, RetryPolicy
from koodrive_async.testing import Status as Answered
from koodrive_async.testing import throttled
from tests.engine.kit import statuses

pytestmark = pytest.mark.usefixtures("leaks")

LATENCY = 0.03


async def single(client, share_id, waits):
    began = time.monotonic()
    await client.cancel_batch([share_id])
    waits.append(time.monotonic() - began)


async def test_single_calls_beside_a_job_are_served_within_a_few_round_trips(make_koodrive, connect):
    emulator = make_koodrive(shares=12_000, latency=LATENCY)
    ids, waits = emulator.share_ids, []
    async with connect(emulator, pace=Pace(concurrency=4)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.cancel, ids[1_000:])
        for share_id in ids[:30]:
            await single(client, share_id, waits)
    assert statistics.median(waits) <= 4 * LATENCY
    assert sorted(waits)[-3] <= 8 * LATENCY  # a busy machine


async def test_a_job_beside_a_burst_of_single_calls_keeps_its_turns(make_koodrive, connect):
    """It had one turn after 400 of them; now it has every second one."""
    emulator = make_koodrive(shares=2_400, latency=0.01)
    ids, order = emulator.share_ids, []
    async with connect(emulator, pace=Pace(concurrency=4, adaptive=False)) as client:
        await client.cancel(ids[:1])
        async with anyio.create_task_group() as tasks:
            for share_id in ids[1:401]:
                tasks.start_soon(single, client, share_id, order)
            await anyio.sleep(0.03)
            assert await client.cancel(ids[401:2_401])
            assert len(order) <= 60  # of 400: the job of 20 batches did not wait for them
    assert len(order) == 400


async def test_two_jobs_share_the_permits(make_koodrive, connect):
    emulator = make_koodrive(shares=8_000, latency=0.01)
    ids, done = emulator.share_ids, []

    async def job(name, share_ids):
        await client.cancel(share_ids)
        done.append((name, time.monotonic()))

    async with (
        connect(emulator, pace=Pace(concurrency=2, adaptive=False)) as client,
        anyio.create_task_group() as tasks,
    ):
        began = time.monotonic()
        tasks.start_soon(job, "large", ids[:7_000])
        await anyio.sleep(0.02)
        tasks.start_soon(job, "small", ids[7_000:])
    (first, soon), (_, late) = done
    assert first == "small"
    assert soon - began < 0.6 * (late - began)


async def test_a_job_in_the_background_gives_way(make_koodrive, connect):
    emulator = make_koodrive(shares=6_000, latency=0.01)
    ids, done = emulator.share_ids, []

    async def job(client, name, share_ids):
        assert statuses(await client.cancel(share_ids)) == {"cancelled": len(share_ids)}
        done.append(name)

    async with connect(emulator, pace=Pace(concurrency=2, adaptive=False)) as client:
        await client.cancel(ids[:1])
        behind = client.with_options(priority="background")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job, behind, "behind", ids[1:2_001])
            await anyio.sleep(0.02)
            tasks.start_soon(job, client, "before", ids[2_001:6_000])
    assert done == ["before", "behind"]


async def test_a_second_look_after_a_long_wait_was_asked_for(make_koodrive, connect):
    emulator = make_koodrive(shares=200)
    emulator.script(None, throttled("3600"))
    async with connect(emulator) as client:
        assert await client.cancel(emulator.share_ids[:100])
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                quiet = client.with_options(retry=RetryPolicy(patience=7_200.0))
                tasks.start_soon(quiet.cancel, emulator.share_ids[100:])
                await anyio.sleep(0.2)
                assert emulator.requests == 2
                client.reset_pace()
    assert emulator.requests == 3


@pytest.mark.parametrize("share", [0.01, 0.1])
async def test_random_429s_are_no_limit(make_koodrive, connect, share):
    emulator = make_koodrive(shares=60_000, latency=0.005)
    busy = Answered(429, b'{"code": 1, "msg": "busy"}', {"content-type": "application/json"})
    emulator.inject(lambda seen: busy if seen.number % round(1 / share) == 7 else None)
    async with connect(emulator, pace=Pace(concurrency=8)) as client:
        began = time.monotonic()
        report = await client.cancel(emulator.share_ids)
        took = time.monotonic() - began
    assert statuses(report) == {"cancelled": 60_000}
    assert took < 12  # it took minutes
