"""What has been settled, on disk, so that the same line run again asks only for the rest.

An SQLite file in WAL mode, in a thread of its own; what workers ask for at the same time shares a
transaction. Keyed by id: a longer or shuffled input just works. Outcomes go to the end of the file,
where writing is cheap, and into an index in memory; every so often the index is merged into the one
on disk, in order (inserted one by one, random ids would write a page each).

Refuses a file that is in use, damaged, none of ours, or written for another endpoint, user or
operation; and to keep secrets, message bodies or anything else than outcomes.
"""

from __future__ import annotations

import json
import os
import queue
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import attrs
from anyio.lowlevel import current_token

from koodrive_async.core import ledger
from koodrive_async.core.errors import ConfigurationError, JournalFailed
from koodrive_async.core.outcomes import Settlement

#: "KooD", by which `file` and we know the file; and the version of its tables.
_APPLICATION = 0x4B6F6F44
_VERSION = 1

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE settlements (n INTEGER PRIMARY KEY, text TEXT NOT NULL)",
    # What the index on disk lacks yet: JSON lists of ids, by settlement.
    "CREATE TABLE recent (n INTEGER PRIMARY KEY, ids TEXT NOT NULL)",
    "CREATE TABLE ids (id TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE intents (n INTEGER PRIMARY KEY, ids TEXT NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)

_OPEN_INDEX = "CREATE TABLE temp.latest (id TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID"
_READ_RECENT = "INSERT OR REPLACE INTO temp.latest SELECT value, n FROM recent, json_each(ids) ORDER BY n"
_MERGE = (
    "INSERT OR REPLACE INTO ids SELECT id, n FROM temp.latest ORDER BY id",
    "DELETE FROM recent",
    "DELETE FROM temp.latest",
)

# Lists go in and out as JSON, so that a statement runs once for all: the thread gives the
# interpreter away at each row, and gets it back up to 5 ms later.
_INTEND = (
    "INSERT INTO intents SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)"
)
_FORGET = "DELETE FROM intents WHERE n IN (SELECT value FROM json_each(?))"
_SETTLE = "INSERT INTO settlements SELECT ? + key, value FROM json_each(?)"
_ADD = "INSERT INTO recent SELECT ? + key, value FROM json_each(?)"
_INDEX = (
    "INSERT OR REPLACE INTO temp.latest"
    " SELECT i.value, ? + g.key FROM json_each(?) AS g, json_each(g.value) AS i"
)
_FIND = (
    "SELECT s.text, json_group_array(hit.id) FROM ("
    "SELECT t.id, t.n FROM json_each(?1) AS a CROSS JOIN temp.latest AS t ON t.id = a.value"
    " UNION ALL SELECT i.id, i.n FROM json_each(?1) AS a CROSS JOIN ids AS i ON i.id = a.value"
    ") AS hit JOIN settlements AS s ON s.n = hit.n GROUP BY hit.n ORDER BY hit.n"
)

#: Ids in the index in memory before it is merged: 2 MiB or so; a tenth of that costs twice the time.
_MERGE_AT = 20_000
#: Pages of 4 KiB in the log before SQLite moves them to their places.
_CHECKPOINT_AT = 4_000
#: How long closing may take, in seconds; what is slower goes on in the background.
_CLOSING = 5.0

#: What the first part of SQLite's name of an error means to the user.
_MEANINGS = {
    "BUSY": "is in use by another call or process",
    "NOTADB": "is no journal",
    "CORRUPT": "is damaged",
    "ERROR": "is damaged",
    "FULL": "can't grow: the disk is full",
    "IOERR": "can't be read or written",
    "READONLY": "is read-only",
    "CANTOPEN": "can't be opened",
}

#: Held while a file is made: closing any descriptor of a file drops all locks that this process has on it.
_making = threading.Lock()

_read = lru_cache(maxsize=1_024)(ledger.read)


def _check_path(_: object, __: object, path: object) -> None:
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"Journal(path) must be the path of a file, got {path!r}")


@attrs.frozen(slots=True)
class Journal:
    """A file that remembers what was settled, for the call it is given to; made if it is missing.

    Run the same call again with the same journal after it was stopped, however that happened:
    ids that were cancelled, gone or refused for good are not sent again, they keep their outcome.
    It belongs to one endpoint, user and operation, and is for one call at a time.

    Attributes:
        path: Where it is, on a disk of this machine; SQLite adds ``-wal`` beside it while it is open.
    """

    path: str | os.PathLike[str] = attrs.field(validator=_check_path)


