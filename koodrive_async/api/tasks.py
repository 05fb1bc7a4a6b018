"""Share tasks: pack files for a download, or save them; they take time. Refuses to fetch the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from koodrive_async.api.base import Api
from koodrive_async.core import inputs, operations
from koodrive_async.core.batching import check_share_id, check_text
from koodrive_async.core.codec import read_first
from koodrive_async.core.errors import UsageError
from koodrive_async.core.objects import CreatedTask, LinkAccess, ShareTask, TaskTarget
from koodrive_async.core.readers import read_word
from koodrive_async.core.settings import check_callables
from koodrive_async.shell.waiting import wait_until_over

#: Page getBatchTask.html: ``taskInfo`` in 2024, both others since 2025-08.
_INFO = ("taskInfos", "jobInfo", "taskInfo")


class Tasks(Api):
    """Asynchronous tasks on the files of a share."""

    async def create_share_task(
        self,
        share_id: str,
        *,
        task_type: int,
        container_id: str,
        file_ids: Iterable[str],
        target: TaskTarget | None = None,
        zip_name: str | None = None,
        access: LinkAccess | None = None,
    ) -> CreatedTask:
        """Begin a task on files of a share (page createBatchTask.html).

        Sent again only when for certain nothing was done. After a lost reply the error has
        ``ambiguous=True``: a second call may save the files twice.

        Args:
            share_id: The share's id.
            task_type: 1 pack for download, 2 save into a space of your own (see `TaskType`).
            container_id: The space that the files are in.
            file_ids: 1..1000 files.
            target: Where to save to; the carrier edition must be told.
            zip_name: The name of the package.
            access: What `verify_extract_code` returned, where the link has an access code.

        Returns:
            The task: hand it to `wait_for_share_task` or `get_share_task`.

        Raises:
            UsageError: A value out of its bounds; nothing was sent.
            KooDriveError: The last error; ``.ambiguous`` says whether a task may have begun.
        """
        token = inputs.token_of(access)
        kind = inputs.one_of("task_type", task_type, (1, 2))
        body = inputs.body(
            task_type=kind,
            share_id=check_share_id(share_id),
            container_id=check_text("container_id", container_id),
            file_ids=inputs.texts("file_ids", file_ids, 1, inputs.MAX_TASK_FILES),
            target_file_id=inputs.target(target, kind, carrier=self._carrier),
            zip_name=None if zip_name is None else inputs.text("zip_name", zip_name),
            kdstoken=token,
        )
        task_id = await self._call(
            operations.CREATE_BATCH_TASK,
            lambda envelope: read_word(envelope, "taskId"),
            body=body,
            secrets=(token,),
        )
        return CreatedTask(task_id, share_id, access)

    async def get_share_task(
        self, task: CreatedTask | str, share_id: str | None = None, *, access: LinkAccess | None = None
    ) -> ShareTask:
        """Where a task stands (page getBatchTask.html).

        Args:
            task: What `create_share_task` returned, or the id of a task.
            share_id: The share's id, if `task` is an id.
            access: What `verify_extract_code` returned, likewise.

        Raises:
            UsageError: An id that can't be one, or is missing; nothing was sent.
            NotFound: There is no such task.
            KooDriveError: Any other error, the last one.
        """
        wanted = _task(task, share_id, access)
        token = inputs.token_of(wanted.access)
        return await self._call(
            operations.GET_BATCH_TASK,
            lambda envelope: read_first(envelope, _INFO, ShareTask),
            body=inputs.body(task_id=wanted.task_id, share_id=wanted.share_id, kdstoken=token),
            secrets=(token,),
        )

    async def wait_for_share_task(
        self,
        task: CreatedTask | str,
        share_id: str | None = None,
        *,
        access: LinkAccess | None = None,
        deadline: float | None = None,
        interval: float = 0.5,
        on_progress: Callable[[ShareTask], None] | None = None,
    ) -> ShareTask:
        """Ask where a task stands until it is over (page getBatchTask.html, which names no interval).

        Over is not successful: look at ``.succeeded``, or at ``.task_result_code`` for more.

        Args:
            task: What `create_share_task` returned, or the id of a task.
            share_id: The share's id, if `task` is an id.
            access: What `verify_extract_code` returned, likewise.
            deadline: Seconds after which waiting is given up; None: never.
            interval: The first pause, in seconds; each one is half as long again, up to twenty times this.
            on_progress: Told each answer.

        Returns:
            The task, completed or cancelled.

        Raises:
            UsageError: An id that can't be one, or is missing; nothing was sent.
            TaskNotDone: The deadline passed; the task goes on all the same.
            KooDriveError: Any other error, the last one.
        """
        wanted = _task(task, share_id, access)
        if on_progress is not None:
            check_callables("on_progress", [on_progress])
        return await wait_until_over(
            lambda: self.get_share_task(wanted),
            interval=inputs.seconds("interval", interval),
            deadline=None if deadline is None else inputs.seconds("deadline", deadline),
            on_progress=on_progress,
        )


def _task(task: CreatedTask | str, share_id: str | None, access: LinkAccess | None) -> CreatedTask:
    """What was asked for, whichever way.

    Raises:
        UsageError: It says too little, or too much.
    """
    if isinstance(task, CreatedTask):
        if share_id is not None or access is not None:
            raise UsageError("a created task knows its share and its access; give no others")
        return task
    return CreatedTask(check_text("task", task), check_share_id(share_id), access)
