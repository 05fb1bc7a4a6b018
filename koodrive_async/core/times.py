"""Times in the forms the pages show, and what a share's status comes to at some moment.

Refuses to read a clock: whoever asks brings the time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum

_EPOCH_MS = re.compile(r"[0-9]{13}")
_STAMP = re.compile(r"[0-9]{14}")


def parse_time(text: str) -> datetime | None:
    """An instant from any form of time the pages show, aware; None where the form is not known.

    Forms: ISO with ``Z``; ``yyyy-MM-dd HH:mm:ss``; 14 digits; epoch milliseconds. The last three
    name no zone; UTC is assumed (the ISO form, of the same service, is in UTC).
    """
    text = text.strip()
    try:
        if _EPOCH_MS.fullmatch(text):
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        if _STAMP.fullmatch(text):
            return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


class ShareState(StrEnum):
    """What a share's `status` and expiry time come to at some moment: see `share_state`."""

    ACTIVE = "active"
    EXPIRED = "expired"
    DELETED = "deleted"
    """All its files are gone."""
    INVALID = "invalid"
    """Its space or its sharer is disabled, or the sharer lost the permission."""
    UNKNOWN = "unknown"
    """A status or a time of a form that no page shows."""


_BY_STATUS = {1: ShareState.DELETED, 2: ShareState.INVALID, 3: ShareState.EXPIRED}


def share_state(status: int | None, expire_time: str, now: datetime) -> ShareState:
    """The state of a share at `now` (pages listShareByMe.html, updateShare.html; user guide kd_03_0045).

    0 means: look at the expiry time, and a share without one is permanent; 1: file deleted;
    2: invalid (the English pages say expired); 3: expired (updateShare.html alone).

    Args:
        status: The field ``status``.
        expire_time: The field ``expireTime``, as it came.
        now: An aware time.
    """
    if status != 0:
        return ShareState.UNKNOWN if status is None else _BY_STATUS.get(status, ShareState.UNKNOWN)
    if not expire_time.strip():
        return ShareState.ACTIVE
    expires = parse_time(expire_time)
    if expires is None:
        return ShareState.UNKNOWN
    return ShareState.EXPIRED if expires <= now else ShareState.ACTIVE
