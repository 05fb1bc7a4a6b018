"""What time it is at the service: numbers in, numbers out.

``X-Date`` must lie within 15 minutes of the server's time and never after it (page batchCancel.html).
The ``Date`` header of a reply was written before the reply came in, so at that moment the server's
time was at least that: ``date + (now - received)``, counted on the monotonic clock, can't be ahead.
That is surer than a midpoint of send and receive, and a jump of the wall clock does not touch it.
Refuses to read a clock.
"""

from __future__ import annotations

import attrs

#: "must be within 15 minutes" (koodrive_05_0010).
WINDOW = 15 * 60.0

#: Taken from a learnt time: the service's machines need not agree to the second.
MARGIN = 1.0

#: Taken from our own wall clock while nothing is learnt: clocks run a few seconds ahead, and being
#: late costs nothing (koodrive-api section 2.4: "back-date X-Date by a few seconds").
FIRST_MARGIN = 5.0

#: A `Date` header has whole seconds; a correction below this is noise.
NOTEWORTHY = 2.0


@attrs.frozen(slots=True)
class ClockEstimate:
    """What is known of the server's clock.

    Attributes:
        ahead: Server time minus monotonic clock, at least; None while nothing is learnt.
    """

    ahead: float | None = None

    def learn(self, date: float, received: float) -> ClockEstimate:
        """The estimate after a reply.

        Args:
            date: Its ``Date`` header, in seconds since the epoch.
            received: When it came in, on the monotonic clock.
        """
        return ClockEstimate(date - received)

    def signing_time(self, *, wall: float, monotonic: float) -> float:
        """A time, in seconds since the epoch, that is not later than the server's."""
        if self.ahead is None:
            return wall - FIRST_MARGIN
        return self.ahead + monotonic - MARGIN

    def likely_time(self, *, wall: float, monotonic: float) -> float:
        """The server's time as near as can be told: our wall clock, unless it is known to differ."""
        if self.ahead is None or abs(self.ahead + monotonic - wall) <= NOTEWORTHY:
            return wall
        return self.ahead + monotonic

    def correction(self, before: ClockEstimate, *, wall: float, monotonic: float) -> float:
        """By how many seconds this estimate differs from an older one; 0.0 where that is noise."""
        moved = self.signing_time(wall=wall, monotonic=monotonic) - before.signing_time(
            wall=wall, monotonic=monotonic
        )
        return moved if abs(moved) > NOTEWORTHY + FIRST_MARGIN else 0.0


def refused_for_date(signed: float, server: float) -> bool:
    """Whether a service at that time must refuse a signature of this one."""
    return signed >= server + 1.0 or signed < server - WINDOW + NOTEWORTHY
