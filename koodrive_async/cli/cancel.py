"""`koodrive cancel`: ids in, outcomes out, progress beside it.

Outcomes go to standard output, everything about the run to standard error, so that either can be
redirected. Refuses to ask: whoever calls it has decided.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from functools import partial
from typing import Any, Protocol

import anyio
from rich.console import Console
from rich.text import Text

from koodrive_async import AsyncShareClient, KooDriveError, Pace, ShareOutcome, Status, UsageError
from koodrive_async.cli import DONE, INCOMPLETE, USAGE, show
from koodrive_async.cli.barometer import Barometer
from koodrive_async.cli.board import Board, Footer, PlainBoard, board
from koodrive_async.cli.follow import Ending, follow
from koodrive_async.cli.source import FileIds, PipedIds, open_ids

#: Ids that are shown for the same reason of failure; the others are counted (and `--json` has them all).
SHOWN = 5


def run(chosen: argparse.Namespace) -> int:
    """Cancel what is in the file.

    Returns:
        The exit status.

    Raises:
        UsageError: The file or the configuration is unfit; nothing was sent.
    """
    pace = Pace(concurrency=chosen.concurrency, per_second=chosen.per_second)
    barometer = Barometer()
    client = AsyncShareClient.from_env(pace=pace, hooks=[barometer])
    ids = open_ids(chosen.file)
    outcomes, talk = show.console(), show.console(sys.stderr)
    shown = _board(chosen, ids, outcomes, talk, lambda: barometer.line(talk))
    taker: Taker = Lines() if chosen.json else Failures(outcomes, shown)
    ending = anyio.run(partial(_cancel, client, ids, taker, shown, _options(chosen)))
    lost_reader = isinstance(ending.error, BrokenPipeError)
    _conclude(talk if chosen.json or lost_reader else outcomes, talk, ending, read=ids.read)
    return _status(ending, read=ids.read)


def _options(chosen: argparse.Namespace) -> dict[str, Any]:
    """How `open_cancel` is called."""
    return {"deadline": chosen.deadline}


def _board(
    chosen: argparse.Namespace, ids: FileIds | PipedIds, outcomes: Console, talk: Console, footer: Footer
) -> Board:
    if ids.typed:
        show.paragraph(talk, "one share id a line, please; Ctrl-D ends", show.QUIET)
        return PlainBoard(talk, "cancelling", None, footer)  # the terminal is being typed on
    if chosen.json and show.is_live(outcomes):
        return PlainBoard(talk, "cancelling", ids.total, footer)  # the outcomes themselves are what moves
    return board(talk, "cancelling", total=ids.total, footer=footer)


async def _cancel(
    client: AsyncShareClient, ids: FileIds | PipedIds, taker: Taker, shown: Board, options: dict[str, Any]
) -> Ending:
    async with client:
        with shown:
            stream = client.open_cancel(ids, **options)
            ending = await follow(stream, taker.take, shown, read=lambda: ids.read)
            if not isinstance(ending.error, OSError):
                taker.end()
    return ending


# -- outcomes -----------------------------------------------------------------------------------------


class Taker(Protocol):
    """Where outcomes go."""

    def take(self, outcome: ShareOutcome) -> None:
        """Here is one."""

    def end(self) -> None:
        """That was the last one."""


class Lines:
    """Every outcome as a line of JSON, at once."""

    def take(self, outcome: ShareOutcome) -> None:
        """Write it."""
        error = outcome.error
        fields = {
            "share_id": outcome.share_id,
            "status": outcome.status.value,
            "code": outcome.code,
            "message": outcome.message,
            "attempts": outcome.attempts,
            "trace_id": outcome.trace_id,
            "error": None if error is None else {"type": type(error).__name__, "text": str(error)},
            "retryable": outcome.settlement.retryable,
        }
        print(json.dumps(fields), flush=True)

    def end(self) -> None:
        """All were written."""


class Failures:
    """What failed, as lines for people; at most some for the same reason."""

    def __init__(self, outcomes: Console, shown: Board) -> None:
        self._outcomes, self._shown = outcomes, shown
        self._seen: Counter[tuple[Status, str]] = Counter()

    def take(self, outcome: ShareOutcome) -> None:
        """Show it, if it is a failure and not one of too many."""
        if outcome.settlement.well or (outcome.error is None and outcome.status is Status.NOT_SENT):
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
    if error is None:
        return outcome.message or (
            "stopped before it was its turn" if outcome.status is Status.NOT_SENT else ""
        )
    what = getattr(error, "message", "") or (str(error.args[0]) if error.args else "")
    parts = (type(error).__name__, " ".join(filter(None, (getattr(error, "code", ""), what))))
    return ": ".join(filter(None, parts))


# -- the end ------------------------------------------------------------------------------------------


def _conclude(to: Console, talk: Console, ending: Ending, *, read: bool) -> None:
    """The table, what stopped it, and what to do now."""
    report = ending.report
    total = sum(report.counts.values())
    if total:
        to.print()
        show.status_table(to, report.counts, {})
        show.run_line(to, report)
    rest = "" if read else "; what was not read yet was not sent either"
    if ending.error is not None:
        show.paragraph(talk, Text(f"koodrive: {show.clean(_stopper(ending.error))}", style=show.BAD))
    elif ending.signal:
        show.paragraph(talk, Text(f"koodrive: interrupted{rest}", style=show.UNSURE))
    elif not read:
        show.paragraph(talk, Text(f"koodrive: the deadline has passed{rest}", style=show.BAD))
    elif not total:
        show.paragraph(talk, "koodrive: there are no ids in it, so there was nothing to do")
    if not read or any(outcome.settlement.retryable for outcome in report.failures):
        show.paragraph(
            talk, "koodrive: the same command again is safe: what is done comes back as already gone"
        )


def _stopper(error: KooDriveError | OSError) -> str:
    if isinstance(error, UsageError):
        return f"{error}; the ids before it were worked off"
    if isinstance(error, BrokenPipeError):
        return "stopped: nobody reads the outcomes any more"
    return f"stopped by {type(error).__name__}: {error}"


def _status(ending: Ending, *, read: bool) -> int:
    if ending.signal:
        return 128 + ending.signal
    if isinstance(ending.error, UsageError):
        return USAGE
    return DONE if ending.report and ending.error is None and read else INCOMPLETE
