"""A service as bytes, for the servers that know nothing of it; and ids to ask for."""

import json
from email.utils import formatdate
from typing import Any

from tests.support.http1 import SeenRequest, json_reply


def dated(value: Any, status: int = 200, *headers: tuple[str, str]) -> bytes:
    """A JSON reply with the `Date` that every true service sends."""
    return json_reply(value, status, (("Date", formatdate(usegmt=True)), *headers))


def well(request: SeenRequest) -> bytes:
    """Code 0 for each id; an empty link for whoever asks for one."""
    if request.method == "GET":
        return dated({"code": 0, "msg": "success", "link": {"shareId": "1"}})
    return dated(all_well(request.body))


def well_and_closing(request: SeenRequest) -> bytes:
    """The same from a server that keeps no connection; it takes the client to close."""
    head, _, body = well(request).partition(b"\r\n\r\n")
    return head + b"\r\nConnection: close\r\n\r\n" + body


def all_well(body: bytes) -> dict[str, Any]:
    items = [{"shareId": share_id, "code": 0, "msg": "success"} for share_id in json.loads(body)["shareIds"]]
    return {"code": 0, "msg": "success", "subResponseList": items}


def some_ids(count: int, start: int = 100_000) -> list[str]:
    return [str(number) for number in range(start, start + count)]
