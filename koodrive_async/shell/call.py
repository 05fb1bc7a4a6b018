"""One logical call: the retry loop around permits and attempts. The only file that imports tenacity.

Waiting at the gate, refusals by 429, probes of a closed gate, a renewed token and a corrected clock
cost neither attempts nor budget; transient failures do. Not here: what a call is for (see ``bulk``).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
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
from koodrive_async.core.skew import Stamp
from koodrive_async.core.verdict import Meaning, Verdict
from koodrive_async.shell.auth import SameToken, Token
from koodrive_async.shell.drain import Drain
from koodrive_async.shell.gate import Gate, Permit
from koodrive_async.shell.hooks import tell
from koodrive_async.shell.looptime import Now
from koodrive_async.shell.sender import Sender
from koodrive_async.shell.trail import Ask, Trail

T = TypeVar("T")

#: How often one call is signed again because of its date: the first reply teaches the time, the
#: others cover a clock that jumps just then.
_RESIGNED = 3

#: How often a 401 is confirmed before what worked is believed to be revoked: a service may lock an account
#: after five in a row (Huawei documents it for other services).
_UNAUTHORISED = 3

#: How many renewals without a success between are tried for a token that worked.
_RENEWALS = 3

#: How often one request may meet a refusal that no other one confirms.
_DOUBTED = 3

#: A provider that failed is not asked again sooner, in seconds.
_PROVIDER_PAUSE = 0.05

#: So many refusals in a row by 429s that are noise are chance, and free; where a quarter is refused at random
#: it is one batch in 65,000 that has more. Further ones are about this batch, and count as failures of it.
_BY_CHANCE = 8

#: After a failure for want of capacity, a back-off is at least this share of its longest: full jitter
#: may be nothing at all, which is what a struggling service needs least.
_FLOOR = 0.25


#: Refusals that a wrong date may be behind, or wrong credentials.
_BY_DATE = (Meaning.UNAUTHORISED, Meaning.WRONG_DATE)


@attrs.define(slots=True)
class _Free:
    """What one attempt has met that costs nothing: each kind only so often."""

    stale: bool = False
    resigned: int = 0
    refused: int = 0
    renewed: int = 0
    doubted: int = 0


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
    background: bool = False

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
        return await self.run(ask, Trail(uuid4().hex, 1, self.now(), single=True), drain)

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
        if trail.charged >= (trail.most or self.retry.attempts):
            error.gave_up = "attempts"
        elif trail.spent + delay > self.retry.budget:
            error.gave_up = "retry-after" if verdict.retry_after else "budget"
        elif trail.ends is not None and self.now() + delay > trail.ends:
            error.gave_up = "deadline"
        return bool(error.gave_up)

    # -- one attempt that counts ------------------------------------------------------------------

    async def _attempt(self, ask: Ask[T], trail: Trail, drain: Drain) -> T:
        """Make one attempt that counts, and whatever comes before it that does not."""
        free = _Free()
        while True:
            trail.meaning = None
            await checkpoint_if_cancelled()  # a cancelled call sends nothing more, also when no wait says so
            token = await self._patiently(trail, self.gate.auth.ready)
            permit = await self._permit(trail)
            begun = self.now()
            limit = self._limit(trail, drain)
            verdict, stamp = await self.sender.attempt(ask, trail, drain, token, permit, limit=limit)
            if verdict.meaning is Meaning.ANSWER:
                self.gate.quota.give(retried=trail.charged > 0)
                return verdict.value  # type: ignore[return-value]  # an answer has a value
            moved = verdict.meaning in _BY_DATE and self._moved(stamp)
            if await self._goes_again(trail, verdict, token, begun, free, moved=moved):
                continue
            assert verdict.error is not None
            if verdict.meaning in (Meaning.TRANSIENT, Meaning.THROTTLED):
                self._look_at(trail)
                stale = getattr(verdict.error, "stale", False) and not free.stale
                free.stale = free.stale or stale
                probe = permit.probe and not trail.suspect
                if (probe or stale) and ask.may_repeat(ambiguous=verdict.ambiguous):
                    continue  # a probe of a closed gate, or a connection closed as idle
                trail.charged += 1
                trail.spent += self.now() - begun
                raise _Transient(verdict)
            if verdict.meaning in _BY_DATE:
                self.gate.unprove(verdict.error)
            raise verdict.error

    async def _goes_again(
        self, trail: Trail, verdict: Verdict[Any], token: Token, begun: float, free: _Free, *, moved: bool
    ) -> bool:
        """Whether a refused request is sent again, which costs neither attempts nor budget."""
        match verdict.meaning:
            case Meaning.THROTTLED if free.refused < _BY_CHANCE:
                if trail.alone:  # otherwise the gate is closed now
                    free.refused += 1
                    await self._wait_alone(trail, free.refused * trail.alone)
                return True
            case Meaning.UNAUTHORISED if self.gate.auth.renewable and free.renewed < self._renewals:
                free.renewed += 1
                await self._renew(trail, token, begun)
                return True
            case Meaning.WRONG_DATE | Meaning.UNAUTHORISED if free.resigned < _RESIGNED and moved:
                free.resigned += 1
                return True
            case Meaning.UNAUTHORISED if not self.gate.is_confirmed(begun, times=_UNAUTHORISED):
                self.gate.doubt()
                return True
            case Meaning.FATAL if not trail.single and not self.gate.is_confirmed(
                begun, times=1, batch=(trail.call, trail.origin)
            ):
                free.doubted += 1
                if free.doubted > _DOUBTED:
                    trail.meaning = Meaning.REFUSED  # this request, again and again, and no other
                    assert verdict.error is not None
                    verdict.error.retryable = True
                return free.doubted <= _DOUBTED
        return False

    async def _permit(self, trail: Trail) -> Permit:
        """Wait for leave to send, unless the deadline passes meanwhile."""
        permit = await self.gate.enter(
            since=trail.began,
            patience=self.retry.patience,
            line=None if trail.single else trail.call,
            background=self.background,
            suspect=trail.suspect,
        )
        if trail.ends is not None and self.now() >= trail.ends:
            self.gate.leave(permit, Signal.NEUTRAL)
            raise _too_late()
        return permit

    async def _wait_alone(self, trail: Trail, delay: float) -> None:
        """Wait out a refusal that is nobody else's concern; others go meanwhile."""
        if trail.ends is not None:
            delay = min(delay, max(0.0, trail.ends - self.now()))
        trail.resting = True
        trail.on_rest()
        try:
            await anyio.sleep(delay)
        finally:
            trail.resting = False

    def _look_at(self, trail: Trail) -> None:
        """What fails again while others succeed is a suspect: it says nothing of the service."""
        if trail.failed_at is None:
            trail.failed_at = self.gate.successes
        elif self.gate.successes > trail.failed_at:
            trail.suspect = True

    # -- tokens -----------------------------------------------------------------------------------

    @property
    def _renewals(self) -> int:
        """How many renewals without a success between are tried: of a token that worked, more than one."""
        return _RENEWALS if self.gate.successes else 1

    async def _renew(self, trail: Trail, token: Token, begun: float) -> None:
        tries = 0

        async def renew() -> None:
            nonlocal tries
            tries += 1
            try:
                # The first time it shares the failure of the one that was quicker; then it makes a new try.
                await self.gate.auth.renew(token if tries == 1 else self.gate.auth.again(token))
            except SameToken:
                # There is no other token: as with one that is fixed, the refusal has to be confirmed.
                if self.gate.is_confirmed(begun, times=_UNAUTHORISED):
                    raise
                self.gate.doubt()

        try:
            await self._patiently(trail, renew)
        except AuthFailed as error:
            told = AuthFailed(*error.args)  # that there is no other token is a matter of this file
            self.gate.unprove(told)
            raise told from error.__cause__

    async def _patiently(self, trail: Trail, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the token's provider; in the midst of what works, again after a back-off, for the patience."""
        first: float | None = None
        tries = 0
        while True:
            try:
                return await ask()
            except SameToken:
                raise
            except AuthFailed:
                now = self.now()
                first = now if first is None else first
                tries += 1
                delay = max(_PROVIDER_PAUSE, backoff(tries, 0.5, base=self.retry.base, cap=self.retry.cap))
                over = now + delay > first + self.retry.patience
                late = trail.ends is not None and now + delay > trail.ends
                if not self.gate.successes or over or late:
                    raise
            await self._wait_alone(trail, delay)

    def _limit(self, trail: Trail, drain: Drain) -> float:
        """Seconds that an attempt beginning now may take: min(total, budget left, deadline left + grace)."""
        limit = min(self.sender.timeout.total, self.retry.budget - trail.spent)
        if trail.cut_by is not None:
            limit = min(limit, trail.cut_by - self.now())
        if trail.ends is not None:
            limit = min(limit, trail.ends + drain.grace - self.now())
        return max(limit, 0.0)

    def _moved(self, stamp: Stamp) -> bool:
        """Whether the clock was corrected since that request was signed, more than by time passing."""
        return stamp.at > 0.0 and abs(self.sender.clock.stamp().offset - stamp.offset) > 1.0


def _failure(state: tenacity.RetryCallState) -> _Transient:
    assert state.outcome is not None
    failure = state.outcome.exception()
    assert isinstance(failure, _Transient)
    return failure


def _too_late() -> CallEnded:
    error = CallEnded("the deadline passed before this could be sent")
    error.gave_up = "deadline"
    return error
