"""Handlers of *Shared with You*: list, detail, exit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koodrive_async.testing import shapes
from koodrive_async.testing.answers import Answer, refusal, reply
from koodrive_async.testing.mine import refuse_poison, text_of
from koodrive_async.testing.paging import Page, page
from koodrive_async.testing.routing import MAX_IDS, Call
from koodrive_async.testing.state import NOT_THERE

if TYPE_CHECKING:
    from koodrive_async.testing.world import World


def list_share_with_me(world: World, call: Call) -> Answer:
    """GET /share/received."""
    book = world.received_book(call.user)
    found = Page([]) if book is None else page(world, call, book, book.unseen)
    rows = [] if book is None else [shapes.received(world, book.share(number)) for number in found.numbers]
    return reply({"code": 0, "msg": "success", **found.cursor(), "shareLinks": rows})


def get_share_with_me(world: World, call: Call) -> Answer:
    """GET /share/received/{shareId}."""
    book = world.received_book(call.user)
    number = None if book is None else book.index.get(call.params["shareId"])
    if book is None or number is None or book.unseen[number]:
        raise refusal(NOT_THERE)
    return reply(
        {"code": 0, "msg": "success", "shareLink": shapes.received_detail(world, book.share(number))}
    )


def exit_share(world: World, call: Call) -> Answer:
    """POST /share/exit: `message` instead of `msg`, as the example has it."""
    ids = call.strings("shareIds", 1, MAX_IDS)
    refuse_poison(world, ids)
    parts: list[dict[str, Any]] = []
    for share_id in ids:
        code = world.scripted_code(share_id) or world.exit_one(call.user, share_id)
        answer = {"code": code, "message": text_of(code)}
        parts.append({"shareId": share_id, **answer} if world.exit_names_ids else answer)
    return reply({"code": 0, "msg": "success", "subResponseList": parts})
