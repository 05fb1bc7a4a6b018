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
    """Where outcomes go; gets each id once, and must not block."""

    tally: Tally

    def settle(self, settlement: Settlement, batch: Batch) -> None:
        """Take the outcome of these ids."""


class Keeper(Protocol):
    """What remembers outcomes beyond the process: the journal.

    Attributes:
        settles_repeated_refusals: Whether a refusal after a lost reply settles an id when it is repeated.
    """

    settles_repeated_refusals: bool

    async def known(self, ids: Sequence[str]) -> dict[str, Settlement]:
        """Return what earlier runs found out; ids that are UNKNOWN may have been sent."""

    async def intend(self, ids: Sequence[str]) -> None:
        """Note that these ids are about to be sent."""

    async def settle(self, groups: Sequence[tuple[Settlement, Sequence[str]]]) -> None:
        """Note the outcomes of these ids."""


Groups = Sequence[tuple[Settlement, Batch]]


class Recorder:
    """The way of one bulk call's outcomes to the journal, the sink, the hooks and the callback.

    Args:
        sink: Holds the outcomes for the caller.
        journal: Remembers the outcomes beyond the process; None if there is no journal.
        hooks: Get an event for each group of ids with the same outcome.
        operation: The name of the operation, for the hooks.
        fail: Called with the error if the journal fails.
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
        #: How many ids have an outcome that the journal did not confirm.
        self.unjournaled = 0
        #: Called after each delivery; must not raise.
        self.on_delivery: Callable[[], None] = lambda: None

    async def record(self, groups: Groups) -> None:
        """Record the outcomes of ids that were sent: in the journal, the sink, the hooks and the callback.

        A resume relies on this order: what the caller has seen is on disk. If the journal fails, the caller
        still gets the outcomes, the call ends, and the next run asks for these ids again.
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
        """Deliver outcomes that the journal already knows, or those of ids that were never sent.

        Args:
            known: What is known, by id.
            batch: The ids to deliver, as far as they are known.
            wanted: Whether to deliver an outcome; by default each.
        """
        groups: dict[int, tuple[Settlement, list[int]]] = {}
        for index, share_id in enumerate(batch.ids):
            settlement = known.get(share_id)
            if settlement is not None and wanted(settlement):
                groups.setdefault(id(settlement), (settlement, []))[1].append(index)
        for settlement, indices in groups.values():
            self._sink.settle(settlement, batch.only(indices))
        self.on_delivery()

    async def known_at_last(self, batch: Batch, unsent: Settlement) -> Mapping[str, Settlement]:
        """Return the outcomes of ids that this run never sent: what the journal knows, else `unsent`.

        If the journal fails, all of them are UNKNOWN.
        """
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
        """How many ids have an outcome."""
        return sum(self._sink.tally.counts.values())
