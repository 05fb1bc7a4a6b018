"""One logical call: retry loop x (permit -> sign -> send -> learn -> judge). Alone imports tenacity.

Waiting at the gate, refusals by 429, probes of a closed gate, a renewed token and a corrected clock
cost neither attempts nor budget; transient failures do. Refuses to know what a call is for.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar
from uuid import uuid4

import anyio
import attrs
import tenacity

from koodrive_async.core import verdict as verdicts
from koodrive_async.core.codec import Envelope
from koodrive_async.core.credentials import AppCredentials, Credentials
from koodrive_async.core.errors import (
    AttemptTimeout,
    BadReply,
    KooDriveError,
    NotFound,
    Sent,
    TransportFailure,
)
from koodrive_async.core.events import (
    AttemptFailed,
    AttemptStarted,
    ClockCorrected,
    Event,
    Hook,
    RetryScheduled,
)
from koodrive_async.core.operations import Operation, Repeat
from koodrive_async.core.pacing import Signal, Ticket, backoff
from koodrive_async.core.secrets import Secret
from koodrive_async.core.settings import Pace, RetryPolicy, Timeout
from koodrive_async.core.signing import format_date, sign, trace_id
from koodrive_async.core.skew import ClockEstimate
from koodrive_async.core.verdict import Meaning, Verdict
from koodrive_async.core.wire import Header, Middleware, Reply, Request, Send
from koodrive_async.shell.auth import Auth, Token
from koodrive_async.shell.drain import Drain
from koodrive_async.shell.gate import Gate
from koodrive_async.shell.middleware import chain
from koodrive_async.shell.transport import Wire

T = TypeVar("T")

log = logging.getLogger("koodrive_async")

#: How often one call is signed again because of its date: the first reply teaches the time, a
#: second one covers a clock that jumps just then.
_RESIGNED = 3

#: After a refusal for load, the first back-off is at least this share of its longest (full jitter
#: may be nothing at all, which is what a struggling service needs least).
_FLOOR = 0.25

_COMMON: tuple[Header, ...] = (("Accept", "application/json"), ("Accept-Encoding", "identity"))
_JSON: Header = ("Content-Type", "application/json")


@attrs.frozen(slots=True)
class Ask(Generic[T]):
    """What one logical call asks.

    Attributes:
        operation: Which operation.
        path: The absolute path, encoded.
        read: Makes the value of a good reply, or raises `BadReply`.
        query: Names and values.
        body: The exact bytes; empty for none.
    """

    operation: Operation
    path: str
    read: Callable[[Envelope], T]
    query: Sequence[tuple[str, str]] = ()
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.define(slots=True)
class Trail:
    """What happened to one logical call so far; true at any moment, also when it is cut.

    Attributes:
        call: The first part of its trace ids, shared by all batches of a bulk call.
        batch: The second part.
        began: When the user's call began, on the monotonic clock.
        ends: When its deadline is, likewise, or None.
        requests: Requests sent.
        charged: How many of them count as attempts.
        spent: Seconds of the budget used.
        ambiguous: Whether some request may have reached the service without an answer.
        refused: The last refusal for certain, or None.
        error: The last failure of any kind, or None.
        trace_id: Of the last request.
        meaning: Of the last request; None while none is answered for.
    """

    call: str
    batch: int
    began: float
    ends: float | None = None
    requests: int = 0
    charged: int = 0
    spent: float = 0.0
    ambiguous: bool = False
    refused: KooDriveError | None = None
    error: KooDriveError | None = None
    trace_id: str = ""
    meaning: Meaning | None = None


class _Transient(Exception):  # never leaves this file; carries the verdict through tenacity
    def __init__(self, verdict: Verdict[Any]) -> None:
        super().__init__()
        self.verdict = verdict


class Clock:
    """The estimate of the server's clock; shared by all calls to one endpoint."""

    def __init__(self) -> None:
        self.estimate = ClockEstimate()

    def signing_time(self) -> float:
        """Seconds since the epoch, not later than the server's time."""
        return self.estimate.signing_time(wall=time.time(), monotonic=time.monotonic())

    def learn(self, date: float, received: float) -> float:
        """Take a reply's date in; by how many seconds the estimate moved, 0.0 where that is noise."""
        before, self.estimate = self.estimate, self.estimate.learn(date, received)
        return self.estimate.correction(before, wall=time.time(), monotonic=time.monotonic())


