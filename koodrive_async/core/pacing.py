"""Who may send now: numbers in, numbers out.

::

                 429, or a run of failures                   pause over
      OPEN  ────────────────────────────────▶  CLOSED  ────────────────────▶  PROBING: one request
       ▲                                         ▲        refused or failed        │    │
       │                                         └────── the pause grows ──────────┘    │
       └─────────────────────────────── a success ──────────────────────────────────────┘

While the credentials are unproven (at first, and after `Pacer.unprove`) one request goes at a time. Then the
number in flight about doubles with every round trip (one more per success), so that a limit is met at twice
its height, not at a hundred times. After that only `concurrency` and `per_second` limit, until the first 429
teaches a rate or a number (`core.capacity`); an outage teaches nothing, but the doubling begins anew.
One closure lowers one ceiling once, however many requests were refused. A 429 without Retry-After that
`core.noise` explains closes nothing: the batch that it hit waits alone.

Refuses to do: read a clock, sleep, roll dice, log. Every function that needs the time takes `now`
(monotonic seconds). Not thread-safe: one event loop owns a `Pacer`; no method awaits anything.
"""

import math
from collections import deque
from collections.abc import Hashable
from enum import Enum, auto
from typing import Final

from koodrive_async.core.capacity import Capacity, Ticket
from koodrive_async.core.quota import TICK, RetryQuota, backoff

__all__ = ["Pacer", "RetryQuota", "Signal", "Ticket", "backoff"]

SLACK: Final = 0.02
"""Seconds by which a late timer may be caught up: event loops wake some milliseconds late. After longer
than that nothing is caught up, so a pause is not followed by a burst."""

SECOND: Final = 1.02
"""`per_second` requests are spread over so many seconds: if the network delays one request by 20 ms more
than the next, the service still does not see one too many in one of its seconds."""

PAUSE: Final = 0.05
"""First pause after a 429 without Retry-After, seconds, or the time for one request if that is longer. Short,
since the ceiling is lowered as well and every refusal costs a pause."""

ALONE: Final = 0.05
"""Seconds that a batch waits whose refusal is nobody else's concern: as the first pause of the gate."""

PAUSE_FIXED: Final = 0.25
"""The same where nothing is learnt (`adaptive=False`), and only the pause helps."""

PAUSE_GROWTH: Final = 1.5
"""Growth of the pause with every refused probe: at most a third of the time closed is too long."""

OUTAGE_PAUSE: Final = 0.5
"""First pause of an outage, seconds; doubles with every probe that fails."""

PAUSE_CAP: Final = 5.0
"""Longest pause of our own choice after refusals, seconds."""

OUTAGE_PAUSE_CAP: Final = 10.0
"""Longest pause in an outage, seconds: so late may its end be noticed, so few are the probes."""

OUTAGE_RUN: Final = 10
"""Failures in a row that make an outage: where 30 % fail at random, so many come once in 240,000 requests."""

OUTAGE_RUN_UNPROVEN: Final = 5
"""The same while nothing has succeeded yet, and there is no reason to expect anything."""

OUTAGE_BATCHES: Final = 3
"""... over at least so many batches: what fails one batch alone is that batch's problem."""


class Signal(Enum):
    """What an attempt said about the service's capacity."""

    SUCCESS = auto()
    """An answer that the service accepted."""
    THROTTLED = auto()
    """429 or its equivalent."""
    FAILED = auto()
    """A transient failure: 5xx, lost or refused connection, time-out."""
    NEUTRAL = auto()
    """A definite refusal (400, 401, 403), or an attempt that was cut off: says nothing about capacity."""


