"""`Request` and `Reply`: what goes over the wire, as values; and how a target is spelt there.

These are the types a middleware sees. Refuses to know any HTTP library.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from urllib.parse import quote

import attrs

from koodrive_async.core.secrets import MASK

Header = tuple[str, str]

#: Headers whose values may be shown; all others print as ``***``.
SHOWN_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "host",
        "retry-after",
        "server",
        "x-date",
        "x-hw-agentname",
        "x-request-id",
        "x-traceid",
    }
)


def percent_encode(text: str) -> str:
    """RFC 3986 with upper-case hex; only ``A-Z a-z 0-9 - _ . ~`` stay (page koodrive_05_0035)."""
    return quote(text, safe="~")


def encode_query(query: Iterable[tuple[str, str]]) -> str:
    """``name=value`` joined by ``&``, in the given order; ``=`` stays when the value is empty."""
    return "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in query)


def shown(headers: Iterable[Header]) -> str:
    """Headers for people: values outside the allow-list are masked."""
    pairs = (f"{name}: {value if name.lower() in SHOWN_HEADERS else MASK}" for name, value in headers)
    return "{" + ", ".join(pairs) + "}"


def header_values(headers: Iterable[Header], name: str) -> list[str]:
    """All values of a header, whatever its case."""
    name = name.lower()
    return [value for key, value in headers if key.lower() == name]


@attrs.frozen(slots=True)
class Request:
    """One attempt's request.

    Attributes:
        method: The HTTP method.
        path: The absolute path, percent-encoded as on the wire.
        query: Names and values, not encoded; encoded and signed in this order by name.
        headers: Names and values, ASCII.
        body: The exact bytes that are hashed and sent. Never shown: it may hold secrets.
        operation: The service's name of the operation, such as "batchCancel".
        trace_id: The ``X-Traceid`` of this attempt.
        attempt: 1 for the first request of a logical call.
        authenticated: Whether credentials are put on it (the carrier's public calls take none).
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]] = attrs.field(default=(), repr=False)
    headers: Sequence[Header] = attrs.field(default=(), repr=shown)
    body: bytes = attrs.field(default=b"", repr=False)
    operation: str = ""
    trace_id: str = ""
    attempt: int = 1
    authenticated: bool = True

    @property
    def target(self) -> str:
        """Path and query as on the wire."""
        return f"{self.path}?{encode_query(self.query)}" if self.query else self.path

    def with_headers(self, *headers: Header) -> Request:
        """This request with more headers, the new ones last; of the same name they replace."""
        names = {name.lower() for name, _ in headers}
        kept = [pair for pair in self.headers if pair[0].lower() not in names]
        return attrs.evolve(self, headers=(*kept, *headers))


@attrs.frozen(slots=True)
class Reply:
    """What came back, read to its end.

    Attributes:
        status: The HTTP status.
        headers: Names and values as received.
        body: The whole body, decoded.
        sent_at: When the request began to be sent, in seconds of the monotonic clock.
        received_at: When the reply was complete, likewise.
    """

    status: int
    headers: Sequence[Header] = attrs.field(default=(), repr=shown)
    body: bytes = attrs.field(default=b"", repr=False)
    sent_at: float = 0.0
    received_at: float = 0.0

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next(iter(header_values(self.headers, name)), None)


Send = Callable[[Request], Awaitable[Reply]]
"""Sends one request on: to the next middleware, and in the end to the wire."""

Middleware = Callable[[Request, Send], Awaitable[Reply]]
"""Sees every attempt and every HTTP status; calls `Send` once."""
