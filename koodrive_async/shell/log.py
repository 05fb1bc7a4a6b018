"""The package's logger. A handler or filter that raises does no harm to the call."""

from __future__ import annotations

import logging

import anyio

_log = logging.getLogger("koodrive_async")


def say(level: int, message: str, *args: object, exc_info: bool = False) -> None:
    """Log a message; `level` as in `logging`."""
    try:
        _log.log(level, message, *args, exc_info=exc_info)
    # What a handler or a filter raises is theirs to mend, not a reason to lose an outcome; a cancellation
    # too, since none is ever delivered to plain code.
    except (Exception, anyio.get_cancelled_exc_class()):  # noqa: BLE001, S110
        pass