class Pacer:
    """All that decides when the next request may go to one endpoint; see the module's docstring.

    Args:
        concurrency: Requests in flight, at most.
        per_second: Requests per second, at most: never more than this in any second. A fraction holds on
            average (2.5 is 2 in any 0.8 s). None: no such limit.
        adaptive: Learn ceilings from refusals. If False, a 429 closes the gate but teaches nothing.
        proven: Begin without a slow start: somebody else sees to that.
    """

    def __init__(
        self, *, concurrency: int, per_second: float | None, adaptive: bool, proven: bool = False
    ) -> None:
        self._concurrency = concurrency
        self._adaptive = adaptive
        self._per_second = math.inf if per_second is None else per_second / SECOND
        size = 0 if per_second is None else max(1, int(per_second))
        self._log: deque[float] = deque(maxlen=size)
        """The last `size` sends; the next may go `_log_span` after the first of them."""
        self._log_span = size / self._per_second
        self._due = -math.inf
        """When the rate lets the next request go."""
        self._capacity = Capacity()
        self._first_ramp = 1.0 if adaptive and not proven else math.inf
        self._ramp = self._first_ramp
        self.in_flight = 0
        """Requests that were started and have not finished."""
        self.proven = proven
        """Whether something has succeeded, and `unprove` was not called since."""
        self._number = 0
        self._epoch = 0
        """Requests up to this number were sent before the last closure, and can't cause another."""
        self._closed_since: float | None = None
        self._outage = False
        self._opens_at = -math.inf
        self._pause = 0.0
        self._probe = 0
        """Number of the probe under way, or 0."""
        self._run = 0
        self._run_batches: set[Hashable] = set()
        self._settle()

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._limit

    @property
    def rate(self) -> float | None:
        """Requests per second that may be sent now, None while no limit is known."""
        rate = min(self._capacity.rate.value, self._per_second)
        return None if rate == math.inf else rate

    @property
    def closed(self) -> bool:
        """Whether nobody but a probe may send."""
        return self._closed_since is not None

    @property
    def opens_at(self) -> float:
        """While closed: when the next probe may go. Otherwise some moment in the past."""
        return self._opens_at

    def stalled(self, now: float) -> float:
        """Seconds since the gate closed, no probe having succeeded since; 0.0 while it is open."""
        return 0.0 if self._closed_since is None else max(0.0, now - self._closed_since)

    def admit(self, now: float) -> float:
        """Ask for leave to send.

        Returns:
            0.0: one request may start now. More: ask again after so many seconds.
            Infinity: only the end of a running request can change the answer.
        """
        if self._free and self.in_flight < self._limit:
            return 0.0
        return self._wait(now)

    def start(self, now: float, *, suspect: bool = False) -> Ticket:
        """Count a request in; the caller has just got 0.0 from `admit`.

        Args:
            now: Monotonic seconds.
            suspect: Whether its batch failed while others did not: its failures are its own, and no outage.
        """
        self._number += 1
        self.in_flight += 1
        if self._free:
            return Ticket(self._number, now, self.in_flight, probe=False, suspect=suspect)
        rate = min(self._capacity.rate.value, self._per_second)
        if rate < math.inf:
            self._due = (self._due if now - self._due <= SLACK else now) + 1 / rate
        self._log.append(now)
        probe = self._closed_since is not None and not self._probe
        if probe:
            self._probe = self._number
        return Ticket(self._number, now, self.in_flight, probe, suspect)

    def finish(
        self,
        now: float,
        ticket: Ticket,
        signal: Signal,
        *,
        batch: Hashable = None,
        retry_after: float | None = None,
        ceiling: float | None = None,
    ) -> float:
        """Count a request out, and learn from how it ended.

        Args:
            now: Monotonic seconds.
            ticket: What `start` gave.
            signal: How it ended.
            batch: Which batch it carried: an outage is several batches failing. Halves and second chances
                are the same batch: give the origin.
            retry_after: Seconds to wait from now, if the service said so. Honoured in full.
            ceiling: Requests per second that the service says it grants, if it did.

        Returns:
            Seconds that this batch alone has to wait before it asks for leave again: more than 0.0 where
            a refusal is no reason for others to wait.
        """
        self.in_flight -= 1
        probe = ticket.number == self._probe
        if probe:
            self._probe = 0
        if signal is Signal.SUCCESS:
            self._succeeded(now, ticket, probe=probe)
        elif signal is Signal.THROTTLED:
            if ceiling is not None and ceiling > 0:
                self._capacity.tell(now, ceiling)
            named = ceiling is not None and ceiling > 0
            self._throttled(now, ticket, retry_after or 0.0, probe=probe, named=named)
            return 0.0 if self.closed else ALONE
        elif signal is Signal.FAILED and (probe or not ticket.suspect):
            self._failed(now, batch, retry_after or 0.0, probe=probe)
        return 0.0

    def unprove(self) -> None:
        """Let one request go at a time until the next success: the credentials are in doubt."""
        self.proven = False
        self._settle()

    def reset(self) -> None:
        """Forget what was learnt of the service, and what it asked to wait; open, and start slowly again."""
        self._capacity = Capacity()
        self._ramp = self._first_ramp
        self._epoch = self._number
        self._closed_since, self._outage = None, False
        self._opens_at = self._due = -math.inf
        self._pause = 0.0
        self._probe = self._run = 0
        self._run_batches.clear()
        self._settle()

    def _wait(self, now: float) -> float:
        """`admit` where something may be limiting."""
        if self._closed_since is not None:
            if self._probe or self.in_flight >= (self._concurrency if self.proven else 1):
                return math.inf
            wait = self._opens_at - now
        else:
            if self.in_flight >= self._limit:
                self._capacity.flight.bound(now)
                return math.inf
            wait = self._due - now
            if wait > 0:
                self._capacity.rate.bound(now)
        if self._log and len(self._log) == self._log.maxlen:
            wait = max(wait, self._log[0] + self._log_span - now)
        return max(wait, TICK) if wait > 0 else 0.0

    def _settle(self) -> None:
        """Work out what `admit` reads for every request."""
        limit = min(self._concurrency, self._ramp, self._capacity.flight.value)
        self._limit = max(1, int(limit)) if self.proven else 1
        unlimited = min(self._capacity.rate.value, self._per_second) == math.inf
        self._free = unlimited and self._closed_since is None

    def _succeeded(self, now: float, ticket: Ticket, *, probe: bool) -> None:
        changed = not self.proven
        self.proven = True
        if self._run:
            self._run = 0
            self._run_batches.clear()
        if self._adaptive and self._capacity.delivered(now, ticket):
            changed = True
        if self._closed_since is not None and (probe or self._outage):
            if self._adaptive:
                self._learn(now, now - self._closed_since)
            self._closed_since = None
            self._probe = 0
            changed = True
        if self._ramp < self._concurrency and 2 * ticket.level >= self._limit:
            self._ramp += 1
            changed = True
        if changed:
            self._settle()

    def _learn(self, now: float, closed: float) -> None:
        """The gate opens: lower a ceiling, or undo what turned out to be of no use."""
        if self._capacity.opened(now, closed, self._number):
            self._ramp = math.inf

    def _throttled(self, now: float, ticket: Ticket, retry_after: float, *, probe: bool, named: bool) -> None:
        self._capacity.refused(ticket)
        if self._closed_since is None:
            fresh = ticket.number > self._epoch
            noise = fresh and not named and self._capacity.noise.explains(ticket.number)
            if noise and not retry_after:
                return
            if fresh and self._adaptive and not noise:
                self._capacity.closed(now, ticket, self._number, self._limit)
            if fresh or retry_after > 0:
                pause = PAUSE if self._adaptive else PAUSE_FIXED
                self._close(now, max(pause, 1 / self._capacity.rate.value), retry_after, outage=False)
        elif probe:
            self._capacity.starved(now)
            self._prolong(now, PAUSE_GROWTH * self._pause, retry_after)
        else:
            self._opens_at = max(self._opens_at, now + retry_after)

    def _failed(self, now: float, batch: Hashable, retry_after: float, *, probe: bool) -> None:
        if self._closed_since is not None:
            if probe:
                self._prolong(now, max(OUTAGE_PAUSE, 2 * self._pause), retry_after)
            return
        self._run += 1
        if len(self._run_batches) < OUTAGE_BATCHES:
            self._run_batches.add(batch)
        enough = OUTAGE_RUN if self.proven else OUTAGE_RUN_UNPROVEN
        if self._run >= enough and len(self._run_batches) >= OUTAGE_BATCHES:
            self._ramp = 1.0
            self._close(now, OUTAGE_PAUSE, retry_after, outage=True)

    def _close(self, now: float, pause: float, retry_after: float, *, outage: bool) -> None:
        self._closed_since = now
        self._outage = outage
        self._epoch = self._number
        self._prolong(now, pause, retry_after)
        self._settle()

    def _prolong(self, now: float, pause: float, retry_after: float) -> None:
        self._pause = min(OUTAGE_PAUSE_CAP if self._outage else PAUSE_CAP, pause)
        self._opens_at = max(self._opens_at, now + max(self._pause, retry_after))
