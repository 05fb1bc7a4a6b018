"""Source -> batches -> workers -> outcomes: the engine under ``cancel``, ``open_cancel`` and their kin.

Workers take pieces from the agenda until nothing is left or something fatal stops them; what is left then
is settled by what is known of it. Refuses to know how a request is made (``call``), which piece is
next (``agenda``) and where outcomes go (`Sink`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import anyio
import attrs
from anyio.abc import TaskGroup

from koodrive_async.core.batching import Batch
from koodrive_async.core.codec import read_cancel_reply
from koodrive_async.core.errors import KooDriveError, NotFound, Throttled
from koodrive_async.core.events import BatchSettled
from koodrive_async.core.jsontext import dump
from koodrive_async.core.models import CancelReply
from koodrive_async.core.operations import Operation
from koodrive_async.core.outcomes import UNSENT, Settlement, Status, count_statuses
from koodrive_async.core.pacing import backoff
from koodrive_async.core.pairing import Rules, pair
from koodrive_async.core.verdict import Meaning
from koodrive_async.shell.agenda import Agenda, Piece
from koodrive_async.shell.call import Caller
from koodrive_async.shell.drain import Drain
from koodrive_async.shell.hooks import tell
from koodrive_async.shell.log import say
from koodrive_async.shell.supply import Supply
from koodrive_async.shell.trail import Ask

#: How often ids that were refused for now are asked again.
ROUNDS = 3

#: How often ids that a reply left out are asked again.
MISSING_ROUNDS = 2


class Sink(Protocol):
    """Where outcomes go; called between two awaits, once for each id."""

    def settle(self, settlement: Settlement, batch: Batch) -> None:
        """These ids have their outcome."""


class Keeper(Protocol):
    """What remembers outcomes beyond the process: the journal."""

    async def known(self, ids: Sequence[str]) -> dict[str, Settlement]:
        """What earlier runs found out; those that are UNKNOWN may have been sent."""

    async def intend(self, ids: Sequence[str]) -> None:
        """These are about to be sent."""

    async def settle(self, groups: Sequence[tuple[Settlement, Sequence[str]]]) -> None:
        """These have their outcome."""


class Engine:
    """One bulk call."""

    def __init__(
        self,
        caller: Caller,
        operation: Operation,
        rules: Rules,
        supply: Supply,
        sink: Sink,
        drain: Drain,
        *,
        deadline: float | None = None,
        journal: Keeper | None = None,
    ) -> None:
        self._caller = caller
        self._operation = operation
        self._path = operation.url_path()
        self._rules = rules
        self._supply = supply
        self._sink = sink
        self._drain = drain
        self._journal = journal
        self._deadline = deadline
        began = time.monotonic()
        self._agenda = Agenda(supply, began=began, ends=None if deadline is None else began + deadline)
        self._running: set[Piece] = set()
        self._workers = 0
        self._idle = 0
        self._bell = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._stopping = False
        self._requests = 0
        self._mentioned: set[str] = set()
        self.on_settled: Callable[[], None] = lambda: None
        #: Ids refused alone, while it is in doubt whether everything would be.
        self._accused: list[tuple[Settlement, Batch]] = []
        self.failure: Exception | None = None
        self.over = False

    # -- what the outside may look at and do ------------------------------------------------------

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._requests + sum(piece.trail.requests for piece in self._running)

    @property
    def pace(self) -> float | None:
        """Requests per second that the gate allows now."""
        return self._caller.gate.rate

    def ring(self) -> None:
        """Something changed: idle workers look again."""
        if self._idle:
            self._bell.set()
            self._bell = anyio.Event()

    def stop(self) -> None:
        """Begin nothing new; what is being sent may end."""
        self._stopping = True
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def run(self, feed: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Work until every id has its outcome; what went wrong is in `failure`, never raised.

        Args:
            feed: The coroutine function that fills the supply, for a supply that needs one.
        """
        try:
            async with anyio.create_task_group() as self._tasks:
                if self._deadline is not None:
                    # It cuts every wait; sends have their own limit, deadline plus grace.
                    self._tasks.cancel_scope.deadline = anyio.current_time() + self._deadline
                if self._stopping:
                    self.stop()
                if feed is not None:
                    self._tasks.start_soon(feed)
                self._spawn(self._tasks)
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()

    # -- workers ----------------------------------------------------------------------------------

    def _spawn(self, tasks: TaskGroup) -> None:
        """One more worker, unless there are as many as may ever send."""
        if self._workers < self._caller.gate.pace.concurrency:
            self._workers += 1
            tasks.start_soon(self._work, tasks)

    async def _work(self, tasks: TaskGroup) -> None:
        while (piece := await self._next()) is not None:
            self._running.add(piece)
            piece.trail.on_rest = self.ring
            if not self._idle and len(self._running) == self._workers:
                self._spawn(tasks)
            try:
                await self._handle(piece)
            finally:
                self._running.discard(piece)
                self._requests += piece.trail.requests
                self.ring()

    async def _next(self) -> Piece | None:
        while not self._stopping:
            now = time.monotonic()
            busy = len(self._running)
            may_begin = self._may_begin()
            piece = self._agenda.next(now, busy) if may_begin else None
            if piece is not None:
                return piece
            if not busy and self._agenda.empty:
                break
            self._idle += 1
            try:
                with anyio.move_on_after(self._agenda.wait(now) if may_begin else None):
                    await self._bell.wait()
            finally:
                self._idle -= 1
        self.stop()
        return None

    def _may_begin(self) -> bool:
        """Beyond the gate's limit a piece would only stand in line, and be sent when all else says stop."""
        limit = self._caller.gate.limit
        return len(self._running) < limit or sum(not p.trail.resting for p in self._running) < limit

    # -- one piece --------------------------------------------------------------------------------

    async def _handle(self, piece: Piece) -> None:
        try:
            reply = await self._ask(piece)
        except KooDriveError as error:
            then = partial(self._failed, piece, error)
        except Exception as error:  # noqa: BLE001 - a bug, ours or a middleware's: it ends the call, as itself
            self._agenda.drop(piece)
            self._fail(error)
            return
        except BaseException:
            self._agenda.drop(piece)
            raise
        else:
            if reply is None:
                return
            then = partial(self._answered, piece, reply)
        with anyio.CancelScope(shield=True):
            await then()

    async def _ask(self, piece: Piece) -> CancelReply | None:
        """The reply to a piece; None if the journal knew all of its ids."""
        fresh = self._journal is not None and not piece.known
        if fresh and not await self._look_up(piece):
            return None
        body = dump({"shareIds": list(piece.batch.ids)})
        ask = Ask(self._operation, self._path, read_cancel_reply, body=body)
        return await self._caller.run(ask, piece.trail, self._drain)

    async def _look_up(self, piece: Piece) -> bool:
        """Deliver what the journal knows, note the rest as about to be sent; whether there is a rest."""
        assert self._journal is not None
        ids = piece.batch.ids
        known = await self._journal.known(ids)
        piece.known = True
        self._deliver(known, piece.batch, lambda settlement: not settlement.retryable)
        rest = [index for index, i in enumerate(ids) if i not in known or known[i].retryable]
        doubtful = {i for i in rest if ids[i] in known and known[ids[i]].status is Status.UNKNOWN}
        if doubtful:  # an earlier run may have sent these: that sticks to them, and to no others
            self._agenda.doubt(piece, piece.batch.only(sorted(doubtful)))
        piece.batch = piece.batch.only([i for i in rest if i not in doubtful])
        if piece.batch.ids:
            await self._journal.intend(piece.batch.ids)
        return bool(piece.batch.ids)

    def _deliver(
        self, known: Mapping[str, Settlement], batch: Batch, wanted: Callable[[Settlement], bool]
    ) -> None:
        """Deliver those of the batch whose settlement is known and wanted, alike ones together."""
        groups: dict[int, tuple[Settlement, list[int]]] = {}
        for index, share_id in enumerate(batch.ids):
            settlement = known.get(share_id)
            if settlement is not None and wanted(settlement):
                groups.setdefault(id(settlement), (settlement, []))[1].append(index)
        for settlement, indices in groups.values():
            self._sink.settle(settlement, batch.only(indices))
        self.on_settled()

    async def _answered(self, piece: Piece, reply: CancelReply) -> None:
        await self._accepted()
        batch, trail = piece.batch, piece.trail
        pairing = pair(
            batch.ids,
            reply,
            self._rules,
            attempts=piece.attempts,
            trace_id=trail.trace_id,
            secrets=self._caller.secrets(),
        )
        for oddity in set(pairing.oddities) - self._mentioned:
            self._mentioned.add(oddity)
            say(logging.WARNING, "%s (trace id %s; mentioned once)", oddity, trail.trace_id)
        groups = [
            (settlement, batch if len(indices) == len(batch.ids) else batch.only(indices))
            for settlement, indices in pairing.settled
        ]
        for settlement, indices in pairing.again:
            if isinstance(settlement.error, Throttled):
                self._caller.gate.throttled(settlement.error)
            if piece.rounds < ROUNDS:
                rest = self._again(piece, batch.only(indices))
                rest.trail.refused = settlement.error
            else:
                groups.append((settlement, batch.only(indices)))
        if pairing.missing:
            trail.ambiguous = True  # asked, taken, not answered for
            if piece.rounds < MISSING_ROUNDS:
                self._again(piece, batch.only(pairing.missing))
            else:
                groups.append((piece.as_is(), batch.only(pairing.missing)))
        await self._settle(groups)

    def _again(self, piece: Piece, batch: Batch) -> Piece:
        retry = self._caller.retry
        delay = backoff(piece.rounds + 1, 0.5, base=retry.base, cap=retry.cap)
        return self._agenda.again(piece, batch, time.monotonic() + delay)

    async def _failed(self, piece: Piece, error: KooDriveError) -> None:
        match piece.trail.meaning:
            case _ if error.gave_up == "deadline":
                self._agenda.drop(piece)
            case Meaning.INVALID:
                await self._invalid(piece, error)
            case Meaning.TRANSIENT if error.gave_up in ("attempts", "budget") and not piece.last:
                self._agenda.postpone(piece)
            case Meaning.TRANSIENT | Meaning.REFUSED:
                if len(piece.batch.ids) > 1:
                    _says_nothing_of_ids(piece)
                await self._settle([(piece.as_is(), piece.batch)])
            case _:
                _says_nothing_of_ids(piece)
                self._agenda.drop(piece)
                self._fail(error)

    async def _invalid(self, piece: Piece, error: KooDriveError) -> None:
        """Refused for its content: alone it is the culprit, among others the culprit is looked for."""
        suspicion = self._agenda.suspicion
        alone = len(piece.batch.ids) == 1
        code = getattr(error, "code", "")
        gone = alone and code in self._rules.gone
        if gone:
            await self._accepted()
        elif not isinstance(error, NotFound):
            suspicion.refused(piece.origin)
        if suspicion.hopeless:
            self._agenda.drop(piece)
            self._fail(error)
        elif alone:
            settlement = attrs.evolve(
                piece.as_is(),
                status=Status.ALREADY_GONE if gone else Status.REJECTED,
                code=code,
                message=getattr(error, "message", ""),
                error=None if gone else piece.trail.error,
                answered=gone,
            )
            if suspicion.doubtful:
                self._accused.append((settlement, piece.batch))
            else:
                await self._settle([(settlement, piece.batch)])
        else:
            self._agenda.invalid(piece)

    async def _accepted(self) -> None:
        """Something was accepted: whoever was refused alone before is the culprit."""
        self._agenda.suspicion.accepted()
        if self._accused:
            accused, self._accused = self._accused, []
            await self._settle(accused)

    def _fail(self, error: Exception) -> None:
        """Everything else would fail like this: stop, and say so at the end."""
        if self.failure is None:
            self.failure = error
        self.stop()

    # -- outcomes ---------------------------------------------------------------------------------

    async def _settle(self, groups: Sequence[tuple[Settlement, Batch]]) -> None:
        if self._journal is not None:
            try:
                await self._journal.settle([(settlement, batch.ids) for settlement, batch in groups])
            except KooDriveError as error:
                self._fail(error)  # nothing is lost for the caller; the next run asks these again
        for settlement, batch in groups:
            self._sink.settle(settlement, batch)
            if self._caller.hooks:
                counts = count_statuses([settlement] * len(batch.ids))
                tell(self._caller.hooks, BatchSettled(self._operation.name, settlement.trace_id, counts))
        self.on_settled()

    async def _close(self) -> None:
        """Settle what is left by what is known of it, from an earlier run too."""
        self._stopping = True
        left = list(self._agenda.left())
        if self._agenda.suspicion.hopeless:  # the refusal says nothing about these ids
            for piece in left:
                _says_nothing_of_ids(piece)
            for settlement, _ in self._accused:
                if settlement.error is not None:
                    settlement.error.retryable = True
        await self._settle(self._accused)
        asked = [piece for piece in left if piece.known or self._journal is None]
        await self._settle([(piece.as_is(), piece.batch) for piece in asked])
        for batch in (*(piece.batch for piece in left if piece not in asked), *self._supply.drop()):
            self._deliver(await self._known_at_last(batch), batch, lambda _: True)
        self.over = True
        self.on_settled()

    async def _known_at_last(self, batch: Batch) -> Mapping[str, Settlement]:
        """What becomes of ids that this run never sent."""
        outcomes = dict.fromkeys(batch.ids, UNSENT)
        if self._journal is not None:
            try:
                outcomes |= await self._journal.known(batch.ids)
            except KooDriveError as error:  # an earlier run may have sent them
                self._fail(error)
                return dict.fromkeys(batch.ids, Settlement(Status.UNKNOWN, error=error.detached()))
        return outcomes


def _says_nothing_of_ids(piece: Piece) -> None:
    """A refusal of the whole request: under other circumstances these very ids may well go."""
    if piece.trail.refused is not None:
        piece.trail.refused.retryable = True
