"""Values that several tests of the core need, made in one line."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from koodrive_async.core import errors
from koodrive_async.core.codec import Envelope, read_envelope
from koodrive_async.core.errors import ConnectionLost, InvalidRequest, KooDriveError, Sent, Throttled
from koodrive_async.core.jsontext import parse_object
from koodrive_async.core.objects import ShareFile, ShareTask
from koodrive_async.core.outcomes import Ended, ShareOutcome, Status
from koodrive_async.core.pages import MalformedItem, Page
from koodrive_async.core.report import CancelReport
from koodrive_async.core.wire import Reply

#: The date of the signing vectors, as an HTTP-date and in seconds since the epoch.
HTTP_DATE = "Mon, 09 Sep 2024 03:33:25 GMT"
EPOCH = 1725852805.0

TRACE = "t" * 58


def as_bytes(body: Any) -> bytes:
    """Bytes as they are, a text as HTML or the like, anything else as JSON."""
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def reply(status: int = 200, body: Any = b"", **headers: str) -> Reply:
    """A reply; `retry_after="2"` is the header ``retry-after: 2``."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status, pairs, as_bytes(body))


def envelope(body: Any) -> Envelope:
    return read_envelope(parse_object(as_bytes(body)))


def report_of(*outcomes: tuple[str, Status], **details: Any) -> CancelReport:
    return CancelReport((ShareOutcome(share_id, status) for share_id, status in outcomes), **details)


# -- errors ---------------------------------------------------------------------------------------

#: Every class of the hierarchy.
ERRORS = [
    thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, KooDriveError)
]

REPORT = report_of(("a", Status.CANCELLED), ("b", Status.UNKNOWN), requests=2, elapsed=0.5)

#: A telling value for every argument that some class takes.
_SAMPLES = {
    "message": "no such thing",
    "trace_id": TRACE,
    "attempts": 3,
    "position": 7,
    "sent": Sent.NO,
    "permanent": True,
    "status": 429,
    "code": "APIG.0308",
    "request_id": "r-1",
    "retry_after": 2.5,
    "retry_at": datetime(2026, 1, 2, tzinfo=UTC),
    "body": "<html>",
    "report": REPORT,
    "index": 4,
    "page": Page([ShareFile(id="F1")], "after-1", [MalformedItem(4, "is no object", 7)]),
    "cursor": "after-1",
    "pages": 2,
    "items": ("a", "b"),
    "task": ShareTask(task_id="t", task_status=1),
}


def full_error(cls: type[KooDriveError]) -> KooDriveError:
    """An error of this class with every attribute at a value of its own."""
    error = cls(**{name: _SAMPLES[name] for name in inspect.signature(cls).parameters})
    error.ambiguous, error.gave_up, error.report, error.retryable = True, "budget", REPORT, True
    return error


# -- strategies -----------------------------------------------------------------------------------

encodable = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)

_codes = st.sampled_from([0, "0", 13000309, "13000102", "APIG.0308", None, True, 0.0, "", [], 10**80])
_share_ids = st.sampled_from(["a", "b", "c", "d", "7", 7, "foreign", None, True, 1.5, {}, ""])
_items = st.fixed_dictionaries(
    {},
    optional={
        "shareId": _share_ids,
        "id": _share_ids,
        "code": _codes,
        "msg": json_values,
        "message": json_values,
    },
)

#: What a service could answer on a bad day: the right names, with anything under them.
wild_replies = st.fixed_dictionaries(
    {},
    optional={
        "code": _codes | json_values,
        "msg": json_values,
        "error": json_values | st.fixed_dictionaries({"errorData": json_values}),
        "error_code": json_values,
        "error_msg": json_values,
        "request_id": json_values,
        "subResponseList": json_values | st.lists(_items | json_values, max_size=6),
        "link": json_values
        | st.dictionaries(st.sampled_from(["shareId", "status", "permission"]), json_values),
    },
)

_BLAMED = [None, ConnectionLost("lost"), InvalidRequest("no", code="13000102"), Throttled("slow down")]

outcomes = st.builds(
    ShareOutcome,
    share_id=st.sampled_from("abcdefg"),
    status=st.sampled_from(Status),
    code=st.sampled_from(["", "0", "13000309"]),
    message=st.sampled_from(["", "Success."]),
    attempts=st.integers(0, 9),
    trace_id=st.sampled_from(["", TRACE]),
    error=st.sampled_from(_BLAMED),
)

reports = st.builds(
    CancelReport,
    st.lists(outcomes, max_size=8),
    requests=st.integers(0, 1000),
    elapsed=st.floats(0, 1e6),
    complete=st.booleans(),
    ended=st.sampled_from(Ended),
    unjournaled=st.integers(0, 9),
)
