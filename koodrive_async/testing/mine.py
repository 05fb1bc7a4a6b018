"""Handlers of *Shared by You*: create, list, detail, update, cancel."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from koodrive_async.testing import shapes
from koodrive_async.testing.answers import TEXTS, Answer, refusal, reply
from koodrive_async.testing.paging import page
from koodrive_async.testing.routing import MAX_IDS, Call, bad
from koodrive_async.testing.rules import BAD_PARAMETER, NO_PERMISSION
from koodrive_async.testing.seeding import DAY, Share
from koodrive_async.testing.state import NOT_THERE

if TYPE_CHECKING:
    from koodrive_async.testing.state import Book
    from koodrive_async.testing.world import World

_EXTRACT_CODE = re.compile(r"[0-9a-zA-Z]{8}")
_MAX_COMMENT = 511
_YEAR_10000 = 253_402_300_800
_CARRIER_TIME = "%Y-%m-%d %H:%M:%S"


def create_share(world: World, call: Call) -> Answer:
    """POST /share."""
    carrier = world.edition == "carrier"
    scope = call.number("scope", 1, 3)
    if carrier and scope == 2:
        raise bad("scope must be 1 or 3")
    files = call.strings("fileIds", 1, MAX_IDS)
    container = call.text("containerId")
    days = call.number("validDays", 1, 365)
    code = _extract_code(call)
    comment = _comment(world, call)
    users, depts, groups = (call.strings(name) for name in ("userIds", "deptIds", "groupIds"))
    phones = call.strings("phoneNumbers")
    expires = _expiry(call)
    now = world.now()

    def fill(share: Share) -> Share:
        return attrs.evolve(
            share,
            name=shapes.file_name(files[0]) + (" and other files" if len(files) > 1 else ""),
            scope=scope,
            shared_at=now,
            updated_at=now,
            expires=expires if expires is not None else now + days * DAY,
            extract_code=code or "",
            comment=comment or "",
            container_id=container,
            files=len(files),
            file_ids=tuple(files),
            users=tuple((item, world.names.get(item, "")) for item in users),
            depts=tuple((item, "") for item in depts),
            groups=tuple((item, "") for item in groups),
            phones=tuple(phones),
        )

    book = world.book_of(call.user)
    share = book.share(book.create(fill))
    world.created.append(share.share_id)
    fields = {
        "shareId": share.share_id,
        "shortUrl": share.short_url,
        "linkUrl": shapes.link_url(share, carrier=carrier),
        "extractCode": share.extract_code,
        "comment": share.comment,
        "expireTime": shapes.expiry(share),
    }
    return _done(world, shareLink=fields)


def list_share_by_me(world: World, call: Call) -> Answer:
    """GET /share."""
    book = world.book_of(call.user)
    found = page(world, call, book, book.gone)
    rows = [shapes.mine(world, book.share(number)) for number in found.numbers]
    return _done(world, **found.cursor(), shareLinks=rows)


def get_share_by_me(world: World, call: Call) -> Answer:
    """GET /share/{shareId}."""
    book, number = _owned(world, call)
    return _done(world, shareLink=shapes.mine_detail(world, book.share(number)))


def update_share(world: World, call: Call) -> Answer:
    """PUT /share/{shareId}: absent fields stay as they are; an empty access code takes it away."""
    book, number = _owned(world, call)
    days = call.number("validDays", 0, 365)
    code, comment, expires = _extract_code(call), _comment(world, call), _expiry(call)
    users, depts, groups = (
        tuple((item, "") for item in call.strings(name)) for name in ("userIds", "deptIds", "groupIds")
    )
    now = world.now()

    def edit(share: Share) -> Share:
        until = expires if expires is not None else now + days * DAY if days else share.expires
        return attrs.evolve(
            share,
            updated_at=now,
            expires=until,
            extract_code=share.extract_code if code is None else code,
            comment=share.comment if comment is None else comment,
            users=users or share.users,
            depts=depts or share.depts,
            groups=groups or share.groups,
        )

    return _done(world, shareLink=shapes.updated(world, book.change(number, edit)))


def batch_cancel(world: World, call: Call) -> Answer:
    """POST /share/cancel: one sub-response for each id, in order."""
    ids = call.strings("shareIds", 1, MAX_IDS)
    refuse_poison(world, ids)
    parts = []
    for share_id in ids:
        code = world.scripted_code(share_id) or world.cancel_one(call.user, share_id)
        quoted = f'"{share_id}"' if share_id.isascii() and share_id.isalnum() else json.dumps(share_id)
        if code == 0:
            parts.append(f'{{"shareId":{quoted},"code":0,"msg":"success"}}')
        else:
            parts.append(
                f'{{"shareId":{quoted},"code":{json.dumps(code)},"msg":{json.dumps(text_of(code))}}}'
            )
    head = '"code":0,"msg":"Success."' if world.edition == "carrier" else '"code":"0","msg":"success"'
    body = f'{{{head},"subResponseList":[{",".join(parts)}]}}'
    return Answer(200, body.encode("ascii"))


def refuse_poison(world: World, ids: list[str]) -> None:
    """One poisonous id spoils the whole batch."""
    if world.poison and not world.poison.isdisjoint(ids):
        raise refusal(BAD_PARAMETER, status=world.poison_status)


def text_of(code: int | str) -> str:
    """The message that goes with a code."""
    return TEXTS.get(code, "failed") if isinstance(code, int) else "failed"


def _done(world: World, **fields: Any) -> Answer:
    """Success, where the enterprise tables say that `code` is a String."""
    return reply({"code": 0 if world.edition == "carrier" else "0", "msg": "success", **fields})


def _owned(world: World, call: Call) -> tuple[Book, int]:
    share_id = call.params["shareId"]
    for book in world.books.values():
        number = book.index.get(share_id)
        if number is not None and not book.gone[number]:
            if book.owner != call.user:
                raise refusal(NO_PERMISSION)
            return book, number
    raise refusal(NOT_THERE)


def _extract_code(call: Call) -> str | None:
    if call.body.get("extractCode") is None:
        return None
    code = call.text("extractCode", required=False)
    if code and not _EXTRACT_CODE.fullmatch(code):
        raise bad("extractCode must have 8 letters or digits")
    return code


def _comment(world: World, call: Call) -> str | None:
    if call.body.get("comment") is None:
        return None
    comment = call.text("comment", required=False)
    if world.edition == "carrier" and len(comment) > _MAX_COMMENT:
        raise bad("comment must be shorter than 512 characters")
    return comment


def _expiry(call: Call) -> float | None:
    value = call.text("expireTime", required=False)
    if not value:
        return None
    form = bad("expireTime must look like 2025-05-27 01:37:49 or 2025-05-29T02:00:39.952Z")
    try:
        if "T" in value:
            found = datetime.fromisoformat(value)
        else:
            found = datetime.strptime(value, _CARRIER_TIME).replace(tzinfo=UTC)
        moment = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise form from None
    if not 0 <= moment < _YEAR_10000:
        raise form
    return moment
