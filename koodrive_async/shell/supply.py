"""Where a bulk call's batches come from: a list that was read and checked, or a source read lazily.

Not here: sending them (see ``bulk``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import chain
from typing import Protocol

import anyio
import anyio.lowlevel

from koodrive_async.core.batching import (
    BATCH_SIZE,
    Batch,
    check_share_id,
    plain_share_ids,
    refuse_single,
)
from koodrive_async.shell.cancellation import is_asked_for, name_of, unexpected
from koodrive_async.shell.looptime import Now

ShareIds = Iterable[str] | AsyncIterable[str]

#: Ids that are read and checked before the event loop gets its turn: about a tenth of a millisecond.
SLICE = 1_000

#: No id waits longer than this for its batch to fill up, in seconds.
LINGER = 0.1

#: How long a generator's own clean-up may take, in seconds.
_CLEAN_UP = 1.0


async def read_all(share_ids: ShareIds, distinct: dict[str, None]) -> None:
    """Read all ids, checked and distinct, in order of first sight.

    Args:
        share_ids: Where they come from.
        distinct: Where they go; true at any moment, for a caller that stops this.

    Raises:
        InvalidShareId: If one of them can't be an id; nothing was sent.
        UnexpectedCancellation: If the source is ended by a cancellation that nobody asked for.
    """
    refuse_single(share_ids)
    try:
        await _read_each(share_ids, distinct)
    except anyio.get_cancelled_exc_class():
        if is_asked_for():
            raise
        raise unexpected(_source(share_ids)) from None


def _source(share_ids: ShareIds) -> str:
    return f"the source of ids ({name_of(share_ids)})"


async def _read_each(share_ids: ShareIds, distinct: dict[str, None]) -> None:
    position = 0
    if isinstance(share_ids, AsyncIterable):

        async def take(share_id: object) -> None:
            nonlocal position
            distinct[check_share_id(share_id, position)] = None
            position += 1
            if position % SLICE == 0:
                await anyio.lowlevel.checkpoint()

        await _read_async(aiter(share_ids), take)
    elif type(share_ids) in (list, tuple):  # reading them runs nobody's code: whole slices at once
        while piece := share_ids[position : position + SLICE]:  # type: ignore[index]
            if plain_share_ids(piece):
                distinct.update(dict.fromkeys(piece))
            else:
                for place, share_id in enumerate(piece, position):
                    distinct[check_share_id(share_id, place)] = None
            position += len(piece)
            await anyio.lowlevel.checkpoint()
    else:
        for share_id in share_ids:
            distinct[check_share_id(share_id, position)] = None
            position += 1
            if position % SLICE == 0:
                await anyio.lowlevel.checkpoint()


async def _read_async(source: AsyncIterator[str], take: Callable[[object], Awaitable[None]]) -> None:
    """Hand on what an async source gives; a generator is closed in this very task, however it ends."""
    # One scope from before the first item, since a generator may hold scopes of its own over a `yield`:
    # those must be closed inside ours.
    with anyio.CancelScope() as scope:
        try:
            async for share_id in source:
                await take(share_id)
        finally:
            aclose = getattr(source, "aclose", None)
            if aclose is not None:
                scope.shield = True
                scope.deadline = anyio.current_time() + _CLEAN_UP
                await _close(aclose)


async def _close(aclose: Callable[[], Awaitable[None]]) -> None:
    try:
        await aclose()
    except BaseExceptionGroup as group:
        # A task group around a `yield` wraps the GeneratorExit that closes its generator.
        if group.split(GeneratorExit)[1] is not None:
            raise


class Supply(Protocol):
    """Batches, when there are any.

    Attributes:
        failure: What the source raised, or None.
    """

    failure: Exception | None

    @property
    def complete(self) -> bool:
        """Whether the source was read to its end."""

    @property
    def exhausted(self) -> bool:
        """No further batch will come."""

    @property
    def total(self) -> int | None:
        """How many ids there are; None while that is not known."""

    def take(self) -> Batch | None:
        """The next batch, if there is one now."""

    def sample(self, where: float) -> Batch | None:
        """Take a single id out of what `take` has not returned yet, or None if there is none.

        Args:
            where: Its place in that, from 0 (the beginning) to 1 (the end).
        """

    def patience(self) -> float | None:
        """Seconds after which `take` may give more than now, or None."""

    def drop(self) -> Iterator[Batch]:
        """What was read and never taken."""


class ListSupply:
    """Ids that are all there.

    Args:
        ids: Checked and distinct.
        complete: Whether these are all ids of the source.
    """

    failure: Exception | None = None

    def __init__(self, ids: list[str], *, complete: bool = True) -> None:
        self.complete = complete
        self._ids = ids
        self._at = 0
        self._sampled: set[int] = set()
        self.total: int | None = len(ids)

    @property
    def exhausted(self) -> bool:
        """No further batch will come."""
        return self._at >= len(self._ids)

    def take(self) -> Batch | None:
        """The next batch."""
        while not self.exhausted:
            start, self._at = self._at, self._at + BATCH_SIZE
            ids = self._ids[start : self._at]
            batch = Batch(ids, range(start, start + len(ids)))
            if not self._sampled:
                return batch
            rest = [index for index in range(len(ids)) if start + index not in self._sampled]
            if rest:
                return batch.only(rest)
        return None

    def sample(self, where: float) -> Batch | None:
        """Take a single id out of the rest of the list."""
        first = self._at + int(where * (len(self._ids) - self._at))
        for place in chain(range(first, len(self._ids)), range(self._at, first)):
            if place not in self._sampled:
                self._sampled.add(place)
                return Batch([self._ids[place]], [place])
        return None

    def patience(self) -> None:
        """Waiting brings nothing."""

    def drop(self) -> Iterator[Batch]:
        """What was never taken."""
        while (batch := self.take()) is not None:
            yield batch


class StreamSupply:
    """Ids read as the consumer takes outcomes: at most `window` ids ahead of it."""

    def __init__(self, share_ids: ShareIds, window: int, now: Now) -> None:
        refuse_single(share_ids)
        self._source = share_ids
        self._window = window
        self._now = now
        self.ring: Callable[[], None] = lambda: None
        self._full: deque[Batch] = deque()
        self._part: list[str] = []
        self._ahead: set[str] = set()
        self._room = anyio.Event()
        self._began_part = 0.0
        self._read = 0
        self._position = 0
        self._over = self._ended = False
        self.failure: Exception | None = None

    @property
    def exhausted(self) -> bool:
        """No further batch will come."""
        return self._over and not self._full and not self._part

    @property
    def complete(self) -> bool:
        """Whether the source was read to its end."""
        return self._ended

    @property
    def total(self) -> int | None:
        """How many distinct ids there were, once the source is at its end."""
        return self._read if self._ended else None

    def take(self) -> Batch | None:
        """The next batch; a part of one when the source pauses."""
        if self._full:
            return self._full.popleft()
        if self._part and (self._over or self._age() >= LINGER):
            return self._cut()
        return None

    def sample(self, where: float) -> Batch | None:
        """Take a single id out of the window: what was read and not yet taken."""
        if self._part:
            self._full.append(self._cut())
        if not self._full:
            return None
        index = int(where * len(self._full))
        batch = self._full[index]
        middle = len(batch.ids) // 2
        if len(batch.ids) == 1:
            del self._full[index]
        else:
            self._full[index] = batch.only([at for at in range(len(batch.ids)) if at != middle])
        return batch.only([middle])

    def patience(self) -> float | None:
        """When a half-full batch goes."""
        return max(0.0, LINGER - self._age()) if self._part else None

    def _age(self) -> float:
        return self._now() - self._began_part

    def drop(self) -> Iterator[Batch]:
        """What was read and never taken."""
        self._over = True
        yield from self._full
        self._full.clear()
        if self._part:
            yield self._cut()

    def consumed(self, ids: Iterable[str]) -> None:
        """The consumer is done with the outcomes of these."""
        self._ahead.difference_update(ids)
        self._room.set()

    async def feed(self) -> None:
        """Read the source to its end, within the window; its errors end up in `failure`."""
        source = self._source
        try:
            if isinstance(source, AsyncIterable):
                await _read_async(aiter(source), self._take_in)
            else:
                await self._feed_sync(iter(source))
            self._ended = True
        except Exception as error:  # noqa: BLE001 - the source's own: it surfaces after what is owed
            self.failure = error
        except anyio.get_cancelled_exc_class():
            if is_asked_for():
                raise
            self.failure = unexpected(_source(source))
        finally:
            self._over = True
            self.ring()

    async def _feed_sync(self, source: Iterator[str]) -> None:
        try:
            for share_id in source:
                await self._take_in(share_id)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    async def _take_in(self, share_id: object) -> None:
        self._add(check_share_id(share_id, self._position))
        self._position += 1
        if self._position % BATCH_SIZE == 0:
            await anyio.lowlevel.checkpoint()  # a source that never waits must not starve the rest
        while len(self._ahead) >= self._window:
            self._room = anyio.Event()
            self._began_part = -math.inf  # nothing is added to a half-full batch for now
            self.ring()
            await self._room.wait()

    def _add(self, checked: str) -> None:
        if checked in self._ahead:
            return
        self._read += 1
        self._ahead.add(checked)
        if not self._part:
            self._began_part = self._now()
        self._part.append(checked)
        if len(self._part) == BATCH_SIZE:
            self._full.append(self._cut())
            self.ring()
        elif len(self._part) == 1:
            self.ring()  # somebody must watch whether it lingers

    def _cut(self) -> Batch:
        ids, self._part = self._part, []
        return Batch(ids, range(len(ids)))
