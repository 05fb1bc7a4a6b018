"""Handlers of *Access Link*: visit, info, access code, files, download; and their public twins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from koodrive_async.testing import shapes
from koodrive_async.testing.answers import Answer, refusal, reply
from koodrive_async.testing.routing import Call, bad
from koodrive_async.testing.rules import NO_PERMISSION
from koodrive_async.testing.seeding import mix, opaque
from koodrive_async.testing.state import NOT_THERE

if TYPE_CHECKING:
    from koodrive_async.testing.seen import RequestSeen
    from koodrive_async.testing.state import Book
    from koodrive_async.testing.world import World

NO_DOWNLOAD = 13000407
_ANYBODY, _NAMED = 1, 3
_CREDENTIALS = ("authorization", "x-user-id", "x-date")


def visit(world: World, call: Call) -> Answer:
    """GET /share/visit: counts as a view."""
    book, number = _openable(world, call, _short_url(call))
    book.viewed(number)
    return reply({"code": 0, "msg": "success"})


def get_share_info(world: World, call: Call) -> Answer:
    """GET /share/userInfo: also of links that have expired."""
    book, number = _behind(world, _short_url(call))
    return reply({"code": 0, "msg": "success", "link": shapes.common_link(world, book.share(number))})


def verify(world: World, call: Call) -> Answer:
    """POST /share/verify: the right access code gives a `kdstoken`."""
    short_url, code = call.text("shortUrl"), call.text("extractCode")
    book, number = _openable(world, call, short_url)
    if book.share(number).extract_code != code:
        raise refusal(NO_PERMISSION, "wrong access code")
    token = opaque("", mix(number, len(world.kdstokens) + 1), 40)
    world.kdstokens[token] = book.share(number).share_id
    return reply({"code": 0, "msg": "Success.", "kdstoken": token})


def list_files(world: World, call: Call) -> Answer:
    """POST /share/files: the cursor counts files."""
    book, number = _openable(world, call, call.text("shortUrl"))
    size = call.number("pageSize", 1, 100, 100)
    sort, direction = call.number("sortType", 1, 4, 4), call.number("sortDirection", 1, 2, 2)
    cursor = call.text("pageCursor", required=False) or "0"
    wanted = call.text("fileName", required=False).casefold()
    parent = call.text("parentFolder", required=False)
    if not (cursor.isascii() and cursor.isdigit()):
        raise bad("pageCursor is none of ours")
    share = book.share(number)
    check_kdstoken(world, call, share.share_id, share.extract_code)
    if call.body.get("refreshCount"):
        book.viewed(number)
    files = [file for file in shapes.files_of(share, parent) if wanted in file.name.casefold()]
    keys = {1: lambda file: file.name, 2: lambda file: file.size, 4: lambda file: file.edited}
    if sort not in keys:
        raise bad("sortType must be 1, 2 or 4")
    files.sort(key=keys[sort], reverse=direction == 2)
    start = int(cursor)
    reached = start + size
    more = {"nextCursor": str(reached)} if reached < len(files) else {}
    rows = [shapes.share_file(file, share) for file in files[start:reached]]
    link = shapes.common_link(world, book.share(number))
    return reply({"code": 0, "msg": "success", **more, "link": link, "files": rows})


def download(world: World, call: Call) -> Answer:
    """POST /share/download: a pre-signed address, served by this emulator too."""
    book, number = share_by_id(world, call)
    file_id = call.text("fileId")
    share = book.share(number)
    check_kdstoken(world, call, share.share_id, share.extract_code)
    file = shapes.find_file(share, file_id)
    if file is None or file.folder:
        raise refusal(NO_DOWNLOAD)
    book.change(number, lambda old: attrs.evolve(old, downloads=old.downloads + 1))
    return reply({"code": 0, "msg": "success", "downloadUrl": object_url(call, file_id)})


def get_object(_world: World, call: Call) -> Answer:
    """The object store behind download addresses: it refuses to see credentials of KooDrive."""
    refuse_credentials(call.seen)
    if not call.query.get("Signature"):
        raise refusal(NO_PERMISSION, status=403)
    body = f"content of {call.params['fileId']}\n".encode()
    return Answer(200, body, (("content-type", "application/octet-stream"),))


def refuse_credentials(seen: RequestSeen) -> None:
    """Stricter than any page: who leaks credentials to a place that needs none shall notice."""
    sent = [name for name in _CREDENTIALS if seen.header(name) is not None]
    if sent:
        raise bad(f"credentials were sent where none belong: {', '.join(sent)}")


def object_url(call: Call, file_id: str) -> str:
    """A pre-signed address on the host that was asked."""
    host = call.seen.header("host") or "obs.example"
    bits = mix(len(file_id), int(call.seen.at))
    return (
        f"http://{host}/obs/{file_id}?AccessKeyId=AK{bits % 10**8}&Expires=3600&Signature={opaque('', bits)}"
    )


def share_by_id(world: World, call: Call) -> tuple[Book, int]:
    """The openable share whose id the body names."""
    share_id = call.text("shareId")
    for book in world.books.values():
        number = book.index.get(share_id)
        if number is not None:
            return _openable(world, call, book.short_url(number))
    raise refusal(NOT_THERE)


def check_kdstoken(world: World, call: Call, share_id: str, extract_code: str) -> None:
    """A share with an access code needs the token that `verify` gave for it."""
    token = call.text("kdstoken", required=False)
    if extract_code and world.kdstokens.get(token) != share_id:
        raise refusal(NO_PERMISSION, "kdstoken is missing or wrong")


def _short_url(call: Call) -> str:
    short_url = call.query.get("shortUrl")
    if not short_url:
        raise bad("shortUrl is missing")
    return short_url


def _behind(world: World, short_url: str) -> tuple[Book, int]:
    """The live share behind a short code, whoever owns it."""
    for book in world.books.values():
        number = book.number_of(short_url)
        if number is not None and not book.gone[number]:
            return book, number
    raise refusal(NOT_THERE)


def _openable(world: World, call: Call, short_url: str) -> tuple[Book, int]:
    """The share behind a short code, if its link can be opened by this user."""
    book, number = _behind(world, short_url)
    share = book.share(number)
    if not share.opens(world.now()):
        raise refusal(NOT_THERE, "the link has expired or is invalid")
    if call.user:
        named = {book.owner, book.receiver, *(user for user, _ in share.users)}
        allowed = share.scope != _NAMED or call.user in named
    else:
        allowed = share.scope == _ANYBODY
    if not allowed:
        raise refusal(NO_PERMISSION)
    return book, number
