"""Tells hooks what happens; one that raises is logged and does no harm."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio

from koodrive_async.core.events import Event, Hook
from koodrive_async.shell.log import say

T = TypeVar("T")


def tell(hooks: Sequence[Hook], event: Event) -> None:
    """Call every hook."""
    for hook in hooks:
        call_back(hook, event, f"a hook failed on {type(event).__name__}")


def call_back(function: Callable[[T], object], argument: T, complaint: str) -> None:
    """Call a caller's plain function, and log whatever it raises.

    That includes a cancellation: a plain function awaits nothing, so none that it raises is for this task.

    Args:
        function: The caller's.
        argument: What to call it with.
        complaint: What to log if it raises.
    """
    try:
        function(argument)
    except (Exception, anyio.get_cancelled_exc_class()):  # noqa: BLE001 - it must not affect the call
        say(logging.ERROR, complaint, exc_info=True)
