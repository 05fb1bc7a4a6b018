"""What refusals teach about a service: how many requests per second it grants, how many at a time.

Two ceilings follow one rule: lowered to just under what was granted, held there for a while, then raised,
faster with time, and only while the ceiling is what limits.

What was granted is read off in this order:

1. Probes refused too: all that was delivered since the refusal before, closed time included, was all there
   was (a spent window). Not less than half the present rate at once: the service may just be sulking.
2. The first refusal: the start was a burst, so Little's law over the last round trip (an upper bound, as
   the next refusal comes soon and says more; less of it where refusals cost long pauses).
3. Otherwise what was delivered between two refusals (between them the service gave all it had), or what
   it granted of the requests that were in flight at the refusal (sent without knowing of it), if more.
4. What was held without a refusal for the whole hold time is known to be good: never below that.
5. What the service says that it grants, for half a minute: a strong hint, but limits are raised.

A refusal at a moment when unusually many requests were in flight is the number's fault, not the rate's,
unless the number was blamed just before: then it was innocent.

Refusals that are no limit's are not learnt from: see `noise`.

Not here: who may send (that is `Pacer`). No clock is read.
"""

import math
from bisect import bisect_right
from collections import deque
from typing import Final, NamedTuple

from koodrive_async.core.noise import CALM, DEPTH, Noise

MARGIN: Final = 0.97
"""Share of a limit that is used: clocks and networks are not exact (20 per second gives 19.4)."""

WINDOW: Final = 1.0
"""What was delivered is measured over so many seconds: longer, and it is yesterday's rate; shorter, noise."""

SAMPLE: Final = 20
"""... and over so many answers at least."""

HOLD: Final = 2.0
"""Seconds for which a lowered ceiling is held; doubles while refusals confirm it (within a tenth) ..."""

HOLD_CAP: Final = 6.0
"""... up to here: a limit that has risen is noticed that late. A refusal costs some 0.08 s, 1 % of this."""

CARE: Final = 10.0
"""... but at least so many times as long as the gate was closed: trying for more shall cost a tenth at most,
also where every refusal closes the gate for long ..."""

RARE: Final = 30.0
"""... and for so many requests: where there are few of them, not every tenth shall be refused ..."""

CARE_CAP: Final = 60.0
"""... but because of these for so many seconds at most."""

CLIMB: Final = 0.02
"""Growth per second when a climb begins: slow, as the limit is near and shall be met gently ..."""

HASTE: Final = 0.05
"""... and growth of that growth, per second squared: far if not met soon. Eightfold after five seconds."""

TOLD: Final = 30.0
"""Seconds for which a limit that the service named is believed: one refusal in so long a time is no harm."""

EXPLORE: Final = 6.0
"""The first estimate is a guess from a few answers: it is not held, but climbs as after so many seconds,
unless refusals turn out to be dear."""

STEP: Final = 5.0
"""Longest time between two successes that counts as climbing, seconds: idleness teaches nothing."""

TAIL: Final = 3.0
"""Unusually many in flight: so many mean deviations above the mean (in a bell curve one of a hundred)."""

CHEAP: Final = 0.25
"""A closure shorter than this (seconds) is cheap: guesses may err upwards, its time counts as granted."""

FLOOR: Final = 1 / 30
"""Lowest rate that is ever learnt, requests/s: asking twice a minute hurts nobody, and hope must not end."""


def _per_second(count: float, seconds: float) -> float:
    """A rate; clocks may be too coarse to see the time that passed."""
    return count / max(seconds, 1e-3)


class Ticket(NamedTuple):
    """One request that was let through; give it back with `Pacer.finish`."""

    number: int
    """Tickets count up from 1."""
    sent_at: float
    """Monotonic seconds."""
    level: int
    """Requests in flight when it was sent, itself included."""
    probe: bool
    """Whether it was let through a closed gate."""
    suspect: bool = False
    """Whether its batch failed while others did not."""


