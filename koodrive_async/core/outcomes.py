"""What became of one share id: `Status`, `ShareOutcome`, and `Settlement`, its part without the id.

Refuses to decide which status an answer means; that is ``pairing``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

import attrs

from koodrive_async.core.errors import KooDriveError


class Status(StrEnum):
    """How it ended for one id, from the most certain to the least."""

    CANCELLED = "cancelled"
    """The service answered code 0 for this id."""
    ALREADY_GONE = "already_gone"
    """It answered that no such share exists: the wished end state holds."""
    REJECTED = "rejected"
    """It, or the gateway before it, refused for certain; `ShareOutcome.error` says why."""
    UNKNOWN = "unknown"
    """A request with this id may have reached the service, and no answer settles it."""
    NOT_SENT = "not_sent"
    """For certain nothing with this id reached the service."""


#: The surer the lower.
RANK = {status: rank for rank, status in enumerate(Status)}
#: The wished end state.
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
UNSENT = Settlement(Status.NOT_SENT)


def unsettled(
    *,
    attempts: int,
    ambiguous: bool,
    refused: KooDriveError | None,
    error: KooDriveError | None,
    trace_id: str,
) -> Settlement:
    """The honest outcome of ids that no reply settled.

    Args:
        attempts: How many requests carried them.
        ambiguous: Whether one of these may have reached the service unanswered: that sticks.
        refused: The last refusal for certain, or None.
        error: The last failure of any kind, or None.
        trace_id: Of the last request.
    """
    if ambiguous:
        status = Status.UNKNOWN
    elif refused is not None:
        status, error = Status.REJECTED, refused
    else:
        status = Status.NOT_SENT
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
        error: Why it is not well, or None.
    """

    share_id: str
    status: Status
    code: str = ""
    message: str = ""
    attempts: int = 0
    trace_id: str = ""
    error: KooDriveError | None = None

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
            answered=bool(self.code)
            and self.status is not Status.UNKNOWN
            and not getattr(self.error, "status", 0),
        )


def count_statuses(settlements: Sequence[Settlement]) -> Mapping[Status, int]:
    """How many there are of each status; every status is there."""
    shared = Counter(map(id, settlements))  # each is shared by many ids: look at each once
    by_id = dict(zip(map(id, settlements), settlements, strict=True))
    counted = dict.fromkeys(Status, 0)
    for key, count in shared.items():
        counted[by_id[key].status] += count
    return MappingProxyType(counted)
