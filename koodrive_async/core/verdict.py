"""What a reply, or its absence, means: final or not, could the service have acted, when to ask again.

Body first, then HTTP status: business errors arrive with 200, and 400 is documented both for bad
parameters and for "authentication not passed" (koodrive-api section 4). Not here: what is done about it
(see ``call`` and ``bulk``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from string import ascii_letters
from typing import Any, Generic, TypeVar

import attrs

from koodrive_async.core.codec import Envelope, has_sub_responses, only_successes, read_envelope
from koodrive_async.core.errors import (
    ApiError,
    AuthFailed,
    BadReply,
    ClockSkewed,
    Forbidden,
    InvalidRequest,
    KooDriveError,
    NotFound,
    Sent,
    ServerFault,
    Throttled,
    TransportFailure,
)
from koodrive_async.core.jsontext import excerpt, parse_object
from koodrive_async.core.secrets import scrub
from koodrive_async.core.skew import refused_for_date
from koodrive_async.core.times import parse_time
from koodrive_async.core.wire import Reply, header_values

T = TypeVar("T")


class Meaning(Enum):
    """What to do about it."""

    ANSWER = "answer"
    """The service answered; `Verdict.value` is what it said."""
    TRANSIENT = "transient"
    """Ask again after a back-off."""
    THROTTLED = "throttled"
    """Too many requests: everybody waits, then ask again."""
    UNAUTHORISED = "unauthorised"
    """Renew the token once, where there is one to renew; else fatal."""
    WRONG_DATE = "wrong date"
    """Correct the clock and sign again."""
    INVALID = "invalid"
    """Refused for its content: a batch may be halved to find the culprit."""
    REFUSED = "refused"
    """Refused; other requests may still be accepted."""
    FATAL = "fatal"
    """Refused, as every other request would be."""


@attrs.frozen(slots=True)
class Verdict(Generic[T]):
    """The meaning of one attempt.

    Attributes:
        meaning: What to do.
        value: What the service said, for ANSWER.
        error: What to raise if this is the end, for all others.
        ambiguous: Whether the service may have acted.
        retry_after: Seconds the service asked to wait, or None.
        ceiling: Requests per second that the gateway says it grants, or None.
        server_date: The service's time, if this reply teaches it, in seconds since the epoch.
        foreign: Whether it was neither the service nor its gateway that refused, as far as the body tells.
    """

    meaning: Meaning
    value: T | None = None
    error: KooDriveError | None = None
    ambiguous: bool = False
    retry_after: float | None = None
    ceiling: float | None = None
    server_date: float | None = None
    foreign: bool = False

    @property
    def overloaded(self) -> bool:
        """Whether the service failed for want of capacity, so that asking at once again would add to it."""
        return isinstance(self.error, ServerFault | Throttled)


# -- codes ----------------------------------------------------------------------------------------

_GATEWAY = re.compile(r"APIG(?:W)?\.(\d{4})", re.IGNORECASE)

_Class = tuple[type[ApiError], Meaning]

#: Section 4 of koodrive-api: codes that mean more than their HTTP status.
_BY_CODE: dict[str, _Class] = {
    "13000101": (InvalidRequest, Meaning.INVALID),  # bad request
    "13000102": (InvalidRequest, Meaning.INVALID),  # parameter check failed
    # "Resource does not exist": of a whole batch it can only be said of some id in it, so look for that.
    "13000309": (NotFound, Meaning.INVALID),
    "13000410": (Forbidden, Meaning.REFUSED),  # no permission on the space; other spaces may be fine
}
#: The other listed codes; the advice is "retrying does not help".
_LISTED = re.compile(r"130003(?:0[1-9]|1[0-2])|130004(?:0[1-9]|1[0-4])")

#: Section 4.1, the gateway's numbers.
_BY_GATEWAY: dict[str, _Class] = {
    "0101": (NotFound, Meaning.FATAL),
    "0103": (ApiError, Meaning.FATAL),
    "0104": (ApiError, Meaning.FATAL),
    "0105": (ApiError, Meaning.FATAL),
    "0106": (ApiError, Meaning.FATAL),
    "0202": (ServerFault, Meaning.TRANSIENT),
    "0203": (ServerFault, Meaning.TRANSIENT),
    "0301": (AuthFailed, Meaning.UNAUTHORISED),
    "0303": (AuthFailed, Meaning.UNAUTHORISED),
    "0304": (Forbidden, Meaning.FATAL),
    "0305": (AuthFailed, Meaning.UNAUTHORISED),
    "0307": (AuthFailed, Meaning.UNAUTHORISED),
    "0308": (Throttled, Meaning.THROTTLED),
}

#: The body was too large (RFC 9110, 15.5.14); how many bytes may be sent is not documented.
TOO_LARGE = 413

_BY_STATUS: dict[int, _Class] = {
    400: (InvalidRequest, Meaning.INVALID),
    401: (AuthFailed, Meaning.UNAUTHORISED),
    403: (Forbidden, Meaning.FATAL),
    404: (NotFound, Meaning.FATAL),
    405: (ApiError, Meaning.FATAL),
    407: (ApiError, Meaning.FATAL),  # a proxy's: it would refuse the next one too
    408: (ServerFault, Meaning.TRANSIENT),
    TOO_LARGE: (InvalidRequest, Meaning.INVALID),  # fewer ids make a smaller body
    422: (InvalidRequest, Meaning.INVALID),
    425: (ServerFault, Meaning.TRANSIENT),
    429: (Throttled, Meaning.THROTTLED),
}

#: Answered before anything could be done.
_CERTAINLY_NOT_DONE = frozenset({425})


def classify(status: int, code: str | None) -> _Class:
    """The error class and the meaning of a refusal; the code decides before the status."""
    if code:
        if status == 403 and code == "13000410":
            return _BY_STATUS[403]  # no permission, and with this status not of some single space
        if code in _BY_CODE:
            return _BY_CODE[code]
        if _LISTED.fullmatch(code):
            return ApiError, Meaning.REFUSED
        gateway = _GATEWAY.fullmatch(code)
        if gateway and gateway[1] in _BY_GATEWAY:
            return _BY_GATEWAY[gateway[1]]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 300 <= status < 400:  # never followed: the credentials would travel along
        return ApiError, Meaning.FATAL
    if status >= 500:
        return ServerFault, Meaning.TRANSIENT
    return ApiError, Meaning.REFUSED


def item_error(code: str, message: str, trace_id: str) -> ApiError:
    """The error for one id that a reply's list refuses."""
    cls, _ = classify(200, code)
    error = cls(scrub(message), code=code, trace_id=trace_id)
    if not isinstance(error, Throttled | ServerFault):
        error.retryable = False  # said of this very id, not of the caller
    return error