def tell(hooks: Sequence[Hook], event: Event) -> None:
    """Tell the hooks; one that raises is logged and does no harm."""
    for hook in hooks:
        try:
            hook(event)
        except Exception:  # whatever a caller's hook raises must not touch the call
            log.exception("a hook failed on %s", type(event).__name__)


@attrs.frozen(slots=True)
class Caller:
    """Everything a call needs that outlives it; a view of the client has its own.

    Attributes:
        wire: The way to the service, shared by all views.
        clock: The server's clock, likewise.
        gate: Who may send.
        auth: The current token.
    """

    credentials: Credentials
    wire: Wire
    clock: Clock
    gate: Gate
    auth: Auth
    timeout: Timeout
    retry: RetryPolicy
    middleware: Sequence[Middleware] = ()
    hooks: Sequence[Hook] = ()

    @classmethod
    def make(
        cls,
        credentials: Credentials,
        wire: Wire,
        clock: Clock,
        pace: Pace,
        timeout: Timeout,
        retry: RetryPolicy,
        middleware: Sequence[Middleware],
        hooks: Sequence[Hook],
    ) -> Caller:
        """A caller with a gate and a token cache of its own."""
        gate = Gate(pace, lambda event: tell(hooks, event))
        return cls(credentials, wire, clock, gate, Auth(credentials), timeout, retry, middleware, hooks)

    def emit(self, event: Event) -> None:
        """Tell the hooks."""
        tell(self.hooks, event)

    async def call(self, ask: Ask[T], drain: Drain) -> T:
        """A call that stands alone; see `run`."""
        return await self.run(ask, Trail(uuid4().hex, 1, time.monotonic()), drain)

    async def run(self, ask: Ask[T], trail: Trail, drain: Drain) -> T:
        """Make the call; `trail` tells what happened, however it ends.

        Raises:
            KooDriveError: The last error, with ``attempts``, ``trace_id``, ``ambiguous`` and ``gave_up``.
        """
        try:
            try:
                return await self._attempt(ask, trail, drain)
            except _Transient as failure:
                # tenacity comes in only when there is something to retry: else it costs nothing.
                return await self._retry(ask, trail, drain, failure)
        except _Transient as failure:
            error = failure.verdict.error
            assert error is not None
            raise self._signed_off(error, trail) from None
        except KooDriveError as error:
            raise self._signed_off(error, trail) from error.__cause__

    def _signed_off(self, error: KooDriveError, trail: Trail) -> KooDriveError:
        error.attempts = trail.requests
        error.trace_id = error.trace_id or trail.trace_id
        error.ambiguous = trail.ambiguous
        trail.error = error
        return error

    # -- the retry loop ---------------------------------------------------------------------------

    async def _retry(self, ask: Ask[T], trail: Trail, drain: Drain, first: _Transient) -> T:
        pending: list[_Transient] = [first]

        async def turn() -> T:
            if pending:
                raise pending.pop()
            return await self._attempt(ask, trail, drain)

        async def sleep(delay: float) -> None:
            begun = time.monotonic()
            await anyio.sleep(delay)
            trail.spent += time.monotonic() - begun
            while (wait := self.gate.quota.take(time.monotonic())) > 0.0:  # noqa: ASYNC110 - time refills it
                await anyio.sleep(wait)

        controller = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Transient),
            wait=lambda state: self._delay(trail, _verdict(state)),
            stop=lambda state: self._gives_up(ask, trail, _verdict(state), state.upcoming_sleep),
            before_sleep=lambda state: self._announce(ask, trail, _verdict(state), state.upcoming_sleep),
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

    def _gives_up(self, ask: Ask[Any], trail: Trail, verdict: Verdict[Any], delay: float) -> bool:
        error = verdict.error
        assert error is not None
        if ask.operation.repeat is Repeat.IF_NOT_DONE and verdict.ambiguous:
            return True
        if trail.charged >= self.retry.attempts:
            error.gave_up = "attempts"
        elif trail.spent + delay > self.retry.budget:
            error.gave_up = "retry-after" if verdict.retry_after else "budget"
        elif trail.ends is not None and time.monotonic() + delay > trail.ends:
            error.gave_up = "deadline"
        return bool(error.gave_up)

    def _announce(self, ask: Ask[Any], trail: Trail, verdict: Verdict[Any], delay: float) -> None:
        assert verdict.error is not None
        self.emit(RetryScheduled(ask.operation.name, trail.trace_id, trail.requests, delay, verdict.error))

    # -- one attempt ------------------------------------------------------------------------------

    async def _attempt(self, ask: Ask[T], trail: Trail, drain: Drain) -> T:
        """One attempt that counts, and whatever comes before it that does not."""
        renewed = False
        resigned = 0
        stale = False
        while True:
            trail.meaning = None
            token = await self.auth.ready()
            ticket = await self.gate.enter(since=trail.began, patience=self.retry.patience)
            begun = time.monotonic()
            signed_at, verdict = await self._once(ask, trail, drain, token, ticket)
            match verdict.meaning:
                case Meaning.ANSWER:
                    self.gate.quota.give(retried=trail.charged > 0)
                    return verdict.value  # type: ignore[return-value]  # an answer has a value
                case Meaning.THROTTLED:
                    continue  # the gate is closed now, or was already
                case Meaning.UNAUTHORISED if self.auth.renewable and not renewed:
                    renewed = True
                    await self.auth.renew(token)
                    continue
                case Meaning.WRONG_DATE if resigned < _RESIGNED and self._moved(signed_at):
                    resigned += 1
                    continue
                case Meaning.TRANSIENT:
                    if ticket.probe and not self._may_not_repeat(ask, verdict):
                        continue
                    if (
                        not stale
                        and getattr(verdict.error, "stale", False)
                        and not self._may_not_repeat(ask, verdict)
                    ):
                        stale = True  # a kept connection that the server closed just then: nobody's fault
                        continue
                    trail.charged += 1
                    trail.spent += time.monotonic() - begun
                    raise _Transient(verdict)
                case Meaning.UNAUTHORISED | Meaning.WRONG_DATE:
                    self.gate.unprove()
            assert verdict.error is not None
            raise verdict.error

    def _may_not_repeat(self, ask: Ask[Any], verdict: Verdict[Any]) -> bool:
        return ask.operation.repeat is Repeat.IF_NOT_DONE and verdict.ambiguous

    def _moved(self, signed_at: float) -> bool:
        """Whether signing now would give another date than the one refused."""
        return abs(self.clock.signing_time() - signed_at) > 1.0

    async def _once(
        self, ask: Ask[T], trail: Trail, drain: Drain, token: Token, ticket: Ticket
    ) -> tuple[float, Verdict[T]]:
        """Send once, under a scope that a cancellation does not cut; the verdict, learnt from."""
        trail.requests += 1
        trail.trace_id = trace_id(trail.call, trail.batch, trail.requests)
        signed_at = 0.0

        async def innermost(request: Request) -> Reply:
            nonlocal signed_at
            signed_at = self.clock.signing_time()
            date = format_date(signed_at)
            host = self.wire.endpoint.host
            return await self.wire.send(
                sign(request, self.credentials, token.secret, date=date, host=host), self.timeout
            )

        send: Send = chain(self.middleware, innermost) if self.middleware else innermost
        request = Request(
            method=ask.operation.method,
            path=ask.path,
            query=ask.query,
            headers=(*_COMMON, ("X-Traceid", trail.trace_id), *((_JSON,) if ask.body else ())),
            body=ask.body,
            operation=ask.operation.name,
            trace_id=trail.trace_id,
            attempt=trail.requests,
            authenticated=ask.operation.authenticated,
        )
        if self.hooks:
            self.emit(AttemptStarted(ask.operation.name, trail.trace_id, trail.requests))
        was_ambiguous, trail.ambiguous = trail.ambiguous, True
        signal: Signal = Signal.NEUTRAL
        verdict: Verdict[T] | None = None
        try:
            with drain.send(self._limit(trail, drain)):
                try:
                    reply = await send(request)
                except (TransportFailure, BadReply) as error:
                    verdict = verdicts.judge_failure(error)
                else:
                    verdict = verdicts.judge(
                        reply,
                        ask.read,
                        batched=ask.operation.batched,
                        signed_at=signed_at if ask.operation.authenticated else None,
                        now=time.time(),
                        secrets=self._secrets(token),
                    )
                    self._learn_time(verdict, reply)
            if verdict is None:
                verdict = verdicts.judge_failure(self._cut(drain))
            signal = _signal(verdict)
            trail.meaning = verdict.meaning
            if not verdict.ambiguous:
                trail.ambiguous = was_ambiguous
            self._note(ask, trail, verdict)
        finally:
            batch: Hashable = (trail.call, trail.batch)
            if verdict is None:
                self.gate.leave(ticket, signal)
            else:
                self.gate.leave(
                    ticket,
                    signal,
                    batch=batch,
                    error=verdict.error,
                    retry_after=verdict.retry_after,
                    ceiling=verdict.ceiling,
                )
        return signed_at, verdict

    def _limit(self, trail: Trail, drain: Drain) -> float:
        limit = min(self.timeout.total, max(self.retry.budget - trail.spent, 0.001))
        if trail.ends is not None:
            limit = min(limit, max(trail.ends + drain.grace - time.monotonic(), 0.001))
        return limit

    def _cut(self, drain: Drain) -> AttemptTimeout:
        why = "cut off after the grace period" if drain.draining else "the attempt took longer than it may"
        return AttemptTimeout(why, sent=Sent.MAYBE)

    def _secrets(self, token: Token) -> tuple[str, ...]:
        if isinstance(self.credentials, AppCredentials):
            return (self.credentials.app_secret.reveal(), self.credentials.app_id)
        return (token.secret.reveal(),) if isinstance(token.secret, Secret) else ()

    def _learn_time(self, verdict: Verdict[Any], reply: Reply) -> None:
        if verdict.server_date is None:
            return
        moved = self.clock.learn(verdict.server_date, reply.received_at)
        if moved:
            log.info("the server's clock differs from what was assumed by %+.0f s", moved)
            self.emit(ClockCorrected(moved))

    def _note(self, ask: Ask[Any], trail: Trail, verdict: Verdict[Any]) -> None:
        """What a failure leaves behind."""
        error = verdict.error
        if error is None:
            return
        error.trace_id, error.attempts = trail.trace_id, trail.requests
        error.detached()
        trail.error = error
        if not verdict.ambiguous and not isinstance(error, TransportFailure):
            trail.refused = error
        if self.hooks:
            self.emit(AttemptFailed(ask.operation.name, trail.trace_id, trail.requests, error))
        log.debug("%s attempt %d failed: %s", ask.operation.name, trail.requests, error)


def _verdict(state: tenacity.RetryCallState) -> Verdict[Any]:
    assert state.outcome is not None
    failure = state.outcome.exception()
    assert isinstance(failure, _Transient)
    return failure.verdict


def _signal(verdict: Verdict[Any]) -> Signal:
    match verdict.meaning:
        case Meaning.ANSWER | Meaning.REFUSED:
            return Signal.SUCCESS  # a refusal of this one request: the service was well enough to say so
        case Meaning.THROTTLED:
            return Signal.THROTTLED
        case Meaning.TRANSIENT:
            return Signal.FAILED
        case Meaning.INVALID if isinstance(verdict.error, NotFound):
            return Signal.SUCCESS  # it looked, and found nothing
    return Signal.NEUTRAL
