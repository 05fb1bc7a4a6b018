"""Every error this package raises.

KooDriveError
├─ UsageError(ValueError)      the caller's mistake; nothing was sent because of it
│   ├─ InvalidShareId          an id that can't be one
│   ├─ ClientClosed            used after ``aclose``
│   ├─ WrongEventLoop          used from another event loop, thread or process
│   └─ ConfigurationError      a setting that can't work
├─ TransportFailure            no reply; ``.sent`` says whether the service may have seen the request
│   ├─ ConnectFailed           no connection (refused, name unknown, TLS, proxy)
│   ├─ AttemptTimeout          one of the time limits of an attempt
│   └─ ConnectionLost          the connection broke before the reply was whole
├─ ApiError                    the service, or the gateway before it, answered no
│   ├─ AuthFailed              the credentials were refused
│   │   └─ ClockSkewed         ... because of the signing time, also after correction
│   ├─ Forbidden               known, but not allowed
│   ├─ NotFound                no such resource, or no such endpoint
│   ├─ InvalidRequest          the content was refused
│   ├─ Throttled               too many requests; ``.retry_after``
│   └─ ServerFault             5xx: the service failed, it may have acted
├─ BadReply                    an answer that can't be understood; the service may have acted
│   └─ MalformedItemFound      an item of a list, where skipping is not wished; ``.page``
├─ CursorRepeated              a list that goes in circles; ``.items``
├─ TaskNotDone                 the deadline passed before a share task was over; ``.task``
├─ JournalFailed               the journal can't be used; what was settled stays in ``.report``
├─ UnexpectedCancellation      a source, a middleware ... ended by a cancellation that nobody asked for
├─ CallEnded                   the call ended before this id was settled; ``.gave_up`` says why
└─ CancelIncomplete            ``CancelReport.raise_for_failures``; ``.report``

Errors are plain data: each pickles, and none keeps a secret or a request.
This file refuses to decide what an error means; that is ``verdict``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from datetime import datetime

    from koodrive_async.core.objects import ShareTask
    from koodrive_async.core.pages import Page
    from koodrive_async.core.report import CancelReport, CancelSummary


class Sent(StrEnum):
    """Whether a request that brought no reply may have reached the service."""

    NO = "no"
    MAYBE = "maybe"


class KooDriveError(Exception):
    """The base of all errors of this package.

    Attributes:
        trace_id: The ``X-Traceid`` of the last request that this error is about, or "".
        attempts: How many requests were sent before giving up.
        ambiguous: Whether the service may have acted all the same: some attempt was lost
            after it could have been received.
        gave_up: Which limit ended the call: "attempts", "budget", "deadline", "patience",
            "retry-after", or "" if the error itself ended it. For a `CallEnded` also "stopped",
            "left", "cancelled" or "failed".
        report: What `cancel` had settled when this error stopped it (complete: one outcome
            for each id), else None.
    """

    #: Whether asking again later, under other circumstances, could succeed.
    retryable: bool = False

    def __init__(self, message: str = "", *, trace_id: str = "", attempts: int = 0) -> None:
        super().__init__(message)
        self.trace_id = trace_id
        self.attempts = attempts
        self.ambiguous = False
        self.gave_up = ""
        self.report: CancelReport | CancelSummary | None = None

    def __str__(self) -> str:
        notes = [
            f"gave up: {self.gave_up}" if self.gave_up else "",
            f"attempts: {self.attempts}" if self.attempts > 1 else "",
            "the service may have acted" if self.ambiguous else "",
            f"trace id: {self.trace_id}" if self.trace_id else "",
        ]
        text = ", ".join(note for note in notes if note)
        return f"{self._summary()} ({text})" if text else self._summary()

    def _summary(self) -> str:
        return str(self.args[0] if self.args else "") or type(self).__name__

    def detached(self) -> Self:
        """This error without traceback and cause, so that keeping it keeps no frame alive."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class UsageError(KooDriveError, ValueError):
    """The caller's mistake: found before anything was sent."""


class InvalidShareId(UsageError):
    """A value that can't be a share id.

    Attributes:
        position: Its place in the input, counted from 0, or None.
    """

    def __init__(
        self, message: str = "", *, position: int | None = None, trace_id: str = "", attempts: int = 0
    ) -> None:
        super().__init__(message, trace_id=trace_id, attempts=attempts)
        self.position = position


class ClientClosed(UsageError):
    """The client was used after it was closed."""


class WrongEventLoop(UsageError):
    """The client was used from another event loop, thread or process than its first one."""


class ConfigurationError(UsageError):
    """A setting that can't work, such as an endpoint that is no https URL."""


class TransportFailure(KooDriveError):
    """No reply arrived.

    Attributes:
        sent: Whether the request may have reached the service.
        permanent: Whether the same would happen again: a certificate that doesn't verify,
            a proxy that refuses the login.
    """

    retryable = True

    def __init__(
        self,
        message: str = "",
        *,
        sent: Sent = Sent.MAYBE,
        permanent: bool = False,
        trace_id: str = "",
        attempts: int = 0,
    ) -> None:
        super().__init__(message, trace_id=trace_id, attempts=attempts)
        self.sent = sent
        self.permanent = permanent


class ConnectFailed(TransportFailure):
    """No connection came about, so nothing was sent."""


class AttemptTimeout(TransportFailure):
    """An attempt took longer than its `Timeout` allows, or was cut off after the grace period."""


class ConnectionLost(TransportFailure):
    """The connection broke while the request was sent or before the reply was whole.

    Attributes:
        stale: Whether it had served before: then the server may just have closed it as idle.
    """

    stale = False


