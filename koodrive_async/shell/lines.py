"""Lines of waiters that are served in turn; within a line first come, first served."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

W = TypeVar("W")


class Line(NamedTuple):
    """Which line somebody stands in."""

    name: Hashable
    background: bool
    suspect: bool


class Lines(Generic[W]):
    """All lines of one gate that are not empty, the next one first."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Line, deque[W]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[W]:
        return (waiter for line in list(self._lines.values()) for waiter in list(line))

    @property
    def first(self) -> W | None:
        """Who is next, or None."""
        return next((line[0] for line in self._lines.values()), None)

    @property
    def unsuspected(self) -> bool:
        """Whether anybody waits who is not a suspect."""
        return any(not line.suspect for line in self._lines)

    def join(self, line: Line, waiter: W) -> None:
        """Stand at the end of a line."""
        self._lines.setdefault(line, deque()).append(waiter)

    def leave(self, line: Line, waiter: W) -> None:
        """Go away without having been served."""
        self._lines[line].remove(waiter)
        if not self._lines[line]:
            del self._lines[line]

    def turns(self, *, background: bool) -> list[Line]:
        """The lines in the order of their turns: those in the background if there are no others."""
        lines = [line for line in self._lines if not line.background]
        return [] if lines and background else lines if not background else list(self._lines)

    def take(self, line: Line) -> W:
        """Take the first one out of a line, whose next turn comes after all others'."""
        waiters = self._lines[line]
        waiter = waiters.popleft()
        if waiters:
            self._lines.move_to_end(line)
        else:
            del self._lines[line]
        return waiter
