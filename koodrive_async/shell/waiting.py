"""Asking a share task again until it is over. Refuses to judge how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from koodrive_async.core.errors import TaskNotDone
from koodrive_async.core.objects import ShareTask
from koodrive_async.shell.hooks import call_back

#: No interval is documented: the pause grows by half each time, up to this many times the first one.
_GROWTH, _LONGEST = 1.5, 20.0


async def wait_until_over(
    ask: Callable[[], Awaitable[ShareTask]],
    *,
    interval: float,
    deadline: float | None,
    on_progress: Callable[[ShareTask], None] | None,
) -> ShareTask:
    """The task, completed or cancelled.

    Args:
        ask: Where it stands.
        interval: The first pause, in seconds.
        deadline: Seconds after which it is given up, or None.
        on_progress: Told each answer.

    Raises:
        TaskNotDone: The deadline passed.
    """
    last: ShareTask | None = None
    pause = interval
    with anyio.move_on_after(deadline):
        while True:
            last = await ask()
            if on_progress is not None:
                call_back(on_progress, last, "on_progress failed")
            if last.over:
                return last
            await anyio.sleep(pause)
            pause = min(pause * _GROWTH, interval * _LONGEST)
    where = f"; it stood at {last.progress} %" if last is not None and last.progress is not None else ""
    raise TaskNotDone(f"the task was not over within {deadline:g} s{where}", task=last)
