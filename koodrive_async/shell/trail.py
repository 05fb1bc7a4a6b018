"""`Ask` and `Trail`: what one logical call wants, and what happened to it so far."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import attrs

from koodrive_async.core.codec import Envelope
from koodrive_async.core.errors import CallEnded, KooDriveError
from koodrive_async.core.operations import Operation, Repeat
from koodrive_async.core.verdict import Meaning

T = TypeVar("T")


def kept(error: KooDriveError) -> KooDriveError:
    """The error as a report may keep it: a copy, which no raise gives a traceback with its frames."""
    return copy.copy(error).detached()


@attrs.frozen(slots=True)
class Ask(Generic[T]):
    """What one logical call asks.

    Attributes:
        operation: Which operation.
        path: The absolute path, encoded.
        read: Makes the value of a good reply, or raises `BadReply`.
        query: Names and values.
        body: The exact bytes; empty for none.
        secrets: What in them no text may repeat.
    """

    operation: Operation
    path: str
    read: Callable[[Envelope], T]
    query: Sequence[tuple[str, str]] = ()
    body: bytes = attrs.field(default=b"", repr=False)
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)

    def may_repeat(self, *, ambiguous: bool) -> bool:
        """Whether it may be sent again after an attempt that the service may have acted on, or not."""
        return not ambiguous or self.operation.repeat is Repeat.ALWAYS


@attrs.define(slots=True)
class Trail:
    """What happened to one logical call so far; true at any moment, also when it is cut.

    Attributes:
        call: The first part of its trace ids, shared by all batches of a bulk call.
        batch: The second part.
        began: When the user's call began, on the event loop's clock.
        ends: When its deadline is, likewise, or None.
        requests: Requests sent.
        charged: How many of them count as attempts.
        spent: Seconds of the budget used.
        ambiguous: Whether some request may have reached the service without an answer.
        refused: The last refusal, or None.
        refusing: Whether the last failure was that refusal.
        error: The last failure of any kind, or None.
        trace_id: Of the last request.
        meaning: Of the last request; None while none is answered for.
        heard: Whether the service, or whatever stands before it, has answered at least once.
        retry_after: How long the last answer asked to wait, in seconds, or None.
        spoil: Has the connections of the last attempt thrown away, so that no other request uses them.
        resting: Whether it waits out a back-off, so that others may go meanwhile.
        on_rest: Called when such a wait begins.
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
    refusing: bool = False
    error: KooDriveError | None = None
    trace_id: str = ""
    meaning: Meaning | None = None
    heard: bool = False
    retry_after: float | None = None
    spoil: Callable[[], None] = lambda: None
    resting: bool = False
    on_rest: Callable[[], None] = lambda: None

    def note(self, error: KooDriveError, *, refusing: bool) -> None:
        """Keep a copy of a failure; raising the original adds no traceback to it.

        Args:
            error: The failure.
            refusing: Whether the service refused, so that it is certain that it did nothing.
        """
        self.error, self.refusing = kept(error), refusing
        if refusing:
            self.refused = self.error

    def sign_off(self, error: KooDriveError) -> KooDriveError:
        """Write what is known of the call on the error that ends it, and return the error."""
        error.attempts = self.requests
        error.trace_id = error.trace_id or self.trace_id
        error.ambiguous = self.ambiguous
        if not isinstance(error, CallEnded):  # which says nothing about what happened before
            self.error = kept(error)
            if self.refusing and type(error) is type(self.refused):
                self.refused = self.error
        elif self.error is None:
            self.error = kept(error)
        return error
