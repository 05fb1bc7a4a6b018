"""Source -> batches -> workers -> outcomes: the engine under ``cancel``, ``open_cancel`` and their kin.

Workers take pieces from the agenda until nothing is left or something fatal stops them; what is left then
is settled by what is known of it. Not here: how a request is made (``call``), which piece is next
(``agenda``), what a reply means for it (``replies``), and where outcomes go (``recording``).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from koodrive_async.core.codec import read_cancel_reply
from koodrive_async.core.errors import CallEnded, KooDriveError
from koodrive_async.core.jsontext import dump
from koodrive_async.core.models import CancelReply
from koodrive_async.core.operations import Operation
from koodrive_async.core.outcomes import Ended, Settlement, Status
from koodrive_async.core.pairing import Rules
from koodrive_async.shell.agenda import Agenda, Piece
from koodrive_async.shell.call import Caller
from koodrive_async.shell.cancellation import is_asked_for, unexpected
from koodrive_async.shell.drain import Drain
from koodrive_async.shell.recording import Keeper, Recorder, Sink
from koodrive_async.shell.replies import Replies
from koodrive_async.shell.supply import Supply
from koodrive_async.shell.trail import Ask, kept

#: Why ids were never sent, by what ended the call.
_NOT_SENT_BECAUSE = {
    Ended.STOPPED: "the stream was stopped before this could be sent",
    Ended.LEFT: "the stream's block was left before this could be sent",
    Ended.DEADLINE: "the deadline passed before this could be sent",
    Ended.CANCELLED: "the caller's task was cancelled before this could be sent",
}


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
        self._supply = supply
        self._drain = drain
        self._deadline = deadline
        began = caller.now()
        self._ends = None if deadline is None else began + deadline
        self._agenda = Agenda(supply, began=began, ends=self._ends)
        self.recorder = Recorder(sink, journal, caller.hooks, operation.name, self._fail)
        self._replies = Replies(caller, rules, self._agenda, self.recorder, self._fail)
        self._running: set[Piece] = set()
        self._workers = 0
        self._idle = 0
        self._bell = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._stopping = False
        self._requests = 0
        self._heard = False
        self._give_up_at: float | None = None
        self._reason: Ended | None = None
        self._cut_short = False
        self.failure: Exception | None = None
        self.ended = Ended.EXHAUSTED
        self.over = False
        #: Set together with `over`, for a waiter outside the engine's task group.
        self.finished = anyio.Event()

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

    def stop(self, reason: Ended) -> None:
        """Begin nothing new, and let what is being sent end.

        Args:
            reason: Why; if this is called more than once, the first reason counts.
        """
        if self._reason is None:
            self._reason = reason
        self._halt()

    def _halt(self) -> None:
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
                    self._halt()
                if feed is not None:
                    self._tasks.start_soon(feed)
                self._spawn(self._tasks)
        except anyio.get_cancelled_exc_class():
            if is_asked_for():
                raise
            self._fail(unexpected("the task of this call"))
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
                self._heard = self._heard or piece.trail.heard
                self.ring()

    async def _next(self) -> Piece | None:
        while not self._stopping:
            now = self._caller.now()
            busy = len(self._running)
            may_begin = self._may_begin()
            piece = self._agenda.next(now, busy, self._suspects_left()) if may_begin else None
            if piece is not None:
                return piece
            if not busy and self._agenda.empty:
                if self._replies.confirm_rest():
                    continue
                break
            self._idle += 1
            try:
                with anyio.move_on_after(self._agenda.wait(now) if may_begin else None):
                    await self._bell.wait()
            finally:
                self._idle -= 1
        self._halt()
        return None

    def _suspects_left(self) -> int:
        """How many further suspects may be under way: a quarter of the gate's limit altogether.

        A call that has nothing but suspects left ends within the patience, as one whose service is down.
        """
        running = sum(piece.trail.suspect for piece in self._running)
        if self._agenda.only_suspects and running == len(self._running):
            patience = self._caller.retry.patience
            self._give_up_at = self._give_up_at or self._caller.now() + patience
            if self._caller.now() >= self._give_up_at:
                self._agenda.drop_suspects()
        return max(1, self._caller.gate.limit // 4) - running

    def _may_begin(self) -> bool:
        """Beyond the gate's limit a piece would only stand in line, and be sent when all else says stop."""
        limit = self._caller.gate.limit
        return len(self._running) < limit or sum(not p.trail.resting for p in self._running) < limit

    # -- one piece --------------------------------------------------------------------------------

    async def _handle(self, piece: Piece) -> None:
        try:
            reply = await self._ask(piece)
        except KooDriveError as error:
            self._cut_short = self._cut_short or self._ending() is not None
            then = partial(self._replies.failed, piece, error)
        except Exception as error:  # noqa: BLE001 - a bug, ours or a middleware's: it ends the call, as itself
            self._agenda.drop(piece)
            self._fail(error)
            return
        except BaseException as error:
            self._agenda.drop(piece)
            if not isinstance(error, anyio.get_cancelled_exc_class()) or is_asked_for():
                raise
            self._fail(unexpected("a task of this call"))  # or its ids would be lost unnoticed
            return
        else:
            if reply is None:
                return
            then = partial(self._replies.answered, piece, reply)
        with anyio.CancelScope(shield=True):
            await then()

    async def _ask(self, piece: Piece) -> CancelReply | None:
        """The reply to a piece; None if nothing was sent: the journal knew all ids, or they are too many."""
        fresh = self.recorder.journal is not None and not piece.known
        if fresh and not await self._look_up(piece):
            return None
        body = dump({"shareIds": list(piece.batch.ids)})
        if not piece.alone and not self._agenda.fits(len(body)):
            self._agenda.halve(piece)
            return None
        piece.size = len(body)
        if piece.trail.suspect and piece.trail.most is not None:
            piece.trail.cut_by = self._give_up_at
            if self._agenda.in_vain:
                await self._caller.gate.retry_turn()
        ask = Ask(self._operation, self._path, read_cancel_reply, body=body)
        return await self._caller.run(ask, piece.trail, self._drain)

    async def _look_up(self, piece: Piece) -> bool:
        """Deliver what the journal knows, note the rest as about to be sent; return if there is a rest."""
        journal = self.recorder.journal
        assert journal is not None
        ids = piece.batch.ids
        known = await journal.known(ids)
        piece.known = True
        self.recorder.deliver(known, piece.batch, lambda settlement: not settlement.retryable)
        rest = [index for index, i in enumerate(ids) if i not in known or known[i].retryable]
        doubtful = {i for i in rest if ids[i] in known and known[ids[i]].status is Status.UNKNOWN}
        if doubtful:  # an earlier run may have sent these: keep them apart from the others
            refused = {}
            if journal.settles_repeated_refusals:
                refused = {ids[i]: known[ids[i]].code for i in doubtful if known[ids[i]].told}
            self._agenda.doubt(piece, piece.batch.only(sorted(doubtful)), refused)
        piece.batch = piece.batch.only([i for i in rest if i not in doubtful])
        if piece.batch.ids:
            await journal.intend(piece.batch.ids)
        return bool(piece.batch.ids)

    def _fail(self, error: Exception) -> None:
        """Everything else would fail like this: stop, and say so at the end."""
        if self.failure is None:
            self.failure = error
        self._halt()

    # -- the end ----------------------------------------------------------------------------------

    def _ending(self) -> Ended | None:
        """Return what ends the call from outside, or None."""
        if self._reason is None and self._ends is not None and self._caller.now() >= self._ends:
            self._reason = Ended.DEADLINE
        return self._reason

    async def _close(self) -> None:
        """Settle what is left by what is known of it, also from an earlier run."""
        self._stopping = True
        self.failure = self.failure or self._supply.failure
        reason = self._ending()
        left = not self._supply.complete or any(True for _ in self._agenda.left())
        if self.failure is None and reason is None:
            if not self._agenda.empty:  # our own task was cancelled
                reason = Ended.CANCELLED
            elif self._requests and not self._heard:
                self.failure = self._replies.last_transient
        ended = self._call_ended(reason)
        await self._replies.conclude(ended)
        unsent = Settlement(Status.NOT_SENT, error=ended)
        for batch in self._supply.drop():
            left = True
            self.recorder.deliver(await self.recorder.known_at_last(batch, unsent), batch)
        if self.failure is not None:
            self.ended = Ended.FAILED
        elif reason is not None and (left or self._cut_short):
            self.ended = reason
        self.over = True
        self.recorder.on_delivery()
        self.finished.set()

    def _call_ended(self, reason: Ended | None) -> KooDriveError:
        """Return the error of ids that were not sent."""
        if self.failure is not None:
            return ended_by(self.failure)
        error = CallEnded(_NOT_SENT_BECAUSE.get(reason or Ended.LEFT, "the call ended before this was sent"))
        error.gave_up = reason or Ended.LEFT
        return error.detached()


def ended_by(failure: Exception) -> KooDriveError:
    """Return the error of ids that were not sent because of a failure: it, or what says so."""
    if isinstance(failure, KooDriveError):
        return kept(failure)
    error = CallEnded(f"the call was ended by {type(failure).__name__} before this was sent")
    error.gave_up = Ended.FAILED
    return error.detached()
