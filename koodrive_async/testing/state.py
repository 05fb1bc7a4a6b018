"""The shares the service keeps: columns, so that a quarter of a million of them stay cheap.

A `Book` holds the shares of one owner. What a share looks like is worked out from its number when
somebody asks (`seeding.describe`); only shares that were created or changed are kept as objects.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs

from koodrive_async.testing.seeding import Share, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NOT_THERE = 13000309
_CREATED = 1_900_000_000_000_000_000
_BLOCK = 1024
_SHORT_BASE, _SHORT_STEP = 1_808_628_918_203_192_832, 4_194_301


class Marks:
    """One mark for each share, with the unmarked ones countable: finds the n-th without a scan."""

    def __init__(self, size: int) -> None:
        self._marks = bytearray(size)
        self._clear = [min(_BLOCK, size - start) for start in range(0, size, _BLOCK)]

    def __len__(self) -> int:
        return len(self._marks)

    def __getitem__(self, index: int) -> bool:
        return bool(self._marks[index])

    @property
    def clear_count(self) -> int:
        """How many are unmarked."""
        return sum(self._clear)

    def grow(self) -> None:
        """One more share, unmarked."""
        if len(self._marks) % _BLOCK == 0:
            self._clear.append(0)
        self._marks.append(0)
        self._clear[-1] += 1

    def mark(self, index: int) -> bool:
        """Mark it; False if it was marked already."""
        if self._marks[index]:
            return False
        self._marks[index] = 1
        self._clear[index // _BLOCK] -= 1
        return True

    def clear_from(self, start: int) -> Iterator[int]:
        """Unmarked positions from `start` on, ascending."""
        at = self._marks.find(0, max(start, 0))
        while at >= 0:
            yield at
            at = self._marks.find(0, at + 1)

    def clear_below(self, start: int) -> Iterator[int]:
        """Unmarked positions from `start` down, descending."""
        at = self._marks.rfind(0, 0, start + 1) if start >= 0 else -1
        while at >= 0:
            yield at
            at = self._marks.rfind(0, 0, at)

    def nth_clear(self, n: int) -> int:
        """Position of the n-th unmarked share (0 is the first); the length if there are fewer."""
        for block, clear in enumerate(self._clear):
            if n < clear:
                for at in self.clear_from(block * _BLOCK):
                    if n == 0:
                        return at
                    n -= 1
            n -= clear
        return len(self._marks)


def realistic_ids(count: int, seed: int, *, start: int = 1_689_759_841_444_195_840) -> list[str]:
    """Ascending 19-digit numbers with irregular distances, as a distributed counter makes them."""
    bits = random.Random(seed).getrandbits  # noqa: S311 - variety, not secrecy
    ids, at = [], start + (seed % 1000) * 10**15
    for _ in range(count):
        ids.append(str(at))
        at += 1 + bits(24)
    return ids


class Book:
    """All shares of one owner; the receiver sees them among the shares received.

    `gone`: the owner cancelled it. `unseen`: the receiver left it, or it is gone.
    """

    def __init__(
        self, owner: str, receiver: str, ids: Iterable[str], *, seed: int, carrier: bool, at: float
    ) -> None:
        self.owner, self.receiver, self.carrier = owner, receiver, carrier
        self.ids = list(ids)
        self.index = {share_id: number for number, share_id in enumerate(self.ids)}
        if len(self.index) != len(self.ids):
            raise ValueError("a seeded share id occurs twice")
        self.gone = Marks(len(self.ids))
        self.unseen = Marks(len(self.ids))
        self._seed, self._at, self._seeded = seed, at, len(self.ids)
        self._changed: dict[int, Share] = {}

    def short_url(self, number: int) -> str:
        """The short code of a share: a number like its id, yet another one."""
        return str(_SHORT_BASE + (self._seed % 97) * 10**15 + number * _SHORT_STEP)

    def number_of(self, short_url: str) -> int | None:
        """The share behind a short code."""
        if not (short_url.isascii() and short_url.isdigit() and len(short_url) < 32):
            return None
        distance = int(short_url) - _SHORT_BASE - (self._seed % 97) * 10**15
        number, rest = divmod(distance, _SHORT_STEP)
        return number if rest == 0 and 0 <= number < len(self.ids) else None

    def share(self, number: int) -> Share:
        """What this share looks like now."""
        changed = self._changed.get(number)
        if changed is not None:
            return changed
        return describe(
            self.ids[number],
            self.short_url(number),
            number,
            self._seeded,
            owner=self.owner,
            seed=self._seed,
            carrier=self.carrier,
            at=self._at,
        )

    def change(self, number: int, edit: Callable[[Share], Share]) -> Share:
        """Replace a share by its edited version, and keep that."""
        new = self._changed[number] = edit(self.share(number))
        return new

    def cancel(self, number: int) -> bool:
        """Stop sharing; False if that had happened before."""
        self.unseen.mark(number)
        return self.gone.mark(number)

    def viewed(self, number: int) -> None:
        """One more view."""
        self.change(number, lambda share: attrs.evolve(share, views=share.views + 1))

    def create(self, edit: Callable[[Share], Share]) -> int:
        """Add a share at the end; `edit` fills in a template."""
        number = len(self.ids)
        last = next((i for i in reversed(self.ids) if i.isascii() and i.isdigit()), None)
        share_id = str(max(int(last) if last else 0, _CREATED + (self._seed % 97) * 10**12) + 4_099)
        self.ids.append(share_id)
        self.index[share_id] = number
        self.gone.grow()
        self.unseen.grow()
        template = Share(share_id=share_id, short_url=self.short_url(number), owner=self.owner)
        self._changed[number] = edit(template)
        return number
