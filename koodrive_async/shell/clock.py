"""The server's clock, as far as it is known; shared by all calls to one endpoint."""

from __future__ import annotations

import time

from koodrive_async.core.skew import ClockEstimate


class Clock:
    """Holds the estimate; the arithmetic is ``core/skew.py``'s."""

    def __init__(self) -> None:
        self._estimate = ClockEstimate()

    def signing_time(self) -> float:
        """Seconds since the epoch, not later than the server's time."""
        return self._estimate.signing_time(wall=time.time(), monotonic=time.monotonic())

    def now(self) -> float:
        """Seconds since the epoch at the server, as near as can be told: not for signing."""
        return self._estimate.likely_time(wall=time.time(), monotonic=time.monotonic())

    def learn(self, date: float, received: float) -> float:
        """Take a reply's date in; by how many seconds the estimate moved, 0.0 where that is noise."""
        before, self._estimate = self._estimate, self._estimate.learn(date, received)
        return self._estimate.correction(before, wall=time.time(), monotonic=time.monotonic())
