"""The emulator's log: one record for each request it read to the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from koodrive_async.testing.faults import Fault


@attrs.define(eq=False)
class RequestSeen:
    """One request as it came over the wire, and what became of it.

    Headers, trace id and share ids are read out on demand, so that a long log stays small. The
    representation shows no credentials; `headers` and `raw_headers` do hold them.
    """

    number: int
    """1 for the first request."""
    operation: str
    """The documentation's name, `batchCancel` for instance; empty for an unknown path."""
    method: str
    target: str = attrs.field(repr=False)
    """Path and query exactly as sent."""
    raw_headers: Iterable[tuple[bytes, bytes]] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    at: float = attrs.field(repr=False)
    """Arrival by the server's clock (seconds since 1970)."""
    monotonic: float = attrs.field(repr=False)
    """Arrival by `time.monotonic()`: for rates and distances."""
    connection: tuple[str, int] | None = None
    """The client's host and port; None in process."""
    status: int = 0
    """The HTTP status answered; 0 as long as, or because, none was."""
    fault: Fault | None = None
    """The fault played on this request."""
    acted: bool = False
    """Whether the service carried out (or properly refused) the request."""
    finished: float | None = attrs.field(default=None, repr=False)
    """When its handling ended, by `time.monotonic()`."""

    @property
    def headers(self) -> dict[str, str]:
        """Header values by lower-case name; repeated ones joined by `, `."""
        found: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def header(self, name: str) -> str | None:
        """One header's value, None if it was not sent."""
        wanted = name.lower().encode("latin-1")
        for raw_name, value in self.raw_headers:
            if raw_name.lower() == wanted:
                return value.decode("latin-1")
        return None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def trace_id(self) -> str | None:
        """The value of X-Traceid."""
        return self.header("x-traceid")

    @property
    def user_id(self) -> str | None:
        """The value of X-User-Id."""
        return self.header("x-user-id")

    @property
    def date(self) -> str | None:
        """The value of X-Date."""
        return self.header("x-date")

    @property
    def authorization(self) -> str | None:
        """The value of Authorization."""
        return self.header("authorization")

    @property
    def share_ids(self) -> tuple[str, ...]:
        """The body's `shareIds`, as far as they are strings; empty if there are none."""
        try:
            parsed = json.loads(self.body)
        except (ValueError, RecursionError):
            return ()
        ids = parsed.get("shareIds") if isinstance(parsed, dict) else None
        return tuple(item for item in ids if isinstance(item, str)) if isinstance(ids, list) else ()
