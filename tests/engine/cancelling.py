"""Ways to cancel a call from outside, after a number of scheduling ticks."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

Call = Callable[[], Awaitable[Any]]

#: "native": `task.cancel()` on asyncio, a scope of trio's own on trio. "anyio": a scope of anyio.
WAYS = ["native", "anyio"]


async def _pass(ticks: float) -> None:
    if isinstance(ticks, float):
        await anyio.sleep(ticks)
        return
    for _ in range(ticks):
        await checkpoint()


async def cancelled_after(ticks: float, call: Call, *, way: str, backend: str, again: int = 0) -> bool:
    """Run a call in a task and cancel it after so many ticks (`again`: more often, a tick apart each).

    A float is a number of seconds.

    Returns:
        Whether it was cancelled before it was over.
    """
    if way == "native" and backend == "asyncio":
        return await _natively(ticks, call, again)
    scope: Any = anyio.CancelScope()
    if way == "native":
        import trio

        scope = trio.CancelScope()

    async def run() -> None:
        with scope:
            await call()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await _pass(ticks)
        for _ in range(again + 1):
            scope.cancel()
            await checkpoint()
    return bool(scope.cancelled_caught)


async def _natively(ticks: float, call: Call, again: int) -> bool:
    async def run() -> None:
        await call()

    task = asyncio.get_running_loop().create_task(run())
    await _pass(ticks)
    for _ in range(again + 1):
        task.cancel()
        await asyncio.sleep(0)
    with suppress(asyncio.CancelledError):
        await task
    return task.cancelled()
