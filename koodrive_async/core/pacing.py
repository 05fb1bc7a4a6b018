"""How fast the service may be asked: a gate, a learned rate and a learned number in flight.

::

                 429, or a run of failures                 pause over
      OPEN  ───────────────────────────────▶  CLOSED  ────────────────────▶  PROBING (one request)
       ▲                                        ▲        refused or failed        │    │
       │                                        └──── the pause doubles ──────────┘    │
       └───────────────────────────── a success ───────────────────────────────────────┘

Nothing limits but `concurrency` and `per_second` until the first 429, save that the number in flight starts
at one and doubles per round trip, so that a limit is met at twice its height and not at a hundred times.
A 429 then teaches two ceilings, the rate and the number in flight: whichever held the refused request back
is lowered, to just under what the service had been granting. A ceiling is held there for a while, then it
climbs, faster with time, and only while it is what limits.

Refuses to do: read a clock, sleep, roll dice, log. Every function that needs the time takes `now`
(monotonic seconds). Not thread-safe: one event loop owns a `Pacer`, no call of it awaits anything.
"""

import math
from collections import deque
from collections.abc import Hashable
from enum import Enum, auto
from typing import Final, NamedTuple

__all__ = ["Pacer", "RetryQuota", "Signal", "Ticket", "backoff"]

TICK: Final = 1e-6
"""Shortest wait that is handed out, seconds: a rounding error must not make the caller spin."""

SLACK: Final = 0.02
"""Seconds by which a late timer may be caught up: event loops wake some milliseconds late, idleness earns no burst."""

JITTER_MARGIN: Final = 1.02
"""`per_second` requests are spread over this many seconds: a network that delays one request by 20 ms more
than the next does not squeeze one too many into the service's second."""

MARGIN: Final = 0.97
"""Share of a known limit that is used: clocks and networks are not exact (20 per second gives 19.4)."""

PAUSE: Final = 0.05
"""First pause after a 429 without Retry-After, seconds; it doubles with every probe that is refused.
Short because the rate was lowered as well, and a pause costs throughput at every refusal."""

OUTAGE_PAUSE: Final = 0.5
"""First pause of an outage, seconds; it doubles with every probe that fails."""

PAUSE_CAP: Final = 5.0
"""Longest pause of our own choice, seconds: how late the end of an outage may be noticed."""

OUTAGE_RUN: Final = 10
"""Failures in a row that make an outage: with 30 % random failures a run of ten comes once in 240,000 requests."""

OUTAGE_RUN_UNPROVEN: Final = 5
"""The same while nothing has ever succeeded."""

OUTAGE_BATCHES: Final = 3
"""... over at least so many batches: one unlucky batch is its own problem."""

WINDOW: Final = 1.0
"""What was delivered is measured over so many seconds, and over `SAMPLE` answers at least."""

SAMPLE: Final = 20

HOLD: Final = 2.0
"""Seconds a lowered ceiling is held before it climbs; doubles up to `HOLD_CAP` as refusals confirm it."""

HOLD_CAP: Final = 6.0

CLIMB: Final = 0.02
"""Growth of a ceiling per second when its climb begins ..."""

HASTE: Final = 0.05
"""... and how much that growth grows per second squared: eight times as high after six seconds."""

EXPLORE: Final = 6.0
"""The first estimate comes from a few answers: it is not held but climbs at once, as after so many seconds."""

CHEAP: Final = 0.25
"""A closure shorter than this (seconds) is no reason to be careful."""

CARE: Final = 10.0
"""A ceiling is held so many times as long as the gate was closed: asking too much shall cost a tenth at most."""

TAIL: Final = 4.0

STARVED: Final = 0.25
"""A ceiling falls to this share of itself at most, at one refusal followed by refused probes."""


