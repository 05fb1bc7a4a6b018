"""What a bulk call does next: pieces of batches, and in which order.

A piece is a batch, or what is left of one: ids without an answer, ids refused for now, the halves of
a batch refused as invalid, a batch that gets its second chance. Old pieces go before fresh batches;
while a refusal is in doubt (``core/suspicion.py``) one piece goes at a time. Not here: sending and waiting
(see ``bulk``), and what a reply means for a piece (see ``replies``).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from uuid import uuid4

import attrs

from koodrive_async.core.batching import Batch
from koodrive_async.core.errors import KooDriveError
from koodrive_async.core.outcomes import UNSENT, Settlement, unsettled
from koodrive_async.core.suspicion import Suspicion, spread
from koodrive_async.shell.supply import Supply
from koodrive_async.shell.trail import Trail


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
        sample: Whether this is a single id from elsewhere, to tell bad ids from a bad request.
        confirming: Whether this repeats a request whose answer named no id.
        cut: Whether this is only a part of the batch.
        refused_before: By id, the code that an earlier run saw after a lost reply.
    """

    batch: Batch
    trail: Trail
    origin: int
    before: int = 0
    rounds: int = 0
    last: bool = False
    known: bool = False
    sample: bool = False
    confirming: bool = False
    cut: bool = False
    refused_before: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def attempts(self) -> int:
        """Requests that carried these ids."""
        return self.before + self.trail.requests

    @property
    def alone(self) -> bool:
        """Whether this is a single id, so that a refusal of the request is one of the id."""
        return len(self.batch.ids) == 1

    def as_is(self, ended: KooDriveError | None = UNSENT.error) -> Settlement:
        """Return the outcome if nothing further happens.

        Args:
            ended: Why the call ended: the error of ids whose requests did not fail.
        """
        trail = self.trail
        return unsettled(
            attempts=self.attempts,
            ambiguous=trail.ambiguous,
            refused=trail.refused,
            error=trail.error,
            trace_id=trail.trace_id,
            ended=ended,
        )


