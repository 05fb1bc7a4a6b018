"""Shares that others share with you, as frozen values (koodrive-api section 6). Refuses to read bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from koodrive_async.core.models import Dated, ShareFileInfo, SharePermission, masked, no_extra


@attrs.frozen(slots=True)
class ShareWithMeLink(Dated):
    """A row of the list of shares you received (page listShareWithMe.html); see `ShareByMeLink`.

    Attributes:
        owner_id: The sharer's id.
        owner_name: The sharer's name.
        owner_mobile: The sharer's phone number (carrier); prints as ``***``.
        update_time: When it was last changed, as it came.
    """

    share_id: str = ""
    short_url: str = ""
    link_url: str = ""
    share_time: str = ""
    owner_id: str = ""
    owner_name: str = ""
    display_name: str = ""
    files: Sequence[ShareFileInfo] = ()
    permission: SharePermission | None = None
    expire_time: str = ""
    status: int | None = None
    comment: str = ""
    container_id: str = ""
    download_cnt: int | None = None
    save_cnt: int | None = None
    scope: int | None = None
    update_time: str = ""
    view_cnt: int | None = None
    owner_mobile: str = attrs.field(default="", repr=masked)
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)


@attrs.frozen(slots=True)
class ShareWithMeLinkDetail(Dated):
    """One share you received (page getShareWithMeDetail.html); see `ShareWithMeLink`."""

    share_id: str = ""
    short_url: str = ""
    link_url: str = ""
    share_time: str = ""
    owner_id: str = ""
    owner_name: str = ""
    display_name: str = ""
    permission: SharePermission | None = None
    expire_time: str = ""
    status: int | None = None
    comment: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)
