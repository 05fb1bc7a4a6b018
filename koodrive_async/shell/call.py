"""One logical call: the retry loop around permits and attempts. The only file that imports tenacity.

Waiting at the gate, refusals by 429, probes of a closed gate, a renewed token and a corrected clock
cost neither attempts nor budget; transient failures do. Not here: what a call is for (see ``bulk``).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import uuid4

import anyio
import attrs
import tenacity
from anyio.lowlevel import checkpoint_if_cancelled

from koodrive_async.core.errors import AuthFailed, CallEnded, KooDriveError
from koodrive_async.core.events import Hook, RetryScheduled
from koodrive_async.core.pacing import Signal, backoff
from koodrive_async.core.settings import RetryPolicy
from koodrive_async.core.verdict import Meaning, Verdict
from koodrive_async.shell.auth import Token
from koodrive_async.shell.drain import Drain
from koodrive_async.shell.gate import Gate
from koodrive_async.shell.hooks import tell
from koodrive_async.shell.looptime import Now
from koodrive_async.shell.sender import Sender
from koodrive_async.shell.trail import Ask, Trail

T = TypeVar("T")

#: How often one call is signed again because of its date: the first reply teaches the time, the
#: others cover a clock that jumps just then.
_RESIGNED = 3

#: After a failure for want of capacity, a back-off is at least this share of its longest: full jitter
#: may be nothing at all, which is what a struggling service needs least.
_FLOOR = 0.25


class _Transient(Exception):
    """Carries a verdict through tenacity; never leaves this file."""

    def __init__(self, verdict: Verdict[Any]) -> None:
        super().__init__()
        self.verdict = verdict

    @property
    def error(self) -> KooDriveError:
        assert self.verdict.error is not None
        return self.verdict.error


@attrs.frozen(slots=True)
class Caller:
    """Everything a call needs that outlives it; each view of a client has one."""

    sender: Sender
    retry: RetryPolicy

    @property
    def gate(self) -> Gate:
        """Who may send."""
        return self.sender.gate

    @property
    def now(self) -> Now:
        """The event loop's clock."""
        return self.gate.time.now

    @property
    def hooks(self) -> Sequence[Hook]:
        """Who is told what happens."""
        return self.sender.hooks

    def secrets(self) -> tuple[str, ...]:
        """What no text may repeat."""
        return self.gate.auth.secrets()

    async def alone(self, ask: Ask[T], drain: Drain) -> T:
        """A call that belongs to no bulk call; see `run`."""
        return await self.run(ask, Trail(uuid4().hex, 1, self.now()), drain)

    async def run(self, ask: Ask[T], trail: Trail, drain: Drain) -> T:
        """Make the call; `trail` tells what happened, however it ends.

        Raises:
            KooDriveError: The last error, with ``attempts``, ``trace_id``, ``ambiguous`` and ``gave_up``.
        """
        try:
            try:
                return await self._attempt(ask, trail, drain)
            except _Transient as first:
                # tenacity comes in only when there is something to retry: else it costs nothing.
                return await self._retry(ask, trail, drain, first)
        except _Transient as last:
            raise trail.sign_off(last.error) from None
        except KooDriveError as error:
            raise trail.sign_off(error) from error.__cause__

    # -- the retry loop ---------------------------------------------------------------------------

    async def _retry(self, ask: Ask[T], trail: Trail, drain: Drain, first: _Transient) -> T:
        pending = [first]

        async def turn() -> T:
            if pending:
                raise pending.pop()
            return await self._attempt(ask, trail, drain)

        async def sleep(delay: float) -> None:
            begun = self.now()
            trail.resting = True
            trail.on_rest()
            try:
                await anyio.sleep(delay)
                trail.spent += self.now() - begun
                await self.gate.retry_turn()
            finally:
                trail.resting = False

        controller = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Transient),
            wait=lambda state: self._delay(trail, _failure(state).verdict),
            stop=lambda state: self._gives_up(ask, trail, _failure(state), state.upcoming_sleep),
            before_sleep=lambda state: tell(
                self.hooks,
                RetryScheduled(
                    ask.operation.name,
                    trail.trace_id,
                    trail.requests,
                    state.upcoming_sleep,
                    _failure(state).error,
                ),
            ),
            sleep=sleep,
            reraise=True,
        )
        return await controller(turn)

    def _delay(self, trail: Trail, verdict: Verdict[Any]) -> float:
        longest = min(self.retry.cap, self.retry.base * 2 ** min(trail.charged - 1, 30))
        jittered = backoff(
            trail.charged,
            random.random(),  # noqa: S311 - jitter is no secret
            base=self.retry.base,
            cap=self.retry.cap,
            floor=longest * _FLOOR if verdict.overloaded else 0.0,
        )
        return max(jittered, verdict.retry_after or 0.0)

    def _gives_up(self, ask: Ask[Any], trail: Trail, failure: _Transient, delay: float) -> bool:
        error, verdict = failure.error, failure.verdict
        if not ask.may_repeat(ambiguous=verdict.ambiguous):
            return True
        if trail.charged >= self.retry.attempts:
            error.gave_up = "attempts"
        elif trail.spent + delay > self.retry.budget:
            error.gave_up = "retry-after" if verdict.retry_after else "budget"
        elif trail.ends is not None and self.now() + delay > trail.ends:
            error.gave_up = "deadline"
        return bool(error.gave_up)

    # -- one attempt that counts ------------------------------------------------------------------

    async def _attempt(self, ask: Ask[T], trail: Trail, drain: Drain) -> T:
        """One attempt that counts, and whatever comes before it that does not."""
        renewed = stale = False
        resigned = 0
        while True:
            trail.meaning = None
            await checkpoint_if_cancelled()  # a cancelled call sends nothing more, also when no wait says so
            token = await self.gate.auth.ready()
            ticket = await self.gate.enter(since=trail.began, patience=self.retry.patience)
            begun = self.now()
            if trail.ends is not None and begun >= trail.ends:
                self.gate.leave(ticket, Signal.NEUTRAL)
                raise _too_late()
            limit = self._limit(trail, drain)
            verdict, signed_at = await self.sender.attempt(ask, trail, drain, token, ticket, limit=limit)
            match verdict.meaning:
                case Meaning.ANSWER:
                    self.gate.quota.give(retried=trail.charged > 0)
                    return verdict.value  # type: ignore[return-value]  # an answer has a value
                case Meaning.THROTTLED:
                    continue  # the gate is closed now
                case Meaning.UNAUTHORISED if self.gate.auth.renewable and not renewed:
                    renewed = True
                    await self._renew(token)
                    continue
                case Meaning.WRONG_DATE if resigned < _RESIGNED and self._moved(signed_at):
                    resigned += 1
                    continue
                case Meaning.TRANSIENT:
                    was_stale = getattr(verdict.error, "stale", False) and not stale
                    stale = stale or was_stale
                    if (ticket.probe or was_stale) and ask.may_repeat(ambiguous=verdict.ambiguous):
                        continue  # a probe of a closed gate, or a connection closed as idle: free
                    trail.charged += 1
                    trail.spent += self.now() - begun
                    raise _Transient(verdict)
            assert verdict.error is not None
            if verdict.meaning in (Meaning.UNAUTHORISED, Meaning.WRONG_DATE):
                self.gate.unprove(verdict.error)
            raise verdict.error

    async def _renew(self, token: Token) -> None:
        try:
            await self.gate.auth.renew(token)
        except AuthFailed as error:
            self.gate.unprove(error)
            raise

    def _limit(self, trail: Trail, drain: Drain) -> float:
        """Seconds that an attempt beginning now may take: min(total, budget left, deadline left + grace)."""
        limit = min(self.sender.timeout.total, self.retry.budget - trail.spent)
        if trail.ends is not None:
            limit = min(limit, trail.ends + drain.grace - self.now())
        return max(limit, 0.0)

    def _moved(self, signed_at: float) -> bool:
        """Whether signing now would give another date than the one refused."""
        return abs(self.sender.clock.signing_time() - signed_at) > 1.0


def _failure(state: tenacity.RetryCallState) -> _Transient:
    assert state.outcome is not None
    failure = state.outcome.exception()
    assert isinstance(failure, _Transient)
    return failure


def _too_late() -> CallEnded:
    error = CallEnded("the deadline passed before this could be sent")
    error.gave_up = "deadline"
    return error
