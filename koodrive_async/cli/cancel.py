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

import anyio
from rich.console import Console
from rich.text import Text

from koodrive_async import (
    AsyncShareClient,
    CancelSummary,
    KooDriveError,
    Pace,
    ShareOutcome,
    Status,
    UsageError,
)
from koodrive_async.cli import DONE, INCOMPLETE, USAGE, show
from koodrive_async.cli.board import Board, PlainBoard, board
from koodrive_async.cli.follow import Ending, follow
from koodrive_async.cli.source import FileIds, stdin_ids
from koodrive_async.shell.supply import ShareIds

#: Ids that are shown for the same reason of failure; the others are counted (and `--json` has them all).
SHOWN = 10


def run(chosen: argparse.Namespace) -> int:
    """Cancel what is in the file.

    Returns:
        The exit status.

    Raises:
        UsageError: The file or the configuration is unfit; nothing was sent.
    """
    client = AsyncShareClient.from_env(
        pace=Pace(concurrency=chosen.concurrency, per_second=chosen.per_second)
    )
    ids = None if chosen.file == "-" else FileIds(chosen.file)
    outcomes, talk = show.console(), show.console(sys.stderr)
    total = None if ids is None else ids.total
    if ids is None and sys.stdin.isatty():
        show.paragraph(talk, "one share id a line, please; Ctrl-D ends")
        shown: Board = PlainBoard(talk, "cancelling", None, None)  # the terminal is being typed on
    elif chosen.json and show.is_live(outcomes):
        shown = PlainBoard(talk, "cancelling", total, None)  # the outcomes themselves are what moves
    else:
        shown = board(talk, "cancelling", total=total)
    taker = _Lines() if chosen.json else _Failures(outcomes, shown)
    ending = anyio.run(partial(_cancel, client, ids or stdin_ids(), chosen.deadline, taker, shown))
    _conclude(talk if chosen.json else outcomes, talk, ending)
    return _status(ending)


async def _cancel(
    client: AsyncShareClient, ids: ShareIds, deadline: float | None, taker: _Lines | _Failures, shown: Board
) -> Ending:
    async with client:
        with shown:
            ending = await follow(client.open_cancel(ids, deadline=deadline), taker.take, shown)
            taker.end()
            return ending


# -- outcomes -----------------------------------------------------------------------------------------


class _Lines:
    """Every outcome as a line of JSON, at once."""

    def take(self, outcome: ShareOutcome) -> None:
        """Write it."""
        error = outcome.error
        print(
            json.dumps(
                {
                    "share_id": outcome.share_id,
                    "status": outcome.status.value,
                    "code": outcome.code,
                    "message": outcome.message,
                    "attempts": outcome.attempts,
                    "trace_id": outcome.trace_id,
                    "error": None if error is None else {"type": type(error).__name__, "text": str(error)},
                    "retryable": outcome.settlement.retryable,
                }
            ),
            flush=True,
        )

    def end(self) -> None:
        """All were written."""


class _Failures:
    """What failed, as lines for people; at most some for the same reason."""

    def __init__(self, outcomes: Console, shown: Board) -> None:
        self._outcomes, self._shown = outcomes, shown
        self._seen: Counter[tuple[Status, str]] = Counter()

    def take(self, outcome: ShareOutcome) -> None:
        """Show it, if it is a failure and not one of too many."""
        if outcome.settlement.well:
            return
        reason = _reason(outcome)
        self._seen[outcome.status, reason] += 1
        if self._seen[outcome.status, reason] <= SHOWN:
            self._say(outcome.status, outcome.share_id, reason)

    def end(self) -> None:
        """Say how many were not shown."""
        for (status, reason), count in self._seen.items():
            if count > SHOWN:
                self._say(status, f"... and {count - SHOWN:,} more", f"{reason} (--json lists every id)")

    def _say(self, status: Status, who: str, reason: str) -> None:
        line = Text.assemble(
            (f"{show.name_of(status):<9}", show.STYLES[status]), f" {who}", f"  {show.clean(reason)}"
        )
        if show.is_live(self._outcomes):
            self._shown.say(
                line
            )  # the same terminal as the bar, as a rule: they must not write over each other
        else:
            show.paragraph(self._outcomes, line)


def _reason(outcome: ShareOutcome) -> str:
    """Why, without what differs from one batch to the next."""
    error = outcome.error
    if error is None:
        return outcome.message or ("stopped before it was sent" if outcome.status is Status.NOT_SENT else "")
    what = getattr(error, "message", "") or (str(error.args[0]) if error.args else "")
    where = getattr(error, "code", "")
    return ": ".join(part for part in (type(error).__name__, " ".join(filter(None, (where, what)))) if part)


# -- the end ------------------------------------------------------------------------------------------


def _conclude(to: Console, talk: Console, ending: Ending) -> None:
    """The table, and what to do now."""
    report = ending.report
    total = sum(report.counts.values())
    if total:
        to.print()
        show.status_table(to, report.counts, {})
        speed = total / report.elapsed if report.elapsed else 0.0
        parts = (f"{report.requests:,} requests", f"{report.elapsed:.1f} s", f"{speed:,.0f} ids/s")
        to.print()
        show.paragraph(to, f"  {show.dot(to).join(parts)}")
    elif ending.error is None and not ending.signal:
        show.paragraph(talk, "koodrive: there are no ids in it, so there was nothing to do")
    if ending.error is not None:
        text = f"koodrive: {_stopper(ending.error)}"
        show.paragraph(talk, Text(show.clean(text), style=show.BAD))
    elif ending.signal:
        show.paragraph(
            talk, Text("koodrive: interrupted; what was not read yet was not sent either", style=show.UNSURE)
        )
    if _worth_repeating(report) or ending.signal:
        show.paragraph(
            talk, "koodrive: the same command again is safe: what is done comes back as already gone"
        )


def _stopper(error: KooDriveError | OSError) -> str:
    if isinstance(error, UsageError):
        return f"{error}; what was read before is settled"
    return f"stopped by {type(error).__name__}: {error}"


def _worth_repeating(report: CancelSummary) -> bool:
    return any(outcome.settlement.retryable for outcome in report.failures)


def _status(ending: Ending) -> int:
    if ending.signal:
        return 128 + ending.signal
    if isinstance(ending.error, UsageError):
        return USAGE
    return DONE if ending.report and ending.error is None else INCOMPLETE