# -- headers and texts ----------------------------------------------------------------------------

_LIMIT = re.compile(r"limit:\s*(\d{1,9})\s*,\s*time:\s*(\d{0,6})\s*(second|minute|hour|day)", re.IGNORECASE)
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_SERVER_TIME = re.compile(r"server time:\s*(\d{8}T\d{6}Z)", re.IGNORECASE)
_SECONDS = re.compile(r"\d{1,300}(?:\.\d{1,300})?", re.ASCII)


#: The only names of a zone that an HTTP-date may have, or that mean the same in old texts (RFC 9110, 5.6.7).
_GMT = frozenset({"GMT", "UTC", "UT", "Z"})

#: The end of the year 9000: a date that leaves room for sums with it.
_LAST_DATE = 221_845_392_000.0


@lru_cache(maxsize=16)  # a Date changes once a second, replies come by the hundred
def parse_http_date(text: str) -> float | None:
    """Seconds since the epoch of an HTTP-date; None for what is not one, or has the name of another zone.

    Such a name (CST, say) belongs to several zones.
    """
    if _zone(text) not in _GMT:
        return None
    try:
        parsed = parsedate_to_datetime(text)
        seconds = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return seconds if 0 <= seconds <= _LAST_DATE else None


def _zone(text: str) -> str:
    """The name of the zone at the end of a date, in capitals; GMT where there is no name."""
    last = text.split()[-1:]
    return last[0].upper() if last and last[0].isalpha() else "GMT"


