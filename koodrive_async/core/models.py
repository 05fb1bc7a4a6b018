"""The API's objects as frozen values; field types as the pages give them, see koodrive-api section 6.

The pages disagree with each other on types, so the reader (``codec``) coerces. Texts of times
are kept as they came; the properties parse them, best effort. Fields that are secrets print as ``***``.
Shares received are in ``received``, files and tasks in ``objects``. Refuses to read bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, overload

import attrs

from koodrive_async.core.secrets import MASK
from koodrive_async.core.times import ShareState, parse_time, share_state


def no_extra() -> Mapping[str, Any]:
    """No unknown fields."""
    return {}


def masked(value: object) -> str:
    """How a field that is a secret prints."""
    return MASK if value else repr(value)


# -- what several have in common ------------------------------------------------------------------


class ShareScope(IntEnum):
    """Who may open a share (page createShare.html); other numbers are passed on as they are."""

    EXTERNAL = 1
    """Everybody with the link; for tenants that may, the carrier edition has it too."""
    ENTERPRISE = 2
    """Users of the enterprise; not in the carrier edition."""
    NAMED = 3
    """The users, departments, groups and phone numbers that are named."""


class Dated:
    """What everything with the fields of a share's times can tell."""

    __slots__ = ()
    share_time: str
    expire_time: str
    status: int | None

    @property
    def shared_at(self) -> datetime | None:
        """`share_time` as an instant, or None where its form is not known."""
        return parse_time(self.share_time)

    @property
    def expires_at(self) -> datetime | None:
        """`expire_time` as an instant; None where there is none, or its form is not known."""
        return parse_time(self.expire_time)

    def state(self, now: datetime) -> ShareState:
        """What `status` and `expire_time` come to at `now`: see `share_state`."""
        return share_state(self.status, self.expire_time, now)


# -- replies for many ids -------------------------------------------------------------------------


@attrs.frozen(slots=True)
class ShareSubResponse:
    """One id's part of a reply to batchCancel or exitShare (page batchCancel.html, ShareSubResponse).

    Attributes:
        share_id: The id it is about, or None where the reply does not say (its table has no such field).
        code: The code as text, "0" for success; None if it can't be read as one.
        message: ``msg``, or ``message`` as one page spells it.
        extra: The other fields of an item without ``shareId``, as they came.
    """

    share_id: str | None
    code: str | None
    message: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, eq=False, repr=False)


class SubResponses(Sequence[ShareSubResponse]):
    """A read-only list of sub-responses over columns; each is made when looked at, which few are."""

    __slots__ = ("codes", "messages", "share_ids")

    def __init__(
        self, share_ids: Sequence[str], codes: Sequence[str | None], messages: Sequence[str]
    ) -> None:
        self.share_ids, self.codes, self.messages = share_ids, codes, messages

    def __len__(self) -> int:
        return len(self.share_ids)

    def __iter__(self) -> Iterator[ShareSubResponse]:
        return map(ShareSubResponse, self.share_ids, self.codes, self.messages)

    @overload
    def __getitem__(self, index: int) -> ShareSubResponse: ...
    @overload
    def __getitem__(self, index: slice) -> SubResponses: ...
    def __getitem__(self, index: int | slice) -> ShareSubResponse | SubResponses:
        at: Any = self.share_ids[index], self.codes[index], self.messages[index]
        return SubResponses(*at) if isinstance(index, slice) else ShareSubResponse(*at)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(list(self))


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


# -- parts ----------------------------------------------------------------------------------------


@attrs.frozen(slots=True)
class SharePermission:
    """What a receiver may do; "supported in the future" says page getShareInfo.html, so don't rely on it."""

    preview: bool | None = None
    edit: bool | None = None
    download: bool | None = None
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)


@attrs.frozen(slots=True)
class Recipient:
    """A user, department or group that a share names (page getShareByMeDetail.html)."""

    id: str = ""
    name: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)


@attrs.frozen(slots=True)
class ShareFileInfo:
    """A file or folder in a share's record (object ShareFileInfo; the tail of its table is cut).

    Attributes:
        id: The file's id.
        file_name: Its name, at most 250 bytes.
        file_type: What it is.
        mime_type: Its MIME type.
        size: Bytes.
        parent_folder: Ids of folders; only the first counts.
        file_suffix: The ending of its name.
        containers: Ids of spaces.
        download_links: Objects of undocumented fields; print as ``***``.
        recycled: Whether it is in the recycle bin.
        extra: Fields that this package does not know.
    """

    id: str = ""
    file_name: str = ""
    file_type: str = ""
    mime_type: str = ""
    size: int | None = None
    parent_folder: Sequence[str] = ()
    file_suffix: str = ""
    containers: Sequence[str] = ()
    download_links: Sequence[Mapping[str, Any]] = attrs.field(default=(), repr=masked)
    recycled: bool | None = None
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)


