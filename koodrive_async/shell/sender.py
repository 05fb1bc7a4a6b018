"""One attempt: sign, send, learn from the reply, judge it. Not here: when to try again (see ``call``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import anyio
import attrs

from koodrive_async.core.errors import AttemptTimeout, BadReply, NotFound, Sent, TransportFailure
from koodrive_async.core.events import AttemptFailed, AttemptStarted, ClockCorrected, Hook
from koodrive_async.core.pacing import Signal
from koodrive_async.core.settings import Timeout
from koodrive_async.core.signing import format_date, sign, trace_id
from koodrive_async.core.skew import Stamp
from koodrive_async.core.verdict import TOO_LARGE, Meaning, Verdict, judge, judge_failure
from koodrive_async.core.wire import Header, Middleware, Reply, Request
from koodrive_async.shell.auth import Token
from koodrive_async.shell.cancellation import is_asked_for, name_of, unexpected
from koodrive_async.shell.clock import Clock
from koodrive_async.shell.departure import Departure
from koodrive_async.shell.drain import Drain
from koodrive_async.shell.gate import Gate, Permit
from koodrive_async.shell.hooks import tell
from koodrive_async.shell.log import say
from koodrive_async.shell.middleware import chain
from koodrive_async.shell.trail import Ask, Trail
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
        mentioned: What was logged once and is not logged again; shared by all views of a client.
    """

    wire: Wire
    clock: Clock
    gate: Gate
    timeout: Timeout
    middleware: Sequence[Middleware] = ()
    hooks: Sequence[Hook] = ()
    mentioned: set[str] = attrs.field(factory=set)

    async def attempt(
        self, ask: Ask[T], trail: Trail, drain: Drain, token: Token, ticket: Permit, *, limit: float
    ) -> tuple[Verdict[T], Stamp]:
        """Send once, under a scope that no cancellation cuts.

        Network failures are in the verdict, not raised.

        Args:
            ask: What to send.
            trail: Where to write what happened.
            drain: Says when sends are cut.
            token: The token to use.
            ticket: The permit; given back here.
            limit: Seconds after which the attempt is cut.

        Returns:
            The verdict, and the time it was signed with.

        Raises:
            UnexpectedCancellation: If a middleware or a borrowed client is ended by a cancellation that
                nobody asked for.
            Exception: If a middleware raises it.
        """
        trail.requests += 1
        trail.trace_id = trace_id(trail.call, trail.batch, trail.requests)
        sends = _Sends(self, token, trail)
        request = self._request(ask, trail)
        if self.hooks:
            tell(self.hooks, AttemptStarted(ask.operation.name, trail.trace_id, trail.requests))
        was_ambiguous, trail.ambiguous = trail.ambiguous, True  # true until the contrary is known
        trail.spoil = sends.departure.spoil
        verdict: Verdict[T] | None = None
        try:
            with drain.send(limit):
                verdict = await self._answer(ask, request, sends)
            if verdict is None:
                why = "was cut off after the grace period" if drain.draining else "took longer than it may"
                sent = Sent.MAYBE if sends.departure.left else Sent.NO
                verdict = judge_failure(AttemptTimeout(f"the attempt {why}", sent=sent))
            verdict = self._excused(sends.regarded(verdict))
            trail.meaning, trail.retry_after = verdict.meaning, verdict.retry_after
            if not verdict.ambiguous:
                trail.ambiguous = was_ambiguous
            self._note(ask, trail, verdict)
        finally:
            if verdict is None and not sends.departure.left:
                trail.ambiguous = was_ambiguous
            self._give_back(ticket, trail, verdict)
        return verdict, sends.stamp

    async def _answer(self, ask: Ask[T], request: Request, sends: _Sends) -> Verdict[T]:
        """Send through the middleware, and judge what comes back."""
        sends.refuses = lambda reply: _is_refusal(self._judged(ask, reply, sends))
        try:
            reply = checked(await chain(self.middleware, sends.send)(request))
        except (TransportFailure, BadReply) as error:
            return judge_failure(error)
        except anyio.get_cancelled_exc_class():
            if is_asked_for():
                raise
            raise unexpected(self._culprit()) from None
        sends.trail.heard = True
        verdict = self._judged(ask, reply, sends)
        sends.answer = reply
        self._learn_time(verdict, reply, sends.stamp if ask.operation.authenticated else None)
        self._check_kind(verdict, reply)
        return verdict

    def _judged(self, ask: Ask[T], reply: Reply, sends: _Sends) -> Verdict[T]:
        return judge(
            reply,
            ask.read,
            batched=ask.operation.batched,
            signed_at=sends.stamp.at if ask.operation.authenticated else None,
            now=time.time(),
            secrets=(*self.gate.auth.secrets(sends.token), *ask.secrets),
        )

    def _excused(self, verdict: Verdict[T]) -> Verdict[T]:
        """A refusal that is not the service's own, in the midst of what works, is a passing trouble.

        A proxy's error page, say: it did nothing, so it is not ambiguous either.
        """
        ends = verdict.meaning not in (Meaning.ANSWER, Meaning.TRANSIENT, Meaning.THROTTLED)
        too_large = (
            getattr(verdict.error, "status", 0) == TOO_LARGE
        )  # which is nearly always a proxy's to say
        if not (verdict.foreign and ends and self.gate.successes) or too_large or verdict.error is None:
            return verdict
        verdict.error.retryable = True
        return attrs.evolve(verdict, meaning=Meaning.TRANSIENT)

    def _culprit(self) -> str:
        if not self.middleware:
            return "the HTTP client"
        return f"a middleware ({', '.join(map(name_of, self.middleware))}) or the HTTP client below it"

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

    def _give_back(self, ticket: Permit, trail: Trail, verdict: Verdict[Any] | None) -> None:
        if verdict is None:  # a bug in a middleware says nothing about the service
            self.gate.leave(ticket, Signal.NEUTRAL)
            return
        trail.alone = self.gate.leave(
            ticket,
            _signal(verdict),
            batch=(trail.call, trail.origin or trail.batch),
            error=verdict.error,
            retry_after=verdict.retry_after,
            ceiling=verdict.ceiling,
        )

    def _learn_time(self, verdict: Verdict[Any], reply: Reply, stamp: Stamp | None) -> None:
        moved, date, received = 0.0, verdict.server_date, reply.received_at
        if stamp and verdict.meaning in (Meaning.ANSWER, Meaning.INVALID, Meaning.REFUSED):
            self.clock.accepted(stamp)
        elif stamp and verdict.meaning is Meaning.UNAUTHORISED:
            moved = self.clock.doubted(stamp, received)
        elif stamp and verdict.meaning is Meaning.WRONG_DATE and date is not None:
            moved = self.clock.refused(stamp, date, received)
        if date is not None:
            moved += self.clock.learn(date, received)
        if moved:
            say(logging.INFO, "the server's clock differs from what was assumed by %+.0f s", moved)
            tell(self.hooks, ClockCorrected(moved))

    def _check_kind(self, verdict: Verdict[Any], reply: Reply) -> None:
        """A good reply that says it is something else than JSON is believed, and mentioned once."""
        kind = reply.header("content-type")
        odd = verdict.meaning is Meaning.ANSWER and kind is not None and "json" not in kind.lower()
        if odd and "content type" not in self.mentioned:
            self.mentioned.add("content type")
            say(logging.WARNING, "a reply says that it is %.60r; read as JSON all the same", kind)

    def _note(self, ask: Ask[Any], trail: Trail, verdict: Verdict[Any]) -> None:
        """What a failure leaves behind."""
        error = verdict.error
        if error is None:
            return
        error.trace_id, error.attempts = trail.trace_id, trail.requests
        trail.note(error, refusing=not verdict.ambiguous and not isinstance(error, TransportFailure))
        tell(self.hooks, AttemptFailed(ask.operation.name, trail.trace_id, trail.requests, error))
        say(logging.DEBUG, "%s attempt %d failed: %s", ask.operation.name, trail.requests, error)