def _between(date: str, until: str) -> float | None:
    """Seconds between two dates of the same zone, whichever that is; None if it is not the same."""
    if _zone(date) != _zone(until):
        return None
    first, last = (parse_http_date(f"{text.rstrip().rstrip(ascii_letters)}GMT") for text in (date, until))
    return None if first is None or last is None else last - first


def parse_retry_after(values: Sequence[str], now: float, date: str = "") -> float | None:
    """Seconds to wait: of several headers the longest; None where none can be read.

    Args:
        values: The values of ``Retry-After``: seconds or HTTP-dates.
        now: The time that a date is measured from, in seconds since the epoch: the server's own.
        date: The reply's ``Date``, to measure from where both are in the same zone that is not GMT.
    """
    waits = []
    for value in (raw.strip() for raw in values):
        if _SECONDS.fullmatch(value):
            waits.append(float(value))
        elif (instant := parse_http_date(value)) is not None:
            waits.append(max(0.0, instant - now))
        elif (wait := _between(date, value)) is not None:
            waits.append(max(0.0, wait))
    return max(waits, default=None)


def parse_ceiling(message: str) -> float | None:
    """Requests per second from the gateway's "limit:20,time:1 second" (ocr_01_0041), or None."""
    found = _LIMIT.search(message)
    if not found:
        return None
    seconds = float(found[2] or 1) * _UNITS[found[3].lower()]
    return float(found[1]) / seconds if seconds and float(found[1]) else None


def _server_date(reply: Reply, message: str) -> float | None:
    """The server's time: as whoever checked the signature says it, else as the header does."""
    if found := _SERVER_TIME.search(message):
        parsed = parse_time(found[1].upper().replace("T", "").rstrip("Z"))
        if parsed:
            return parsed.timestamp()
    text = reply.header("date")
    return parse_http_date(text) if text else None


# -- verdicts -------------------------------------------------------------------------------------


def judge(
    reply: Reply,
    read: Callable[[Envelope], T],
    *,
    batched: bool = False,
    signed_at: float | None = None,
    now: float = 0.0,
    secrets: tuple[str, ...] = (),
) -> Verdict[T]:
    """Classify a reply.

    Args:
        reply: The HTTP response to classify.
        read: Makes the value of a good reply, or raises `BadReply`.
        batched: Whether the reply may answer for single ids, whatever it says of the whole.
        signed_at: The request's ``X-Date`` in seconds since the epoch, if it had one.
        now: Our wall clock, for a ``Retry-After`` date in a reply without ``Date``.
        secrets: What an error's text must not repeat.
    """
    ok = 200 <= reply.status < 300
    date = None
    try:
        envelope = read_envelope(parse_object(reply.body))
        if envelope.code is not None:
            date = _server_date(reply, envelope.message)
        listed = batched and has_sub_responses(envelope.data)
        if listed and (ok or reply.status == _PARTIAL_FAILURE):
            value = read(envelope)
            if odd := _contradiction(reply, envelope):
                return _unreadable(reply, BadReply(odd), date, secrets)
            wait = _retry_after(reply, date, now)  # for single ids that were throttled
            return Verdict(Meaning.ANSWER, value=value, retry_after=wait, server_date=date)
        if ok and envelope.code == "0":
            return Verdict(Meaning.ANSWER, value=read(envelope), server_date=date)
    except BadReply as error:
        if ok or reply.status < 200:
            return _unreadable(reply, error, date, secrets)
        envelope, listed = Envelope(None, _words(reply), "", {}), False
    if odd := _no_refusal(reply, envelope, batched=batched):
        return _unreadable(reply, BadReply(odd), date, secrets)
    if listed and reply.status >= 500:  # a list inside a failure proves nothing: judge by the status alone
        envelope = attrs.evolve(envelope, code=None)
    return _refusal(reply, envelope, date, signed_at, now, secrets)


