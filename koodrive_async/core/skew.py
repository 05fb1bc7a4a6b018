"""Estimate the server's clock. Pure functions.

``X-Date`` must lie within 15 minutes of the server's time and never after it (page batchCancel.html).
Three sources say what time it is there, and each may be wrong:

- our wall clock, which may be off, and may jump;
- the ``Date`` of a reply, which a gateway or a node behind it may have wrong. It was written before the reply
  came in, so ``date + (now - received)``, counted on the monotonic clock, is not ahead of whoever wrote it;
- what the service accepted: a signing time that was in order a moment ago is in order now, counted on the
  monotonic clock.

The last outranks the others. So an *offset* (server time minus monotonic clock) is signed with until it is
refused, and then the next candidate: what was accepted before, the date of the refusal, the wall clock,
whichever was not itself refused since the last success. Dates that agree are believed without a refusal, as
long as nothing was accepted.

Not here: reading a clock (see `shell.clock`), judging a whole reply (see `verdict`).
"""

from __future__ import annotations

from typing import NamedTuple

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

#: Replies that must agree before a date is believed that nobody was refused for: one may come from a node
#: whose clock is wrong, and of two it could not be said which.
AGREE = 3

#: Refused offsets that are remembered: one for each source, and one more for a clock that jumps meanwhile.
_REFUSED = 4


class Stamp(NamedTuple):
    """A signing time, and what it was made from; hand it back with the answer."""

    at: float
    """Seconds since the epoch."""
    offset: float
    """`at` minus the monotonic clock at that moment."""


@attrs.frozen(slots=True)
class ClockEstimate:
    """What is known of the server's clock; each event gives a new one.

    Attributes:
        ahead: What is signed with: signing time minus monotonic clock; None for the wall clock's.
        accepted: The offset that the service accepted last, or None.
        refused: Offsets that it refused since, the latest last.
        dates: Offsets of the latest replies' dates.
    """

    ahead: float | None = None
    accepted: float | None = None
    refused: tuple[float, ...] = ()
    dates: tuple[float, ...] = ()

    def stamp(self, *, wall: float, monotonic: float) -> Stamp:
        """A time to sign with, and its offset.

        Args:
            wall: Our wall clock, in seconds since the epoch.
            monotonic: The monotonic clock.
        """
        ahead = wall - FIRST_MARGIN - monotonic if self.ahead is None else self.ahead
        return Stamp(ahead + monotonic, ahead)

    def learn(self, date: float, received: float) -> ClockEstimate:
        """The estimate after a reply.

        Args:
            date: Its ``Date`` header, in seconds since the epoch.
            received: When it came in, on the monotonic clock.
        """
        dates = (*self.dates[1 - AGREE :], date - received)
        ahead = self.ahead
        if self.accepted is None and not self.refused and len(dates) == AGREE and _alike(dates):
            ahead = min(dates) - MARGIN
        return attrs.evolve(self, dates=dates, ahead=ahead)

    def took(self, stamp: Stamp) -> ClockEstimate:
        """The estimate after the service accepted a request of that stamp."""
        ahead = stamp.offset if self.ahead is None else self.ahead
        if ahead == self.ahead and self.accepted == stamp.offset and not self.refused:
            return self
        return attrs.evolve(self, ahead=ahead, accepted=stamp.offset, refused=())

    def refuse(self, stamp: Stamp, date: float, received: float, *, wall: float) -> ClockEstimate:
        """The estimate after a request of that stamp was refused for its date.

        Args:
            stamp: What it was signed with.
            date: The refusal's own date, in seconds since the epoch.
            received: When it came in, on the monotonic clock.
            wall: Our wall clock at that moment.
        """
        if self.ahead is not None and not _same(self.ahead, stamp.offset):
            return self  # it was signed before the clock was last corrected
        told = date - received - MARGIN
        refused, left = self._left(stamp, told, wall - FIRST_MARGIN - received)
        if not left:  # all were refused, so something moved: begin again
            refused, left = (), [told]
        return attrs.evolve(self, ahead=left[0], refused=refused)

    def doubt(self, stamp: Stamp, received: float, *, wall: float) -> ClockEstimate:
        """The estimate after a request of that stamp was refused, and nobody says why.

        It may be for the date, if that is one that was learnt and never accepted: a wrong ``Date`` agrees
        with the signature that was made from it.

        Args:
            stamp: What it was signed with.
            received: When the refusal came in, on the monotonic clock.
            wall: Our wall clock at that moment.
        """
        if self.ahead is None or not _same(self.ahead, stamp.offset) or self.accepted == self.ahead:
            return self
        refused, left = self._left(stamp, wall - FIRST_MARGIN - received)
        return attrs.evolve(self, ahead=left[0], refused=refused) if left else self

    def _left(self, stamp: Stamp, *learnt: float) -> tuple[tuple[float, ...], list[float]]:
        """What was refused by now, and the candidates that were not, the best one first."""
        refused = (*self.refused, stamp.offset)[-_REFUSED:]
        candidates = learnt if self.accepted is None else (self.accepted, *learnt)
        return refused, [each for each in candidates if not any(_same(each, other) for other in refused)]

    def likely_time(self, *, wall: float, monotonic: float) -> float:
        """The server's time as near as can be told: our wall clock, unless it is known to differ."""
        told = sorted(self.dates)[len(self.dates) // 2] if self.dates else None
        if self.accepted is not None:  # what was accepted was not late, nor older than the window
            least = self.ahead if self.ahead is not None else self.accepted
            if told is None or not least <= told + NOTEWORTHY <= least + WINDOW:
                told = least + MARGIN
                if least <= wall - monotonic <= least + WINDOW:
                    return wall
        if told is None or abs(told + monotonic - wall) <= NOTEWORTHY:
            return wall
        return told + monotonic

    def correction(self, before: ClockEstimate, *, wall: float, monotonic: float) -> float:
        """By how many seconds this estimate differs from an older one; 0.0 where that is noise."""
        moved = (
            self.stamp(wall=wall, monotonic=monotonic).at - before.stamp(wall=wall, monotonic=monotonic).at
        )
        return moved if abs(moved) > NOTEWORTHY + FIRST_MARGIN else 0.0


def _same(one: float, other: float) -> bool:
    """Whether two offsets are the same but for rounding: a signature by either is accepted or refused."""
    return abs(one - other) < MARGIN


def _alike(dates: tuple[float, ...]) -> bool:
    return max(dates) - min(dates) <= NOTEWORTHY


def refused_for_date(signed: float, server: float) -> bool:
    """Whether a service at that time must refuse a signature of this one."""
    return signed >= server + 1.0 or signed < server - WINDOW + NOTEWORTHY
