"""Handlers of share tasks: package download and saving; they take time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from koodrive_async.testing import shapes
from koodrive_async.testing.answers import Answer, refusal, reply
from koodrive_async.testing.links import check_kdstoken, object_url, share_by_id
from koodrive_async.testing.routing import Call, bad
from koodrive_async.testing.seeding import fourteen_digits
from koodrive_async.testing.state import NOT_THERE

if TYPE_CHECKING:
    from koodrive_async.testing.world import World

NO_SPACE, NOT_IN_SPACE = 13000301, 13000302
_PACKAGE, _SAVE = 1, 2
_WAITING, _RUNNING, _COMPLETED, _CANCELLED = 0, 1, 2, 3


@attrs.define
class Task:
    """A task under way."""

    task_id: str
    share_id: str
    user: str
    kind: int
    created: float
    cancelled: bool = False


def create(world: World, call: Call) -> Answer:
    """POST /share/tasks."""
    kind = call.number("taskType", 1, 2)
    book, number = share_by_id(world, call)
    share = book.share(number)
    container, files = call.text("containerId"), call.strings("fileIds", 1, 1000)
    target = call.body.get("targetFileId")
    if kind == _SAVE and world.edition == "carrier" and target is None:
        raise bad("targetFileId is needed to save")
    if target is not None and not (
        isinstance(target, dict)
        and all(isinstance(target.get(key), str) for key in ("fileId", "containerId"))
    ):
        raise bad("targetFileId must hold fileId and containerId")
    check_kdstoken(world, call, share.share_id, share.extract_code)
    if container != share.container_id:
        raise refusal(NO_SPACE)
    if any(shapes.find_file(share, file_id) is None for file_id in files):
        raise refusal(NOT_IN_SPACE)
    task_id = str(1_700_000_000_000_000_000 + len(world.tasks))
    world.tasks[task_id] = Task(task_id, share.share_id, call.user, kind, world.now())
    if kind == _SAVE:
        book.change(number, lambda old: attrs.evolve(old, saves=old.saves + 1))
    return reply({"code": 0, "msg": "success", "taskId": task_id})


def detail(world: World, call: Call) -> Answer:
    """POST /share/taskDetail: in `jobInfo` and `taskInfos`, as the newer pages say."""
    task = world.tasks.get(call.text("taskId"))
    if task is None or task.share_id != call.text("shareId") or task.user != call.user:
        raise refusal(NOT_THERE)
    elapsed = world.now() - task.created
    done = 1.0 if world.task_seconds <= 0 else min(1.0, max(0.0, elapsed / world.task_seconds))
    info: dict[str, Any] = {
        "userId": task.user,
        "taskId": task.task_id,
        "taskType": task.kind,
        "createTime": fourteen_digits(task.created),
        "progress": int(done * 100),
    }
    if task.cancelled:
        info["taskStatus"] = _CANCELLED
    elif done < 0.1:
        info["taskStatus"] = _WAITING
    else:
        info["taskStatus"] = _COMPLETED if done >= 1 else _RUNNING
        info["startTime"] = fourteen_digits(task.created + world.task_seconds / 10)
    if info["taskStatus"] == _COMPLETED:
        info["endTime"] = fourteen_digits(task.created + world.task_seconds)
        info["taskResultCode"] = world.task_result_code
        info["resultCode"] = 0
        if task.kind == _PACKAGE:
            info["downloadUrl"] = object_url(call, f"{task.task_id}.zip")
    return reply({"code": 0, "msg": "success", **dict.fromkeys(world.task_fields, info)})