#: A list of sub-responses is believed with 2xx and with this; the status of partial failures is undocumented.
_PARTIAL_FAILURE = 400


def _contradiction(reply: Reply, envelope: Envelope) -> str:
    """Return how a list contradicts the code of the whole request, or "" if it does not.

    A failure code beside a list with failures in it is a partial failure, and the list is believed item by
    item. Which code a partial failure has is not documented (batchCancel.html).
    """
    failed = reply.status == _PARTIAL_FAILURE or envelope.code not in (None, "0")
    if failed and only_successes(envelope.data):
        return f"a failure (code {envelope.code}) beside a list of nothing but successes"
    return ""


def _no_refusal(reply: Reply, envelope: Envelope, *, batched: bool) -> str:
    """Return why a reply without an answer is not a refusal either, or "" if it is one."""
    if reply.status < 200:  # 101 too: nobody asked to switch protocols
        return f"HTTP {reply.status} is no final reply"
    if reply.status < 300 and not envelope.code:
        return "a reply without a code"
    if batched and 200 < reply.status < 300:  # 201, 202 ...: something was done, or will be
        return f"HTTP {reply.status} with the failure code {envelope.code}"
    return ""


def _unreadable(reply: Reply, error: BadReply, date: float | None, secrets: tuple[str, ...]) -> Verdict[Any]:
    error.status, error.body = reply.status, excerpt(reply.body, secrets)
    return Verdict(Meaning.TRANSIENT, error=error, ambiguous=True, server_date=date)


def _words(reply: Reply) -> str:
    """Something to say of a refusal whose body is not the service's."""
    kind = (reply.header("content-type") or "no content type").split(";")[0]
    return f"a body of {len(reply.body)} bytes that is not the service's ({kind})"


def _refusal(
    reply: Reply,
    envelope: Envelope,
    date: float | None,
    signed_at: float | None,
    now: float,
    secrets: tuple[str, ...],
) -> Verdict[Any]:
    cls, meaning = classify(reply.status, envelope.code)
    message = scrub(envelope.message, secrets)
    fields: dict[str, Any] = {
        "status": reply.status,
        "code": scrub(envelope.code or "", secrets),
        "request_id": scrub(envelope.request_id, secrets),
    }
    wait = ceiling = None
    if meaning in (Meaning.THROTTLED, Meaning.TRANSIENT):
        wait = _retry_after(reply, date, now)
        ceiling = parse_ceiling(envelope.message)
    if cls is Throttled:
        fields |= {"retry_after": wait, "retry_at": _instant(now, wait)}
    dated = signed_at is not None and date is not None and refused_for_date(signed_at, date)
    if meaning is Meaning.UNAUTHORISED and dated:
        cls, meaning = ClockSkewed, Meaning.WRONG_DATE
    if 300 <= reply.status < 400:
        message = f"a redirect, which is never followed{f'; {message}' if envelope.code else ''}"
    return Verdict(
        meaning,
        error=cls(message, **fields),
        ambiguous=meaning is Meaning.TRANSIENT and reply.status not in _CERTAINLY_NOT_DONE,
        retry_after=wait,
        ceiling=ceiling,
        server_date=date,
        foreign=envelope.code is None,
    )


def _retry_after(reply: Reply, date: float | None, now: float) -> float | None:
    values = header_values(reply.headers, "retry-after")
    if not values:
        return None
    return parse_retry_after(values, now if date is None else date, reply.header("date") or "")


def _instant(now: float, wait: float | None) -> datetime | None:
    try:
        return None if wait is None else datetime.fromtimestamp(now, UTC) + timedelta(seconds=wait)
    except OverflowError:
        return None


def judge_failure(error: TransportFailure | BadReply) -> Verdict[Any]:
    """What the absence of a readable reply means."""
    if isinstance(error, BadReply):
        return Verdict(Meaning.TRANSIENT, error=error, ambiguous=True)
    meaning = Meaning.FATAL if error.permanent else Meaning.TRANSIENT
    return Verdict(meaning, error=error, ambiguous=error.sent is Sent.MAYBE)
