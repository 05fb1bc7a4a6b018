"""Sends that a caller's cancellation does not abort.

A shield around an await in the caller's own task does not stop a native ``task.cancel()``, so every
call runs in a child task, and each send in it under a shielded scope. When the caller is cancelled
the child is too, wherever it waits, but a send runs on for the grace period; then it is cut.
Refuses to know what is sent.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

import anyio

from koodrive_async.shell.cancellation import unexpected

T = TypeVar("T")

#: For calls that have no `grace` of their own, in seconds.
GRACE = 5.0


class Drain:
    """The sends of one call of the user's; says when the last one is cut."""

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace
        self._until = math.inf
        self._sends: set[anyio.CancelScope] = set()
        self._quiet = anyio.Event()

    @property
    def draining(self) -> bool:
        """Whether the grace period has begun: nothing new is sent."""
        return self._until < math.inf

    @property
    def sending(self) -> int:
        """Sends under way."""
        return len(self._sends)

    def begin(self) -> None:
        """From now on sends have the grace period to end."""
        self.cut_at(anyio.current_time() + self.grace)

    def cut_at(self, when: float) -> None:
        """Cut all sends that are not over by then, on the event loop's clock."""
        self._until = min(self._until, when)
        for scope in self._sends:
            scope.deadline = min(scope.deadline, self._until)

    def send(self, limit: float) -> Sending:
        """A scope that only its own limit (seconds) and the end of the grace period cut."""
        deadline = min(anyio.current_time() + limit, self._until)
        return Sending(self, anyio.CancelScope(shield=True, deadline=deadline))

    async def quiet(self) -> None:
        """Wait until nothing is being sent."""
        while self._sends:
            self._quiet = anyio.Event()
            await self._quiet.wait()

    def enter(self, scope: anyio.CancelScope) -> None:
        """A send begins."""
        self._sends.add(scope)

    def leave(self, scope: anyio.CancelScope) -> None:
        """A send is over."""
        self._sends.discard(scope)
        if not self._sends:
            self._quiet.set()


class Sending:
    """The length of one send; swallows its own cut, as a cancel scope does."""

    def __init__(self, drain: Drain, scope: anyio.CancelScope) -> None:
        self._drain, self._scope = drain, scope

    def __enter__(self) -> None:
        self._scope.__enter__()
        self._drain.enter(self._scope)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._drain.leave(self._scope)
        return bool(self._scope.__exit__(kind, error, trace))


async def drained(run: Callable[[], Awaitable[T]], drain: Drain) -> T:
    """Run in a child task; when the caller is cancelled, its sends may end first.

    Raises:
        Exception: What `run` raises, itself, in no group.
    """
    done = anyio.Event()
    results: list[T] = []
    failures: list[Exception] = []

    async def child() -> None:
        try:
            results.append(await run())
        except Exception as error:  # noqa: BLE001 - raised below, outside the task group
            failures.append(error)
        finally:
            done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child)
        try:
            await done.wait()
        except BaseException:
            drain.begin()
            tasks.cancel_scope.cancel()
            raise
    if failures:
        raise failures[0]
    if not results:
        raise unexpected("the task of this call")
    return results[0]
