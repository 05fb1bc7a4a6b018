"""What seeded shares look like: realistic variety out of a number, the same for the same seed.

Scopes, states, expiry times on both sides of now, access codes, recipients, view counts with many
zeros: enough for filters to have something to find.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = 86_400.0
_MASK = (1 << 64) - 1
_WORDS = (
    "report",
    "budget",
    "offer",
    "photos",
    "minutes",
    "contract",
    "roadmap",
    "Übersicht",
    "合同",
    "plan",
)
_ENDINGS = (".pdf", ".docx", ".xlsx", ".png", ".mp4", ".zip", "")
_VALID_DAYS = (1, 7, 7, 30, 30, 90, 180, 365)
_CODE_LETTERS = "0123456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
_PEOPLE = (
    ("1505084218764547201", "Li Lei"),
    ("1505084218764547202", "Han Meimei"),
    ("1505084218764547203", "Ana"),
)
_DEPARTMENTS = (("dept-1001", "Sales"), ("dept-1002", "Research"))
_GROUPS = (("group-7", "Project Koala"),)

Named = tuple[tuple[str, str], ...]


@attrs.frozen
class Share:
    """One share as the service knows it; times are seconds since 1970."""

    share_id: str
    short_url: str
    owner: str
    name: str = ""
    scope: int = 2
    status: int = 0
    """0: judge by `expires`; 1: file deleted; 2: invalid."""
    shared_at: float = 0.0
    updated_at: float = 0.0
    expires: float | None = None
    """None: permanent, as shares from before 2024 can be."""
    extract_code: str = ""
    comment: str = ""
    views: int = 0
    downloads: int = 0
    saves: int = 0
    container_id: str = ""
    files: int = 1
    file_ids: tuple[str, ...] = ()
    """Given when the share was created; empty: seeded files."""
    users: Named = ()
    depts: Named = ()
    groups: Named = ()
    phones: tuple[str, ...] = ()

    def expired(self, now: float) -> bool:
        """Whether its validity has passed."""
        return self.expires is not None and self.expires <= now

    def opens(self, now: float) -> bool:
        """Whether its link can be opened."""
        return self.status == 0 and not self.expired(now)


def mix(seed: int, number: int) -> int:
    """64 well-mixed bits for a number (the finaliser of SplitMix64)."""
    z = (seed * 0x9E3779B97F4A7C15 + (number + 1) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def opaque(prefix: str, bits: int, length: int = 28) -> str:
    """An opaque id such as file and space ids are: letters and digits."""
    letters = []
    state = bits
    for _ in range(length):
        state = (state * 6364136223846793005 + 1442695040888963407) & _MASK
        letters.append(_CODE_LETTERS[(state >> 33) % len(_CODE_LETTERS)])
    return prefix + "".join(letters)


def _pick(bits: int, choices: Sequence[str]) -> str:
    return choices[bits % len(choices)]


def describe(
    share_id: str,
    short_url: str,
    number: int,
    total: int,
    *,
    owner: str,
    seed: int,
    carrier: bool,
    at: float,
) -> Share:
    """The seeded share with this number: older ones have smaller numbers; 400 days are covered."""
    bits = mix(seed, number)
    shared_at = at - 400 * DAY * (total - number) / max(total, 1) - (bits & 0xFFF) / 4096
    percent = bits % 100
    named = carrier or percent >= 70
    scope = (1 if percent < 50 else 3) if carrier else (2 if percent < 60 else 1 if percent < 70 else 3)
    fate = (bits >> 8) % 100
    files = 1 + (bits >> 16) % 4 if (bits >> 15) & 1 else 1
    name = f"{_pick(bits >> 20, _WORDS)}-{number}{_pick(bits >> 24, _ENDINGS)}"
    receivers = (_PEOPLE[(bits >> 30) % 3],) if named and scope == 3 else ()
    return Share(
        share_id=share_id,
        short_url=short_url,
        owner=owner,
        name=name if files == 1 else f"{name} and other files",
        scope=scope,
        status=1 if fate < 4 else 2 if fate < 7 else 0,
        shared_at=shared_at,
        updated_at=shared_at,
        expires=None if fate == 99 else shared_at + DAY * _VALID_DAYS[(bits >> 34) % 8],
        extract_code=opaque("", bits, 8) if (bits >> 38) % 4 == 0 else "",
        comment="for review" if (bits >> 42) % 5 == 0 else "",
        views=0 if (bits >> 46) % 5 < 2 else (bits >> 49) % 37,
        downloads=(bits >> 52) % 3,
        saves=(bits >> 54) % 2,
        container_id=opaque("IAAB", seed + number % 7, 30),
        files=files,
        users=receivers,
        depts=() if carrier or scope != 3 or bits & 0x700000 else (_DEPARTMENTS[number % 2],),
        groups=() if carrier or scope != 3 or bits & 0x3000000 else _GROUPS,
        phones=(f"138****{number % 10_000:04d}",) if carrier and scope == 3 else (),
    )


def iso(seconds: float) -> str:
    """`2024-06-03T02:20:24.274Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fourteen_digits(seconds: float) -> str:
    """`20240603022024`, as tasks have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%S")


def x_date(seconds: float) -> str:
    """`20240603T022024Z`, the form of X-Date."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")
