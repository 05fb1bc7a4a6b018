"""Every operation of the service as one row: how it is called, and the request that the pages ask for.

Written from koodrive-api sections 3 and 5, not from the code.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import attrs

from koodrive_async import (
    AsyncShareClient,
    CancelReply,
    CommonShareLink,
    CreatedShare,
    CreatedTask,
    DownloadUrl,
    LinkAccess,
    ShareByMeLink,
    ShareByMeLinkDetail,
    ShareFile,
    SharePermission,
    ShareTask,
    ShareWithMeLink,
    ShareWithMeLinkDetail,
    TaskTarget,
    UpdatedShare,
)
from koodrive_async.core.secrets import Secret

ID, SHORT, CODE, TOKEN = "1689759841444195840", "1808628918203192832", "31945314", "kd-token-1"
ACCESS = LinkAccess(SHORT, Secret(TOKEN))
FILES = ["FryfD0bDk0aWSfrlCgZVJG7hxDMCY5hkl", "F2"]
SPACE = "IAAB5thdWzxEoAsiA1681759183084696448"
WHEN = datetime(2025, 5, 27, 1, 37, 49, tzinfo=UTC)
PERMISSION = SharePermission(preview=True, edit=False, download=True)


async def first(listing: Any) -> Any:
    """The first item of a list; None where there is none."""
    return next(iter(await listing.collect()), None)


@attrs.frozen
class Row:
    """One operation."""

    operation: str
    call: Callable[[AsyncShareClient], Awaitable[Any]]
    method: str
    path: str
    reply: dict[str, Any]
    result: type | None
    query: dict[str, str] = attrs.field(factory=dict)
    body: dict[str, Any] | None = None
    once: bool = False
    """Whether a lost reply must not be followed by a second request."""
    public: bool = False
    label: str = ""

    def __str__(self) -> str:
        return f"{self.operation}{self.label}"


LINK = {"shareId": ID, "shortUrl": SHORT}
SUBS = [{"shareId": ID, "code": 0, "msg": "success"}]
TASK = {"taskId": "t1", "taskStatus": 2, "taskResultCode": 1}

ROWS = [
    Row(
        "createShare",
        lambda c: c.create_share(FILES, container_id=SPACE, scope=3, valid_days=7),
        "POST",
        "/share",
        {"shareLink": LINK},
        CreatedShare,
        body={"scope": 3, "fileIds": FILES, "containerId": SPACE, "validDays": 7},
        once=True,
    ),
    Row(
        "createShare",
        lambda c: c.create_share(
            FILES,
            container_id=SPACE,
            scope=1,
            valid_days=365,
            dept_ids=["d"],
            group_ids=[],
            user_ids=("u", "v"),
            phone_numbers=["13812345678"],
            permission=PERMISSION,
            extract_code=CODE,
            expire_time=WHEN,
            comment="für 合同",
            expired_type="x",
        ),
        "POST",
        "/share",
        {"shareLink": LINK},
        CreatedShare,
        body={
            "scope": 1,
            "fileIds": FILES,
            "containerId": SPACE,
            "validDays": 365,
            "deptIds": ["d"],
            "groupIds": [],
            "userIds": ["u", "v"],
            "phoneNumbers": ["13812345678"],
            "permission": {"preview": True, "edit": False, "download": True},
            "extractCode": CODE,
            "expireTime": "2025-05-27 01:37:49",
            "comment": "für 合同",
            "expiredType": "x",
        },
        once=True,
        label=" with everything",
    ),
    Row(
        "listShareByMe",
        lambda c: first(c.list_my_shares()),
        "GET",
        "/share",
        {"shareLinks": [LINK]},
        ShareByMeLink,
        query={"pageSize": "100"},
    ),
    Row(
        "listShareByMe",
        lambda c: first(
            c.list_my_shares(
                page_size=1,
                sort_direction=1,
                display_name="a&b =ü",
                image_process="image/resize,w_100",
                usage="minThumbnail",
                cursor="after/7",
            )
        ),
        "GET",
        "/share",
        {"shareLinks": [LINK]},
        ShareByMeLink,
        query={
            "pageSize": "1",
            "pageCursor": "after/7",
            "sortDirection": "1",
            "displayName": "a&b =ü",
            "imageProcess": "image/resize,w_100",
            "usage": "minThumbnail",
        },
        label=" with everything",
    ),
    Row(
        "getShareByMeDetail",
        lambda c: c.get_my_share(ID),
        "GET",
        f"/share/{ID}",
        {"shareLink": LINK},
        ShareByMeLinkDetail,
    ),
    Row(
        "updateShare",
        lambda c: c.update_share(ID, valid_days=30),
        "PUT",
        f"/share/{ID}",
        {"shareLink": LINK},
        UpdatedShare,
        body={"validDays": 30},
    ),
    Row(
        "updateShare",
        lambda c: c.update_share(
            ID,
            extract_code=CODE,
            comment="",
            dept_ids=["d"],
            group_ids=["g"],
            user_ids=[],
            permission=PERMISSION,
            expire_time=WHEN,
        ),
        "PUT",
        f"/share/{ID}",
        {"shareLink": LINK},
        UpdatedShare,
        body={
            "validDays": 0,
            "extractCode": CODE,
            "comment": "",
            "deptIds": ["d"],
            "groupIds": ["g"],
            "userIds": [],
            "permission": {"preview": True, "edit": False, "download": True},
            "expireTime": "2025-05-27T01:37:49.000Z",
        },
        label=" with everything",
    ),
    Row(
        "batchCancel",
        lambda c: c.cancel_batch([ID]),
        "POST",
        "/share/cancel",
        {"subResponseList": SUBS},
        CancelReply,
        body={"shareIds": [ID]},
    ),
    Row(
        "listShareWithMe",
        lambda c: first(c.list_received_shares(page_size=50, sort_direction=2, display_name="x")),
        "GET",
        "/share/received",
        {"shareLinks": [LINK]},
        ShareWithMeLink,
        query={"pageSize": "50", "sortDirection": "2", "displayName": "x"},
    ),
    Row(
        "getShareWithMeDetail",
        lambda c: c.get_received_share(ID),
        "GET",
        f"/share/received/{ID}",
        {"shareLink": LINK},
        ShareWithMeLinkDetail,
    ),
    Row(
        "getShareWithMeDetail",
        lambda c: c.get_received_share("a/b"),
        "GET",
        "/share/received/a%2Fb",
        {"shareLink": LINK},
        ShareWithMeLinkDetail,
        label=" odd id",
    ),
    Row(
        "exitShare",
        lambda c: c.exit([ID]),
        "POST",
        "/share/exit",
        {"subResponseList": [{"code": 0, "message": "success"}]},
        None,
        body={"shareIds": [ID]},
    ),
    Row("visitShare", lambda c: c.visit_share(SHORT), "GET", "/share/visit", {}, None, {"shortUrl": SHORT}),
    Row(
        "getShareInfo",
        lambda c: c.get_share_info(SHORT),
        "GET",
        "/share/userInfo",
        {"link": LINK},
        CommonShareLink,
        {"shortUrl": SHORT},
    ),
    Row(
        "verifyExtractCode",
        lambda c: c.verify_extract_code(SHORT, CODE),
        "POST",
        "/share/verify",
        {"kdstoken": TOKEN},
        LinkAccess,
        body={"shortUrl": SHORT, "extractCode": CODE},
        once=True,
    ),
    Row(
        "listShareFiles",
        lambda c: first(c.list_share_files(SHORT)),
        "POST",
        "/share/files",
        {"files": [{"id": "F1"}], "link": LINK},
        ShareFile,
        body={"shortUrl": SHORT, "pageSize": 100},
    ),
    Row(
        "listShareFiles",
        lambda c: first(
            c.list_share_files(
                ACCESS,
                parent_folder="F0",
                page_size=10,
                sort_type=2,
                sort_direction=1,
                refresh_count=False,
                file_name="x",
                image_process="y",
                cursor="10",
            )
        ),
        "POST",
        "/share/files",
        {"files": [{"id": "F1"}]},
        ShareFile,
        body={
            "shortUrl": SHORT,
            "parentFolder": "F0",
            "pageSize": 10,
            "pageCursor": "10",
            "sortType": 2,
            "sortDirection": 1,
            "kdstoken": TOKEN,
            "refreshCount": False,
            "fileName": "x",
            "imageProcess": "y",
        },
        label=" with everything",
    ),
    Row(
        "downloadShareFile",
        lambda c: c.get_download_url(ID, "F1", access=ACCESS),
        "POST",
        "/share/download",
        {"downloadUrl": "https://obs.example/F1?Signature=abc"},
        DownloadUrl,
        body={"shareId": ID, "fileId": "F1", "kdstoken": TOKEN},
    ),
    Row(
        "createBatchTask",
        lambda c: c.create_share_task(ID, task_type=1, container_id=SPACE, file_ids=FILES),
        "POST",
        "/share/tasks",
        {"taskId": "t1"},
        CreatedTask,
        body={"taskType": 1, "shareId": ID, "containerId": SPACE, "fileIds": FILES},
        once=True,
    ),
    Row(
        "createBatchTask",
        lambda c: c.create_share_task(
            ID,
            task_type=2,
            container_id=SPACE,
            file_ids=FILES,
            target=TaskTarget("root", "C2"),
            zip_name="a.zip",
            access=ACCESS,
        ),
        "POST",
        "/share/tasks",
        {"taskId": "t1"},
        CreatedTask,
        body={
            "taskType": 2,
            "shareId": ID,
            "containerId": SPACE,
            "fileIds": FILES,
            "targetFileId": {"fileId": "root", "containerId": "C2"},
            "zipName": "a.zip",
            "kdstoken": TOKEN,
        },
        once=True,
        label=" with everything",
    ),
    Row(
        "getBatchTask",
        lambda c: c.get_share_task("t1", ID, access=ACCESS),
        "POST",
        "/share/taskDetail",
        {"taskInfos": TASK},
        ShareTask,
        body={"taskId": "t1", "shareId": ID, "kdstoken": TOKEN},
    ),
    Row(
        "getBatchTask",
        lambda c: c.wait_for_share_task(CreatedTask("t1", ID), interval=0.001),
        "POST",
        "/share/taskDetail",
        {"jobInfo": TASK},
        ShareTask,
        body={"taskId": "t1", "shareId": ID},
        label=" waiting",
    ),
    Row(
        "verifyExtractCodePublic",
        lambda c: c.verify_extract_code_public(SHORT, CODE),
        "POST",
        "/share/public/verify",
        {"kdstoken": TOKEN},
        LinkAccess,
        body={"shortUrl": SHORT, "extractCode": CODE},
        once=True,
        public=True,
    ),
    Row(
        "listShareFilesPublic",
        lambda c: first(c.list_share_files_public(ACCESS)),
        "POST",
        "/share/public/files",
        {"files": [{"id": "F1"}]},
        ShareFile,
        body={"shortUrl": SHORT, "pageSize": 100, "kdstoken": TOKEN},
        public=True,
    ),
    Row(
        "visitSharePublic",
        lambda c: c.visit_share_public(ACCESS),
        "GET",
        "/share/public/visit",
        {},
        None,
        query={"shortUrl": SHORT},
        public=True,
    ),
]