# -- shared by you --------------------------------------------------------------------------------


@attrs.frozen(slots=True)
class ShareByMeLink(Dated):
    """A row of the list of your shares (page listShareByMe.html, ShareByMeLink).

    Attributes:
        share_id: The share's id: what `cancel` takes.
        short_url: The short code of the link; not a URL.
        link_url: The link; in the carrier's example it equals the short code.
        share_time: When it was shared, as it came.
        scope: See `ShareScope`.
        files: What is shared.
        display_name: The name of the first file, with "and other files" if there are more.
        expire_time: When it expires, as it came; "" for never.
        status: See `share_state`.
        comment: The sharer's note.
        view_cnt: Views.
        download_cnt: Downloads ("supported in the future").
        save_cnt: Times it was saved ("supported in the future").
        container_id: The space of the files.
        container_name: Its name.
        permission: Older pages only.
        extract_code: The access code, older pages only; prints as ``***``.
        extra: Fields that this package does not know.
    """

    share_id: str = ""
    short_url: str = ""
    link_url: str = ""
    share_time: str = ""
    scope: int | None = None
    files: Sequence[ShareFileInfo] = ()
    display_name: str = ""
    expire_time: str = ""
    status: int | None = None
    comment: str = ""
    view_cnt: int | None = None
    download_cnt: int | None = None
    save_cnt: int | None = None
    container_id: str = ""
    container_name: str = ""
    permission: SharePermission | None = None
    extract_code: str = attrs.field(default="", repr=masked)
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)


@attrs.frozen(slots=True)
class ShareByMeLinkDetail(Dated):
    """One share of yours (page getShareByMeDetail.html, ShareByMeLinkDetail); see `ShareByMeLink`.

    Attributes:
        depts: Departments that may open it, for scope 3.
        groups: Groups, likewise.
        users: Users, likewise.
    """

    share_id: str = ""
    short_url: str = ""
    link_url: str = ""
    share_time: str = ""
    scope: int | None = None
    depts: Sequence[Recipient] = ()
    groups: Sequence[Recipient] = ()
    users: Sequence[Recipient] = ()
    display_name: str = ""
    permission: SharePermission | None = None
    extract_code: str = attrs.field(default="", repr=masked)
    expire_time: str = ""
    status: int | None = None
    comment: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)


@attrs.frozen(slots=True)
class CreatedShare:
    """What createShare answers (page createShare.html).

    Attributes:
        share_id: The new share's id.
        short_url: The short code of its link; not a URL.
        link_url: The link.
        extract_code: The access code; prints as ``***``.
        comment: The note.
        expire_time: When it expires, as it came.
        create_time: Enterprise pages of 2024 only.
        extra: Fields that this package does not know.
    """

    share_id: str = ""
    short_url: str = ""
    link_url: str = ""
    extract_code: str = attrs.field(default="", repr=masked)
    comment: str = ""
    expire_time: str = ""
    create_time: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)

    @property
    def expires_at(self) -> datetime | None:
        """`expire_time` as an instant, or None where its form is not known."""
        return parse_time(self.expire_time)


@attrs.frozen(slots=True)
class UpdatedShare(Dated):
    """What updateShare answers (page updateShare.html); see `ShareByMeLink`.

    Attributes:
        create_time: When it was made, as it came.
        update_time: When it was last changed, as it came.
    """

    share_id: str = ""
    short_url: str = ""
    extract_code: str = attrs.field(default="", repr=masked)
    create_time: str = ""
    update_time: str = ""
    expire_time: str = ""
    link_url: str = ""
    share_time: str = ""
    scope: int | None = None
    display_name: str = ""
    comment: str = ""
    status: int | None = None
    view_cnt: int | None = None
    download_cnt: int | None = None
    save_cnt: int | None = None
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)

    @property
    def updated_at(self) -> datetime | None:
        """`update_time` as an instant, or None where its form is not known."""
        return parse_time(self.update_time)


# -- access links ----------------------------------------------------------------------------------


@attrs.frozen(slots=True)
class CommonShareLink(Dated):
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
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)
