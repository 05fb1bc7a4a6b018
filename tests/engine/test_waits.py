"""Row 60: cancelled while it waits for something: it returns at once, and hurts nobody else."""

import anyio
import pytest

from koodrive_async import Pace, PaceChanged, RetryPolicy, RetryScheduled, Status, TokenCredentials
from koodrive_async.testing import Delay, throttled, unavailable
from tests.conftest import TOKEN, USER
from tests.engine.cancelling import WAYS, cancelled_after
from tests.engine.kit import always
from tests.support.threaded import until

pytestmark = pytest.mark.usefixtures("leaks")

#: Far more than the 50 ms it should take, far less than the waits that are cut.
SOON = 3.0


async def cancelled_when(event, call, way, backend):
    """Cancel a call as soon as an event is set; how long it then took to return."""
    done = anyio.Event()
    took = 0.0

    async def waiting():
        try:
            await call()
        finally:
            done.set()

    async def cut():
        nonlocal took
        assert await cancelled_after(0.1, waiting, way=way, backend=backend)

    began = anyio.current_time()
    await cut()
    assert event.is_set(), "it never came to the wait that was to be cut"
    assert done.is_set()
    return anyio.current_time() - began


@pytest.mark.parametrize("way", WAYS)
async def test_in_a_back_off(koodrive, connect, anyio_backend_name, way):
    waiting = anyio.Event()
    koodrive.inject(always(unavailable(30)))
    hooks = [lambda event: waiting.set() if isinstance(event, RetryScheduled) else None]
    async with connect(koodrive, hooks=hooks, retry=RetryPolicy(base=30, cap=30)) as client:
        for call in (
            lambda: client.cancel(koodrive.share_ids),
            lambda: client.cancel_batch(koodrive.share_ids),
            lambda: client.get_share_info("abc"),
        ):
            assert await cancelled_when(waiting, call, way, anyio_backend_name) < SOON
        koodrive.behave()
        assert await client.cancel(koodrive.share_ids)
    assert koodrive.requests == 4


@pytest.mark.parametrize("way", WAYS)
async def test_at_a_closed_gate(koodrive, connect, anyio_backend_name, way):
    shut = anyio.Event()
    koodrive.script(throttled(1))
    hooks = [lambda event: shut.set() if isinstance(event, PaceChanged) and event.closed else None]
    async with connect(koodrive, hooks=hooks) as client:
        assert (
            await cancelled_when(shut, lambda: client.cancel(koodrive.share_ids), way, anyio_backend_name)
            < 0.9
        )
        # somebody else who stands in line is not forgotten, and waits no longer than was asked for
        with anyio.fail_after(5):
            assert await client.cancel(koodrive.share_ids)
    assert koodrive.log[1].monotonic - koodrive.log[0].monotonic >= 1.0


@pytest.mark.parametrize("way", WAYS)
async def test_in_the_line_of_a_gate_that_is_busy(koodrive, connect, anyio_backend_name, way):
    koodrive.script(None, Delay(0.6))
    async with connect(koodrive, pace=Pace(concurrency=1)) as client:
        await client.cancel(koodrive.share_ids[:1])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.cancel, koodrive.share_ids[1:2])
            await until(lambda: koodrive.requests == 2)
            began = anyio.current_time()
            await cancelled_after(0.05, lambda: client.cancel(["1"]), way=way, backend=anyio_backend_name)
            assert anyio.current_time() - began < 0.5
        assert await client.cancel(koodrive.share_ids)
    assert not any("1" in seen.share_ids for seen in koodrive.log)


@pytest.mark.parametrize("way", WAYS)
async def test_in_a_token_refresh_that_others_wait_for(koodrive, connect, anyio_backend_name, way):
    asked_for = []
    entered = anyio.Event()

    async def provider(stale):
        asked_for.append(stale)
        entered.set()
        await anyio.sleep(0.4)
        return TOKEN

    reports = []

    async def other():
        reports.append(await client.cancel(koodrive.share_ids))

    async with (
        connect(koodrive, TokenCredentials(provider, USER)) as client,
        anyio.create_task_group() as tasks,
    ):

        async def first():
            tasks.start_soon(other)
            await client.cancel(["1"])

        assert await cancelled_when(entered, first, way, anyio_backend_name) < 0.35
    assert [report.counts[Status.CANCELLED] for report in reports] == [100]
    assert len(asked_for) == 2  # a waiter took over


async def test_cancelled_waiters_leave_no_gap_in_the_line(make_koodrive, connect, anyio_backend_name):
    """Of many in line some go; all others are served, in their order, and permits are not lost."""
    emulator = make_koodrive(shares=1_000, latency=0.005)
    done = []
    async with connect(emulator, pace=Pace(concurrency=2, adaptive=False)) as client:
        await client.cancel(emulator.share_ids[:1])

        async def stay(number):
            await client.cancel(emulator.share_ids[number : number + 1])
            done.append(number)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for number in range(1, 61):
                    tasks.start_soon(stay, number)
                    await cancelled_after(
                        number, lambda: client.cancel(["1"]), way="native", backend=anyio_backend_name
                    )
        assert sorted(done) == list(range(1, 61))
        emulator.latency = 0.1
        emulator.max_in_flight = 0
        assert await client.cancel(emulator.share_ids[100:])
        assert emulator.max_in_flight == 2