class Signal(Enum):
    """What an attempt said about the service's capacity."""

    SUCCESS = auto()
    """An answer that the service accepted."""
    THROTTLED = auto()
    """429 or its equivalent."""
    FAILED = auto()
    """A transient failure: 5xx, lost or refused connection, time-out."""
    NEUTRAL = auto()
    """A definite refusal (400, 401, 403), or an attempt that was cut off."""


class Ticket(NamedTuple):
    """One request that was let through; give it back with `Pacer.finish`."""

    number: int
    sent_at: float
    level: int
    """Requests in flight when it was sent, itself included."""
    probe: bool


class _Ceiling:
    """A learned limit: held just under what was refused, then raised ever faster while it limits."""

    __slots__ = ("_age", "_bound_since", "_hold", "base", "value")

    def __init__(self) -> None:
        self.value = math.inf
        self.base = math.inf
        self._hold = HOLD
        self._age = 0.0
        self._bound_since: float | None = None

    def lower(self, value: float, closed: float) -> None:
        """Set it to `value` after a refusal that closed the gate for so long."""
        if self.base == math.inf:
            self._hold = -EXPLORE if closed < CHEAP else max(HOLD, min(60.0, CARE / 2 * closed))
        else:
            agrees = 0.9 * self.base <= value <= 1.1 * self.base
            self._hold = min(HOLD_CAP, 2 * max(self._hold, HOLD / 2)) if agrees else HOLD
            self._hold = max(self._hold, min(60.0, CARE * closed))
        self.value = self.base = value
        self._age = 0.0
        self._bound_since = None

    @property
    def climbing(self) -> bool:
        """Whether `base` was held long enough to be known to be good."""
        return 0 < self._hold < self._age

    def bound(self, now: float) -> None:
        """Note that it holds a request back."""
        if self._bound_since is None:
            self._bound_since = now

    def climb(self, now: float) -> bool:
        """After a success: grow for the time that it has been what limits; tell whether it grew."""
        if self._bound_since is None:
            return False
        step = now - self._bound_since
        self._bound_since = None
        self._age += step
        over = self._age - self._hold
        if over <= 0:
            return False
        self.value *= 1 + min(step, over) * (CLIMB + HASTE * over * over)
        return True


