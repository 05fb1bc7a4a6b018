"""The table of operations: name, method, path, handler, checks, editions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koodrive_async.testing import links, mine, received, sessions, tasks
from koodrive_async.testing.routing import Call, Edition, Operation
from koodrive_async.testing.rules import admit, check_agent, check_trace_id, read_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from koodrive_async.testing.answers import Answer
    from koodrive_async.testing.seen import RequestSeen
    from koodrive_async.testing.world import World

BASE = "/koodrive/ose/v1"
_CARRIER: tuple[Edition, ...] = ("carrier",)
_ENTERPRISE: tuple[Edition, ...] = ("enterprise",)


def _admit_public(world: World, seen: RequestSeen) -> str:
    """Login-free calls: no credentials may be sent, the carrier's name must be."""
    headers = read_headers(seen)
    links.refuse_credentials(seen)
    check_trace_id(headers)
    check_agent(world, headers)
    return ""


def _admit_anybody(_world: World, _seen: RequestSeen) -> str:
    return ""


def _share(name: str, method: str, path: str, handler: Callable[[World, Call], Answer]) -> Operation:
    return Operation(name, method, f"{BASE}/share{path}", handler, admit)


def _public(name: str, method: str, path: str, handler: Callable[[World, Call], Answer]) -> Operation:
    return Operation(name, method, f"{BASE}/share/public{path}", handler, _admit_public, _CARRIER)


#: Fixed paths stand before `/share/{shareId}`, which would match them too.
ALL: tuple[Operation, ...] = (
    _share("batchCancel", "POST", "/cancel", mine.batch_cancel),
    _share("getShareInfo", "GET", "/userInfo", links.get_share_info),
    _share("listShareWithMe", "GET", "/received", received.list_share_with_me),
    _share("getShareWithMeDetail", "GET", "/received/{shareId}", received.get_share_with_me),
    _share("exitShare", "POST", "/exit", received.exit_share),
    _share("visitShare", "GET", "/visit", links.visit),
    _share("verifyExtractCode", "POST", "/verify", links.verify),
    _share("listShareFiles", "POST", "/files", links.list_files),
    _share("downloadShareFile", "POST", "/download", links.download),
    _share("createBatchTask", "POST", "/tasks", tasks.create),
    _share("getBatchTask", "POST", "/taskDetail", tasks.detail),
    _public("verifyExtractCodePublic", "POST", "/verify", links.verify),
    _public("listShareFilesPublic", "POST", "/files", links.list_files),
    _public("visitSharePublic", "GET", "/visit", links.visit),
    _share("createShare", "POST", "", mine.create_share),
    _share("listShareByMe", "GET", "", mine.list_share_by_me),
    _share("getShareByMeDetail", "GET", "/{shareId}", mine.get_share_by_me),
    _share("updateShare", "PUT", "/{shareId}", mine.update_share),
    Operation(
        "refreshSession",
        "POST",
        f"{BASE}/session/refresh",
        sessions.refresh_session,
        sessions.admit_session,
        _ENTERPRISE,
    ),
    Operation("login", "POST", f"{BASE}/auth/login", sessions.login, sessions.admit_session, _CARRIER),
    Operation(
        "refreshToken",
        "POST",
        f"{BASE}/auth/refreshToken",
        sessions.refresh_token,
        sessions.admit_session,
        _CARRIER,
    ),
    Operation("downloadObject", "GET", "/obs/{fileId}", links.get_object, _admit_anybody),
)
