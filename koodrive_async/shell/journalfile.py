"""The file of a journal: SQLite in WAL mode, for one thread at a time.

What is settled goes to the end of a table, where writing is cheap, and into a dict; every so often
that is merged into the index on disk, in order (one by one, random ids would write a page each).
Lists go in and out as JSON, so that one statement does for all: Python's `sqlite3` gives the
interpreter away at each row, and a busy event loop gives it back 5 ms later.

Refuses a file that is in use, damaged, none of ours, or that belongs to somebody else, and leaves it
as it is; and any write that is not a whole transaction.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import anyio
import attrs

from koodrive_async.core import ledger
from koodrive_async.core.errors import JournalFailed
from koodrive_async.core.outcomes import Settlement

#: "KooD", by which `file` and we know it; and the version of its tables.
_APPLICATION = 0x4B6F6F44
_VERSION = 1

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # One row for each group of ids that were settled alike; `ids` is a JSON list until it is merged.
    "CREATE TABLE settled (n INTEGER PRIMARY KEY, settlement TEXT NOT NULL, ids TEXT NOT NULL)",
    "CREATE TABLE ids (id TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE intents (n INTEGER PRIMARY KEY, ids TEXT NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)

#: The row in `settled` for ids of which only the intent is known.
_INTERRUPTED = 0

_INTEND = "INSERT INTO intents SELECT ? + key, value FROM json_each(?)"
_FORGET = "DELETE FROM intents WHERE n IN (SELECT value FROM json_each(?))"
_SETTLE = (
    "INSERT INTO settled SELECT ? + key, json_extract(value, '$[0]'), json_extract(value, '$[1]')"
    " FROM json_each(?)"
)
_FIND = (
    "SELECT s.settlement, json_group_array(i.id) FROM json_each(?) AS a"
    " CROSS JOIN ids AS i ON i.id = a.value JOIN settled AS s ON s.n = i.n GROUP BY i.n"
)
_MERGE = (
    "INSERT OR REPLACE INTO ids SELECT i.value, s.n FROM settled AS s, json_each(s.ids) AS i"
    " WHERE s.ids <> '[]' AND s.n >= ? ORDER BY i.value, s.n"
)
_MERGED = "UPDATE settled SET ids = '[]' WHERE ids <> '[]' AND n >= ?"
#: What a killed run had under way may have reached the service, unless its outcome is known.
_DOUBT = "INSERT OR IGNORE INTO ids SELECT value, ? FROM intents, json_each(ids) ORDER BY value"

#: Ids in the dict before they are merged: some 3 MiB; at a tenth of that, merging costs five times as much.
_MERGE_AT = 20_000
#: Pages of 4 KiB in the log before SQLite moves them to their places: the fewer times, the fewer fsyncs.
_CHECKPOINT_AT = 4_000

#: What the first part of SQLite's name for an error means to the user.
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

#: Held until a file is locked: closing the descriptor that made it would drop every lock that this
#: process has on it, and two that lock it at the same moment could refuse each other.
_claiming = threading.Lock()

_read = lru_cache(maxsize=1_024)(ledger.read)

Groups = Sequence[tuple[Settlement, Sequence[str]]]


@attrs.define(slots=True, eq=False)
class Order:
    """What one caller wants of the file; done as a whole or not at all.

    Attributes:
        asked: Ids to look up.
        intent: Ids that are about to be sent, and their number.
        over: Numbers of intents of which nothing is left.
        groups: Ids that have their outcome.
        bell: Set when it is done.
        found: What is known of `asked`.
        failure: Why it was not done.
    """

    asked: Sequence[str] = ()
    intent: tuple[int, Sequence[str]] | None = None
    over: Sequence[int] = ()
    groups: Groups = ()
    bell: anyio.Event = attrs.field(factory=anyio.Event)
    found: dict[str, Settlement] = attrs.field(factory=dict)
    failure: Exception | None = None


def explain(path: Path, failure: Exception) -> JournalFailed:
    """The failure of an order as the user gets it, a new error for each caller."""
    name = f"the journal {str(path)!r}"
    if isinstance(failure, JournalFailed):
        return JournalFailed(f"{name} {failure}")
    code = getattr(failure, "sqlite_errorname", "").removeprefix("SQLITE_").split("_")[0]
    meaning = _MEANINGS.get(code, "can't be used")
    return JournalFailed(f"{name} {meaning} ({failure})")


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _make(path: Path) -> None:
    """Make the file if it is missing, for its owner only; SQLite's other files take over its mode."""
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        found = path.stat()
    except OSError as error:
        raise JournalFailed(f"can't be opened: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise JournalFailed("is a directory" if stat.S_ISDIR(found.st_mode) else "is no regular file")
    if not os.access(path, os.R_OK | os.W_OK):
        raise JournalFailed("may not be read and written")
    if found.st_size == 1:  # SQLite takes a single byte, whatever it is, for an empty file
        raise JournalFailed("is no journal")


def _inode(path: Path) -> tuple[int, int] | None:
    """What a file is, whatever it is called; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class JournalFile:
    """The file, open; made, used and closed in one thread.

    Raises:
        Exception: It can't be used; see `explain`.
    """

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        import sqlite3  # who keeps no journal need not load it

        self._latest: dict[str, Settlement] = {}
        with ExitStack() as undo:
            with _claiming:
                _make(path)
                uri = f"{path.as_uri()}?mode=rw"
                self._db = sqlite3.connect(uri, uri=True, timeout=0.0, isolation_level=None)
                undo.callback(self._db.close)
                self._claim()
            self._path = path
            self._inode = _inode(path)
            self._prepare(identity)
            undo.pop_all()

    def _claim(self) -> None:
        # Before the first access: whoever comes second is refused at once, and there is no -shm.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_AT}")
        self._db.execute("BEGIN EXCLUSIVE")

    def _prepare(self, identity: Mapping[str, str]) -> None:
        run = self._db.execute
        if self._value("SELECT count(*) FROM sqlite_master") or self._value("PRAGMA application_id"):
            self._check(identity)
        else:
            for statement in _SCHEMA:
                run(statement)
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", identity.items())
            run("INSERT INTO settled VALUES (?, ?, '[]')", (_INTERRUPTED, ledger.write(ledger.INTERRUPTED)))
        run("COMMIT")
        if self._value("PRAGMA journal_mode = WAL") != "wal":
            raise JournalFailed("is on a disk that can't carry it")
        self._merged = 0
        self._next = int(self._value("SELECT max(n) FROM settled")) + 1
        run("BEGIN")
        self._merge()
        run(_DOUBT, (_INTERRUPTED,))
        run("DELETE FROM intents")
        run("COMMIT")
        self._merged = self._next

    def _check(self, identity: Mapping[str, str]) -> None:
        if self._value("PRAGMA application_id") != _APPLICATION:
            raise JournalFailed("is an SQLite file, but no journal")
        if self._value("PRAGMA user_version") != _VERSION:
            raise JournalFailed("was written by another version of koodrive_async")
        verdict = self._value("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise JournalFailed(f"is damaged ({verdict})")
        was = dict(self._db.execute("SELECT name, value FROM meta"))
        for name, value in identity.items():
            if was.get(name) != value:
                raise JournalFailed(f"belongs to another {name}: {was.get(name)!r}, not {value!r}")

    def _value(self, query: str) -> Any:
        return self._db.execute(query).fetchone()[0]

    def carry_out(self, orders: Sequence[Order]) -> None:
        """Write what is to be written, in one transaction; then look up what is asked.

        Raises:
            Exception: Nothing was written, or the file can't be read; see `explain`.
        """
        groups = [group for order in orders for group in order.groups]
        intents = [order.intent for order in orders if order.intent is not None]
        over = [number for order in orders for number in order.over]
        if groups or intents or over:
            self._write(groups, intents, over)
        asking = [order for order in orders if order.asked]
        if asking:
            self._look_up(asking)

    def _write(
        self, groups: Groups, intents: Sequence[tuple[int, Sequence[str]]], over: Sequence[int]
    ) -> None:
        run = self._db.execute
        full = len(self._latest) >= _MERGE_AT
        try:
            run("BEGIN")
            if full:
                self._merge()
            if intents:  # numbered in the order they come in, without gaps
                run(_INTEND, (intents[0][0], _dump([ids for _, ids in intents])))
            if groups:
                run(_SETTLE, (self._next, _dump([(ledger.write(kept), ids) for kept, ids in groups])))
            if over:
                run(_FORGET, (_dump(over),))
            run("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                run("ROLLBACK")
            raise
        if full:
            self._latest, self._merged = {}, self._next
        self._next += len(groups)
        for kept, ids in groups:
            self._latest.update(dict.fromkeys(ids, kept))
        self._check_place()

    def _check_place(self) -> None:
        """Check that what was written is where the next run will look.

        A file that was removed or renamed can still be written to by those who have it open.

        Raises:
            JournalFailed: If another file is there, or none, or if the log beside it is gone.
        """
        if _inode(self._path) != self._inode or _inode(self._log()) is None:
            raise JournalFailed("was removed or replaced while it was in use")

    def _log(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    def _merge(self) -> None:
        self._db.execute(_MERGE, (self._merged,))
        self._db.execute(_MERGED, (self._merged,))

    def _look_up(self, orders: Sequence[Order]) -> None:
        known = {i: self._latest.get(i) for order in orders for i in order.asked}
        rest = [i for i, kept in known.items() if kept is None]
        if rest:
            for text, ids in self._db.execute(_FIND, (_dump(rest),)):
                known.update(dict.fromkeys(json.loads(ids), _read(text)))
        for order in orders:
            order.found = {i: kept for i in order.asked if (kept := known[i]) is not None}

    def close(self) -> None:
        """Let go of the file. What SQLite can't tidy up now, it reads from the log at the next opening."""
        self._db.close()
