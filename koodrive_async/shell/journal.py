"""What has been settled, on disk, so that the same line run again asks only for the rest.

SQLite (``journalfile``) in a thread of its own. An order that was placed is carried out even if its
caller is cancelled meanwhile, orders are carried out in the order they were placed, and those that
wait at the same time share a transaction. Refuses to decide what is sent; that is ``bulk``'s.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import attrs
from anyio.lowlevel import current_token

from koodrive_async.core import ledger
from koodrive_async.core.errors import ConfigurationError, JournalFailed
from koodrive_async.core.outcomes import Settlement
from koodrive_async.core.settings import check_kind
from koodrive_async.shell.journalfile import Groups, JournalFile, Order, explain

#: How long closing may take, in seconds; what is slower goes on in the background.
_CLOSING = 5.0


def _check_path(_: object, __: object, path: Any) -> None:
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"Journal(path) must be the path of a file, got {path!r}")


def _check_flag(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    check_kind(f"Journal({field.name}=...)", value, bool)


@attrs.frozen(slots=True)
class Journal:
    """A file that remembers what was settled, for the call it is given to; made if it is missing.

    Run the same call again with the same journal after it was stopped, however that happened: ids
    that were cancelled, gone or refused for good are not sent again, they keep their outcome. It is
    keyed by id, so a longer or shuffled input just works. It belongs to one endpoint, user and
    operation, and serves one call at a time.

    Attributes:
        path: Where it is, on a disk of this machine; while it is open, ``-wal`` is added beside it.
        settle_repeated_refusals: What to do with an id that is UNKNOWN since it was refused after a lost
            reply. False: every run asks for it again. True: when a second run sees the same refusal, the id
            is REJECTED for good, so that the job can finish; whether the lost request did it stays unknown.

    Raises:
        ConfigurationError: The path can't be one.
    """

    path: str | os.PathLike[str] = attrs.field(validator=_check_path)
    settle_repeated_refusals: bool = attrs.field(default=False, kw_only=True, validator=_check_flag)


def open_journal(
    journal: Journal, *, endpoint: str, user_id: str, operation: str
) -> AbstractAsyncContextManager[OpenJournal]:
    """The journal, open for the length of the block; entering it raises `JournalFailed` if it can't be."""
    return OpenJournal(journal, {"endpoint": endpoint, "user": user_id, "operation": operation})


class OpenJournal:
    """A journal in use: a ``recording.Keeper``, and the context manager that it is open in."""

    def __init__(self, journal: Journal, identity: Mapping[str, str]) -> None:
        self._path = Path(journal.path).absolute()
        self.settles_repeated_refusals = journal.settle_repeated_refusals
        self._identity = identity
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._intents = ledger.Intents()
        self._post: Callable[[Callable[[], object]], object]
        self._closed = anyio.Event()
        self._open = False

    async def __aenter__(self) -> Self:
        loop: Any = current_token().native_token
        # What asyncio and trio call the same thing; neither is imported here.
        self._post = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
        opening = Order()
        # A daemon: an interpreter that exits without closing must not hang, and a kill is survived anyway.
        threading.Thread(target=self._serve, args=(opening,), name="koodrive-journal", daemon=True).start()
        try:
            await self._done(opening)
        except BaseException:
            await self._close()
            raise
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def known(self, ids: Sequence[str]) -> dict[str, Settlement]:
        """What this run and earlier ones know of the ids, any number of them.

        Those that are UNKNOWN are to be asked again, and stay UNKNOWN unless an answer settles them:
        a request with them may have reached the service. All others keep the outcome they have.

        Raises:
            JournalFailed: The file can't be read.
        """
        order = Order(asked=ids)
        if ids:
            await self._place(order)
        return order.found

    async def intend(self, ids: Sequence[str]) -> None:
        """These are about to be sent: on disk when this returns.

        Raises:
            JournalFailed: The file can't be written; don't send them.
        """
        number, new = self._intents.open(ids)
        if new:
            await self._place(Order(intent=(number, new)))

    async def settle(self, groups: Groups) -> None:
        """These have their outcome: on disk when this returns.

        Raises:
            JournalFailed: The file can't be written; the next run asks these again.
        """
        over = [number for _, ids in groups for number in self._intents.close(ids)]
        kept = [(settlement, ids) for settlement, ids in groups if ids and ledger.lasting(settlement)]
        if over or kept:
            await self._place(Order(over=over, groups=kept))

    async def _place(self, order: Order) -> None:
        if not self._open:
            raise JournalFailed(f"the journal {str(self._path)!r} is not open")
        self._orders.put(order)
        await self._done(order)

    async def _done(self, order: Order) -> None:
        await order.bell.wait()
        if order.failure is not None:
            raise explain(self._path, order.failure) from order.failure

    async def _close(self) -> None:
        self._open = False
        self._orders.put(None)
        # In a child task: a shield in the caller's own task does not stop a native `task.cancel()`, and
        # the next call on this file would find it still in use.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._until_closed)

    async def _until_closed(self) -> None:
        with anyio.move_on_after(_CLOSING, shield=True):
            await self._closed.wait()

    # -- in the thread ----------------------------------------------------------------------------

    def _serve(self, opening: Order) -> None:
        try:
            file = JournalFile(self._path, self._identity)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must hear of it
            opening.failure = error
        else:
            self._tell(opening.bell.set)
            while self._work(file):
                pass
            file.close()
        self._tell(opening.bell.set)
        self._tell(self._closed.set)

    def _work(self, file: JournalFile) -> bool:
        """Carry out what has been ordered; whether there may be more."""
        placed = [self._orders.get()]
        while not self._orders.empty():
            placed.append(self._orders.get())
        orders = [order for order in placed if order is not None]
        try:
            file.carry_out(orders)
        except Exception as error:  # noqa: BLE001 - likewise
            for order in orders:
                order.failure = error
        self._tell(partial(_ring, orders))
        return len(orders) == len(placed)

    def _tell(self, news: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the event loop is gone, and with it whoever waited
            self._post(news)


def _ring(orders: Sequence[Order]) -> None:
    for order in orders:
        order.bell.set()
