"""The checks the service makes before it looks at a request's body: who, when, and on whose behalf."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, MutableSet
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from koodrive_async.testing import signature
from koodrive_async.testing.answers import gateway_refusal, refusal
from koodrive_async.testing.seeding import x_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from koodrive_async.testing.seen import RequestSeen
    from koodrive_async.testing.world import World

BAD_PARAMETER = 13000102
NO_PERMISSION = 13000410

_SCHEMES = ("Bearer+", "Bearer ", "AT+", "AT ")
_ONCE = ("authorization", "x-date", "x-user-id", "x-traceid", "x-hw-agentname", "host")
_TRACE = re.compile(r"[A-Za-z0-9_]{58}")
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_APP = "Incorrect app authentication information: "
_IAM = "Incorrect IAM authentication information: "


class Tokens(MutableSet[str]):
    """The access tokens in force, kept without their scheme; a life, if set, slides with each use."""

    def __init__(self, tokens: Iterable[str], lifetime: float | None, now: Callable[[], float]) -> None:
        self.lifetime = lifetime
        self.expired: set[str] = set()
        self._now = now
        self._until: dict[str, float] = {}
        for token in tokens:
            self.add(token)

    @staticmethod
    def bare(value: str) -> str:
        """The token without `Bearer+`, `Bearer `, `AT+` or `AT `."""
        for scheme in _SCHEMES:
            if value.startswith(scheme):
                return value[len(scheme) :]
        return value

    def add(self, value: str) -> None:
        """Make a token valid, from now on."""
        token = self.bare(value)
        self.expired.discard(token)
        self._until[token] = float("inf") if self.lifetime is None else self._now() + self.lifetime

    def discard(self, value: str) -> None:
        """Forget a token: it will be refused as unknown."""
        self._until.pop(self.bare(value), None)

    def expire(self, value: str) -> None:
        """End a token's life now: it will be refused as expired."""
        token = self.bare(value)
        if self._until.pop(token, None) is not None:
            self.expired.add(token)

    def use(self, value: str) -> bool:
        """Whether the token is good; using it prolongs its life."""
        token = self.bare(value)
        until = self._until.get(token)
        if until is None:
            return False
        now = self._now()
        if until < now:
            self.expire(token)
            return False
        if self.lifetime is not None:
            self._until[token] = now + self.lifetime
        return True

    def __contains__(self, value: object) -> bool:
        until = self._until.get(self.bare(value)) if isinstance(value, str) else None
        return until is not None and until >= self._now()

    def __iter__(self) -> Iterator[str]:
        return iter([token for token in list(self._until) if token in self])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{len(self)} tokens>"


def read_headers(seen: RequestSeen) -> dict[str, str]:
    """Header values by lower-case name; a repeated header that must be alone is refused."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in seen.raw_headers:
        name = raw_name.decode("latin-1").lower()
        if name in headers and name in _ONCE:
            raise refusal(BAD_PARAMETER, f"{name} occurs more than once")
        headers[name] = raw_value.decode("latin-1").strip()
    return headers


def check_trace_id(headers: dict[str, str]) -> None:
    """X-Traceid may be absent; present, it has exactly 58 letters, digits and underscores."""
    trace = headers.get("x-traceid")
    if trace is not None and not _TRACE.fullmatch(trace):
        raise refusal(BAD_PARAMETER, f"X-Traceid must have exactly 58 of [A-Za-z0-9_], has {len(trace)}")


def check_agent(world: World, headers: dict[str, str]) -> None:
    """X-Hw-Agentname: the carrier edition's own header."""
    if world.edition != "carrier":
        return
    agent = headers.get("x-hw-agentname")
    if not agent:
        raise refusal(BAD_PARAMETER, "X-Hw-Agentname is missing")
    if agent != world.agent_name:
        raise refusal(NO_PERMISSION, "this X-Hw-Agentname is unknown", status=403)


def check_user(world: World, headers: dict[str, str]) -> str:
    """X-User-Id must be there and known."""
    user = headers.get("x-user-id")
    if not user:
        raise refusal(BAD_PARAMETER, "X-User-Id is missing")
    if user not in world.users:
        raise refusal(NO_PERMISSION, "this X-User-Id is unknown", status=403)
    return user


@lru_cache(maxsize=64)
def read_date(value: str) -> float | None:
    """X-Date as seconds since 1970; None if it has not the documented form."""
    if not _DATE.fullmatch(value):
        return None
    try:
        return datetime.strptime(value, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def check_date(world: World, headers: dict[str, str], prefix: str, code: str) -> None:
    """X-Date: the documented form, within 15 minutes of our clock, not in the future."""
    value = headers.get("x-date")
    if not value:
        raise refusal(BAD_PARAMETER, "X-Date is missing")
    then = read_date(value)
    if then is None:
        raise refusal(BAD_PARAMETER, "X-Date must look like 20240831T143829Z")
    now = world.now()
    if now - then > world.date_window or then > now + world.date_tolerance:
        what = "signature expired" if then < now else "signature time is later than the server time"
        text = f"{prefix}{what}, signature time:{value},server time:{x_date(now)}"
        raise gateway_refusal(401, code, text)


def check_token(world: World, value: str) -> None:
    """The access token must be in force."""
    if not world.tokens.use(value):
        if Tokens.bare(value) in world.tokens.expired:
            raise gateway_refusal(401, "APIG.0307", "The token must be updated.")
        raise gateway_refusal(401, "APIG.0301", f"{_IAM}decrypt token fail")


def check_signature(world: World, seen: RequestSeen, headers: dict[str, str]) -> None:
    """Redo steps 1 to 3 and compare; a refusal shows the canonical request we built."""
    claim = signature.read_claim(headers["authorization"])
    if claim is None:
        form = "HMAC-SHA256 AppId=<id>,SignedHeaders=<a;b>,Signature=<64 hex digits>"
        raise gateway_refusal(401, "APIG.0303", f"{_APP}the header must read exactly: {form}")
    secret = world.apps.get(claim.app_id)
    if secret is None:
        raise gateway_refusal(401, "APIG.0303", f"{_APP}app not found, appkey {claim.app_id}")
    complaint = signature.complaint(claim, headers)
    if complaint:
        raise gateway_refusal(401, "APIG.0303", f"{_APP}{complaint}")
    path, _, query = seen.target.encode("latin-1").partition(b"?")
    canonical = signature.canonical_request(
        seen.method, raw_path=path, raw_query=query, headers=headers, signed=claim.signed, body=seen.body
    )
    to_sign = signature.string_to_sign(canonical)
    if not hmac.compare_digest(signature.signature(secret, to_sign), claim.signature):
        shown = f"canonical request:\n{canonical}\n\nstring to sign:\n{to_sign}"
        raise gateway_refusal(401, "APIG.0303", f"{_APP}verify signature fail. The server built this {shown}")
    world.app_calls[claim.app_id] += 1


def admit(world: World, seen: RequestSeen) -> str:
    """All checks of a share API that needs credentials; returns the acting user."""
    headers = read_headers(seen)
    authorization = headers.get("authorization")
    if not authorization:
        raise gateway_refusal(401, "APIG.0301", f"{_IAM}no Authorization header")
    by_app = authorization.startswith("HMAC-SHA256")
    if not by_app:
        check_token(world, authorization)
    check_trace_id(headers)
    check_agent(world, headers)
    if by_app:
        check_date(world, headers, _APP, "APIG.0303")
        check_signature(world, seen, headers)
    else:
        check_date(world, headers, _IAM, "APIG.0301")
    return check_user(world, headers)
