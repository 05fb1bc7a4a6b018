"""Source -> batches -> workers -> outcomes: the engine under ``cancel``, ``open_cancel`` and their kin.

A piece is a batch, or what is left of one: ids without an answer, ids refused for now, the halves of
a batch refused as invalid, a batch that gets its second chance. Workers take pieces, old ones before
fresh ones, until nothing is left or something fatal stops them; what is left then is settled by what is known
of it. Refuses to know how a request is made (``call``) and where outcomes go (`Sink`).
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol
from uuid import uuid4

import anyio
import attrs
from anyio.abc import TaskGroup

from koodrive_async.core.batching import Batch
from koodrive_async.core.codec import dump, read_cancel_reply
from koodrive_async.core.errors import KooDriveError, NotFound, Throttled
from koodrive_async.core.events import BatchSettled
from koodrive_async.core.models import CancelReply
from koodrive_async.core.operations import Operation
from koodrive_async.core.outcomes import UNSENT, Settlement, Status, count_statuses, unsettled
from koodrive_async.core.pacing import backoff
from koodrive_async.core.pairing import Rules, pair
from koodrive_async.core.suspicion import Suspicion
from koodrive_async.core.verdict import Meaning
from koodrive_async.shell.call import Ask, Caller, Trail
from koodrive_async.shell.drain import Drain
from koodrive_async.shell.supply import Supply

log = logging.getLogger("koodrive_async")

#: How often ids are asked again that a reply left out, or refused for now.
ROUNDS = 3

Groups = Sequence[tuple[Settlement, Batch]]


class Sink(Protocol):
    """Where outcomes go; called between two awaits, once for each id."""

    def settle(self, settlement: Settlement, batch: Batch) -> None:
        """These ids have their outcome."""


class Keeper(Protocol):
    """What remembers outcomes beyond the process: the journal."""

    async def known(self, ids: Sequence[str]) -> dict[str, Settlement]:
        """Those of the ids that need not be sent any more."""

    async def intend(self, ids: Sequence[str]) -> None:
        """These are about to be sent."""

    async def settle(self, groups: Sequence[tuple[Settlement, Sequence[str]]]) -> None:
        """These have their outcome."""


@attrs.define(slots=True, eq=False)
class Piece:
    """Ids that go into one logical call.

    Attributes:
        batch: The ids.
        trail: What happened to this piece.
        origin: The number of the fresh batch they were cut from.
        before: Requests that carried these ids before this piece was cut.
        rounds: How often they were asked again for want of a final answer.
        last: Whether the second chance is used up.
        known: Whether the journal was asked about them.
    """

    batch: Batch
    trail: Trail
    origin: int
    before: int = 0
    rounds: int = 0
    last: bool = False
    known: bool = False

    @property
    def attempts(self) -> int:
        """Requests that carried these ids."""
        return self.before + self.trail.requests

    def as_is(self) -> Settlement:
        """The outcome, should nothing further happen."""
        trail = self.trail
        return unsettled(
            attempts=self.attempts,
            ambiguous=trail.ambiguous,
            refused=trail.refused,
            error=trail.error,
            trace_id=trail.trace_id,
        )


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
        self.supply = supply
        self._sink = sink
        self._drain = drain
        self._journal = journal
        self.on_settled: Callable[[], None] = lambda: None
        self.began = time.monotonic()
        self._ends = None if deadline is None else self.began + deadline
        self._call = uuid4().hex
        self._number = 0
        self._suspicion = Suspicion()
        self._ready: deque[Piece] = deque()
        self._later: list[tuple[float, int, Piece]] = []
        self._parked: deque[Piece] = deque()
        self._second: deque[Piece] = deque()
        self._left: list[Piece] = []
        self._busy = 0
        self._workers = 0
        self._idle = 0
        self._bell = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._stopping = False
        self._requests = 0
        self._running: set[Piece] = set()
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
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                if self._ends is not None:
                    # The deadline cuts every wait; sends have their own limit, deadline plus grace.
                    tasks.cancel_scope.deadline = anyio.current_time() + self._ends - time.monotonic()
                if feed is not None:
                    tasks.start_soon(feed)
                if self._stopping:
                    self.stop()
                self._spawn(tasks)
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
            self._busy += 1
            if not self._idle and self._busy == self._workers:
                self._spawn(tasks)
            self._running.add(piece)
            try:
                await self._handle(piece)
            finally:
                self._busy -= 1
                self._running.discard(piece)
                self._requests += piece.trail.requests
                self.ring()

    async def _next(self) -> Piece | None:
        while not self._stopping:
            now = time.monotonic()
            piece = self._pick(now)
            if piece is not None:
                return piece
            if self._finished():
                break
            waits = [self.supply.patience()] + ([self._later[0][0] - now] if self._later else [])
            self._idle += 1
            try:
                with anyio.move_on_after(min((w for w in waits if w is not None), default=None)):
                    await self._bell.wait()
            finally:
                self._idle -= 1
        self.stop()
        return None

    def _finished(self) -> bool:
        return self.supply.exhausted and not (
            self._busy or self._ready or self._later or self._parked or self._second
        )

    # -- which piece is next ----------------------------------------------------------------------

    def _pick(self, now: float) -> Piece | None:
        if self._busy >= self._caller.gate.limit:
            return None  # it would only stand in line, and be sent even if all else says stop
        while self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[2])
        if self._suspicion.doubtful:
            return None if self._busy else self._pick_in_doubt()
        if self._parked:
            self._halve(self._parked.popleft())
        if self._ready:
            return self._ready.popleft()
        return self._fresh() or self._chance()

    def _pick_in_doubt(self) -> Piece | None:
        """One piece at a time: of the batch that is being halved, or a whole other one to compare."""
        if self._suspicion.cross_check and (piece := self._fresh()):
            return piece
        if not self._ready and self._parked:
            self._halve(self._parked.popleft())
        return self._ready.popleft() if self._ready else (self._fresh() or self._chance())

    def _fresh(self) -> Piece | None:
        batch = self.supply.take()
        if batch is None:
            return None
        trail = self._trail()
        return Piece(batch, trail, origin=trail.batch)

    def _chance(self) -> Piece | None:
        """Nothing else can go: those that used up their attempts get their second chance."""
        if self._busy or self._later or not self._second:
            return None
        piece = self._second.popleft()
        return self._cut(piece, piece.batch, last=True)

    def _trail(self) -> Trail:
        self._number += 1
        return Trail(self._call, self._number, self.began, ends=self._ends)

    def _cut(self, piece: Piece, batch: Batch, *, rounds: int = 0, last: bool = False) -> Piece:
        """A piece of a piece: it inherits what may have happened to its ids."""
        trail = attrs.evolve(
            self._trail(),
            ambiguous=piece.trail.ambiguous,
            refused=piece.trail.refused,
            error=piece.trail.error,
            trace_id=piece.trail.trace_id,
        )
        return attrs.evolve(
            piece,
            batch=batch,
            trail=trail,
            before=piece.attempts,
            rounds=piece.rounds + rounds,
            last=piece.last or last,
        )

    def _halve(self, piece: Piece) -> None:
        """Depth first: the sooner a single id is alone, the sooner it is known what was refused."""
        self._ready.extendleft(self._cut(piece, half) for half in reversed(piece.batch.halves()))

    # -- one piece --------------------------------------------------------------------------------

    async def _handle(self, piece: Piece) -> None:
        try:
            fresh = self._journal is not None and not piece.known
            if fresh and not await self._look_up(piece):
                return
            ask = Ask(
                self._operation,
                self._path,
                read_cancel_reply,
                body=dump({"shareIds": list(piece.batch.ids)}),
            )
            reply = await self._caller.run(ask, piece.trail, self._drain)
        except KooDriveError as error:
            with anyio.CancelScope(shield=True):
                await self._failed(piece, error)
        except Exception as error:  # noqa: BLE001 - a bug, ours or a middleware's: it ends the call, as itself
            self._left.append(piece)
            self._fail(error)
        except BaseException:
            self._left.append(piece)
            raise
        else:
            with anyio.CancelScope(shield=True):
                await self._answered(piece, reply)

    async def _look_up(self, piece: Piece) -> bool:
        """Deliver what the journal knows, note the rest as about to be sent; whether there is a rest."""
        journal = self._journal
        assert journal is not None
        piece.known = True
        known = await journal.known(piece.batch.ids)
        if known:
            for index, share_id in enumerate(piece.batch.ids):
                if share_id in known:
                    self._sink.settle(known[share_id], piece.batch.only([index]))
            rest = [index for index, share_id in enumerate(piece.batch.ids) if share_id not in known]
            piece.batch = piece.batch.only(rest)
            self.on_settled()
        if piece.batch.ids:
            await journal.intend(piece.batch.ids)
        return bool(piece.batch.ids)

    async def _answered(self, piece: Piece, reply: CancelReply) -> None:
        self._suspicion.accepted()
        batch, trail = piece.batch, piece.trail
        pairing = pair(batch.ids, reply, self._rules, attempts=piece.attempts, trace_id=trail.trace_id)
        for oddity in pairing.oddities:
            log.warning("%s (trace id %s)", oddity, trail.trace_id)
        groups = [
            (settlement, batch if len(indices) == len(batch.ids) else batch.only(indices))
            for settlement, indices in pairing.settled
        ]
        for settlement, indices in pairing.again:
            if isinstance(settlement.error, Throttled):
                self._caller.gate.throttled(settlement.error)
            if piece.rounds >= ROUNDS:
                groups.append((settlement, batch.only(indices)))
            else:
                self._again(piece, batch.only(indices), settlement.error)
        if pairing.missing:
            rest = batch.only(pairing.missing)
            trail.ambiguous = True  # asked, taken, not answered for
            if piece.rounds >= ROUNDS - 1:
                groups.append((piece.as_is(), rest))
            else:
                self._again(piece, rest)
        await self._settle(groups)

    def _again(self, piece: Piece, batch: Batch, refused: KooDriveError | None = None) -> None:
        retry = self._caller.retry
        delay = backoff(piece.rounds + 1, 0.5, base=retry.base, cap=retry.cap)
        rest = self._cut(piece, batch, rounds=1)
        rest.trail.refused = refused or rest.trail.refused
        heapq.heappush(self._later, (time.monotonic() + delay, rest.trail.batch, rest))

    async def _failed(self, piece: Piece, error: KooDriveError) -> None:
        match piece.trail.meaning:
            case Meaning.INVALID:
                await self._invalid(piece, error)
            case Meaning.REFUSED:
                await self._settle([(piece.as_is(), piece.batch)])
            case Meaning.TRANSIENT if error.gave_up in ("attempts", "budget") and not piece.last:
                self._second.append(piece)
            case Meaning.TRANSIENT:
                await self._settle([(piece.as_is(), piece.batch)])
            case _:
                self._left.append(piece)
                self._fail(error)

    async def _invalid(self, piece: Piece, error: KooDriveError) -> None:
        """Refused for its content: alone it is the culprit, among others the culprit is looked for."""
        alone = len(piece.batch.ids) == 1
        gone = alone and getattr(error, "code", "") in self._rules.gone
        if gone:
            self._suspicion.accepted()
        elif not isinstance(error, NotFound):
            self._suspicion.refused(piece.origin)
        if self._suspicion.hopeless:
            error.retryable = True  # it says nothing about these ids
            self._left.append(piece)
            self._fail(error)
        elif alone:
            status = Status.ALREADY_GONE if gone else Status.REJECTED
            settlement = attrs.evolve(
                piece.as_is(),
                status=status,
                code=getattr(error, "code", ""),
                message=getattr(error, "message", ""),
                error=None if gone else error.detached(),
            )
            await self._settle([(settlement, piece.batch)])
        elif self._suspicion.doubtful and (self._suspicion.cross_check or self._other_in_halves(piece)):
            self._parked.append(piece)
        else:
            self._halve(piece)

    def _other_in_halves(self, piece: Piece) -> bool:
        """Whether another batch is being halved: one at a time, until something is accepted."""
        return any(ready.origin != piece.origin for ready in self._ready)

    def _fail(self, error: Exception) -> None:
        """Everything else would fail like this: stop, and say so at the end."""
        if self.failure is None:
            self.failure = error
        self.stop()

    # -- outcomes ---------------------------------------------------------------------------------

    async def _settle(self, groups: Groups) -> None:
        if self._journal is not None:
            try:
                await self._journal.settle([(settlement, batch.ids) for settlement, batch in groups])
            except KooDriveError as error:
                self._fail(error)  # nothing is lost for the caller; the next run asks these again
        for settlement, batch in groups:
            self._sink.settle(settlement, batch)
            if self._caller.hooks:
                counts = count_statuses([settlement] * len(batch.ids))
                self._caller.emit(BatchSettled(self._operation.name, settlement.trace_id, counts))
        self.on_settled()

    async def _close(self) -> None:
        """Settle what is left by what is known of it."""
        self.stop()
        left = [*self._left, *self._ready, *(p for _, _, p in self._later), *self._parked, *self._second]
        await self._settle([(piece.as_is(), piece.batch) for piece in left])
        await self._settle([(UNSENT, batch) for batch in self.supply.drop()])
        self.over = True
        self.on_settled()
