"""Who may send now: permits, cool-down, rate, probes. One gate per credentials and pace, below one ceiling.

`Pacer` decides, this waits, without holding anything. A permit is one of the gate and one of the ceiling of
the client, taken together, so that nobody holds the one while waiting for the other.

::

    single calls ──┐
    bulk call 1  ──┼─ gate of some credentials ──┐
    bulk call 2  ──┘                             ├─ ceiling (`shell.ceiling`) ── the service
    ...          ──── gate of others ────────────┘

Each bulk call stands in a line of its own, all single calls in one; the lines are served in turn, within a
line first come, first served. Lines in the background are served while nobody else waits. Every change
happens between two awaits, in one event loop.

Not here: what is sent.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable
from typing import NamedTuple

import anyio

from koodrive_async.core.credentials import Credentials
from koodrive_async.core.errors import ClientClosed, KooDriveError, Throttled
from koodrive_async.core.events import Event, PaceChanged
from koodrive_async.core.pacing import Pacer, RetryQuota, Signal, Ticket
from koodrive_async.core.settings import Pace
from koodrive_async.shell.auth import Auth
from koodrive_async.shell.ceiling import Ceiling
from koodrive_async.shell.lines import Line, Lines
from koodrive_async.shell.looptime import LoopTime

Emit = Callable[[Event], None]

_SUSPECTS = 4
"""One in so many permits may be held by suspects: batches that failed while others did not."""


_NONE = Line(None, background=True, suspect=False)
"""The line of a request that nobody stood in line for."""


class Permit(NamedTuple):
    """Leave for one attempt; give it back with `Gate.leave`."""

    ticket: Ticket
    above: Ticket | None
    """The ceiling's."""
    unproven: bool
    """Whether the credentials were in doubt when it was given."""
    line: Line

    @property
    def probe(self) -> bool:
        """Whether it was let through a closed gate."""
        return self.ticket.probe or (self.above is not None and self.above.probe)


