"""`koodrive cancel`: ids in, outcomes out, progress beside it.

Outcomes go to standard output, everything about the run to standard error, so that either can be
redirected. Refuses to ask: whoever calls it has decided.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from rich.console import Console
from rich.text import Text

from koodrive_async import AsyncShareClient, Journal, KooDriveError, Pace, Status, UsageError
from koodrive_async.cli import DONE, INCOMPLETE, USAGE, show
from koodrive_async.cli.barometer import Barometer
from koodrive_async.cli.board import Board, Footer, PlainBoard, board
from koodrive_async.cli.follow import Ending, follow
from koodrive_async.cli.source import FileIds, PipedIds, open_ids
from koodrive_async.cli.takers import Failures, Lines, Taker


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
    options = _options(chosen)
    fresh = chosen.journal is None or not Path(chosen.journal).exists()
    taker: Taker = Lines() if chosen.json else Failures(outcomes, shown)
    ending = anyio.run(partial(_cancel, client, ids, taker, shown, options))
    lost_reader = isinstance(ending.error, BrokenPipeError)
    shown_on = talk if chosen.json or lost_reader else outcomes
    _conclude(shown_on, talk, ending, read=ids.read, fresh=fresh)
    if not ids.read or any(outcome.settlement.retryable for outcome in ending.report.failures):
        again = "asks for the rest" if chosen.journal else "is safe: what is done comes back as already gone"
        show.paragraph(talk, f"koodrive: the same command again {again}")
    return _status(ending, read=ids.read)


def _options(chosen: argparse.Namespace) -> dict[str, Any]:
    """How `open_cancel` is called."""
    journal = None if chosen.journal is None else Journal(chosen.journal)
    return {"deadline": chosen.deadline, "journal": journal}


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


def _conclude(to: Console, talk: Console, ending: Ending, *, read: bool, fresh: bool) -> None:
    """The table, and what stopped it."""
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
    elif fresh and report.counts[Status.ALREADY_GONE] == total > 1:
        show.paragraph(
            talk,
            "koodrive: every one of these was gone already; is this the right user, and the right file?",
            show.UNSURE,
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
