"""The package's logger. A handler or filter that raises does no harm to the call."""

from __future__ import annotations

import logging
from contextlib import suppress

_log = logging.getLogger("koodrive_async")


def say(level: int, message: str, *args: object, exc_info: bool = False) -> None:
    """Log a message; `level` as in `logging`."""
    with suppress(Exception):  # a handler's, a filter's: theirs to mend, not a reason to lose an outcome
        _log.log(level, message, *args, exc_info=exc_info)
