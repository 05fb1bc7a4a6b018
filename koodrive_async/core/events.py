"""What a call tells while it runs: `Progress`, and the events that hooks get.

Frozen values, without secrets and without ids by the thousand. Refuses to deliver itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from koodrive_async.core.errors import KooDriveError
from koodrive_async.core.outcomes import Status


@attrs.frozen(slots=True)
class Progress:
    """Where a bulk call stands.

    Attributes:
        counts: How many ids are settled, by status.
        settled: How many ids are settled.
        total: How many there are, or None while the source is not read to its end.
        in_flight: Requests under way.
        requests: Requests sent so far.
        rate: Ids settled per second, over the last seconds.
        pace: Requests per second that the gate allows now, or None for no known limit.
        elapsed: Seconds since the call began.
        eta: Seconds that are left at this rate, or None.
    """

    counts: Mapping[Status, int]
    settled: int
    total: int | None
    in_flight: int
    requests: int
    rate: float
    pace: float | None
    elapsed: float
    eta: float | None


@attrs.frozen(slots=True)
class AttemptStarted:
    """A request is about to be sent."""

    operation: str
    trace_id: str
    attempt: int


@attrs.frozen(slots=True)
class AttemptFailed:
    """An attempt ended without the answer asked for; it may be repeated."""

    operation: str
    trace_id: str
    attempt: int
    error: KooDriveError


@attrs.frozen(slots=True)
class RetryScheduled:
    """A further attempt follows after `delay` seconds."""

    operation: str
    trace_id: str
    attempt: int
    delay: float
    error: KooDriveError


@attrs.frozen(slots=True)
class BatchSettled:
    """Ids of a batch have their outcome."""

    operation: str
    trace_id: str
    counts: Mapping[Status, int]


@attrs.frozen(slots=True)
class PaceChanged:
    """The gate opened, closed, or learnt another limit.

    Attributes:
        closed: Whether nobody but a probe may send.
        rate: Requests per second, or None for no known limit.
        limit: Requests in flight at the same time.
    """

    closed: bool
    rate: float | None
    limit: int


@attrs.frozen(slots=True)
class ClockCorrected:
    """The estimate of the server's clock moved by `seconds`."""

    seconds: float


Event = AttemptStarted | AttemptFailed | RetryScheduled | BatchSettled | PaceChanged | ClockCorrected

Hook = Callable[[Event], None]
"""Gets every event, in the task where it happens; one that raises is logged and does no harm."""