@attrs.define(slots=True, eq=False)
class _Sent:
    """One of the sends of an attempt.

    Attributes:
        reply: What came back, or None.
        harmless: Whether it is certain that nothing left this machine.
    """

    reply: Reply | None = None
    harmless: bool = False


class _Sends:
    """All sends of one attempt: a middleware may send more than once, or answer without sending.

    Attributes:
        departure: What is known of whether requests have left this machine.
        stamp: The time that the last request was signed with, and what it was made from.
        answer: The reply that the middleware returned, or None.
        refuses: Returns whether a reply is a refusal without any effect.
    """

    def __init__(self, sender: Sender, token: Token, trail: Trail) -> None:
        self._sender, self.token, self.trail = sender, token, trail
        self._sent: list[_Sent] = []
        self.departure = Departure()
        self.stamp = Stamp(0.0, 0.0)
        self.answer: Reply | None = None
        self.refuses: Callable[[Reply], bool] = lambda _: False

    async def send(self, request: Request) -> Reply:
        """Sign and send: the innermost link of the chain."""
        sender, sent = self._sender, _Sent()
        self.stamp = sender.clock.stamp()
        signed = sign(
            request,
            sender.gate.auth.credentials,
            self.token.secret,
            date=format_date(self.stamp.at),
            host=sender.wire.endpoint.host,
        )
        self._sent.append(sent)
        try:
            sent.reply = await sender.wire.send(signed, sender.timeout, self.departure)
        except TransportFailure as error:
            sent.harmless = error.sent is Sent.NO
            raise
        except BadReply:
            self.trail.heard = True
            raise
        except BaseException:  # mostly a cancellation
            sent.harmless = not self.departure.left
            raise
        self.trail.heard = True
        return sent.reply

    def regarded(self, verdict: Verdict[T]) -> Verdict[T]:
        """Return the verdict on the answer, ambiguous if any other send may have had an effect."""
        last = self._sent[-1] if self._sent else None
        if last is None:  # the middleware answered without sending
            return attrs.evolve(verdict, ambiguous=False)
        repeated = self.departure.repeated
        if (
            last.reply is self.answer is not None and len(self._sent) == 1 and not repeated
        ):  # as nearly always
            return verdict
        # A middleware may return an earlier send's reply or an edited one, or raise an error of its own.
        edited = None if self.answer is None else last
        answering = next((sent for sent in self._sent if sent.reply is self.answer is not None), edited)
        others = (sent for sent in self._sent if sent is not answering and not sent.harmless)
        doubtful = any(sent.reply is None or not self.refuses(sent.reply) for sent in others)
        return attrs.evolve(verdict, ambiguous=verdict.ambiguous or doubtful or repeated)


def _is_refusal(verdict: Verdict[Any]) -> bool:
    """Return whether it is certain that the service did nothing."""
    return not verdict.ambiguous and verdict.meaning is not Meaning.ANSWER


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
