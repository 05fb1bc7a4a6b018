"""One attempt: sign, send, learn from the reply, judge it. Refuses to repeat anything."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import attrs

from koodrive_async.core.errors import AttemptTimeout, BadReply, NotFound, Sent, TransportFailure
from koodrive_async.core.events import AttemptFailed, AttemptStarted, ClockCorrected, Hook
from koodrive_async.core.pacing import Signal, Ticket
from koodrive_async.core.settings import Timeout
from koodrive_async.core.signing import format_date, sign, trace_id
from koodrive_async.core.verdict import Meaning, Verdict, judge, judge_failure
from koodrive_async.core.wire import Header, Middleware, Reply, Request
from koodrive_async.shell.auth import Token
from koodrive_async.shell.clock import Clock
from koodrive_async.shell.departure import Departure
from koodrive_async.shell.drain import Drain
from koodrive_async.shell.gate import Gate
from koodrive_async.shell.hooks import tell
from koodrive_async.shell.log import say
from koodrive_async.shell.middleware import chain
from koodrive_async.shell.trail import Ask, Trail, kept
from koodrive_async.shell.wires import Wire

T = TypeVar("T")

_COMMON: tuple[Header, ...] = (("Accept", "application/json"), ("Accept-Encoding", "identity"))
_JSON: Header = ("Content-Type", "application/json")


@attrs.frozen(slots=True)
class Sender:
    """Sends for one set of credentials.

    Attributes:
        wire: The way to the service, shared by all views of a client.
        clock: The server's clock, likewise.
        gate: Knows the credentials; gets the permit back, with what the attempt said.
    """

    wire: Wire
    clock: Clock
    gate: Gate
    timeout: Timeout
    middleware: Sequence[Middleware] = ()
    hooks: Sequence[Hook] = ()

    async def attempt(
        self, ask: Ask[T], trail: Trail, drain: Drain, token: Token, ticket: Ticket, *, limit: float
    ) -> tuple[Verdict[T], float]:
        """Send once, under a scope that no cancellation cuts; never raises for what the network does.

        Args:
            ask: What to send.
            trail: Where to write what happened.
            drain: Says when sends are cut.
            token: The token to use.
            ticket: The permit; given back here.
            limit: Seconds after which the attempt is cut.

        Returns:
            The verdict, and the time it was signed with.
        """
        trail.requests += 1
        trail.trace_id = trace_id(trail.call, trail.batch, trail.requests)
        signed_at = 0.0
        departure = Departure()

        async def signed(request: Request) -> Reply:
            nonlocal signed_at
            signed_at = self.clock.signing_time()
            signed_request = sign(
                request,
                self.gate.auth.credentials,
                token.secret,
                date=format_date(signed_at),
                host=self.wire.endpoint.host,
            )
            return await self.wire.send(signed_request, self.timeout, departure)

        send = chain(self.middleware, signed)
        request = self._request(ask, trail)
        if self.hooks:
            tell(self.hooks, AttemptStarted(ask.operation.name, trail.trace_id, trail.requests))
        was_ambiguous, trail.ambiguous = trail.ambiguous, True  # true until the contrary is known
        verdict: Verdict[T] | None = None
        try:
            with drain.send(limit):
                try:
                    reply = checked(await send(request))
                except (TransportFailure, BadReply) as error:
                    verdict = judge_failure(error)
                else:
                    dated = signed_at if ask.operation.authenticated else None
                    verdict = judge(
                        reply,
                        ask.read,
                        batched=ask.operation.batched,
                        signed_at=dated,
                        now=time.time(),
                        secrets=(*self.gate.auth.secrets(token), *ask.secrets),
                    )
                    self._learn_time(verdict, reply)
                    self._check_kind(verdict, reply)
            if verdict is None:
                why = "was cut off after the grace period" if drain.draining else "took longer than it may"
                sent = Sent.MAYBE if departure.left else Sent.NO
                verdict = judge_failure(AttemptTimeout(f"the attempt {why}", sent=sent))
            trail.meaning = verdict.meaning
            if not verdict.ambiguous:
                trail.ambiguous = was_ambiguous
            self._note(ask, trail, verdict)
        finally:
            self._give_back(ticket, trail, verdict)
        return verdict, signed_at

    def _request(self, ask: Ask[Any], trail: Trail) -> Request:
        return Request(
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

    def _give_back(self, ticket: Ticket, trail: Trail, verdict: Verdict[Any] | None) -> None:
        if verdict is None:  # a bug in a middleware says nothing about the service
            self.gate.leave(ticket, Signal.NEUTRAL)
            return
        self.gate.leave(
            ticket,
            _signal(verdict),
            batch=(trail.call, trail.batch),
            error=verdict.error,
            retry_after=verdict.retry_after,
            ceiling=verdict.ceiling,
        )

    def _learn_time(self, verdict: Verdict[Any], reply: Reply) -> None:
        if verdict.server_date is None:
            return
        moved = self.clock.learn(verdict.server_date, reply.received_at)
        if moved:
            say(logging.INFO, "the server's clock differs from what was assumed by %+.0f s", moved)
            tell(self.hooks, ClockCorrected(moved))

    def _check_kind(self, verdict: Verdict[Any], reply: Reply) -> None:
        """A good reply that says it is something else than JSON is believed, and mentioned once."""
        kind = reply.header("content-type")
        odd = verdict.meaning is Meaning.ANSWER and kind is not None and "json" not in kind.lower()
        if odd and not self.wire.odd_kinds:
            self.wire.odd_kinds = True
            say(logging.WARNING, "a reply says that it is %.60r; read as JSON all the same", kind)

    def _note(self, ask: Ask[Any], trail: Trail, verdict: Verdict[Any]) -> None:
        """What a failure leaves behind."""
        error = verdict.error
        if error is None:
            return
        error.trace_id, error.attempts = trail.trace_id, trail.requests
        trail.error = kept(error)
        if not verdict.ambiguous and not isinstance(error, TransportFailure):
            trail.refused = trail.error
        tell(self.hooks, AttemptFailed(ask.operation.name, trail.trace_id, trail.requests, error))
        say(logging.DEBUG, "%s attempt %d failed: %s", ask.operation.name, trail.requests, error)


def checked(reply: object) -> Reply:
    """The reply, if a middleware handed one on."""
    if not isinstance(reply, Reply):
        raise TypeError(
            f"a middleware returned {type(reply).__name__}, not the Reply of `await send(request)`"
        )
    return reply


def _signal(verdict: Verdict[Any]) -> Signal:
    """What an attempt says about the service's capacity."""
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