class _Waiter:
    __slots__ = ("bell", "permit", "refusal", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.permit: Permit | None = None
        self.refusal: KooDriveError | None = None
        self.bell = anyio.Event()


class Gate:
    """Permits for one attempt each.

    Attributes:
        auth: The credentials it is for, and their current token.
        pace: How fast to go at most.
        quota: Whose turn it is to retry.
    """

    def __init__(
        self,
        credentials: Credentials,
        pace: Pace,
        time: LoopTime,
        emit: Emit = lambda _: None,
        ceiling: Ceiling | None = None,
    ) -> None:
        self.time = time
        self.auth = Auth(credentials, time)
        self.pace = pace
        self.quota = RetryQuota()
        self._pacer = Pacer(concurrency=pace.concurrency, per_second=pace.per_second, adaptive=pace.adaptive)
        self._ceiling = Ceiling(pace) if ceiling is None else ceiling
        self._emit = emit
        self._lines: Lines[_Waiter] = Lines()
        self._suspects = 0
        self._why: KooDriveError | None = None
        self._asked_until = -math.inf
        self._closed = False
        self._doubted_at: float | None = None
        self._doubted_by: Hashable = None
        self._confirmations = 0
        #: How many requests were accepted so far.
        self.successes = 0
        self._told = self._state()

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        return self._pacer.in_flight

    @property
    def rate(self) -> float | None:
        """Requests per second that are allowed now; None for no known limit."""
        rates = [rate for rate in (self._pacer.rate, self._ceiling.pacer.rate) if rate is not None]
        return min(rates, default=None)

    @property
    def limit(self) -> int:
        """Attempts that may be under way at the same time now."""
        return min(self._pacer.limit, self._ceiling.pacer.limit)

    @property
    def shut(self) -> bool:
        """Whether nobody but a probe may send now."""
        return self._pacer.closed or self._ceiling.pacer.closed

    async def enter(
        self,
        *,
        since: float,
        patience: float,
        line: Hashable = None,
        background: bool = False,
        suspect: bool = False,
    ) -> Permit:
        """Wait for a permit.

        Args:
            since: When the call of the user's began, on the monotonic clock: patience counts from
                there at the earliest.
            patience: How long the gate may stay closed without a successful probe.
            line: Which line to stand in: a bulk call's own, or None for that of all single calls.
            background: Whether to give way to all who are not in the background.
            suspect: Whether what is to be sent failed while other things did not. Suspects have a quarter of
                the permits, and do not probe while somebody else waits.

        Raises:
            KooDriveError: What closed the gate, when patience is used up or can't suffice;
                its ``gave_up`` is "patience" or "retry-after". Or how unproven credentials were refused.
            ClientClosed: The client was closed meanwhile.
        """
        if self._closed:
            raise ClientClosed("the client was closed")
        key = Line(line, background=background, suspect=suspect)
        if not self._ceiling.waiting:
            now = self.time.now()
            if self._wait(key, now) == 0.0:
                return self._permit(key, now)
        waiter = _Waiter(since)
        self._lines.join(key, waiter)
        self._ceiling.join(self)
        try:
            while True:
                waiter.bell = anyio.Event()
                wait = self._ceiling.serve()
                if waiter.permit is None:
                    patience_left = self._patience_left(waiter, patience)
                    if not self._ceiling.first(self) or self._lines.first is not waiter:
                        wait = math.inf
                        self._ceiling.wake()
                    with anyio.move_on_after(min(wait, patience_left)):
                        await waiter.bell.wait()
                if waiter.permit is not None:
                    self._ceiling.wake()
                    return waiter.permit
        except BaseException:
            if waiter.permit is None:
                self._lines.leave(key, waiter)
            else:
                self.leave(waiter.permit, Signal.NEUTRAL)
            self._ceiling.serve()
            self.wake()
            self._ceiling.wake()
            raise

    def leave(
        self,
        permit: Permit,
        signal: Signal,
        *,
        batch: Hashable = None,
        error: KooDriveError | None = None,
        retry_after: float | None = None,
        ceiling: float | None = None,
    ) -> float:
        """Give a permit back, with what its attempt said.

        Args:
            permit: What `enter` returned.
            signal: How the attempt ended.
            batch: Which batch it carried, halves and second chances under the name of the whole.
            error: What went wrong, to be raised where patience ends.
            retry_after: Seconds to wait, if the service said so.
            ceiling: Requests per second that the service says it grants, if it did.

        Returns:
            Seconds that this batch alone has to wait before it asks for a permit again; 0.0 where the gate
            sees to it.
        """
        now = self.time.now()
        if signal is Signal.SUCCESS:
            self.successes += 1
            if self._doubted_at is not None and self._doubted_at <= permit.ticket.sent_at:
                self._doubted_at = None
        if signal in (Signal.THROTTLED, Signal.FAILED):
            self._why = error
        if signal is Signal.THROTTLED and retry_after is not None:
            self._asked_until = max(self._asked_until, now + retry_after)
        self._suspects -= permit.line.suspect
        if not permit.line.background:
            self._ceiling.gave_back(now)
        alone = self._pacer.finish(
            now, permit.ticket, signal, batch=batch, retry_after=retry_after, ceiling=ceiling
        )
        if permit.above is not None:
            noise = signal is Signal.THROTTLED and alone > 0.0
            self._ceiling.finish(
                now,
                permit.above,
                Signal.NEUTRAL if noise else signal,
                self,
                unproven=permit.unproven,
                retry_after=retry_after,
            )
        self._tell()
        self._ceiling.serve()
        if self._pacer.closed:
            self.wake()
        self._ceiling.wake()
        return alone

    def throttled(self, error: KooDriveError, retry_after: float | None) -> None:
        """A good reply refused single ids for load: as if a request of its own had been refused.

        Args:
            error: What one of them was refused with.
            retry_after: Seconds that the reply asked to wait, or None.
        """
        permit = Permit(self._pacer.start(self.time.now()), None, unproven=False, line=_NONE)
        self.leave(permit, Signal.THROTTLED, error=error, retry_after=retry_after)

    async def retry_turn(self) -> None:
        """Wait until the retry quota lets one more retry go; costs no budget."""
        while (wait := self.quota.take(self.time.now())) > 0.0:  # noqa: ASYNC110 - time refills it
            await anyio.sleep(wait)

    def unprove(self, error: KooDriveError) -> None:
        """The credentials were refused: one request at a time from now on, until one succeeds.

        If nothing ever succeeded with them, or not since the last refusal, all who stand in line are
        refused along: a wrong secret must not be tried a hundred times.
        """
        if not self._pacer.proven:
            for waiter in self._lines:
                waiter.refusal = error
                waiter.bell.set()
        self._pacer.unprove()

    def is_confirmed(self, begun: float, *, times: int, batch: Hashable = None) -> bool:
        """Note a refusal that would end every call, and tell whether it has been confirmed.

        One odd reply must not end a job that works. A refusal counts as a confirmation if its request was
        sent after the first refusal came in, and nothing sent since was accepted; so one confirmation serves
        all requests that were in flight. Where nothing was ever accepted, the first refusal is believed.

        Args:
            begun: When the refused request was sent, by the event loop's clock.
            times: How many confirmations are wanted.
            batch: Which batch it carried, if only another one than the first can confirm: what fails one
                batch alone is that batch's problem.
        """
        if not self.successes:
            return True
        if self._doubted_at is None:
            self._doubted_at, self._doubted_by, self._confirmations = self.time.now(), batch, 0
        elif begun >= self._doubted_at and (batch is None or batch != self._doubted_by):
            self._confirmations += 1
        return self._confirmations >= times

    def doubt(self) -> None:
        """Let one request go at a time until the next success: the credentials may have been refused."""
        self._pacer.unprove()

    def reset(self) -> None:
        """Forget what was learnt, and what the service asked to wait: look again."""
        self._asked_until = -math.inf
        self._pacer.reset()
        self._ceiling.pacer.reset()
        self._tell()
        self._ceiling.serve()
        self._ceiling.wake()

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True
        for waiter in self._lines:
            waiter.bell.set()

    # -- for the ceiling --------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether somebody stands in line."""
        return bool(self._lines)

    def serve(self, *, background: bool) -> float:
        """Let in the next one, if that may be; the wait until then, or 0.0 if somebody was let in."""
        now, best = self.time.now(), math.inf
        for line in self._lines.turns(background=background):
            wait = self._wait(line, now)
            if wait == 0.0:
                waiter = self._lines.take(line)
                waiter.permit = self._permit(line, now)
                waiter.bell.set()
                return 0.0
            best = min(best, wait)
        return best

    def wake(self) -> None:
        """Wake the one who is next: to keep the time for all, and to see how much patience is left."""
        if self._lines.first is not None:
            self._lines.first.bell.set()

    def _wait(self, line: Line, now: float) -> float:
        """Seconds until one of that line may go; infinity if that depends on others."""
        if line.suspect:
            full = self._suspects >= max(1, self.limit // _SUSPECTS)
            if full or (self.shut and self._lines.unsuspected):
                return math.inf
        if line.background and (wait := self._ceiling.gives_way(now, self.limit - self.in_flight)):
            return wait
        wait = self._pacer.admit(now)
        return wait or self._ceiling.admit(now, unproven=not self._pacer.proven)

    def _permit(self, line: Line, now: float) -> Permit:
        unproven = not self._pacer.proven
        self._suspects += line.suspect
        ticket = self._pacer.start(now, suspect=line.suspect)
        return Permit(ticket, self._ceiling.start(now, unproven=unproven), unproven, line)

    def _patience_left(self, waiter: _Waiter, patience: float) -> float:
        if self._closed:
            raise ClientClosed("the client was closed")
        if waiter.refusal is not None:
            raise copy.copy(waiter.refusal)
        if not self.shut:
            return math.inf
        now = self.time.now()
        stalled = max(self._pacer.stalled(now), self._ceiling.pacer.stalled(now))
        waited = min(stalled, now - waiter.since)
        hopeless = self._asked_until - now > patience - waited
        if waited >= patience or hopeless:
            error = copy.copy(self._why) if self._why else Throttled("the gate stayed closed")
            error.gave_up = "patience" if waited >= patience else "retry-after"
            raise error
        return patience - waited

    def _state(self) -> tuple[bool, int | None, int]:
        rate = self.rate
        return self.shut, None if rate is None else round(rate), self.limit

    def _tell(self) -> None:
        state = self._state()
        if state != self._told:
            self._told = state
            self._emit(PaceChanged(closed=state[0], rate=self.rate, limit=state[2]))