class Pacer:
    """All that is known about one endpoint's capacity; see the module's docstring.

    Args:
        concurrency: Requests in flight, at most.
        per_second: Requests per second, at most: never more in any second (a fraction holds on average). None: no such limit.
        adaptive: Learn from refusals. If False, a 429 closes the gate but teaches nothing.
    """

    def __init__(self, *, concurrency: int, per_second: float | None, adaptive: bool) -> None:
        self._concurrency = concurrency
        self._adaptive = adaptive
        self.in_flight = 0
        self.proven = False
        # the sender's own ceiling
        self._per_second = math.inf if per_second is None else per_second / JITTER_MARGIN
        size = 0 if per_second is None else max(1, int(per_second))
        self._log: deque[float] = deque(maxlen=size)
        self._log_span = size / self._per_second
        # learned
        self._rate = _Ceiling()
        self._flight = _Ceiling()
        self._told = math.inf
        self._ramp: float = 1.0 if adaptive else math.inf
        self._due = -math.inf
        self._delivered: deque[float] = deque(maxlen=4096)
        self._cycle_start = -math.inf
        self._cycle_count = 0
        self._before = (-math.inf, 0)
        self._latency = 1.0
        self._pace = 0.0
        self._level = 1.0
        self._spread = 0.0
        self._pending = False
        self._starved = False
        self._blamed_at = -math.inf
        self._dear = False
        self._crowded = False
        self._crowd = 1
        self._granted = self._granted_open = 0.0
        self._opened_at = -math.inf
        self._span = 1.0
        self._first = 1
        self._accepted = 0
        self._refused = 0
        # the gate
        self._number = 0
        self._epoch = 0
        self._closed_since: float | None = None
        self._outage = False
        self._opens_at = -math.inf
        self._pause = 0.0
        self._probe = 0
        self._run = 0
        self._run_batches: set[Hashable] = set()
        self._settle()

    # --- what the outside may look at

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._limit

    @property
    def rate(self) -> float | None:
        """Requests per second that may be sent now, None while no limit is known."""
        rate = min(self._rate.value, self._per_second)
        return None if rate == math.inf else rate

    @property
    def closed(self) -> bool:
        """Whether nobody but a probe may send."""
        return self._closed_since is not None

    @property
    def opens_at(self) -> float:
        """When the next probe may go (or might have gone); minus infinity if the gate never closed."""
        return self._opens_at

    def stalled(self, now: float) -> float:
        """Seconds since the gate closed, no probe having succeeded since; 0.0 while it is open."""
        return 0.0 if self._closed_since is None else now - self._closed_since

    # --- the life of a request

    def admit(self, now: float) -> float:
        """Ask for leave to send.

        Returns:
            0.0: one request may start now. More: ask again after so many seconds.
            Infinity: only the end of a running request can change the answer.
        """
        if self.in_flight < self._limit and self._free:
            return 0.0
        return self._wait(now)

    def start(self, now: float) -> Ticket:
        """Count a request in; the caller has just got 0.0 from `admit`."""
        self._number += 1
        self.in_flight += 1
        if self._free:
            return Ticket(self._number, now, self.in_flight, probe=False)
        rate = min(self._rate.value, self._per_second)
        if rate < math.inf:
            due = self._due if now - self._due <= SLACK else now
            self._due = due + 1 / rate
        self._log.append(now)
        probe = self._closed_since is not None
        if probe:
            self._probe = self._number
        return Ticket(self._number, now, self.in_flight, probe)

    def finish(
        self,
        now: float,
        ticket: Ticket,
        signal: Signal,
        *,
        batch: Hashable = None,
        retry_after: float | None = None,
        ceiling: float | None = None,
    ) -> None:
        """Count a request out and learn from how it ended.

        Args:
            now: Monotonic seconds.
            ticket: What `start` gave.
            signal: How it ended.
            batch: Which batch it carried: an outage is several batches failing.
            retry_after: Seconds to wait from now, if the service said so.
            ceiling: Requests per second that the service says it grants, if it did.
        """
        self.in_flight -= 1
        probe = ticket.number == self._probe
        if probe:
            self._probe = 0
        if signal is Signal.SUCCESS:
            self._succeeded(now, ticket, probe)
        elif signal is Signal.THROTTLED:
            self._throttled(now, ticket, probe, retry_after or 0.0, ceiling)
        elif signal is Signal.FAILED:
            self._failed(now, probe, batch, retry_after or 0.0)

    def unprove(self) -> None:
        """Let one request go at a time until the next success: the credentials are in doubt."""
        self.proven = False
        self._settle()

    # --- inside

    def _wait(self, now: float) -> float:
        """`admit` when something may be limiting."""
        closed = self._closed_since is not None
        if closed:
            if self._probe or self.in_flight >= (self._concurrency if self.proven else 1):
                return math.inf
            wait = self._opens_at - now
        else:
            if self.in_flight >= self._limit:
                if self.proven:
                    self._flight.bound(now)
                return math.inf
            wait = self._due - now
            if wait > 0:
                self._rate.bound(now)
        if len(self._log) == self._log.maxlen and self._log:
            wait = max(wait, self._log[0] + self._log_span - now)
        return max(wait, TICK) if wait > 0 else 0.0

    def _settle(self) -> None:
        """Work out what `admit` reads at every request."""
        limit = min(self._concurrency, self._ramp, self._flight.value)
        self._limit = max(1, int(limit)) if self.proven else 1
        self._free = (
            self._closed_since is None and self._rate.value == math.inf and self._per_second == math.inf
        )

    def _succeeded(self, now: float, ticket: Ticket, probe: bool) -> None:
        self._run = 0
        if self._run_batches:
            self._run_batches.clear()
        self._delivered.append(now)
        self._cycle_count += 1
        self._latency = now - ticket.sent_at
        off = ticket.level - self._level
        self._level += off / 32
        self._spread += (abs(off) - self._spread) / 32
        if self._first <= ticket.number <= self._epoch:
            self._accepted += 1
        changed = not self.proven
        if changed:
            self.proven = True
            if self._cycle_start == -math.inf:
                self._cycle_start = ticket.sent_at
        if self._closed_since is not None and (probe or self._outage):
            if self._pending and self._adaptive:
                self._opened_at = now
                self._learn(now - self._closed_since)
            self._closed_since = None
            self._outage = False
            changed = True
        if self._adaptive:
            if self._ramp < self._concurrency and 2 * ticket.level >= self._limit:
                self._ramp += 1
                changed = True
            if self._rate.value < math.inf and self._rate.climb(now):
                self._rate.value = min(self._rate.value, self._told)
            if self._flight.value < self._concurrency and self._flight.climb(now):
                changed = True
        if changed:
            self._settle()

    def _throttled(
        self, now: float, ticket: Ticket, probe: bool, retry_after: float, ceiling: float | None
    ) -> None:
        if ceiling is not None and ceiling > 0:
            self._told = ceiling * MARGIN
        if self._first <= ticket.number <= self._epoch:
            self._refused += 1
        if self._closed_since is None:
            fresh = ticket.number > self._epoch
            if fresh:
                self._note(now, ticket)
            if fresh or retry_after > 0:
                self._close(now, retry_after, outage=False)
        elif probe:
            # still nothing to be had: that was all, in all the time since the refusal before
            since, count = self._before
            self._granted = (count + self._cycle_count) / (now - since)
            self._starved = True
            self._pause = min(PAUSE_CAP, 1.5 * self._pause)
            self._opens_at = now + max(self._pause, retry_after)
        else:
            self._opens_at = max(self._opens_at, now + retry_after)

    def _failed(self, now: float, probe: bool, batch: Hashable, retry_after: float) -> None:
        if self._closed_since is not None:
            if probe:
                self._pause = min(PAUSE_CAP, max(OUTAGE_PAUSE, 2 * self._pause))
                self._opens_at = now + max(self._pause, retry_after)
            return
        self._run += 1
        if len(self._run_batches) < OUTAGE_BATCHES:
            self._run_batches.add(batch)
        enough = OUTAGE_RUN if self.proven else OUTAGE_RUN_UNPROVEN
        if self._run >= enough and len(self._run_batches) >= OUTAGE_BATCHES:
            if self._adaptive:
                self._ramp = 1.0
            self._close(now, retry_after, outage=True)

    def _close(self, now: float, retry_after: float, *, outage: bool) -> None:
        self._closed_since = now
        self._outage = outage
        self._pause = max(OUTAGE_PAUSE if outage else PAUSE, min(PAUSE_CAP, 1 / self._rate.value))
        self._opens_at = now + max(self._pause, retry_after)
        self._epoch = self._number
        self._settle()

    def _note(self, now: float, ticket: Ticket) -> None:
        """Note the circumstances of a refusal: how it goes on with what is in flight will tell the rest."""
        self._first = ticket.number
        self._accepted, self._refused = 0, 1
        self._crowd = ticket.level
        self._crowded = ticket.level >= min(self._limit, self._level + TAIL * max(0.5, self._spread))
        self._pace = (ticket.level - 1) / self._latency
        self._span = now - ticket.sent_at
        self._pending = True
        if self._starved and self._cycle_count < SAMPLE:  # it had not really recovered
            since, count = self._before
            self._before = (since, count + self._cycle_count)
            self._granted = self._granted_open = (count + self._cycle_count) / (now - since)
        else:
            self._starved = False
            # between two refusals the service gave all it had
            done = self._delivered
            count = min(len(done), self._cycle_count)
            since = self._cycle_start
            while count > SAMPLE and done[-count] < now - WINDOW:
                since = done[-count]
                count -= 1
            self._granted = count / (now - since)
            self._granted_open = count / (now - max(since, self._opened_at))
            self._before = (self._cycle_start, self._cycle_count)
            if self._opened_at - self._cycle_start > CHEAP:
                self._before = (self._opened_at, self._cycle_count)
        self._cycle_start, self._cycle_count = now, 0

    def _learn(self, closed: float) -> None:
        """Lower the ceiling that let the refused requests through."""
        self._pending = False
        unknown = self._rate.value == math.inf
        sent = self._epoch - self._first + 1
        share = (self._accepted + 1) / (self._accepted + self._refused + 1)
        self._ramp = math.inf
        rate = self._rate
        granted = self._granted
        dry = self._accepted == 0 and self._refused > 2
        if self._starved:
            granted = max(granted, 0.25 * self._pace if unknown else 0.5 * rate.value)
            if rate.climbing:
                granted = max(granted, math.sqrt(rate.base * rate.value))
        elif unknown:
            granted = max(granted, self._pace if closed < CHEAP else 0.7 * self._pace)
        else:
            speed = sent / self._span
            if sent < 5 or speed > rate.value:
                speed = rate.value
            if self._dear:
                granted = math.sqrt(granted * self._granted_open) if dry else self._granted_open
            granted = max(granted, share * speed)
        self._dear = closed > max(CHEAP, 3 / rate.value)
        if self._crowded and not unknown and not self._starved and self._opened_at - self._blamed_at > HOLD:
            self._blamed_at = self._opened_at
            self._flight.lower(max(1, self._crowd - 1), closed)
        elif granted > 0:
            value = min(granted, rate.value) * MARGIN
            if rate.climbing:
                value = max(value, rate.base)
            rate.lower(min(self._told, value), closed)


