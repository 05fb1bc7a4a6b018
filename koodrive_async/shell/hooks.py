"""Tells hooks what happens; one that raises is logged and does no harm."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from koodrive_async.core.events import Event, Hook
from koodrive_async.shell.log import say


def tell(hooks: Sequence[Hook], event: Event) -> None:
    """Call every hook."""
    for hook in hooks:
        try:
            hook(event)
        except Exception:  # noqa: BLE001 - whatever a caller's hook raises must not touch the call
            say(logging.ERROR, "a hook failed on %s", type(event).__name__, exc_info=True)
