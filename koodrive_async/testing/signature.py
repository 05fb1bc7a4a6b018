"""The server's own reading of the APP signature (pages koodrive_05_0029 to 0035).

It starts from the bytes on the wire: raw path, raw query, raw header values, raw body. It shares no
code with the client's signing on purpose: a mistake made once must not pass on both sides.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_ENCODED = [chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256)]
_FORM = re.compile(r"HMAC-SHA256 AppId=([^,\s]+),SignedHeaders=([^,\s]*),Signature=([0-9a-f]{64})")


@attrs.frozen
class Claim:
    """What an Authorization header of the APP kind says."""

    app_id: str
    signed: tuple[str, ...]
    signature: str


def read_claim(value: str) -> Claim | None:
    """Take the header apart; None when it has not exactly the documented form."""
    found = _FORM.fullmatch(value)
    if found is None:
        return None
    app_id, signed, signature = found.groups()
    return Claim(app_id, tuple(signed.split(";")), signature)


def _encode(data: bytes) -> str:
    return "".join([_ENCODED[byte] for byte in data])


@lru_cache(maxsize=256)
def canonical_uri(raw_path: bytes) -> str:
    """Decode each segment, resolve `.`, `..` and empty ones, encode anew, end with a slash."""
    kept: list[bytes] = []
    for raw in raw_path.split(b"/"):
        segment = unquote_to_bytes(raw)
        if segment == b"..":
            del kept[-1:]
        elif segment not in {b"", b"."}:
            kept.append(segment)
    return "".join(f"/{_encode(segment)}" for segment in kept) + "/"


@lru_cache(maxsize=256)
def canonical_query(raw_query: bytes) -> str:
    """Sort the decoded pairs by name, then value; a name without `=` gets one; `+` is a plus sign."""
    pairs = []
    for piece in raw_query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return "&".join(f"{_encode(name)}={_encode(value)}" for name, value in sorted(pairs))


def canonical_request(
    method: str,
    *,
    raw_path: bytes,
    raw_query: bytes,
    headers: Mapping[str, str],
    signed: Sequence[str],
    body: bytes,
) -> str:
    """Step 1: the six parts, one below the other."""
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in signed)
    return "\n".join(
        [
            method.upper(),
            canonical_uri(raw_path),
            canonical_query(raw_query),
            lines,
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        ]
    )


def string_to_sign(canonical: str) -> str:
    """Step 2: the algorithm and the hash. No date line."""
    return f"HMAC-SHA256\n{hashlib.sha256(canonical.encode('utf-8')).hexdigest()}"


def signature(secret: str, to_sign: str) -> str:
    """Step 3: one HMAC, in lower-case hex."""
    return hmac.new(secret.encode("utf-8"), to_sign.encode("utf-8"), hashlib.sha256).hexdigest()


def complaint(claim: Claim, headers: Mapping[str, str]) -> str:
    """What is wrong with the list of signed headers; empty if nothing is."""
    if list(claim.signed) != sorted({name.lower() for name in claim.signed}):
        return "SignedHeaders must be lower-case names in alphabetical order, each once"
    missing = [name for name in ("x-date", "x-user-id") if name not in claim.signed]
    if missing:
        return f"{' and '.join(missing)} must be among the signed headers"
    absent = [name for name in claim.signed if name not in headers]
    return f"signed but not sent: {', '.join(absent)}" if absent else ""
