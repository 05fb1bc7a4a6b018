"""Cursor lists as async iterators: one page at a time, nothing held open between them.

Plain classes, not async generators: an iterator that is dropped leaves no task, no scope and no
generator behind. Refuses to know what is listed, and to read a page that nobody asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

import anyio
import attrs

from koodrive_async.core.errors import CursorRepeated, MalformedItemFound
from koodrive_async.core.pages import FIRST_CURSOR, MalformedItem, OnMalformed, Page, check_on_malformed

T = TypeVar("T")

#: How many reports of malformed items a listing keeps.
_KEPT = 1_000

Fetch = Callable[[str | None], Awaitable[Page[T]]]


@attrs.frozen(slots=True)
class Source(Generic[T]):
    """What is listed, and how.

    Attributes:
        fetch: Gets the page at a cursor; None: the first one.
        id_field: The field that tells two items apart.
        start: Where to begin; None: at the first page.
        dedupe: Hand out each id once, though the list shifts meanwhile; remembers all ids.
        on_malformed: What to do with an item that can't be read.
    """

    fetch: Fetch[T]
    id_field: str
    start: str | None = None
    dedupe: bool = False
    on_malformed: OnMalformed = attrs.field(default="skip")

    def __attrs_post_init__(self) -> None:
        check_on_malformed(self.on_malformed)

    def id_of(self, item: T) -> str:
        """The id of an item."""
        found: str = getattr(item, self.id_field)
        return found


class PageIterator(Generic[T]):
    """The pages of a list, one after the other.

    After an error it stands where it stood: asking again asks for the same page again.
    """

    def __init__(self, source: Source[T]) -> None:
        self._source = source
        self._cursor = source.start
        self._seen = {FIRST_CURSOR if source.start is None else source.start}
        self._known: set[str] = set()
        self._lock = anyio.Lock()
        self._over = False
        self.count = 0
        self.malformed_count = 0
        self.malformed: list[MalformedItem] = []

    @property
    def next_cursor(self) -> str | None:
        """Where the next page begins; None before the first page and after the last."""
        return self._cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page[T]:
        async with self._lock:  # two tasks that share an iterator get different pages
            if self._over:
                raise StopAsyncIteration
            cursor = self._cursor
            if cursor is not None and self.count:
                self._check(cursor)
            page = await self._source.fetch(cursor)
            if page.malformed and self._source.on_malformed == "raise":
                first = page.malformed[0]
                raise MalformedItemFound(
                    f"item {first.index} of a page: {first.reason}", index=first.index, page=page
                )
            self._take(page)
            return self._distinct(page) if self._source.dedupe else page

    def _check(self, cursor: str) -> None:
        if cursor in self._seen:
            raise CursorRepeated(
                f"the list goes in circles: a cursor came again after {self.count} pages",
                cursor=cursor,
                pages=self.count,
            )

    def _take(self, page: Page[T]) -> None:
        if self._cursor is not None:
            self._seen.add(self._cursor)
        self.count += 1
        self.malformed_count += len(page.malformed)
        self.malformed.extend(page.malformed[: _KEPT - len(self.malformed)])
        self._cursor = page.next_cursor
        self._over = page.next_cursor is None

    def _distinct(self, page: Page[T]) -> Page[T]:
        items = []
        for item in page.items:
            known = self._source.id_of(item)
            if known not in self._known:
                self._known.add(known)
                items.append(item)
        return attrs.evolve(page, items=items)


class Listing(Generic[T]):
    """The items of a list: an async iterator that reads a page when it needs one.

    Nothing is held between two items: stop whenever you like. After an error it stands where it
    stood, and going on asks for the same page again. `pages` begins anew, whatever was read before.
    """

    def __init__(self, source: Source[T]) -> None:
        self._source = source
        self._pages = PageIterator(source)
        self._items: deque[T] = deque()

    @property
    def malformed(self) -> list[MalformedItem]:
        """Items that could not be read so far, the first 1,000 of them."""
        return list(self._pages.malformed)

    @property
    def next_cursor(self) -> str | None:
        """Where the next page begins: pass it as `cursor` to go on from there in another process."""
        return self._pages.next_cursor

    def pages(self) -> PageIterator[T]:
        """The list from its beginning, page by page: items, cursor and reports of malformed items."""
        return PageIterator(self._source)

    async def collect(self) -> list[T]:
        """All items from here to the end.

        Raises:
            CursorRepeated: The list goes in circles; ``.items`` is what was read.
            KooDriveError: A page could not be had.
        """
        items: list[T] = []
        try:
            async for item in self:
                items.append(item)  # noqa: PERF401 - what was read must survive an error
        except CursorRepeated as error:
            error.items = tuple(items)
            raise
        return items

    @property
    def source(self) -> Source[T]:
        """What is listed, and how."""
        return self._source

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            page = await anext(self._pages)
            self._items.extend(page.items)
        return self._items.popleft()
