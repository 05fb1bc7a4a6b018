"""Progress while it runs: a bar that moves where somebody watches, a line now and then elsewhere.

Both are told where the call stands, and never ask. Refuses to own a thread: who tells it also draws it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

import attrs
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from koodrive_async.cli import show
from koodrive_async.core import events
from koodrive_async.core.outcomes import Status

#: A line at least this often, in seconds, where nothing moves.
QUIET_TIME = 30.0

#: And whenever another part of this size is done.
PART = 0.25

#: A time left is a guess; below this many seconds it is not worth a word.
SOON = 20.0

#: And before that many have passed, it is no good guess.
EARLY = 3.0

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


@attrs.frozen
class _State:
    """What is shown of a progress: ids that were never sent are not done."""

    done: int
    total: int | None
    speed: str
    over: bool

    @classmethod
    def of(cls, progress: events.Progress, total: int | None) -> _State:
        unsent = progress.counts[Status.NOT_SENT]
        done = progress.settled - unsent
        over = bool(unsent) or progress.settled == progress.total
        rate = done / progress.elapsed if over and progress.elapsed else progress.rate
        total = total if progress.total is None else progress.total
        return cls(done, total, f"{rate:,.0f} ids/s", over)


class LiveBoard:
    """A bar."""

    def __init__(self, to: Console, title: str, total: int | None, footer: Footer | None) -> None:
        self._total = total
        self._bars = _Bars(to, footer)
        self._task = self._bars.add_task(title, total=total, done="", speed="", rest="")

    def update(self, progress: events.Progress) -> None:
        """Draw it anew."""
        state = _State.of(progress, self._total)
        self._bars.update(
            self._task,
            total=state.total,
            completed=state.done,
            done=f"{state.done:,}" + ("" if state.total is None else f"/{state.total:,}"),
            speed=state.speed,
            rest=_time(progress.elapsed) if state.over else self._rest(progress, state),
        )
        self._bars.refresh()

    def _rest(self, progress: events.Progress, state: _State) -> str:
        known = state.total is not None and progress.rate > 0
        left = ((state.total or 0) - state.done) / progress.rate if known else 0.0
        return f"{progress.in_flight} in flight" + (
            f", {_time(left)} left" if left > SOON and progress.elapsed > EARLY else ""
        )

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
            yield Text(self._footer(), style=show.QUIET, no_wrap=True, overflow="ellipsis")


class PlainBoard:
    """A line for each quarter of the way, and after long silence."""

    def __init__(self, to: Console, title: str, total: int | None, footer: Footer | None) -> None:
        self._to, self._title, self._total, self._footer = to, title, total, footer
        self._next = PART
        self._told_at = time.monotonic()
        self._told = 0
        self._more = ""

    def update(self, progress: events.Progress) -> None:
        """A line, if it is worth one."""
        state = _State.of(progress, self._total)
        part = state.done / state.total if state.total else 0.0
        now = time.monotonic()
        if (part < self._next or state.done == self._told) and now - self._told_at < QUIET_TIME:
            return
        self._next = (part // PART + 1) * PART
        self._told_at, self._told = now, state.done
        of = f" of {state.total:,}" if state.total else ""
        self.say(
            Text(f" {self._title}: {state.done:,}{of} ids, {state.speed}, {progress.in_flight} in flight")
        )
        if part < 1:
            self._say_more()

    def _say_more(self) -> None:
        more = self._footer() if self._footer is not None else ""
        if more != self._more:
            self._more = more
            self.say(Text(more))

    def say(self, text: Text) -> None:
        """Just that."""
        show.paragraph(self._to, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._say_more()


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"
