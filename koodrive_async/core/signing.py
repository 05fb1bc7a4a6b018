"""Canonical request -> string to sign -> signature -> headers (pages koodrive_05_0029 to 0035).

Differs from Huawei's common ``SDK-HMAC-SHA256`` scheme: the string to sign has no date line.
Refuses to read a clock or a key store: the date and the token are given.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import unquote

from koodrive_async.core.credentials import Credentials, PublicAccess, TokenCredentials
from koodrive_async.core.secrets import Secret
from koodrive_async.core.wire import Header, Request, encode_query, percent_encode

ALGORITHM = "HMAC-SHA256"

#: "exactly 58 characters" (X-Traceid in every table; one page: letters, digits, underscore).
TRACE_ID_LENGTH = 58


def trace_id(call: str, batch: int, request: int) -> str:
    """58 characters that tell call, batch and request apart in a log.

    Args:
        call: 32 characters, the same for all requests of one call of yours.
        batch: The number of the batch, or piece of one, within the call.
        request: The number of the request for that batch, from 1.
    """
    return f"{call:0>32.32}b{batch:012d}r{request:012d}"


def format_date(epoch: float) -> str:
    """``yyyyMMdd'T'HHmmss'Z'`` in UTC, rounded down: never later than the given time."""
    return _format_second(int(epoch // 1))


@lru_cache(maxsize=4)  # hundreds of requests are signed in the same second
def _format_second(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=64)  # all batches have the same path
def canonical_uri(path: str) -> str:
    """The path normalised, each segment encoded, with a final ``/`` (only in the canonical string)."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(percent_encode(unquote(segment)))
    return "/" + "".join(segment + "/" for segment in segments)


def canonical_query(query: Iterable[tuple[str, str]]) -> str:
    """Encoded ``name=value`` pairs, sorted by name; equal names by value (as Huawei's own SDK does)."""
    return encode_query(sorted(query))


def canonical_request(
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    signed: Sequence[str],
    body: bytes,
) -> str:
    """Step 1 (page koodrive_05_0035).

    Args:
        method: The HTTP method.
        path: The absolute path as on the wire.
        query: Names and values, not encoded.
        headers: Values by lower-case name; at least those of `signed`.
        signed: Lower-case names in alphabetical order.
        body: The exact bytes of the body.
    """
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in signed)
    return "\n".join(
        (
            method.upper(),
            canonical_uri(path),
            canonical_query(query),
            lines,
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        )
    )


def string_to_sign(canonical: str) -> str:
    """Step 2 (page koodrive_05_0029)."""
    return f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def signature(secret: Secret, canonical: str) -> str:
    """Step 3 (page koodrive_05_0030)."""
    return hmac.digest(secret.reveal().encode(), string_to_sign(canonical).encode(), "sha256").hex()


def sign(
    request: Request, credentials: Credentials, token: Secret | None, *, date: str, host: str
) -> Request:
    """The request with all headers that prove who asks; a public call only names the carrier.

    Args:
        request: Without these headers, or with older ones, which are replaced.
        credentials: Whose request it is.
        token: The current token, for `TokenCredentials`.
        date: From `format_date`, not later than the server's time.
        host: The value of ``Host`` exactly as on the wire, with a port that is not the default.
    """
    agent: list[Header] = [("X-Hw-Agentname", credentials.agent_name)] if credentials.agent_name else []
    if not request.authenticated:
        return request.with_headers(*agent)
    identity: list[Header] = [("X-User-Id", credentials.user_id), ("X-Date", date), *agent]
    proof = _authorization(request, identity, credentials, token, host)
    return request.with_headers(*identity, ("Authorization", proof))


def _authorization(
    request: Request, identity: Sequence[Header], credentials: Credentials, token: Secret | None, host: str
) -> str:
    if isinstance(credentials, TokenCredentials):
        assert token is not None
        return credentials.authorization(token).reveal()
    assert not isinstance(credentials, PublicAccess)  # who can't prove who asks does not get here
    values = {name.lower(): value for name, value in (*request.headers, *identity)} | {"host": host}
    # A request without a body has no Content-Type to sign.
    signed = [name for name in credentials.signed_headers if name in values]
    canonical = canonical_request(request.method, request.path, request.query, values, signed, request.body)
    return authorization_value(credentials.app_id, signed, signature(credentials.app_secret, canonical))


def authorization_value(app_id: str, signed: Sequence[str], hex_signature: str) -> str:
    """Step 4 (page koodrive_05_0031): one blank, then commas without blanks."""
    return f"{ALGORITHM} AppId={app_id},SignedHeaders={';'.join(signed)},Signature={hex_signature}"
