"""Shares that match, and the ids of a list in the order that skips none.

Cancelling takes shares off the list. Where the cursor is an offset (its documented default is ``0``),
reading on after that would skip as many. So whoever cancels while it reads gets its ids from
`CollectedIds`: all pages are read before the first id is handed out. Refuses to cancel anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import attrs

from koodrive_async.core.errors import UsageError
from koodrive_async.core.finding import CancelPlan, Criteria, PlanCounts
from koodrive_async.core.inputs import whole
from koodrive_async.core.models import ShareByMeLink
from koodrive_async.core.pages import Page
from koodrive_async.shell.pages import Listing, PageIterator, Source

if TYPE_CHECKING:
    import sqlite3

#: Ids that are read back from the store at a time.
_SLICE = 1_000


class FoundShares(Listing[ShareByMeLink]):
    """Shares of yours that match: an async iterator, and what `cancel` and `open_cancel` take as it is.

    Both read the whole list before they cancel the first share, so that none is skipped whatever the
    service's cursor is. Times are judged by the moment of the call to `find_shares`.
    """

    def __init__(self, source: Source[ShareByMeLink], criteria: Criteria, now: datetime) -> None:
        self._all, self._criteria, self._now = source, criteria, now

        async def fetch(cursor: str | None) -> Page[ShareByMeLink]:
            page = await source.fetch(cursor)
            return attrs.evolve(
                page, items=[share for share in page.items if criteria.judge(share, now) is True]
            )

        super().__init__(attrs.evolve(source, fetch=fetch))

    async def plan(self, *, first: int = 10) -> CancelPlan:
        """What a cancel would take: counts by age and state, the first ids. Cancels nothing.

        Args:
            first: How many ids to keep, 0..1000.

        Raises:
            UsageError: Another number of ids.
            KooDriveError: A page could not be had.
        """
        counts = PlanCounts(whole("first", first, 0, 1_000), self._now)
        listed = undecided = 0
        pages = PageIterator(self._all)
        async for page in pages:
            for share in page.items:
                listed += 1
                match self._criteria.judge(share, self._now):
                    case True:
                        counts.add(share)
                    case None:
                        undecided += 1
        return counts.plan(listed=listed, undecided=undecided, malformed=pages.malformed_count)


def _check(listing: Listing[Any]) -> None:
    """Refuse a list of something else than shares.

    Raises:
        UsageError: It is one.
    """
    if listing.source.id_field != "share_id":
        raise UsageError("these are no shares: a list of files has no share ids")


class ListedIds:
    """The ids of a list, page by page: for whoever reads them all before doing anything."""

    def __init__(self, listing: Listing[Any]) -> None:
        _check(listing)
        self._source, self._pages = listing.source, listing.pages()
        self._ids: deque[str] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._ids:
            page = await anext(self._pages)
            self._ids.extend(map(self._source.id_of, page.items))
        return self._ids.popleft()


class CollectedIds(AsyncIterator[str]):
    """The ids of a list, each once, all read before the first is handed out; memory stays flat.

    They are kept in a temporary database: SQLite holds a small one in memory and moves a large one to
    the disk, where no directory shows it; `aclose` ends it.
    """

    def __init__(self, listing: Listing[Any]) -> None:
        _check(listing)
        self._listing = listing
        self._store: sqlite3.Connection | None = None
        self._rows: sqlite3.Cursor | None = None
        self._ids: deque[str] = deque()
        self._over = False

    async def __anext__(self) -> str:
        if self._rows is None and not self._over:
            self._rows = await self._collect()
        if not self._ids and self._rows is not None:
            self._ids.extend(share_id for (share_id,) in self._rows.fetchmany(_SLICE))
        if not self._ids:
            await self.aclose()
            raise StopAsyncIteration
        return self._ids.popleft()

    async def aclose(self) -> None:
        """Forget the ids."""
        self._over = True
        self._rows = None
        self._ids.clear()
        if self._store is not None:
            store, self._store = self._store, None
            store.close()

    async def _collect(self) -> sqlite3.Cursor:
        import sqlite3  # who finds nothing need not load it

        self._store = store = sqlite3.connect("", isolation_level=None)
        store.execute("PRAGMA journal_mode = OFF")
        store.execute("PRAGMA synchronous = OFF")
        store.execute("CREATE TABLE ids (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)")
        async for page in self._listing.pages():
            with closing(store.cursor()) as cursor:
                cursor.execute("BEGIN")
                cursor.executemany(
                    "INSERT OR IGNORE INTO ids (id) VALUES (?)",
                    [(self._listing.source.id_of(item),) for item in page.items],
                )
                cursor.execute("COMMIT")
        return store.execute("SELECT id FROM ids ORDER BY place")
