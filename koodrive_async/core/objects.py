"""What is behind an access link: access to it, its files, download addresses, tasks (koodrive-api section 6).

Whatever opens something prints as ``***``. Refuses to read bytes; that is ``codec``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any
from urllib.parse import urlsplit

import attrs

from koodrive_async.core.models import masked, no_extra
from koodrive_async.core.secrets import MASK, Secret
from koodrive_async.core.times import parse_time


@attrs.frozen(slots=True)
class LinkAccess:
    """A link whose access code was found right (page verifyExtractCode.html): hand it to the next call.

    Attributes:
        short_url: The short code of the link.
        kdstoken: The temporary token that goes with the calls; its lifetime is not documented.
            Prints as ``***``.
    """

    short_url: str
    kdstoken: Secret


class DownloadUrl(str):
    """A pre-signed address (page downloadShareFile.html): a ``str`` whose repr shows only the host.

    Whoever has it can download. It leads to an object store: send none of KooDrive's headers there.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"DownloadUrl({urlsplit(self).scheme}://{urlsplit(self).hostname}/{MASK})"


@attrs.frozen(slots=True)
class SessionInfo:
    """A carrier's session (page Login.html, SessionInfo); its tokens print as ``***``.

    Attributes:
        access_token: With its scheme, ``AT `` in the example.
        expires_in: Seconds.
        issued_at: Epoch milliseconds as a text.
        refresh_token: For RefreshToken.html.
        extra: Fields that this package does not know.
    """

    access_token: str = attrs.field(default="", repr=masked)
    expires_in: int | None = None
    issued_at: str = ""
    refresh_token: str = attrs.field(default="", repr=masked)
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)


@attrs.frozen(slots=True)
class ShareFile:
    """A file or folder behind a link (page listShareFiles.html, ShareFile).

    Attributes:
        id: The file's id.
        file_name: Its name, at most 250 bytes.
        file_type: What it is.
        parent_folder: Ids of folders; only the first counts.
        file_suffix: The ending of its name.
        size: Bytes.
        containers: Ids of spaces.
        download_links: A text of undocumented form; prints as ``***``.
        edited_time: When it was last changed, as it came.
        extra: Fields that this package does not know.
    """

    id: str = ""
    file_name: str = ""
    file_type: str = ""
    parent_folder: Sequence[str] = ()
    file_suffix: str = ""
    size: int | None = None
    containers: Sequence[str] = ()
    download_links: str = attrs.field(default="", repr=masked)
    edited_time: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)

    @property
    def edited_at(self) -> datetime | None:
        """`edited_time` as an instant, or None where its form is not known."""
        return parse_time(self.edited_time)


# -- tasks ----------------------------------------------------------------------------------------


class TaskType(IntEnum):
    """What a task does (page createBatchTask.html)."""

    PACKAGE = 1
    """Pack files for one download."""
    SAVE = 2
    """Save files into a space of your own."""


class TaskStatus(IntEnum):
    """How far a task is (page getBatchTask.html); other numbers are passed on as they are."""

    WAITING = 0
    RUNNING = 1
    COMPLETED = 2
    CANCELLED = 3


class TaskResult(IntEnum):
    """How a completed task ended (page getBatchTask.html): completed is not successful."""

    ALL_SUCCEEDED = 1
    PARTLY_FAILED = 2
    ALL_FAILED = 3


@attrs.frozen(slots=True)
class TaskTarget:
    """Where a task saves to (page createBatchTask.html, ``targetFileId``).

    Attributes:
        file_id: The folder's id; ``root`` for the top of the space.
        container_id: The space's id.
    """

    file_id: str
    container_id: str


@attrs.frozen(slots=True)
class CreatedTask:
    """A task that was begun: hand it to `get_share_task` or `wait_for_share_task`.

    Attributes:
        task_id: Its id.
        share_id: The share it is about.
        access: What it was begun with, where the link has an access code.
    """

    task_id: str
    share_id: str
    access: LinkAccess | None = None


@attrs.frozen(slots=True)
class ShareTask:
    """Where a task stands (page getBatchTask.html, JobInfo).

    Attributes:
        user_id: Whose it is.
        task_id: Its id.
        task_type: See `TaskType`.
        task_status: See `TaskStatus`.
        task_result_code: See `TaskResult`; of a task that is completed.
        result_code: A code of the generic task interface (18xxxxxx), not explained.
        create_time: 14 digits, as it came.
        start_time: Likewise.
        end_time: Likewise.
        progress: Percent.
        download_url: The pre-signed address of the package, when it is done. Prints as ``***``.
        extra: Fields that this package does not know.
    """

    user_id: str = ""
    task_id: str = ""
    task_type: int | None = None
    task_status: int | None = None
    task_result_code: int | None = None
    result_code: int | None = None
    create_time: str = ""
    start_time: str = ""
    end_time: str = ""
    progress: int | None = None
    download_url: str = attrs.field(default="", repr=masked)
    extra: Mapping[str, Any] = attrs.field(factory=no_extra, repr=False)

    @property
    def over(self) -> bool:
        """Whether it will not go on: completed or cancelled."""
        return self.task_status in (TaskStatus.COMPLETED, TaskStatus.CANCELLED)

    @property
    def succeeded(self) -> bool:
        """Whether it is completed and did everything; an unknown result is none."""
        completed = self.task_status == TaskStatus.COMPLETED
        return completed and self.task_result_code == TaskResult.ALL_SUCCEEDED

    @property
    def created_at(self) -> datetime | None:
        """`create_time` as an instant, or None where its form is not known."""
        return parse_time(self.create_time)

    @property
    def started_at(self) -> datetime | None:
        """`start_time` as an instant, or None where its form is not known."""
        return parse_time(self.start_time)

    @property
    def ended_at(self) -> datetime | None:
        """`end_time` as an instant, or None where its form is not known."""
        return parse_time(self.end_time)