def open_journal(
    journal: Journal, *, endpoint: str, user_id: str, operation: str
) -> AbstractAsyncContextManager[OpenJournal]:
    """The journal, open for the length of the block; entering it may raise `JournalFailed`."""
    return OpenJournal(journal, {"endpoint": endpoint, "user": user_id, "operation": operation})


@attrs.define(slots=True, eq=False)
class _Order:
    """What one caller wants of the thread; done as a whole or not at all."""

    asked: Sequence[str] = ()
    intent: tuple[int, Sequence[str]] | None = None
    over: Sequence[int] = ()
    groups: Sequence[tuple[Settlement, Sequence[str]]] = ()
    bell: anyio.Event = attrs.field(factory=anyio.Event)
    found: dict[str, Settlement] = attrs.field(factory=dict)
    failure: Exception | None = None


class OpenJournal:
    """A journal in use; what ``bulk.Keeper`` asks for.

    An order that was placed is carried out even if its caller is cancelled meanwhile, and orders
    are carried out in the order they were placed.
    """

    def __init__(self, journal: Journal, identity: Mapping[str, str]) -> None:
        self._path = os.path.abspath(journal.path)
        self._identity = identity
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._intents = ledger.Intents()
        self._open = False

    async def __aenter__(self) -> Self:
        token: Any = current_token().native_token
        # asyncio's name for it, and trio's; neither is imported here.
        self._post = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
        self._closed = anyio.Event()
        opening = _Order()
        self._open = True
        threading.Thread(target=self._serve, args=(opening,), name="koodrive-journal", daemon=True).start()
        try:
            await self._done(opening)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def known(self, ids: Sequence[str]) -> dict[str, Settlement]:
        """What earlier runs, and this one, know of these ids; any number of them.

        Those that are UNKNOWN are to be asked again, and stay UNKNOWN unless an answer settles them:
        a request with them may have reached the service. All others keep the outcome they have.

        Raises:
            JournalFailed: The file can't be read.
        """
        order = _Order(asked=ids)
        if ids:
            await self._place(order)
        return order.found

    async def intend(self, ids: Sequence[str]) -> None:
        """These are about to be sent: on disk when this returns.

        Raises:
            JournalFailed: It can't be written; don't send them.
        """
        number, new = self._intents.open(ids)
        if new:
            await self._place(_Order(intent=(number, new)))

    async def settle(self, groups: Sequence[tuple[Settlement, Sequence[str]]]) -> None:
        """These have their outcome: on disk when this returns.

        Raises:
            JournalFailed: It can't be written; the next run asks these again.
        """
        over = [number for _, ids in groups for number in self._intents.close(ids)]
        kept = [(settlement, ids) for settlement, ids in groups if ids and ledger.lasting(settlement)]
        if over or kept:
            await self._place(_Order(over=over, groups=kept))

    async def _place(self, order: _Order) -> None:
        if not self._open:
            raise JournalFailed(f"the journal {self._path!r} was closed")
        self._orders.put(order)
        await self._done(order)

    async def _done(self, order: _Order) -> None:
        await order.bell.wait()
        if order.failure is not None:
            raise _explain(self._path, order.failure) from order.failure

    async def _close(self) -> None:
        self._open = False
        self._orders.put(None)
        with anyio.move_on_after(_CLOSING, shield=True):
            await self._closed.wait()

    # -- in the thread ----------------------------------------------------------------------------

    def _serve(self, opening: _Order) -> None:
        file = None
        try:
            file = _File(self._path, self._identity)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must hear of it
            opening.failure = error
        self._tell(opening.bell.set)
        batch: list[_Order | None] = []
        while file is not None and None not in batch:
            batch = [self._orders.get()]
            while not self._orders.empty():
                batch.append(self._orders.get())
            orders = [order for order in batch if order is not None]
            try:
                file.carry_out(orders)
            except Exception as error:  # noqa: BLE001 - likewise
                for order in orders:
                    order.failure = error
            self._tell(partial(_ring, orders))
        if file is not None:
            file.close()
        self._tell(self._closed.set)

    def _tell(self, news: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the event loop is gone, and with it whoever waited
            self._post(news)


def _ring(orders: Sequence[_Order]) -> None:
    for order in orders:
        order.bell.set()


def _explain(path: str, failure: Exception) -> JournalFailed:
    if isinstance(failure, JournalFailed):
        return JournalFailed(f"the journal {path!r} {failure}")
    name = getattr(failure, "sqlite_errorname", "").removeprefix("SQLITE_").split("_")[0]
    return JournalFailed(f"the journal {path!r} {_MEANINGS.get(name, 'failed')} ({failure})")


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _make(path: str) -> None:
    """Make the file if it is missing, for its owner only; SQLite's other files take over its mode."""
    try:
        with _making, suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        mode = os.stat(path).st_mode
    except OSError as error:
        raise JournalFailed(f"can't be opened: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise JournalFailed("is a directory" if stat.S_ISDIR(mode) else "is no regular file")


class _File:
    """The file itself; made and used in one thread."""

    def __init__(self, path: str, identity: Mapping[str, str]) -> None:
        import sqlite3  # who keeps no journal need not load it

        _make(path)
        self._db = sqlite3.connect(
            f"{Path(path).as_uri()}?mode=rw", uri=True, timeout=0.0, isolation_level=None
        )
        try:
            self._prepare(identity)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, identity: Mapping[str, str]) -> None:
        run = self._db.execute
        # Exclusive before the first access: a second call or process is refused at once, and there is no -shm.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA temp_store = MEMORY")
        run("PRAGMA synchronous = NORMAL")
        run("BEGIN EXCLUSIVE")
        if self._value("SELECT count(*) FROM sqlite_master") or self._value("PRAGMA application_id"):
            self._check(identity)
        else:
            for statement in _SCHEMA:
                run(statement)
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", identity.items())
            run("INSERT INTO settlements VALUES (0, ?)", (ledger.write(ledger.INTERRUPTED),))
        run("COMMIT")
        if self._value("PRAGMA journal_mode = WAL") != "wal":
            raise JournalFailed("is on a disk that can't carry it")
        run(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_AT}")
        run("BEGIN")
        run(_OPEN_INDEX)
        run(_READ_RECENT)
        # What a killed run had under way may have reached the service, unless its outcome is known.
        run(
            "INSERT OR IGNORE INTO ids SELECT value, 0 FROM intents, json_each(intents.ids)"
            " WHERE value NOT IN (SELECT id FROM temp.latest) ORDER BY value"
        )
        run("DELETE FROM intents")
        run("COMMIT")
        self._latest = int(self._value("SELECT count(*) FROM temp.latest"))
        self._next = int(self._value("SELECT max(n) FROM settlements")) + 1

    def _value(self, query: str) -> Any:
        return self._db.execute(query).fetchone()[0]

    def _check(self, identity: Mapping[str, str]) -> None:
        if self._value("PRAGMA application_id") != _APPLICATION:
            raise JournalFailed("is an SQLite file, but no journal")
        if self._value("PRAGMA user_version") != _VERSION:
            raise JournalFailed("was written by another version of koodrive_async")
        found = self._value("PRAGMA quick_check(1)")
        if found != "ok":
            raise JournalFailed(f"is damaged ({found})")
        was = dict(self._db.execute("SELECT name, value FROM meta"))
        for name, value in identity.items():
            if was.get(name) != value:
                raise JournalFailed(f"belongs to another {name}: {was.get(name)!r}, not {value!r}")

    def carry_out(self, orders: Sequence[_Order]) -> None:
        """All of it in one transaction."""
        if not orders:
            return
        try:
            self._db.execute("BEGIN")
            self._note([order.intent for order in orders if order.intent is not None])
            fresh = self._settle([group for order in orders for group in order.groups])
            over = [number for order in orders for number in order.over]
            if over:
                self._db.execute(_FORGET, (_dump(over),))
            self._find([order for order in orders if order.asked])
            latest = self._latest + fresh
            if latest >= _MERGE_AT:
                for statement in _MERGE:
                    self._db.execute(statement)
                latest = 0
            self._db.execute("COMMIT")
            self._latest = latest
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _note(self, intents: Sequence[tuple[int, Sequence[str]]]) -> None:
        if intents:
            self._db.execute(_INTEND, (_dump(intents),))

    def _settle(self, groups: Sequence[tuple[Settlement, Sequence[str]]]) -> int:
        if not groups:
            return 0
        first, self._next = self._next, self._next + len(groups)
        ids = _dump([list(ids) for _, ids in groups])
        self._db.execute(_SETTLE, (first, _dump([ledger.write(settlement) for settlement, _ in groups])))
        self._db.execute(_ADD, (first, ids))
        self._db.execute(_INDEX, (first, ids))
        return sum(len(ids) for _, ids in groups)

    def _find(self, orders: Sequence[_Order]) -> None:
        if not orders:
            return
        asked = _dump([share_id for order in orders for share_id in order.asked])
        found: dict[str, Settlement] = {}
        for text, ids in self._db.execute(_FIND, (asked,)):
            found |= dict.fromkeys(json.loads(ids), _read(text))  # the latest comes last
        if found:
            for order in orders:
                order.found = {share_id: found[share_id] for share_id in order.asked if share_id in found}

    def close(self) -> None:
        """Release the file; SQLite tidies up the log, and what it can't is read at the next opening."""
        self._db.close()