class Ceiling:
    """A learned limit: held just under what was refused, then raised ever faster while it limits."""

    __slots__ = ("_age", "_bound_since", "_hold", "base", "value")

    def __init__(self) -> None:
        self.value = math.inf
        self.base = math.inf
        """What `value` was lowered to last."""
        self._hold = HOLD
        self._age = 0.0
        self._bound_since: float | None = None

    def lower(self, value: float, *, hold: float, explore: bool = False) -> None:
        """Set it to `value`, for `hold` seconds at least; `explore`: climb at once, it is but a guess."""
        agrees = 0.9 * self.base <= value <= 1.1 * self.base
        longer = min(HOLD_CAP, 2 * max(self._hold, HOLD / 2))
        self._hold = -EXPLORE if explore else max(longer if agrees else HOLD, min(CARE_CAP, hold))
        self.value = self.base = value
        self._age = 0.0
        self._bound_since = None

    def resume(self, value: float) -> None:
        """Set it to `value` and let it climb at once: what was learnt since was wrong."""
        self.lower(value, hold=0.0, explore=True)

    def stay(self, value: float) -> None:
        """Go back to `value`: rising begins from there, slowly."""
        self.value = value
        self._age = min(self._age, max(0.0, self._hold))

    @property
    def held(self) -> bool:
        """Whether it is low enough that nothing should be refused, and not yet rising."""
        return 0 < self._hold >= self._age

    @property
    def exploring(self) -> bool:
        """Whether its value is but a first guess, or one that was set back."""
        return self._hold < 0

    @property
    def climbing(self) -> bool:
        """Whether `base` was held to the end, and so is known to be good."""
        return 0 < self._hold < self._age

    def bound(self, now: float) -> None:
        """Note that it holds a request back."""
        if self._bound_since is None:
            self._bound_since = now

    def climb(self, now: float) -> bool:
        """After a success: grow for the time in which it was what limits; tell whether it grew."""
        if self._bound_since is None:
            return False
        step = min(STEP, now - self._bound_since)
        self._bound_since = None
        self._age += step
        over = self._age - self._hold
        if over <= 0:
            return False
        self.value *= 1 + min(step, over) * (CLIMB + HASTE * over * over)
        return True


