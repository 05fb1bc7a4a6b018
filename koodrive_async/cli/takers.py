"""Outcomes as they come: lines of JSON for programs, failures for people. Refuses to sum them up."""

from __future__ import annotations

import json
import select
import sys
from collections import Counter
from typing import Protocol

import anyio
from rich.console import Console
from rich.text import Text

from koodrive_async.cli import show
from koodrive_async.cli.board import Board
from koodrive_async.core.errors import CallEnded
from koodrive_async.core.outcomes import ShareOutcome, Status

#: Ids that are shown for the same reason of failure; the others are counted (and `--json` has them all).
SHOWN = 5


class Taker(Protocol):
    """Where outcomes go."""

    async def take(self, outcome: ShareOutcome) -> None:
        """Here is one."""

    def end(self) -> None:
        """That was the last one."""


class Lines:
    """Every outcome as a line of JSON, at once."""

    async def take(self, outcome: ShareOutcome) -> None:
        """Write it."""
        await _room()
        print(json.dumps(outcome.to_dict()), flush=True)

    def end(self) -> None:
        """All were written."""


async def _room() -> None:
    """Wait until standard output takes a line at once: a slow reader must not hold up the event loop."""
    try:
        descriptor = sys.stdout.fileno()
        if not select.select([], [descriptor], [], 0)[1]:
            await anyio.wait_writable(descriptor)
    except (OSError, ValueError):
        return  # nothing that can be waited for; then it can be written to, or says so itself


class Failures:
    """What failed, as lines for people; at most some for the same reason."""

    def __init__(self, outcomes: Console, shown: Board) -> None:
        self._outcomes, self._shown = outcomes, shown
        self._seen: Counter[tuple[Status, str]] = Counter()

    async def take(self, outcome: ShareOutcome) -> None:
        """Show it, if it is a failure and not one of too many."""
        if outcome.ok or isinstance(outcome.error, CallEnded):
            return  # what was not its turn any more is in the table; a list of it says nothing
        reason = _reason(outcome)
        self._seen[outcome.status, reason] += 1
        if self._seen[outcome.status, reason] <= SHOWN:
            self._say(outcome.status, outcome.share_id, reason)

    def end(self) -> None:
        """Say how many were not shown."""
        more = {kind: count - SHOWN for kind, count in self._seen.items() if count > SHOWN}
        for (status, reason), count in more.items():
            self._say(status, f"... and {count:,} more", reason)
        if more:
            self._print(Text("          (--json lists every id)", style=show.QUIET))

    def _say(self, status: Status, who: str, reason: str) -> None:
        label = f"{show.name_of(status):<9}"
        self._print(Text.assemble((label, show.STYLES[status]), f" {who}  {show.clean(reason)}"))

    def _print(self, line: Text) -> None:
        if show.is_live(self._outcomes):
            self._shown.say(line)  # as a rule the bar's terminal: they must not write over each other
        else:
            show.paragraph(self._outcomes, line)


def _reason(outcome: ShareOutcome) -> str:
    """Why, without what differs from one batch to the next."""
    error = outcome.error
    assert error is not None  # of what is not ok there always is one
    what = getattr(error, "message", "") or (str(error.args[0]) if error.args else "")
    parts = (type(error).__name__, " ".join(filter(None, (getattr(error, "code", ""), what))))
    return ": ".join(filter(None, parts))
