"""Where outcomes go, and in which order: journal, sink, hooks, callback.

Not here: what became of an id (see ``replies``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from koodrive_async.core.batching import Batch
from koodrive_async.core.errors import KooDriveError
from koodrive_async.core.events import BatchSettled, Hook
from koodrive_async.core.outcomes import Settlement, Status, count_statuses
from koodrive_async.core.report import Tally
from koodrive_async.shell.hooks import tell


class Sink(Protocol):
    """Where outcomes go; called between two awaits, once for each id."""

    tally: Tally

    def settle(self, settlement: Settlement, batch: Batch) -> None:
        """These ids have their outcome."""


class Keeper(Protocol):
    """What remembers outcomes beyond the process: the journal."""

    settles_repeated_refusals: bool

    async def known(self, ids: Sequence[str]) -> dict[str, Settlement]:
        """What earlier runs found out; those that are UNKNOWN may have been sent."""

    async def intend(self, ids: Sequence[str]) -> None:
        """These are about to be sent."""

    async def settle(self, groups: Sequence[tuple[Settlement, Sequence[str]]]) -> None:
        """These have their outcome."""


Groups = Sequence[tuple[Settlement, Batch]]


class Recorder:
    """Takes the outcomes of one bulk call.

    Args:
        sink: Holds them for the caller.
        journal: Remembers them beyond the process, or None.
        hooks: Told of each group.
        operation: The name of the operation, for the hooks.
        fail: Called with a journal's failure.
    """

    def __init__(
        self,
        sink: Sink,
        journal: Keeper | None,
        hooks: Sequence[Hook],
        operation: str,
        fail: Callable[[Exception], None],
    ) -> None:
        self._sink, self.journal, self._hooks, self._operation = sink, journal, hooks, operation
        self._fail = fail
        #: Ids whose outcome the journal did not confirm.
        self.unjournaled = 0
        #: Called when something was delivered; a callback that raises is the caller's to guard.
        self.on_delivery: Callable[[], None] = lambda: None

    async def record(self, groups: Groups) -> None:
        """Take outcomes of ids that were asked for: to the journal, the sink, the hooks and the callback.

        In this order, which is the promise of a resume: what the caller has seen is on disk. Where the
        journal fails, the caller gets the outcomes all the same, the call ends, and the next run asks for
        these ids again.
        """
        if self.journal is not None:
            try:
                await self.journal.settle([(settlement, batch.ids) for settlement, batch in groups])
            except KooDriveError as error:
                self.unjournaled += sum(len(batch.ids) for _, batch in groups)
                self._fail(error)
        for settlement, batch in groups:
            self._sink.settle(settlement, batch)
            if self._hooks:
                counts = count_statuses([settlement] * len(batch.ids))
                tell(self._hooks, BatchSettled(self._operation, settlement.trace_id, counts))
        self.on_delivery()

    def deliver(
        self,
        known: Mapping[str, Settlement],
        batch: Batch,
        wanted: Callable[[Settlement], bool] = lambda _: True,
    ) -> None:
        """Take outcomes that the journal knows already, or ids that were never sent; alike ones together."""
        groups: dict[int, tuple[Settlement, list[int]]] = {}
        for index, share_id in enumerate(batch.ids):
            settlement = known.get(share_id)
            if settlement is not None and wanted(settlement):
                groups.setdefault(id(settlement), (settlement, []))[1].append(index)
        for settlement, indices in groups.values():
            self._sink.settle(settlement, batch.only(indices))
        self.on_delivery()

    async def known_at_last(self, batch: Batch, unsent: Settlement) -> Mapping[str, Settlement]:
        """What becomes of ids that this run never sent: what the journal knows, else `unsent`."""
        outcomes = dict.fromkeys(batch.ids, unsent)
        if self.journal is not None:
            try:
                outcomes |= await self.journal.known(batch.ids)
            except KooDriveError as error:  # an earlier run may have sent them
                self._fail(error)
                return dict.fromkeys(batch.ids, Settlement(Status.UNKNOWN, error=error.detached()))
        return outcomes

    @property
    def settled(self) -> int:
        """How many ids have their outcome."""
        return sum(self._sink.tally.counts.values())