class Capacity:
    """The two ceilings, and the book-keeping from which they are learnt."""

    def __init__(self) -> None:
        self.rate = Ceiling()
        self.flight = Ceiling()
        self.noise = Noise()
        self._undo = math.inf
        """Requests in flight before the lowering that is on trial."""
        self._safe = math.inf
        """The rate to go back to if a test finds no noise."""
        self._told = math.inf
        self._told_until = -math.inf
        # deliveries
        self._times: deque[float] = deque(maxlen=4096)
        self._count = 0
        """Deliveries since the last refusal (the cycle)."""
        self._since = -math.inf
        """When the cycle began: with the last refusal, or with the first success."""
        self._before = (-math.inf, 0)
        """Beginning and count of the cycle before."""
        self._latency = 1.0
        self._level = 1.0
        self._spread = 0.0
        # the refusal that closed the gate, and the requests in flight when its answer came
        self._refusal: Ticket | None = None
        self._last = 0
        self._span = 0.0
        self._accepted = self._refused = self._dry = 0
        self._granted = self._granted_open = 0.0
        self._crowded = self._starved = self._dear = False
        self._opened_at = self._blamed_at = -math.inf

    def delivered(self, now: float, ticket: Ticket) -> bool:
        """Count a success; tell whether the ceiling of the requests in flight rose."""
        self._times.append(now)
        self._count += 1
        self._latency = now - ticket.sent_at
        off = ticket.level - self._level
        self._level += off / 32  # an average over some 32 answers: several round trips
        self._spread += (abs(off) - self._spread) / 32
        if self._refusal is not None and self._refusal.number < ticket.number <= self._last:
            self._accepted += 1
        if self._since == -math.inf:
            self._since = ticket.sent_at
        if ticket.number >= self.noise.ends:
            self._tested(ticket.number)
        if self.rate.value < math.inf and self.rate.climb(now):
            if self.noise.testing:
                self._tested(ticket.number)
            elif self.noise.measuring:
                self.noise.held(ticket.number)
            if self.rate.value > self._told and now < self._told_until:
                self.rate.stay(self._told)
        return self.flight.value < math.inf and self.flight.climb(now)

    def tell(self, now: float, ceiling: float) -> None:
        """Take note of what the service says that it grants, requests/s: believed until it is old."""
        self._told = max(FLOOR, ceiling * MARGIN)
        self._told_until = now + TOLD

    def refused(self, ticket: Ticket) -> None:
        """Count a refusal of a request that was in flight when the gate closed."""
        if self._refusal is not None and self._refusal.number < ticket.number <= self._last:
            self._refused += 1

    def closed(self, now: float, ticket: Ticket, last: int, limit: int) -> None:
        """Note the circumstances of the refusal that closes the gate.

        Args:
            now: Monotonic seconds.
            ticket: Who was refused.
            last: Number of the last request that was sent.
            limit: Requests that might have been in flight.
        """
        self._refusal, self._last, self._dry = ticket, last, 0
        self._accepted, self._refused = 0, 1
        self._span = now - ticket.sent_at
        unusual = min(limit, self._level + TAIL * max(0.5, self._spread))
        self._crowded = self._count >= 2 * SAMPLE and ticket.level >= unusual
        if self._starved and self._count < SAMPLE:  # it had not really recovered: still the same drought
            since, count = self._before
            self._before = (since, count + self._count)
            self._granted = self._granted_open = _per_second(count + self._count, now - since)
        else:
            self._starved = False
            times = list(self._times)[-self._count :] if self._count else []
            skip = min(bisect_right(times, now - WINDOW), len(times) - SAMPLE)
            if skip <= 0 and len(times) < self._count:
                skip = 1
            since = times[skip - 1] if skip > 0 else self._since
            count = len(times) - max(0, skip)
            self._granted = _per_second(count, now - since)
            self._granted_open = _per_second(count, now - max(since, self._opened_at))
            dear = self._opened_at - self._since > CHEAP
            self._before = (self._opened_at if dear else self._since, self._count)
        self._since, self._count = now, 0

    def starved(self, now: float) -> None:
        """A probe was refused as well: still nothing to be had."""
        if self._refusal is not None:
            since, count = self._before
            self._granted = _per_second(count + self._count, now - since)
            self._starved = True
            self._dry += 1

    def opened(self, now: float, closed: float, last: int) -> bool:
        """After a successful probe: lower the ceiling that let the refused requests through.

        Args:
            now: Monotonic seconds.
            closed: For how many seconds the gate was closed.
            last: Number of the last request that was sent.

        Returns:
            Whether there was anything to learn from.
        """
        refusal, self._refusal = self._refusal, None
        self._opened_at = now
        if refusal is None:
            return False
        rate = self.rate
        guess = rate.value == math.inf
        granted = self._estimate(refusal, closed, guess=guess)
        if granted <= 0:
            return False
        self._dear = closed > max(CHEAP, 3 / rate.value)
        named = now < self._told_until
        if named:
            self._told_until = max(self._told_until, now + min(CARE_CAP, CARE * closed))
        test = self._suspect(refusal, last, named=named)
        if named and self._told < rate.value:
            rate.lower(self._told, hold=CARE * closed)
            return True
        if self._crowded and not (guess or test or self._starved) and now - self._blamed_at > HOLD:
            self._blamed_at = now
            self.flight.lower(max(1, refusal.level - 1), hold=CARE * closed)
            return True
        value = MARGIN * min(granted, rate.value)
        if rate.climbing:
            value = max(value, rate.base)
        value = max(FLOOR, value)
        if test:
            self._safe = value
            value = max(FLOOR, DEPTH * min(MARGIN * self._granted, value))
            self.noise.test(last)
            rate.lower(value, hold=math.inf)
            return True
        rate.lower(value, hold=max(CARE * closed, RARE / value), explore=guess and closed < CHEAP)
        return True

    def _suspect(self, refusal: Ticket, last: int, *, named: bool) -> bool:
        """Weigh the refusal that closed the gate; tell whether it is time to test whether it is noise."""
        noise, due = self.noise, False
        calm = self._dry <= 1 and self._refused <= 1 + CALM * (self._accepted + self._refused)
        if named or noise.testing or not self.rate.held:
            if not self.rate.exploring:
                noise.expected(self.rate.value)
                self._undo = self.flight.value
        elif calm:
            due = noise.unexpected(refusal.number)
        noise.hold(last)
        return due

    def _tested(self, number: int) -> None:
        """The test is over: undo what did not help, or go back to what is known to be safe."""
        if self.noise.tested(number):
            self.rate.resume(self.noise.undo)
            self.flight.resume(self._undo)
        else:
            self.rate.lower(self._safe, hold=0.0)

    def _estimate(self, refusal: Ticket, closed: float, *, guess: bool) -> float:
        """Requests per second that the service has been granting; see the module's docstring."""
        rate, granted = self.rate, self._granted
        burst = _per_second(refusal.level - 1, self._latency)
        if self._starved:
            granted = max(granted, burst / 4 if guess else rate.value / 2)
            return max(granted, math.sqrt(rate.base * rate.value)) if rate.climbing else granted
        if guess:
            return max(granted, burst if closed < CHEAP else 0.7 * burst)
        share = (self._accepted + 1) / (self._accepted + self._refused + 1)
        dry = self._accepted == 0 and self._refused >= 3
        if self._dear and not dry:
            granted = self._granted_open
        elif self._dear or share > 0.3:
            granted = math.sqrt(granted * self._granted_open)
        sent = self._last - refusal.number + 1
        speed = min(rate.value, _per_second(sent, self._span)) if sent >= 5 else rate.value
        return max(granted, speed * share)
