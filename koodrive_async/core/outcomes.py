"""What became of one share id: `Status`, `ShareOutcome`, and `Settlement`, its part without the id.

Also `Ended`: why a call ended. Not here: which status an answer means (see ``pairing``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs

from koodrive_async.core.errors import ApiError, AuthFailed, CallEnded, KooDriveError, ServerFault, Throttled


class Status(StrEnum):
    """How it ended for one id, from the most certain to the least."""

    CANCELLED = "cancelled"
    """The service answered code 0 for this id."""
    ALREADY_GONE = "already_gone"
    """The service answered that no such share exists, which is what was asked for."""
    REJECTED = "rejected"
    """The service, or the gateway in front of it, refused the id or every request with it;
    `ShareOutcome.error` says why."""
    UNKNOWN = "unknown"
    """A request with this id may have reached the service, and no answer settles it."""
    NOT_SENT = "not_sent"
    """No request with this id was sent."""


class Ended(StrEnum):
    """Why a call that settles many ids ended."""

    EXHAUSTED = "exhausted"
    """Every id of the source was read and settled."""
    STOPPED = "stopped"
    """``stream.stop()`` was called."""
    LEFT = "left"
    """The stream's block was left before everything was settled."""
    DEADLINE = "deadline"
    """The deadline passed."""
    CANCELLED = "cancelled"
    """The caller's task was cancelled."""
    FAILED = "failed"
    """An error stopped the call, which raises it."""


#: The surer the lower.
RANK = {status: rank for rank, status in enumerate(Status)}
#: The share no longer exists, which is what was asked for.
WELL = frozenset({Status.CANCELLED, Status.ALREADY_GONE})


@attrs.frozen(slots=True)
class Settlement:
    """What all ids that were settled alike have in common; `ShareOutcome` without the id."""

    status: Status
    code: str = ""
    message: str = ""
    attempts: int = 0
    trace_id: str = ""
    error: KooDriveError | None = None
    answered: bool = attrs.field(default=False, repr=False)
    """Whether the service named this id in a reply's list."""
    told: bool = attrs.field(default=False, repr=False, eq=False)
    """Whether the error was said of this very id: in a list, or of a request with no other id in it."""

    @property
    def well(self) -> bool:
        """Whether the share is cancelled or gone."""
        return self.status in WELL

    @property
    def retryable(self) -> bool:
        """Whether asking again could change it."""
        if self.status is Status.REJECTED:
            return self.error is not None and self.error.retryable
        return not self.well

    @property
    def refused(self) -> bool:
        """Whether the service refused the id and may yet accept it: such ids should be asked again last."""
        if self.status is Status.NOT_SENT or not self.retryable:
            return False
        return isinstance(self.error, ApiError) and not isinstance(
            self.error, ServerFault | Throttled | AuthFailed
        )

    def of(self, share_id: str) -> ShareOutcome:
        """The outcome of one id."""
        return ShareOutcome(
            share_id=share_id,
            status=self.status,
            code=self.code,
            message=self.message,
            attempts=self.attempts,
            trace_id=self.trace_id,
            error=self.error,
        )


#: What every id is until something better is known of it.
UNSENT = Settlement(
    Status.NOT_SENT, error=CallEnded("the call ended before a request with this id was sent").detached()
)


def unsettled(
    *,
    attempts: int,
    ambiguous: bool,
    refused: KooDriveError | None,
    error: KooDriveError | None,
    trace_id: str,
    ended: KooDriveError | None = UNSENT.error,
) -> Settlement:
    """The honest outcome of ids that no reply settled.

    Args:
        attempts: How many requests carried them.
        ambiguous: Whether one of these may have reached the service unanswered: that sticks.
        refused: The last refusal, or None.
        error: The last failure of any kind, or None.
        trace_id: Of the last request.
        ended: Why the call ended: the error of ids whose requests did not fail.
    """
    if ambiguous:
        status, error = Status.UNKNOWN, error or ended
    elif refused is not None:
        status, error = Status.REJECTED, refused
    else:
        status, error = Status.NOT_SENT, error or ended
    return Settlement(
        status,
        code=getattr(error, "code", ""),
        message=getattr(error, "message", ""),
        attempts=attempts,
        trace_id=trace_id,
        error=error,
    )


@attrs.frozen(slots=True)
class ShareOutcome:
    """The outcome of one share id.

    Attributes:
        share_id: The id.
        status: How it ended.
        code: The code the service or the gateway gave, as text ("0", "13000309", "APIG.0308"), or "".
        message: Its text, or "".
        attempts: How many requests carried this id.
        trace_id: The ``X-Traceid`` of the last of them, or "".
        error: Why the outcome is not `ok`; None if it is.
    """

    share_id: str
    status: Status
    code: str = ""
    message: str = ""
    attempts: int = 0
    trace_id: str = ""
    error: KooDriveError | None = None

    @property
    def ok(self) -> bool:
        """Whether the share is cancelled or gone."""
        return self.status in WELL

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain data, ready for JSON.

        An error becomes the name of its class, its text, and its ``gave_up``.
        """
        error = self.error
        return {
            "share_id": self.share_id,
            "status": self.status.value,
            "ok": self.ok,
            "code": self.code,
            "message": self.message,
            "attempts": self.attempts,
            "trace_id": self.trace_id,
            "retryable": self.settlement.retryable,
            "error": error and {"type": type(error).__name__, "text": str(error), "gave_up": error.gave_up},
        }

    @property
    def settlement(self) -> Settlement:
        """All of it but the id."""
        return Settlement(
            status=self.status,
            code=self.code,
            message=self.message,
            attempts=self.attempts,
            trace_id=self.trace_id,
            error=self.error,
            # A refusal of the whole request has an HTTP status, that of one id has none.
            answered=bool(self.code) and not getattr(self.error, "status", 0),
        )


def count_statuses(settlements: Sequence[Settlement]) -> Mapping[Status, int]:
    """How many there are of each status; every status is there."""
    shared = Counter(map(id, settlements))  # each is shared by many ids: look at each once
    by_id = dict(zip(map(id, settlements), settlements, strict=True))
    counted = dict.fromkeys(Status, 0)
    for key, count in shared.items():
        counted[by_id[key].status] += count
    return MappingProxyType(counted)
