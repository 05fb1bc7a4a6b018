"""What the service answers: one small value, and the shapes of its refusals.

It knows bodies and headers, not sockets and not the rules that choose an answer.
"""

from __future__ import annotations

import http
import itertools
import json
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

Headers = tuple[tuple[str, str], ...]

JSON: Headers = (("content-type", "application/json;charset=UTF-8"),)
HTML: Headers = (("content-type", "text/html"),)

#: Texts of the documented codes (error-code page, EN); the share-specific ones are not published.
TEXTS = {
    0: "success",
    13000102: "Verify parameters failed.",
    13000309: "The resource does not exist.",
    13000407: "The download address does not exist.",
    13000410: "The user has no permission.",
}

_request_ids = itertools.count(0x5EED)


@attrs.frozen
class Answer:
    """A complete reply: what a well-behaved service would put on the wire."""

    status: int = 200
    body: bytes = b""
    headers: Headers = JSON
    dated: bool = True
    """Whether the Date header is added on sending."""

    def with_headers(self, changes: Iterable[tuple[str, str | None]]) -> Answer:
        """The same answer with headers set (or, with None, taken away)."""
        wanted = [(name.lower(), value) for name, value in changes]
        named = {name for name, _ in wanted}
        kept = [pair for pair in self.headers if pair[0] not in named]
        given = ((name, value) for name, value in wanted if value is not None)
        return attrs.evolve(self, headers=(*kept, *given), dated=self.dated and ("date", None) not in wanted)

    def head(self, date: str, *, length: int | None = None) -> list[tuple[bytes, bytes]]:
        """The header block in wire form; `length` None means: count the body."""
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers]
        names = {name for name, _ in pairs}
        if self.dated and b"date" not in names:
            pairs.append((b"date", date.encode("ascii")))
        bodyless = self.status < 200 or self.status in {204, 304}
        if not bodyless and not names & {b"content-length", b"transfer-encoding"}:
            pairs.append((b"content-length", b"%d" % (len(self.body) if length is None else length)))
        return pairs

    def wire(self, date: str) -> bytes:
        """The whole reply as HTTP/1.1 bytes."""
        try:
            phrase = http.HTTPStatus(self.status).phrase
        except ValueError:
            phrase = ""
        lines = [f"HTTP/1.1 {self.status} {phrase}".encode("ascii")]
        lines += [name + b": " + value for name, value in self.head(date)]
        return b"\r\n".join([*lines, b"", self.body])


def dump(value: Any) -> bytes:
    """JSON as the service writes it: compact, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def reply(value: Any, *, status: int = 200) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, dump(value))


def request_id() -> str:
    """A fresh request id of the gateway: 32 hex digits."""
    return f"{next(_request_ids):032x}"


def gateway_body(code: str, text: str, request: str = "") -> bytes:
    """The body of a refusal by the API gateway in front of the service."""
    return dump({"error_code": code, "error_msg": text, "request_id": request or request_id()})


def throttle_text(limit: float = 20, period: str = "1 second") -> str:
    """The gateway's text for a 429."""
    return (
        f"The throttling threshold has been reached: policy user over ratelimit,limit:{limit:g},time:{period}"
    )


class Refusal(Exception):
    """Ends the handling of a request with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def gateway_refusal(status: int, code: str, text: str) -> Refusal:
    """Refused by the gateway: `{"error_code", "error_msg", "request_id"}`."""
    return Refusal(Answer(status, gateway_body(code, text)))


def refusal(code: int, detail: str = "", *, status: int = 400) -> Refusal:
    """Refused by the service: `{"code", "msg"}`; the detail is for the reader of a failing test."""
    text = TEXTS.get(code, "failed")
    return Refusal(reply({"code": code, "msg": f"{text} ({detail})" if detail else text}, status=status))
