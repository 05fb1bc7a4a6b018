"""How shares and files look in replies, edition by edition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

import attrs

from koodrive_async.testing.seeding import DAY, Named, Share, iso, mix, opaque

if TYPE_CHECKING:
    from koodrive_async.testing.world import World

_ENDINGS = (".pdf", ".docx", ".png", ".mp4")
_PERMISSION = {"preview": True, "edit": False, "download": True}


@attrs.frozen
class File:
    """A file or folder behind a link."""

    id: str
    name: str
    size: int
    folder: bool
    parent: str
    edited: float


def file_name(file_id: str) -> str:
    """A name for a file of which only the id is known."""
    return f"file-{file_id[-6:]}{_ENDINGS[crc32(file_id.encode('utf-8', 'surrogatepass')) % len(_ENDINGS)]}"


def files_of(share: Share, parent: str = "") -> list[File]:
    """The files of a share, or of one of its folders; the first of several seeded files is a folder."""
    top = crc32(share.share_id.encode("utf-8", "surrogatepass"))
    if parent:
        folders = [file for file in files_of(share) if file.folder and file.id == parent]
        count = 3 if folders else 0
        top = crc32(parent.encode("utf-8", "surrogatepass"), top)
    else:
        count = share.files
    given = () if parent else share.file_ids
    rows = []
    for number in range(count):
        bits = mix(top, number)
        folder = number == 0 and count > 1 and not given and not parent
        file_id = given[number] if given else opaque("F", bits, 32)
        name = f"folder-{file_id[-4:]}" if folder else file_name(file_id)
        if count == 1 and not given:
            name = share.name
        edited = share.shared_at - (bits % 90) * DAY
        rows.append(File(file_id, name, 0 if folder else bits % 5_000_000, folder, parent or "root", edited))
    return rows


def find_file(share: Share, file_id: str) -> File | None:
    """A file anywhere in a share."""
    top = files_of(share)
    deeper = [inner for file in top if file.folder for inner in files_of(share, file.id)]
    return next((file for file in [*top, *deeper] if file.id == file_id), None)


def share_file(file: File, share: Share) -> dict[str, Any]:
    """ShareFile: a row of listShareFiles."""
    _, dot, suffix = file.name.rpartition(".")
    return {
        "id": file.id,
        "fileName": file.name,
        "fileType": "folder" if file.folder else "file",
        "parentFolder": [file.parent],
        "fileSuffix": suffix if dot else "",
        "size": file.size,
        "containers": [share.container_id],
        "editedTime": iso(file.edited),
    }


def share_file_info(file: File, share: Share) -> dict[str, Any]:
    """ShareFileInfo: a file inside a share's record."""
    row = share_file(file, share)
    del row["editedTime"]
    return {**row, "mimeType": "application/octet-stream", "recycled": share.status == 1}


def expiry(share: Share) -> str | None:
    """ISO time, or None for permanent."""
    return None if share.expires is None else iso(share.expires)


def link_url(share: Share, *, carrier: bool) -> str:
    """The address a person opens: in the carrier example it equals the short code."""
    return (
        share.short_url if carrier else f"https://koodrive.example/cloudfile/#/sharelink/i/{share.short_url}"
    )


def _common(world: World, share: Share) -> dict[str, Any]:
    fields = {
        "shareId": share.share_id,
        "shortUrl": share.short_url,
        "linkUrl": link_url(share, carrier=world.edition == "carrier"),
        "shareTime": iso(share.shared_at),
        "displayName": share.name,
        "expireTime": expiry(share),
        "status": share.status,
        "comment": share.comment,
        "permission": _PERMISSION,
    }
    return {name: value for name, value in fields.items() if value is not None}


def mine(world: World, share: Share) -> dict[str, Any]:
    """ShareByMeLink."""
    fields = _common(world, share)
    if share.extract_code:
        fields["extractCode"] = share.extract_code
    return {
        **fields,
        "scope": share.scope,
        "files": [share_file_info(file, share) for file in files_of(share)],
        "viewCnt": share.views,
        "downloadCnt": share.downloads,
        "saveCnt": share.saves,
        "containerId": share.container_id,
        "containerName": f"Space {share.container_id[-4:]}",
    }


def mine_detail(world: World, share: Share) -> dict[str, Any]:
    """ShareByMeLinkDetail."""
    return {
        **_common(world, share),
        "scope": share.scope,
        "extractCode": share.extract_code,
        "depts": _named(share.depts),
        "groups": _named(share.groups),
        "users": _named(share.users),
    }


def updated(world: World, share: Share) -> dict[str, Any]:
    """What updateShare returns: counters as strings here."""
    fields = {
        "shareId": share.share_id,
        "shortUrl": share.short_url,
        "extractCode": share.extract_code,
        "createTime": iso(share.shared_at),
        "updateTime": iso(share.updated_at),
        "expireTime": expiry(share),
        "linkUrl": link_url(share, carrier=world.edition == "carrier"),
        "shareTime": iso(share.shared_at),
        "scope": share.scope,
        "displayName": share.name,
        "comment": share.comment,
        "status": share.status,
        "viewCnt": str(share.views),
        "downloadCnt": str(share.downloads),
        "saveCnt": str(share.saves),
    }
    return {name: value for name, value in fields.items() if value is not None}


def received(world: World, share: Share) -> dict[str, Any]:
    """ShareWithMeLink: scope and viewCnt are strings here, as the tables say."""
    fields = {
        **received_detail(world, share),
        "files": [share_file_info(file, share) for file in files_of(share)],
        "containerId": share.container_id,
        "downloadCnt": share.downloads,
        "saveCnt": share.saves,
        "scope": str(share.scope),
        "updateTime": iso(share.updated_at),
        "viewCnt": str(share.views),
    }
    if world.edition == "carrier":
        fields["ownerMobile"] = "138****5678"
    return fields


def received_detail(world: World, share: Share) -> dict[str, Any]:
    """ShareWithMeLinkDetail."""
    owner = {"ownerId": share.owner, "ownerName": world.names.get(share.owner, "")}
    return {**_common(world, share), **owner}


def common_link(world: World, share: Share) -> dict[str, Any]:
    """CommonShareLink."""
    fields = {
        "shareId": share.share_id,
        "shortUrl": share.short_url,
        "shareTime": iso(share.shared_at),
        "ownerId": share.owner,
        "ownerName": world.names.get(share.owner, ""),
        "permission": _PERMISSION,
        "status": share.status,
    }
    if share.expires is not None:
        fields["expireTime"] = iso(share.expires)
        fields["expireDate"] = str(max(0, round((share.expires - world.now()) / DAY)))
    return fields


def _named(pairs: Named) -> list[dict[str, str]]:
    return [{"id": key, "name": name} for key, name in pairs]