class ApiError(KooDriveError):
    """The service, or the gateway before it, answered with a refusal.

    Attributes:
        status: The HTTP status.
        code: The service's or the gateway's code as text, such as "13000309" or "APIG.0308";
            "" where it gave none.
        message: Its text, without secrets, cut to a sensible length.
        request_id: The gateway's own id of the request, or "".
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: str = "",
        request_id: str = "",
        trace_id: str = "",
        attempts: int = 0,
    ) -> None:
        super().__init__(message, trace_id=trace_id, attempts=attempts)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id

    def _summary(self) -> str:
        where = " ".join(part for part in (f"HTTP {self.status}" if self.status else "", self.code) if part)
        return ": ".join(part for part in (where, self.message) if part) or type(self).__name__


class AuthFailed(ApiError):
    """The credentials were refused, also after one renewal where they can be renewed."""

    retryable = True  # says nothing about the ids: with other credentials they may well go


class ClockSkewed(AuthFailed):
    """The signing time was refused, also after the clock was corrected."""


class Forbidden(ApiError):
    """The credentials are known but not allowed to do this."""

    retryable = True  # see AuthFailed; an id refused in a reply's list is told apart by `refused_id`


class NotFound(ApiError):
    """There is no such resource, or no such endpoint."""


class InvalidRequest(ApiError):
    """The content of the request was refused."""


class Throttled(ApiError):
    """Too many requests.

    Attributes:
        retry_after: Seconds to wait as the service said, or None.
        retry_at: The same as an instant (aware, UTC), or None.
    """

    retryable = True

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        retry_at: datetime | None = None,
        trace_id: str = "",
        attempts: int = 0,
    ) -> None:
        super().__init__(
            message, status=status, code=code, request_id=request_id, trace_id=trace_id, attempts=attempts
        )
        self.retry_after = retry_after
        self.retry_at = retry_at


class ServerFault(ApiError):
    """The service failed (5xx, 408): it may have acted all the same."""

    retryable = True


class BadReply(KooDriveError):
    """A reply that can't be understood: not JSON, the wrong shape, cut short, too large.

    Attributes:
        status: The HTTP status of the reply, 0 if it is not known.
        body: Its beginning, without secrets.
    """

    retryable = True

    def __init__(
        self, message: str = "", *, status: int = 0, body: str = "", trace_id: str = "", attempts: int = 0
    ) -> None:
        super().__init__(message, trace_id=trace_id, attempts=attempts)
        self.status = status
        self.body = body

    def _summary(self) -> str:
        status = f"HTTP {self.status}: " if self.status else ""
        excerpt = f": {self.body!r}" if self.body else ""
        return f"{status}{super()._summary()}{excerpt}"


class MalformedItemFound(BadReply):
    """An item of a page could not be read, and skipping it was not wished (``on_malformed="raise"``).

    Attributes:
        index: Its place on the page, counted from 0.
        page: The page, with all that could be read.
    """

    def __init__(
        self,
        message: str = "",
        *,
        index: int = 0,
        page: Page[Any] | None = None,
        trace_id: str = "",
        attempts: int = 0,
    ) -> None:
        super().__init__(message, trace_id=trace_id, attempts=attempts)
        self.index = index
        self.page = page


class CursorRepeated(KooDriveError):
    """A list led back to where it had been: going on would never end.

    Attributes:
        cursor: The cursor that came again.
        pages: How many pages were read.
        items: What `collect` had read; () for an iterator, which had handed everything out before.
    """

    def __init__(
        self,
        message: str = "",
        *,
        cursor: str = "",
        pages: int = 0,
        items: Sequence[Any] = (),
        trace_id: str = "",
        attempts: int = 0,
    ) -> None:
        super().__init__(message, trace_id=trace_id, attempts=attempts)
        self.cursor = cursor
        self.pages = pages
        self.items = items


class TaskNotDone(KooDriveError):
    """A share task was not over when the deadline passed; it goes on all the same.

    Attributes:
        task: Where it stood last, or None if it could not be asked even once.
    """

    retryable = True

    def __init__(
        self, message: str = "", *, task: ShareTask | None = None, trace_id: str = "", attempts: int = 0
    ) -> None:
        super().__init__(message, trace_id=trace_id, attempts=attempts)
        self.task = task
        self.gave_up = "deadline"


class JournalFailed(KooDriveError):
    """The journal is damaged, full, in use, or belongs to another endpoint or user."""


class UnexpectedCancellation(KooDriveError):
    """A source of ids, a middleware or an HTTP client ended by a cancellation that nobody asked for.

    On asyncio, code that awaits a future is ended by ``CancelledError`` if somebody else cancels that future.
    Taken for a cancellation of the call, this would hide that ids were never read or sent. So the call fails
    with this error instead; its text names the code that ended.
    """

    retryable = True


class CallEnded(KooDriveError):
    """The call ended before this id was settled.

    Found only as the ``error`` of an outcome; no call raises it. ``gave_up`` says what ended the call:
    "deadline", "stopped" (by ``stream.stop()``), "left" (the stream's block was), "cancelled" (the caller's
    task was) or "failed" (with the error that the call raised).
    """

    retryable = True


class CancelIncomplete(KooDriveError):
    """Some ids are neither cancelled nor gone, or were never read; ``.report`` says which and why."""

    def __init__(self, report: CancelReport | CancelSummary | None = None) -> None:
        super().__init__()
        self.args = (report,)
        self.report = report

    def _summary(self) -> str:
        unread = self.report is not None and not self.report.complete
        what = "the source was not read to its end" if unread else "not everything was cancelled"
        return f"{what}: {self.report!r}"
