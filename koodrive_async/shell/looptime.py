"""The event loop's clock, which measures every wait.

Not ``time.monotonic``, which a test may freeze or a library patch while the event loop's clock goes on; and
not ``anyio.current_time`` at each use, which looks for the running event loop first (1.2 µs a call). Not
here: the server's clock (see ``clock``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
from anyio.lowlevel import current_token

Now = Callable[[], float]


def loop_clock() -> Now:
    """Return the clock of the running event loop, in seconds since an arbitrary moment."""
    loop: Any = current_token().native_token
    return getattr(loop, "time", None) or anyio.current_time  # asyncio's loops have it, trio's token does not


class LoopTime:
    """The clock of the event loop that a client belongs to.

    Attributes:
        now: Returns the seconds since an arbitrary moment. Bound to the event loop at its first use, since
            a client may be made before its event loop runs.
    """

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: Now = self._bind

    def _bind(self) -> float:
        self.now = loop_clock()
        return self.now()
