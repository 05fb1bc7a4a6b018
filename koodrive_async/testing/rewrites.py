"""Ready-made functions for `Rewrite`: replies that are still JSON but not what one expects."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LIST = "subResponseList"


def _with_list(reply: Any, edit: Callable[[list[Any]], Any]) -> Any:
    """The reply with its list of sub-responses edited; anything else as it is."""
    if isinstance(reply, dict) and isinstance(reply.get(LIST), list):
        return {**reply, LIST: edit(reply[LIST])}
    return reply


def shuffled(reply: Any) -> Any:
    """Sub-responses in another order."""
    return _with_list(reply, lambda items: random.Random(7).sample(items, len(items)))  # noqa: S311


def losing(count: int = 1) -> Callable[[Any], Any]:
    """Without the first `count` sub-responses."""
    return lambda reply: _with_list(reply, lambda items: items[count:])


def losing_ids(*share_ids: str) -> Callable[[Any], Any]:
    """Without the sub-responses for these ids."""
    return lambda reply: _with_list(
        reply, lambda items: [item for item in items if item.get("shareId") not in share_ids]
    )


def duplicated(reply: Any) -> Any:
    """Each sub-response twice."""
    return _with_list(reply, lambda items: [item for item in items for _ in range(2)])


def conflicting(reply: Any) -> Any:
    """Each sub-response a second time, with another code."""
    return _with_list(reply, lambda items: [*items, *({**item, "code": 13000410} for item in items)])


def with_foreign(reply: Any) -> Any:
    """A sub-response for an id that nobody asked about, in front."""
    foreign = {"shareId": "1000000000000000001", "code": 0, "msg": "success"}
    return _with_list(reply, lambda items: [foreign, *items])


def numeric_ids(reply: Any) -> Any:
    """`shareId` as a JSON number, beyond 2^53."""
    return _with_list(
        reply,
        lambda items: [
            {**item, "shareId": int(item["shareId"])} if str(item.get("shareId")).isdigit() else item
            for item in items
        ],
    )


def without_ids(reply: Any) -> Any:
    """No `shareId` in the sub-responses."""
    return _with_list(reply, lambda items: [_without(item, "shareId") for item in items])


def message_for_msg(reply: Any) -> Any:
    """`message` where `msg` is documented, in the sub-responses."""
    return _with_list(
        reply, lambda items: [{**_without(item, "msg"), "message": item.get("msg")} for item in items]
    )


def string_codes(reply: Any) -> Any:
    """Every code as a string."""
    changed = _with_list(reply, lambda items: [{**item, "code": str(item.get("code"))} for item in items])
    return {**changed, "code": str(changed.get("code"))} if isinstance(changed, dict) else changed


def integer_codes(reply: Any) -> Any:
    """Every numeric code as an integer."""

    def whole(value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdigit() else value

    changed = _with_list(reply, lambda items: [{**item, "code": whole(item.get("code"))} for item in items])
    return {**changed, "code": whole(changed.get("code"))} if isinstance(changed, dict) else changed


def null_list(reply: Any) -> Any:
    """`subResponseList` is null."""
    return _with_list(reply, lambda _items: None)


def no_list(reply: Any) -> Any:
    """`subResponseList` is missing."""
    return _without(reply, LIST) if isinstance(reply, dict) else reply


def list_is_an_object(reply: Any) -> Any:
    """`subResponseList` is an object by id."""
    return _with_list(reply, lambda items: {str(item.get("shareId")): item for item in items})


def unknown_fields(reply: Any) -> Any:
    """Fields that no page mentions, everywhere."""
    changed = _with_list(
        reply, lambda items: [{**item, "region": "cn-north-4", "x": {"y": []}} for item in items]
    )
    return {"traceId": "t-1", **changed, "extra": None} if isinstance(changed, dict) else changed


def top_code(code: int | str, text: str = "failed") -> Callable[[Any], Any]:
    """HTTP 200, but the reply says failure and has no list."""
    return lambda _reply: {"code": code, "msg": text}


def item_code(code: int | str, *share_ids: str) -> Callable[[Any], Any]:
    """This code in the sub-responses for these ids, or, without ids, in all: the effect stays done."""
    return lambda reply: _with_list(
        reply,
        lambda items: [
            {**item, "code": code, "msg": "failed"}
            if not share_ids or item.get("shareId") in share_ids
            else item
            for item in items
        ],
    )


def chained(*changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several changes, one after the other."""

    def change(reply: Any) -> Any:
        for one in changes:
            reply = one(reply)
        return reply

    return change


def _without(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != name}
