"""The server's clock, as far as it is known; shared by all calls to one endpoint.

Used by every attempt: `stamp` before it is sent, and with the reply `accepted`, `refused` or `doubted`, and
`learn`.
"""

from __future__ import annotations

import time

from koodrive_async.core.skew import ClockEstimate, Stamp


class Clock:
    """Holds the estimate; the arithmetic is ``core/skew.py``'s."""

    def __init__(self) -> None:
        self._estimate = ClockEstimate()

    def stamp(self) -> Stamp:
        """A time to sign with, in seconds since the epoch, not later than the server's time."""
        return self._estimate.stamp(wall=time.time(), monotonic=time.monotonic())

    def now(self) -> float:
        """Seconds since the epoch at the server, as near as can be told: not for signing."""
        return self._estimate.likely_time(wall=time.time(), monotonic=time.monotonic())

    def learn(self, date: float, received: float) -> float:
        """Note a reply's date.

        Args:
            date: In seconds since the epoch.
            received: When the reply came in, on the monotonic clock.

        Returns:
            By how many seconds the time to sign with moved, 0.0 where that is noise.
        """
        return self._become(self._estimate.learn(date, received))

    def accepted(self, stamp: Stamp) -> None:
        """Note that the service accepted a request that was signed with this stamp."""
        self._estimate = self._estimate.took(stamp)

    def refused(self, stamp: Stamp, date: float, received: float) -> float:
        """Note that it refused one for its date; same arguments and result as `learn`."""
        return self._become(self._estimate.refuse(stamp, date, received, wall=time.time()))

    def doubted(self, stamp: Stamp, received: float) -> float:
        """Note that it refused one without saying why; same result as `learn`."""
        return self._become(self._estimate.doubt(stamp, received, wall=time.time()))

    def _become(self, estimate: ClockEstimate) -> float:
        before, self._estimate = self._estimate, estimate
        return estimate.correction(before, wall=time.time(), monotonic=time.monotonic())
