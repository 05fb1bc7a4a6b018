"""Pages of a list: two kinds of cursor, and empty pages in the middle if wished.

`stable`: the cursor names the last share delivered; what is cancelled meanwhile shifts nothing.
`offset`: the cursor counts shares; cancelling while listing makes the next page skip as many.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import attrs

from koodrive_async.testing.routing import Call, bad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from koodrive_async.testing.state import Book, Marks
    from koodrive_async.testing.world import World

_AFTER = "after-"
_EMPTY_SEEN = "~"


@attrs.frozen
class Page:
    """The numbers of the shares on a page, and how to go on."""

    numbers: list[int]
    next_cursor: str | None = None

    def cursor(self) -> dict[str, str]:
        """The reply's field: absent at the end."""
        return {} if self.next_cursor is None else {"nextCursor": self.next_cursor}


def page(world: World, call: Call, book: Book, hidden: Marks) -> Page:
    """The page a query asks for."""
    size = call.query_number("pageSize", 1, 100, 100)
    call.query_number("sortType", 4, 4, 4)
    newest_first = call.query_number("sortDirection", 1, 2, 2) == 2
    cursor = call.query.get("pageCursor") or "0"
    empty_seen = cursor.endswith(_EMPTY_SEEN)
    cursor = cursor.removesuffix(_EMPTY_SEEN)
    name = call.query.get("displayName", "").casefold()

    if cursor.startswith(_AFTER):
        start = _whole(cursor.removeprefix(_AFTER), cursor)
        position = len(hidden) - 1 - start if newest_first else start
        numbers = _numbers(book, hidden, start, name, newest_first=newest_first, skip=0)
    else:
        position = skip = _whole(cursor, cursor)
        if not name and skip:
            live = hidden.clear_count
            if skip >= live:
                return Page([])
            start, skip = hidden.nth_clear(live - 1 - skip if newest_first else skip), 0
        else:
            start = len(hidden) - 1 if newest_first else 0
        numbers = _numbers(book, hidden, start, name, newest_first=newest_first, skip=skip)

    every = world.empty_page_every
    if every and not empty_seen and (position // size) % every == every - 1:
        return Page([], cursor + _EMPTY_SEEN)
    shown = list(islice(numbers, size))
    follower = next(numbers, None)
    if follower is None:
        return Page(shown)
    if world.cursor == "stable":
        return Page(shown, f"{_AFTER}{follower}")
    return Page(shown, str(position + len(shown)))


def _numbers(
    book: Book, hidden: Marks, start: int, name: str, *, newest_first: bool, skip: int
) -> Iterator[int]:
    numbers = hidden.clear_below(start) if newest_first else hidden.clear_from(start)
    if name:
        numbers = (number for number in numbers if name in book.share(number).name.casefold())
    return islice(numbers, skip, None)


def _whole(text: str, cursor: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise bad(f"pageCursor {cursor!r} is none of ours")
    return int(text)
