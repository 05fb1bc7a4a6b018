"""How things look: consoles, styles, tables. The only taste in the package that can be seen.

Only the terminal's own palette is used, never white, black or yellow, so that it reads on dark and on
light ground; meaning never hangs on colour alone. What came from outside is shown as text: without
markup, and without the control codes it may hold. Refuses to decide what is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

from rich.box import Box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from koodrive_async.core.outcomes import Status
from koodrive_async.core.report import CancelSummary

GOOD, BAD, UNSURE, QUIET, HEAD = "green", "red", "magenta", "dim", "bold"

#: One line for each status.
MEANINGS: Mapping[Status, str] = {
    Status.CANCELLED: "the service confirmed it, for this id",
    Status.ALREADY_GONE: "there is no such share (any more)",
    Status.REJECTED: "refused; the error says why",
    Status.UNKNOWN: "sent, but no answer settles it",
    Status.NOT_SENT: "no request with this id was sent",
}

STYLES: Mapping[Status, str] = {
    Status.CANCELLED: GOOD,
    Status.ALREADY_GONE: GOOD,
    Status.REJECTED: BAD,
    Status.UNKNOWN: UNSURE,
    Status.NOT_SENT: UNSURE,
}

#: Beyond this a line is hard to follow, however wide the terminal.
WIDEST = 100

#: A rule under the head, and one above the foot; nothing else.
_RULES = Box("    \n    \n ── \n    \n    \n ── \n    \n    \n")
_ASCII_RULES = Box("    \n    \n -- \n    \n    \n -- \n    \n    \n", ascii=True)


def console(stream: TextIO | None = None) -> Console:
    """A console on standard output, or on another stream."""
    made = _Console(file=stream or sys.stdout, highlight=False, markup=False, emoji=False)
    made.width = min(made.width, WIDEST)
    return made


class _Console(Console):
    """rich's, but for a reader who left: that is ours to handle, not a reason to end the process."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - called while one is being handled


def is_live(to: Console) -> bool:
    """Whether somebody looks at it who can be shown something that moves."""
    return to.file.isatty() and not to.is_dumb_terminal


def can_draw(to: Console) -> bool:
    """Whether more than ASCII arrives there."""
    return not to.options.ascii_only


def clean(text: str) -> str:
    """Text from outside, with what does not print made visible."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def name_of(status: Status) -> str:
    """A status in plain words."""
    return status.value.replace("_", " ")


def paragraph(to: Console, text: str | Text, style: str = "") -> None:
    """A line, never broken by us: the terminal wraps it, and a pipe gets it whole."""
    to.print(text, style=style or None, soft_wrap=True)


def heading(to: Console, text: str) -> None:
    """A title with air above."""
    to.print()
    paragraph(to, text, HEAD)


def check_mark(to: Console, *, good: bool) -> Text:
    """A tick or a cross, that can be told apart without colours."""
    signs = ("✓", "✗") if can_draw(to) else ("ok ", "NO ")
    return Text(signs[0] if good else signs[1], style=GOOD if good else f"{HEAD} {BAD}")


def times(to: Console, number: int, what: str) -> str:
    """So many times that; the sign of multiplication is plain where it has to be."""
    return f"{number:,} {'×' if can_draw(to) else 'x'} {what}"  # noqa: RUF001 - meant


def dot(to: Console) -> str:
    """What stands between the parts of a line."""
    return " · " if can_draw(to) else ", "


def status_table(to: Console, counts: Mapping[Status, int], notes: Mapping[Status, str]) -> None:
    """How many ids ended how, and what that means.

    Args:
        to: Where.
        counts: Ids by status.
        notes: Something to say about a status instead of what it means in general.
    """
    table = Table(
        box=_RULES if can_draw(to) else _ASCII_RULES,
        show_footer=True,
        show_edge=False,
        pad_edge=False,
        header_style="",
    )
    table.add_column("status", footer="together", no_wrap=True)
    table.add_column("ids", footer=f"{sum(counts.values()):,}", justify="right", no_wrap=True)
    table.add_column("meaning", overflow="fold")
    for status in Status:
        count = counts[status]
        style = STYLES[status] if count else QUIET
        note = notes.get(status) or MEANINGS[status]
        table.add_row(
            Text(name_of(status), style=style),
            Text(f"{count:,}", style=style),
            Text(note, style="" if count else QUIET),
        )
    to.print(Padding(table, (0, 0, 0, 1), expand=False))


def run_line(to: Console, report: CancelSummary, note: str = "") -> None:
    """What it took, in a line.

    Args:
        to: Where.
        report: Of the run.
        note: About the requests.
    """
    done = sum(report.counts.values()) - report.counts[Status.NOT_SENT] - report.counts[Status.UNKNOWN]
    requests = "1 request" if report.requests == 1 else f"{report.requests:,} requests"
    speed = f"{done / report.elapsed:,.0f} ids/s" if done and report.elapsed else ""
    parts = (requests, note, f"{report.elapsed:.1f} s", speed)
    paragraph(to, f"\n  {dot(to).join(filter(None, parts))}")


def fact_table(to: Console, facts: Iterable[tuple[str, str]]) -> None:
    """Names and values."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style=QUIET, no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), Text(value))
    to.print(Padding(table, (0, 0, 0, 2), expand=False))
