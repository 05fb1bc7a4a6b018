"""Who may send now: permits, cool-down, rate, probes. One gate per endpoint, credentials and pace.

`Pacer` decides, this waits: in line, first come first served, without holding anything. Shared by
all calls of the same gate within one event loop; every change happens between two awaits.
Refuses to know what is sent.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Hashable

import anyio

from koodrive_async.core.credentials import Credentials
from koodrive_async.core.errors import ClientClosed, KooDriveError, Throttled
from koodrive_async.core.events import Event, PaceChanged
from koodrive_async.core.pacing import Pacer, RetryQuota, Signal, Ticket
from koodrive_async.core.settings import Pace
from koodrive_async.shell.auth import Auth
from koodrive_async.shell.looptime import LoopTime

Emit = Callable[[Event], None]


class _Waiter:
    __slots__ = ("bell", "refusal", "since", "ticket")

    def __init__(self, since: float) -> None:
        self.since = since
        self.ticket: Ticket | None = None
        self.refusal: KooDriveError | None = None
        self.bell = anyio.Event()

    def served(self) -> bool:
        return self.ticket is not None


class Gate:
    """Permits for one attempt each.

    Attributes:
        auth: The credentials it is for, and their current token.
        time: The event loop's clock.
        pace: How fast to go at most.
        quota: Whose turn it is to retry.
    """

    def __init__(
        self, credentials: Credentials, pace: Pace, time: LoopTime, emit: Emit = lambda _: None
    ) -> None:
        self.time = time
        self.auth = Auth(credentials, time)
        self.pace = pace
        self.quota = RetryQuota()
        self._pacer = Pacer(concurrency=pace.concurrency, per_second=pace.per_second, adaptive=pace.adaptive)
        self._emit = emit
        self._line: deque[_Waiter] = deque()
        self._why: KooDriveError | None = None
        self._asked_until = -math.inf
        self._closed = False
        self._told = self._state()

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        return self._pacer.in_flight

    @property
    def rate(self) -> float | None:
        """Requests per second that are allowed now; None for no known limit."""
        return self._pacer.rate

    @property
    def limit(self) -> int:
        """Attempts that may be under way at the same time now."""
        return self._pacer.limit

    @property
    def shut(self) -> bool:
        """Whether nobody but a probe may send now."""
        return self._pacer.closed

    async def enter(self, *, since: float, patience: float) -> Ticket:
        """Wait for a permit.

        Args:
            since: When the call of the user's began, on the event loop's clock: patience counts from
                there at the earliest.
            patience: How long the gate may stay closed without a successful probe.

        Raises:
            KooDriveError: What closed the gate, when patience is used up or can't suffice;
                its ``gave_up`` is "patience" or "retry-after". Or how unproven credentials were refused.
            ClientClosed: The client was closed meanwhile.
        """
        if not self._line:
            ticket = self._admit()
            if ticket is not None:
                return ticket
        waiter = _Waiter(since)
        self._line.append(waiter)
        try:
            while True:
                waiter.bell = anyio.Event()
                wait = self._serve() if self._line[0] is waiter else math.inf
                if waiter.served():
                    self._wake()
                    break
                with anyio.move_on_after(min(wait, self._patience_left(waiter, patience))):
                    await waiter.bell.wait()
                if waiter.served():
                    break
        except BaseException:
            if waiter.ticket is None:
                self._line.remove(waiter)
            else:
                self._pacer.finish(self.time.now(), waiter.ticket, Signal.NEUTRAL)
            self._serve()
            self._wake()
            raise
        assert waiter.ticket is not None
        return waiter.ticket

    def leave(
        self,
        ticket: Ticket,
        signal: Signal,
        *,
        batch: Hashable = None,
        error: KooDriveError | None = None,
        retry_after: float | None = None,
        ceiling: float | None = None,
    ) -> None:
        """Give a permit back, with what its attempt said."""
        now = self.time.now()
        if signal in (Signal.THROTTLED, Signal.FAILED):
            self._why = error
        if signal is Signal.THROTTLED and retry_after is not None:
            self._asked_until = max(self._asked_until, now + retry_after)
        self._pacer.finish(now, ticket, signal, batch=batch, retry_after=retry_after, ceiling=ceiling)
        self._tell()
        self._serve()
        self._wake()

    def throttled(self, error: KooDriveError, retry_after: float | None) -> None:
        """A good reply refused single ids for load: as if a request of its own had been refused.

        Args:
            error: What one of them was refused with.
            retry_after: Seconds that the reply asked to wait, or None.
        """
        ticket = self._pacer.start(self.time.now())
        self.leave(ticket, Signal.THROTTLED, error=error, retry_after=retry_after)

    async def retry_turn(self) -> None:
        """Wait until the retry quota lets one more retry go; costs no budget."""
        while (wait := self.quota.take(self.time.now())) > 0.0:  # noqa: ASYNC110 - time refills it
            await anyio.sleep(wait)

    def unprove(self, error: KooDriveError) -> None:
        """The credentials were refused: one request at a time from now on, until one succeeds.

        If nothing ever succeeded with them, or not since the last refusal, whoever stands in line is
        refused along: a wrong secret must not be tried a hundred times.
        """
        if not self._pacer.proven:
            for waiter in self._line:
                waiter.refusal = error
                waiter.bell.set()
        self._pacer.unprove()

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True
        for waiter in self._line:
            waiter.bell.set()

    def _admit(self) -> Ticket | None:
        if self._closed:
            raise ClientClosed("the client was closed")
        now = self.time.now()
        return self._pacer.start(now) if self._pacer.admit(now) == 0.0 else None

    def _serve(self) -> float:
        """Let in whoever may go; how long until the next one may."""
        wait = math.inf
        while self._line:
            now = self.time.now()
            wait = self._pacer.admit(now)
            if wait != 0.0:
                break
            waiter = self._line.popleft()
            waiter.ticket = self._pacer.start(now)
            waiter.bell.set()
        return wait

    def _wake(self) -> None:
        """The head of the line keeps the time for all."""
        if self._line:
            self._line[0].bell.set()

    def _patience_left(self, waiter: _Waiter, patience: float) -> float:
        if self._closed:
            raise ClientClosed("the client was closed")
        if waiter.refusal is not None:
            raise copy.copy(waiter.refusal)
        if not self._pacer.closed:
            return math.inf
        now = self.time.now()
        waited = min(self._pacer.stalled(now), now - waiter.since)
        hopeless = self._asked_until - now > patience - waited
        if waited >= patience or hopeless:
            error = copy.copy(self._why) if self._why else Throttled("the gate stayed closed")
            error.gave_up = "patience" if waited >= patience else "retry-after"
            raise error
        return patience - waited

    def _state(self) -> tuple[bool, int | None, int]:
        rate = self._pacer.rate
        return self._pacer.closed, None if rate is None else round(rate), self._pacer.limit

    def _tell(self) -> None:
        state = self._state()
        if state != self._told:
            self._told = state
            self._emit(PaceChanged(closed=state[0], rate=self._pacer.rate, limit=state[2]))
