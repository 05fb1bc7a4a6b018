"""Tell a cancellation that was asked for from one that came out of somebody's code.

On asyncio, awaiting a future that somebody else cancelled raises the same ``CancelledError`` as the
cancellation of the task does. This package cancels its own tasks through scopes only, so a cancellation that
no surrounding scope asks for is a failure of the code that raised it.
"""

from __future__ import annotations

import math

import anyio

from koodrive_async.core.errors import UnexpectedCancellation


def is_asked_for() -> bool:
    """Return whether a surrounding scope is cancelled. Call this where the cancellation was caught."""
    return anyio.current_effective_deadline() == -math.inf


def unexpected(culprit: str) -> UnexpectedCancellation:
    """Make the error for a cancellation that nobody asked for.

    Args:
        culprit: The code that ended by it.
    """
    return UnexpectedCancellation(f"{culprit} ended by a cancellation that nobody asked this client for")


def name_of(code: object) -> str:
    """Return the name of a caller's function or object for a message."""
    return str(getattr(code, "__qualname__", None) or type(code).__qualname__)
