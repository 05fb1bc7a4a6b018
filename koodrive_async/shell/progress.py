"""Tells a caller how far a bulk call is: often enough to watch, seldom enough to cost nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from koodrive_async.core.events import Progress
from koodrive_async.core.outcomes import Status
from koodrive_async.shell.hooks import call_back
from koodrive_async.shell.looptime import Now

#: Not more often than this, in seconds: ten times a second looks smooth.
INTERVAL = 0.1

#: The rate is measured over this many seconds.
WINDOW = 5.0


class Meter:
    """Makes `Progress` snapshots of one bulk call, and hands them to its callback."""

    def __init__(self, on_progress: Callable[[Progress], None] | None, now: Now) -> None:
        self._on_progress = on_progress
        self._now = now
        self._began = self._now()
        self._told = -INTERVAL
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)])

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self._now() - self._began

    def snapshot(
        self,
        counts: Mapping[Status, int],
        *,
        total: int | None,
        in_flight: int,
        requests: int,
        pace: float | None,
    ) -> Progress:
        """Where the call stands now."""
        now = self._now()
        settled = sum(counts.values())
        sent = settled - counts[Status.NOT_SENT]  # those cost no time: they would make the rate a lie
        while len(self._samples) > 1 and now - self._samples[0][0] > WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        rate = (sent - before) / (now - since) if now > since else 0.0
        left = None if total is None else max(0, total - settled)
        return Progress(
            counts=MappingProxyType(dict(counts)),
            settled=settled,
            total=total,
            in_flight=in_flight,
            requests=requests,
            rate=rate,
            pace=pace,
            elapsed=now - self._began,
            eta=0.0 if left == 0 else left / rate if left is not None and rate > 0 else None,
        )

    def tell(self, snapshot: Callable[[], Progress], *, last: bool = False) -> None:
        """Call back, if it is time; a callback that raises is logged and does no harm."""
        now = self._now()
        if not last and now - self._told < INTERVAL:
            return
        self._told = now
        progress = snapshot()
        self._samples.append((now, progress.settled - progress.counts[Status.NOT_SENT]))
        if self._on_progress is not None:
            call_back(self._on_progress, progress, "on_progress failed")
