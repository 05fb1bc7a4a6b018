"""Other ways to meet limits that nobody tells, for ``pacing``: what one writes, and what others ship."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol


class Pacing(Protocol):
    """Before and after each request."""

    async def enter(self) -> None: ...

    async def leave(self, *, refused: bool, retry_after: float | None) -> None: ...


class Fixed:
    """Fixed concurrency; whoever is refused sleeps as ``Retry-After`` says, else a jittered back-off."""

    def __init__(self) -> None:
        self._tries = 0

    async def enter(self) -> None:
        """No limit but the workers."""

    async def leave(self, *, refused: bool, retry_after: float | None) -> None:
        if not refused:
            self._tries = 0
            return
        self._tries = min(self._tries + 1, 160)
        await asyncio.sleep(retry_after or random.uniform(0.1, min(5.0, 0.1 * 2 ** (self._tries / 16))))


class Aimd:
    """Requests in flight: one more per round trip, half as many after a refusal (once per round trip)."""

    def __init__(self) -> None:
        self._limit, self._busy, self._cut = 1.0, 0, 0.0
        self._room = asyncio.Condition()

    async def enter(self) -> None:
        async with self._room:
            await self._room.wait_for(lambda: self._busy < int(self._limit))
            self._busy += 1

    async def leave(self, *, refused: bool, retry_after: float | None) -> None:
        if not refused:
            self._limit += 1 / self._limit
        elif time.monotonic() - self._cut > 0.1:
            self._limit, self._cut = max(1.0, self._limit / 2), time.monotonic()
        if refused:
            await asyncio.sleep(retry_after or 0.1)
        async with self._room:
            self._busy -= 1
            self._room.notify_all()


class Cubic:
    """The scheme of botocore's "adaptive" retry mode, with its constants.

    A bucket of tokens whose rate follows CUBIC: down to 0.7 of the measured rate after a refusal, then up
    again along a cube; at most twice the measured rate.
    """

    BETA, SCALE, SMOOTH, LEAST = 0.7, 0.4, 0.8, 0.5

    def __init__(self) -> None:
        self._on = False
        self._fill = self._capacity = self._tokens = 0.0
        self._filled_at = time.monotonic()
        self._measured, self._count, self._bucket = 0.0, 0, self._half_second()
        self._best = self._cut_at = 0.0

    def _half_second(self) -> float:
        return int(time.monotonic() * 2) / 2

    async def enter(self) -> None:
        while self._on:
            now = time.monotonic()
            self._tokens = min(self._capacity, self._tokens + (now - self._filled_at) * self._fill)
            self._filled_at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await asyncio.sleep((1 - self._tokens) / self._fill)

    async def leave(self, *, refused: bool, retry_after: float | None) -> None:
        self._measure()
        now = time.monotonic()
        if refused:
            base = min(self._measured, self._fill) if self._on else self._measured
            self._best, self._cut_at, rate = base, now, base * self.BETA
            self._on = True
        else:
            offset = (self._best * (1 - self.BETA) / self.SCALE) ** (1 / 3)
            rate = self.SCALE * (now - self._cut_at - offset) ** 3 + self._best
        self._set(min(rate, 2 * self._measured))
        if refused:
            await asyncio.sleep(retry_after or random.uniform(0, 1))

    def _measure(self) -> None:
        self._count += 1
        bucket = self._half_second()
        if bucket > self._bucket:
            rate = self._count / (bucket - self._bucket)
            self._measured = rate * self.SMOOTH + self._measured * (1 - self.SMOOTH)
            self._count, self._bucket = 0, bucket

    def _set(self, rate: float) -> None:
        self._fill = max(rate, self.LEAST)
        self._capacity = max(rate, 1.0)
        self._tokens = min(self._tokens, self._capacity)


RIVALS: dict[str, Callable[[], Pacing]] = {
    "botocore-like adaptive": Cubic,
    "fixed, Retry-After": Fixed,
    "AIMD": Aimd,
}


@asynccontextmanager
async def permit(pacing: Pacing) -> AsyncIterator[Callable[[bool, float | None], None]]:
    """Around one request; call what it yields with how it went."""
    await pacing.enter()
    said: tuple[bool, float | None] = False, None

    def say(refused: bool, retry_after: float | None) -> None:
        nonlocal said
        said = refused, retry_after

    try:
        yield say
    finally:
        await pacing.leave(refused=said[0], retry_after=said[1])
