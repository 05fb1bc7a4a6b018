"""One page of a list, as a value, and whether its cursor leads on. Refuses to fetch the next one."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Generic, Literal, TypeVar

import attrs

from koodrive_async.core.errors import UsageError
from koodrive_async.core.models import CommonShareLink

T = TypeVar("T")

#: What to do with an item of a page that can't be read.
OnMalformed = Literal["skip", "raise"]

#: The default of ``pageCursor`` (page listShareByMe.html): a list that leads back to it goes in circles.
FIRST_CURSOR = "0"


class SortDirection(IntEnum):
    """Which way a list is sorted (page listShareByMe.html)."""

    ASCENDING = 1
    DESCENDING = 2


class SortType(IntEnum):
    """What the files of a link are sorted by (page listShareFiles.html)."""

    NAME = 1
    SIZE = 2
    EDITED_TIME = 4


@attrs.frozen(slots=True)
class MalformedItem:
    """An item of a page that can't be read.

    Attributes:
        index: Its place on the page, counted from 0.
        reason: What is wrong with it.
        raw: The item as it came; not shown, since it may hold secrets.
    """

    index: int
    reason: str
    raw: Any = attrs.field(default=None, repr=False)


@attrs.frozen(slots=True)
class Page(Generic[T]):
    """One page of a list; empty ones in the middle are normal.

    Attributes:
        items: What could be read.
        next_cursor: Where the next page begins; None on the last page.
        malformed: What could not be read.
        link: The link whose files these are; None on pages of shares.
    """

    items: Sequence[T]
    next_cursor: str | None = None
    malformed: Sequence[MalformedItem] = ()
    link: CommonShareLink | None = None


def check_on_malformed(value: object) -> None:
    """Refuse anything but "skip" and "raise".

    Raises:
        UsageError: It is something else.
    """
    if value not in ("skip", "raise"):
        raise UsageError(f"on_malformed must be 'skip' or 'raise', not {value!r}")
