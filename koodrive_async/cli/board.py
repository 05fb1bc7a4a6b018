"""Progress while it runs: a bar that moves where somebody watches, a line now and then elsewhere.

Both are told where the call stands, and never ask. Refuses to own a thread: who tells it also draws it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from koodrive_async.cli import show
from koodrive_async.core import events

#: A line at least this often, in seconds, where nothing moves.
QUIET_TIME = 30.0

#: And whenever another part of this size is done.
PART = 0.25

#: A time left is a guess; below this many seconds it is not worth a word.
SOON = 20.0

Footer = Callable[[], str]


class Board(Protocol):
    """Shows where a bulk call stands."""

    def update(self, progress: events.Progress) -> None:
        """The call stands there now."""

    def say(self, text: Text) -> None:
        """A line of its own, above what moves."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def board(to: Console, title: str, *, total: int | None = None, footer: Footer | None = None) -> Board:
    """The right one for this console.

    Args:
        to: Where.
        title: What is going on.
        total: How many ids there are, or None if nobody knows yet.
        footer: Makes a second line, or "".
    """
    return (LiveBoard if show.is_live(to) else PlainBoard)(to, title, total, footer)


def _speed(progress: events.Progress) -> str:
    return f"{progress.rate:,.0f} ids/s"


class LiveBoard:
    """A bar."""

    def __init__(self, to: Console, title: str, total: int | None, footer: Footer | None) -> None:
        self._total = total
        self._bars = _Bars(to, footer)
        self._task = self._bars.add_task(title, total=total, done="", speed="", rest="")

    def update(self, progress: events.Progress) -> None:
        """Draw it anew."""
        total = progress.total if progress.total is not None else self._total
        over = progress.total is not None and progress.settled >= progress.total
        speed = progress.settled / progress.elapsed if over and progress.elapsed else progress.rate
        self._bars.update(
            self._task,
            total=total,
            completed=progress.settled,
            done=f"{progress.settled:,}" + ("" if total is None else f"/{total:,}"),
            speed=f"{speed:,.0f} ids/s",
            rest=_time(progress.elapsed) if over else self._rest(progress, total),
        )
        self._bars.refresh()

    def _rest(self, progress: events.Progress, total: int | None) -> str:
        left = (total - progress.settled) / progress.rate if total is not None and progress.rate > 0 else 0.0
        return f"{progress.in_flight} in flight" + (f", {_time(left)} left" if left > SOON else "")

    def say(self, text: Text) -> None:
        """Above the bar, which moves down."""
        self._bars.console.print(text, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.refresh()
        self._bars.stop()


class _Bars(Progress):
    """rich's progress, with a line below the bar."""

    def __init__(self, to: Console, footer: Footer | None) -> None:
        self._footer = footer
        super().__init__(
            TextColumn(" {task.description:<10}"),
            BarColumn(
                bar_width=None,
                style=show.QUIET,
                complete_style=show.GOOD,
                finished_style=show.GOOD,
                pulse_style=show.GOOD,
            ),
            TextColumn("{task.fields[done]}", justify="right"),
            TextColumn("{task.fields[speed]:>12}", justify="right"),
            TextColumn("{task.fields[rest]:>12}", justify="right"),
            console=to,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, then the footer."""
        yield self.make_tasks_table(self.tasks)
        if self._footer is not None:
            yield Text(self._footer() or " ", style=show.QUIET, no_wrap=True, overflow="ellipsis")


class PlainBoard:
    """A line for each quarter of the way, and after long silence."""

    def __init__(self, to: Console, title: str, total: int | None, footer: Footer | None) -> None:
        self._to, self._title, self._total, self._footer = to, title, total, footer
        self._next = PART
        self._told_at = time.monotonic()
        self._told = 0

    def update(self, progress: events.Progress) -> None:
        """A line, if it is worth one."""
        total = progress.total if progress.total is not None else self._total
        part = progress.settled / total if total else 0.0
        now = time.monotonic()
        if progress.settled == self._told:
            return
        if part < self._next and now - self._told_at < QUIET_TIME:
            return
        self._next = (part // PART + 1) * PART
        self._told_at, self._told = now, progress.settled
        of = "" if not total else f" of {total:,}"
        known = f"{progress.settled:,}{of} ids, {_speed(progress)}, {progress.in_flight} in flight"
        show.paragraph(self._to, f" {self._title}: {known}")

    def say(self, text: Text) -> None:
        """Just that."""
        show.paragraph(self._to, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._footer is not None and (last := self._footer()):
            show.paragraph(self._to, last)


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"