class Agenda:
    """The pieces of one bulk call that are not under way."""

    def __init__(self, supply: Supply, *, began: float, ends: float | None) -> None:
        self._supply = supply
        self._began, self._ends = began, ends
        self._call = uuid4().hex
        self._number = 0
        self.suspicion = Suspicion()
        self._ready: deque[Piece] = deque()
        self._later: list[tuple[float, int, Piece]] = []
        self._parked: deque[Piece] = deque()
        self._second: deque[Piece] = deque()
        self._dropped: list[Piece] = []
        self._halving = 0
        self._partly_good: set[int] = set()

    @property
    def empty(self) -> bool:
        """Whether nothing is left, nor will come."""
        waiting = self._ready or self._later or self._parked or self._second
        return not waiting and self._supply.exhausted

    @property
    def knows_all(self) -> bool:
        """Whether the whole input has been read."""
        return self._supply.total is not None

    @property
    def single(self) -> bool:
        """Whether the whole input is a single id."""
        return self._supply.total == 1

    def next(self, now: float, busy: int) -> Piece | None:
        """The piece to send now, if there is one.

        Args:
            now: The event loop's clock.
            busy: How many pieces are under way.
        """
        while self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[2])
        if self.suspicion.doubtful:
            return None if busy else self._next_in_doubt()
        if self._parked:
            self.halve(self._parked.popleft())
        if self._ready:
            return self._ready.popleft()
        return self._fresh() or self._chance(busy)

    def wait(self, now: float) -> float | None:
        """Seconds until `next` may give more by the passing of time alone; None: it won't."""
        waits = [self._later[0][0] - now] if self._later else []
        patience = self._supply.patience()
        return min(waits if patience is None else [*waits, patience], default=None)

    def left(self) -> Iterator[Piece]:
        """Everything that was begun and not settled."""
        later = (piece for _, _, piece in self._later)
        yield from (*self._dropped, *self._ready, *later, *self._parked, *self._second)

    # -- what becomes of a piece ------------------------------------------------------------------

    def drop(self, piece: Piece) -> None:
        """It is not tried again."""
        self._dropped.append(piece)

    def postpone(self, piece: Piece) -> None:
        """It gets its second chance when nothing else can go."""
        self._second.append(piece)

    def again(self, piece: Piece, batch: Batch, due: float) -> Piece:
        """Some of its ids are asked again, not before `due` on the event loop's clock; the new piece."""
        rest = self._cut(piece, batch)
        rest.rounds += 1
        heapq.heappush(self._later, (due, rest.trail.batch, rest))
        return rest

    def doubt(self, piece: Piece, batch: Batch, refused: Mapping[str, str]) -> None:
        """Make a piece of the ids that an earlier run may have sent.

        Args:
            piece: What to cut them from.
            batch: These ids.
            refused: By id, the code that the earlier run saw after a lost reply.
        """
        rest = self._cut(piece, batch)
        rest.trail.ambiguous = True
        rest.refused_before = refused
        self._ready.append(rest)

    def confirm(self, piece: Piece) -> None:
        """Ask for a single id once more, over another connection: the answer did not name it."""
        rest = self._cut(piece, piece.batch)
        rest.confirming = True
        self._ready.appendleft(rest)

    def accepted(self, piece: Piece) -> None:
        """Note that the service accepted a piece."""
        self.suspicion.accepted()
        if piece.cut:
            self._partly_good.add(piece.origin)

    def invalid(self, piece: Piece) -> None:
        """Refused for its content, with several ids: the culprit is looked for, in one batch at a time."""
        elsewhere = any(ready.origin != piece.origin for ready in self._ready)
        if self.suspicion.doubtful and (self.suspicion.wants_sample or elsewhere):
            self._parked.append(piece)
        else:
            self.halve(piece)

    def halve(self, piece: Piece) -> None:
        """Depth first: the sooner a single id is alone, the sooner it is known what was refused."""
        self._halving = piece.origin
        if piece.alone:  # samples were cut from it while it was parked
            self._ready.appendleft(self._cut(piece, piece.batch))
            return
        self._ready.extendleft(self._cut(piece, half) for half in reversed(piece.batch.halves()))

    # -- which is next ----------------------------------------------------------------------------

    def _next_in_doubt(self) -> Piece | None:
        """Take a piece of the batch that is being halved; after a while single ids from elsewhere instead."""
        if self.suspicion.wants_sample and (piece := self._sample()):
            return piece
        if not self._ready and self._parked:
            self.halve(self._parked.popleft())
        return self._ready.popleft() if self._ready else (self._fresh() or self._chance(0))

    def _fresh(self) -> Piece | None:
        batch = self._supply.take()
        return None if batch is None else self._begin(batch)

    def _begin(self, batch: Batch) -> Piece:
        trail = self._trail()
        return Piece(batch, trail, origin=trail.batch)

    def _sample(self) -> Piece | None:
        """Take a single id from somewhere in the known input that is not settled."""
        where = spread(self.suspicion.samples + 1)
        single = self._supply.sample(where)
        piece = self._sample_begun(where) if single is None else self._begin(single)
        if piece is not None:
            piece.sample = True
        return piece

    def _sample_begun(self, where: float) -> Piece | None:
        """Take a single id from the refused batches that wait: all batches were begun.

        Once something was accepted, two kinds of batches say nothing about the others: those that were
        accepted in part, since the bad ids are in what is left of them, and the one that is being halved,
        since all of it may be bad.
        """
        working = self.suspicion.ever_accepted
        waiting = [
            piece
            for piece in (*self._parked, *self._ready)
            if not piece.confirming
            and not (working and (piece.origin == self._halving or piece.origin in self._partly_good))
        ]
        at = int(where * sum(len(piece.batch.ids) for piece in waiting))
        for piece in waiting:
            if at < len(piece.batch.ids):
                break
            at -= len(piece.batch.ids)
        else:
            return None
        if piece.alone:
            (self._parked if piece in self._parked else self._ready).remove(piece)
            return self._cut(piece, piece.batch)
        single = self._cut(piece, piece.batch.only([at]))
        piece.batch = piece.batch.only([index for index in range(len(piece.batch.ids)) if index != at])
        return single

    def _chance(self, busy: int) -> Piece | None:
        if busy or self._later or not self._second:
            return None
        used_up = self._second.popleft()
        piece = self._cut(used_up, used_up.batch)
        piece.last = True
        return piece

    def _trail(self) -> Trail:
        self._number += 1
        return Trail(self._call, self._number, self._began, ends=self._ends)

    def _cut(self, piece: Piece, batch: Batch) -> Piece:
        """A piece of a piece: it inherits what may have happened to its ids."""
        then = piece.trail
        trail = attrs.evolve(
            self._trail(),
            ambiguous=then.ambiguous,
            refused=then.refused,
            error=then.error,
            trace_id=then.trace_id,
        )
        return attrs.evolve(
            piece, batch=batch, trail=trail, before=piece.attempts, sample=False, confirming=False, cut=True
        )
