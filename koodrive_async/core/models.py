"""The API's objects as frozen values; field types as the pages give them, see koodrive-api section 6.

The pages disagree with each other on types, so the reader (``codec``) coerces. Texts of times
are kept as they came; the properties parse them, best effort. Refuses to read bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs


def _no_extra() -> Mapping[str, Any]:
    return {}


@attrs.frozen(slots=True)
class ShareSubResponse:
    """One id's part of a reply to batchCancel or exitShare (page batchCancel.html, ShareSubResponse).

    Attributes:
        share_id: The id it is about, or None where the reply does not say (its table has no such field).
        code: The code as text, "0" for success; None if it can't be read as one.
        message: ``msg``, or ``message`` as one page spells it.
    """

    share_id: str | None
    code: str | None
    message: str = ""


@attrs.frozen(slots=True)
class CancelReply:
    """The reply to batchCancel (page batchCancel.html).

    Attributes:
        code: The code of the whole request as text; "0" even if single ids failed.
        message: Its text.
        sub_responses: ``subResponseList``; None where the reply has no such list.
    """

    code: str
    message: str
    sub_responses: Sequence[ShareSubResponse] | None = None


@attrs.frozen(slots=True)
class SharePermission:
    """What a receiver may do; "supported in the future" says page getShareInfo.html, so don't rely on it."""

    preview: bool | None = None
    edit: bool | None = None
    download: bool | None = None
    extra: Mapping[str, Any] = attrs.field(factory=_no_extra, repr=False)


@attrs.frozen(slots=True)
class CommonShareLink:
    """The public information of an access link (page getShareInfo.html, CommonShareLink).

    Attributes:
        share_id: The share's id.
        short_url: The short code of the link; not a URL.
        share_time: When it was shared, as it came.
        owner_id: The sharer's id.
        owner_name: The sharer's name.
        permission: What a receiver may do.
        expire_time: When it expires, as it came.
        status: 0: see the expiry time; 1: the file was deleted; 2: invalid or expired.
        expire_date: Newer pages only; looks like the days that are left.
        extra: Fields that this package does not know.
    """

    share_id: str = ""
    short_url: str = ""
    share_time: str = ""
    owner_id: str = ""
    owner_name: str = ""
    permission: SharePermission | None = None
    expire_time: str = ""
    status: int | None = None
    expire_date: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=_no_extra, repr=False)

    @property
    def shared_at(self) -> datetime | None:
        """`share_time` as an instant, or None where its form is not known."""
        return parse_time(self.share_time)

    @property
    def expires_at(self) -> datetime | None:
        """`expire_time` as an instant, or None where its form is not known."""
        return parse_time(self.expire_time)


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