class RetryQuota:
    """How many retries may be under way: a storm of them waits its turn, it never fails.

    Args:
        capacity: Tokens when full.
        retry_cost: Tokens that one retry takes.
    """

    FIRST = 4.0
    """Tokens that a success without a retry gives back: up to a third of the requests may fail for long
    before retries have to wait."""
    TRICKLE = 5.0
    """Retries per second that an empty quota still lets through: nothing waits for ever."""

    def __init__(self, *, capacity: float = 500.0, retry_cost: float = 14.0) -> None:
        self._capacity = max(capacity, retry_cost)
        self._cost = retry_cost
        self._tokens = self._capacity
        self._filled_at = -math.inf

    @property
    def tokens(self) -> float:
        """What was left when somebody last asked."""
        return self._tokens

    def take(self, now: float) -> float:
        """Pay for one retry: 0.0 if that was possible, else the seconds after which to ask again."""
        if self._tokens < self._capacity:
            self._tokens = min(
                self._capacity, self._tokens + (now - self._filled_at) * self._cost * self.TRICKLE
            )
        self._filled_at = now
        if self._tokens >= self._cost:
            self._tokens -= self._cost
            return 0.0
        return max(TICK, (self._cost - self._tokens) / (self._cost * self.TRICKLE))

    def give(self, *, retried: bool) -> None:
        """Give tokens back after a success: those of the last retry, a few if there was none."""
        self._tokens = min(self._capacity, self._tokens + (self._cost if retried else self.FIRST))


def backoff(attempt: int, uniform: float, *, base: float, cap: float, floor: float = 0.0) -> float:
    """Seconds to wait before the next attempt: exponential, with full jitter above a floor.

    Args:
        attempt: Attempts made so far, 1 or more.
        uniform: A random number in [0, 1).
        base: Longest jitter after the first attempt; doubles with every further one.
        cap: Longest jitter.
        floor: Shortest wait (after throttling, or what the service asked for): added to the jitter, so that
            those who wait for the same moment do not return at the same moment.
    """
    return floor + uniform * min(cap, math.ldexp(base, min(attempt - 1, 60)))
