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
    """Call a caller's plain function; whatever it raises is logged.

    A cancellation too: a plain function awaits nothing, so the one it raises is somebody else's.
    """
    try:
        function(argument)
    except (Exception, anyio.get_cancelled_exc_class()):  # noqa: BLE001 - theirs must not touch the call
        say(logging.ERROR, complaint, exc_info=True)
