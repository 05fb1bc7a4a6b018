"""Whether a cancellation was asked for, or fell out of somebody's code.

On asyncio, awaiting a future that somebody else cancelled raises the same ``CancelledError`` as the
cancellation of the task does. This package cancels its own tasks through scopes only, so a cancellation that
no scope around asks for is the failure of the code that raised it.
"""

from __future__ import annotations

import math

import anyio

from koodrive_async.core.errors import UnexpectedCancellation


def is_asked_for() -> bool:
    """Whether some scope around this point is cancelled; to ask where a cancellation was caught."""
    return anyio.current_effective_deadline() == -math.inf


def unexpected(culprit: str) -> UnexpectedCancellation:
    """The error for a cancellation that nobody asked for."""
    return UnexpectedCancellation(f"{culprit} ended by a cancellation that nobody asked this client for")


def name_of(code: object) -> str:
    """What to call a caller's function or object in a message."""
    return str(getattr(code, "__qualname__", None) or type(code).__qualname__)
