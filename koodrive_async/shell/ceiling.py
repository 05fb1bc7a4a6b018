"""The ceiling of one client: what all of its views together may do.

The client's `Pace` holds for the sum: requests in flight, and per second. What a service refuses to one user
is that user's (the gate's); what it refuses to several users within a second is its own limit, closes for
all, and is learnt here.

Not here: waiting, and what one user may do (see `shell.gate`).
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Protocol

from koodrive_async.core.pacing import Pacer, Signal, Ticket
from koodrive_async.core.settings import Pace

_TOGETHER = 1.0
"""Seconds within which refusals of several credentials are one limit's: limits are given per second."""


_COMES_BACK = 0.02
"""Seconds in which a job that gave a permit back asks for the next one, on a busy machine: for so long nobody
in the background takes it."""


class Waiting(Protocol):
    """A gate, as seen from here."""

    @property
    def waiting(self) -> bool:
        """Whether somebody waits at it."""

    def serve(self, *, background: bool) -> float:
        """Let in the next one; 0.0 if it did, else the wait until it may."""

    def wake(self) -> None:
        """Wake who is next."""


class Ceiling:
    """Permits of all gates of one client together.

    Attributes:
        pacer: What decides.
    """

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.pacer = Pacer(
            concurrency=pace.concurrency, per_second=pace.per_second, adaptive=pace.adaptive, proven=True
        )
        self._unproven = 0
        self._gates: OrderedDict[int, Waiting] = OrderedDict()
        self._returned: deque[float] = deque(maxlen=pace.concurrency)
        self._refused: tuple[float, object] = (-math.inf, None)

    @property
    def waiting(self) -> bool:
        """Whether somebody waits at any gate."""
        return bool(self._gates)

    def admit(self, now: float, *, unproven: bool) -> float:
        """As `Pacer.admit`. Unproven credentials hold half of the permits at most: others go on meanwhile."""
        if unproven and self._unproven >= max(1, self.pace.concurrency // 2):
            return math.inf
        return self.pacer.admit(now)

    def start(self, now: float, *, unproven: bool) -> Ticket:
        """As `Pacer.start`."""
        self._unproven += unproven
        return self.pacer.start(now)

    def finish(
        self,
        now: float,
        ticket: Ticket,
        signal: Signal,
        gate: object,
        *,
        unproven: bool,
        retry_after: float | None,
    ) -> None:
        """As `Pacer.finish`; `gate`: of which credentials."""
        self._unproven -= unproven
        if signal is Signal.THROTTLED:
            when, other = self._refused
            if other is None or other is gate or now - when > _TOGETHER:
                signal = Signal.NEUTRAL
            self._refused = (now, gate)
        if signal is Signal.FAILED:
            signal = Signal.NEUTRAL  # an outage is found by each gate
        closed = self.pacer.closed
        self.pacer.finish(now, ticket, signal, retry_after=retry_after)
        if self.pacer.closed is not closed:
            for each in list(self._gates.values()):
                each.wake()

    def gave_back(self, now: float) -> None:
        """Note that a call that is not in the background gave a permit back."""
        self._returned.append(now)

    def gives_way(self, now: float, free: int) -> float:
        """Seconds for which a call in the background leaves the free permits to those who had them last."""
        while self._returned and self._returned[0] <= now - _COMES_BACK:
            self._returned.popleft()
        if free > len(self._returned):
            return 0.0
        return self._returned[0] + _COMES_BACK - now if self._returned else 0.0

    def join(self, gate: Waiting) -> None:
        """Note that somebody waits at a gate."""
        self._gates.setdefault(id(gate), gate)

    def first(self, gate: Waiting) -> bool:
        """Whether this gate is the next one."""
        return next(iter(self._gates.values()), None) is gate

    def serve(self) -> float:
        """Let in all who may go, the gates in turn; how long until the next one may."""
        return min(self._serve(background=False), self._serve(background=True))

    def wake(self) -> None:
        """Let the next one keep the time."""
        for gate in self._gates.values():
            gate.wake()
            return

    def _serve(self, *, background: bool) -> float:
        served = True
        while served:
            served, best = False, math.inf
            for key, gate in list(self._gates.items()):
                wait = gate.serve(background=background)
                if wait == 0.0:
                    served = True
                    self._gates.move_to_end(key)
                else:
                    best = min(best, wait)
                if not gate.waiting:
                    del self._gates[key]
        return best
