"""What can't be meant is refused before anything is sent, with an error that says which argument it was."""

from datetime import datetime

import pytest

from koodrive_async import CreatedTask, InvalidShareId, ShareState, TaskTarget, UsageError
from tests.api.calls import ACCESS, CODE, FILES, ID, SHORT, SPACE
from tests.api.conftest import client_of


def create(c, files=FILES, **changes):
    return c.create_share(files, **{"container_id": SPACE, "scope": 1, "valid_days": 7, **changes})


async def refused(call, client):
    """Whether it is refused at once, or when awaited."""
    await call(client)


def task(c, **changes):
    fields = {"task_type": 1, "container_id": SPACE, "file_ids": FILES, **changes}
    return c.create_share_task(fields.pop("share_id", ID), **fields)


BAD = {
    "file_ids": [
        lambda c: create(c, []),
        lambda c: create(c, ["F"] * 101),
        lambda c: create(c, "F1"),
        lambda c: create(c, [7]),
        lambda c: create(c, [""]),
        lambda c: create(c, None),
        lambda c: task(c, file_ids=[]),
        lambda c: task(c, file_ids=["F"] * 1001),
    ],
    "container_id": [lambda c: create(c, container_id=""), lambda c: task(c, container_id=None)],
    "scope": [lambda c, bad=bad: create(c, scope=bad) for bad in (0, 4, "1", True, None, 1.0)],
    "valid_days": [
        *(lambda c, bad=bad: create(c, valid_days=bad) for bad in (0, 366, -1, "7", None, 7.5, True)),
        *(lambda c, bad=bad: c.update_share(ID, valid_days=bad) for bad in (-1, 366, None)),
    ],
    "extract_code": [
        *(lambda c, bad=bad: create(c, extract_code=bad) for bad in ("", "1234567", "123456789", "abcd-123")),
        *(lambda c, bad=bad: create(c, extract_code=bad) for bad in ("\uff11" * 8, "1234567\n", 12345678)),
        lambda c: c.update_share(ID, extract_code="x"),
        lambda c: c.verify_extract_code(SHORT, ""),
        lambda c: c.verify_extract_code(SHORT, "short"),
        lambda c: c.verify_extract_code_public(SHORT, None),
    ],
    "comment": [
        lambda c: create(c, comment="x" * 512),
        lambda c: create(c, comment=7),
        lambda c: create(c, comment="\ud800"),
        lambda c: c.update_share(ID, comment="x" * 512),
    ],
    "user_ids": [lambda c: create(c, user_ids="u1"), lambda c: c.update_share(ID, user_ids=[None])],
    "dept_ids": [lambda c: create(c, dept_ids=[""])],
    "group_ids": [lambda c: create(c, group_ids=7)],
    "phone_numbers": [lambda c: create(c, phone_numbers="138")],
    "permission": [lambda c: create(c, permission={"edit": True})],
    "expire_time": [
        lambda c: create(c, expire_time=datetime(2030, 1, 1)),  # noqa: DTZ001 - that is the point
        lambda c: create(c, expire_time=1),
        lambda c: c.update_share(ID, expire_time=""),
    ],
    "expired_type": [lambda c: create(c, expired_type=1)],
    "share id": [
        lambda c: c.get_my_share(""),
        lambda c: c.get_my_share("a b"),
        lambda c: c.get_received_share(7),
        lambda c: c.update_share("x" * 300),
        lambda c: c.get_download_url("", "F1"),
        lambda c: task(c, share_id=None),
        lambda c: c.get_share_task("t1"),
    ],
    "can't stand in a path": [lambda c: c.get_my_share(".."), lambda c: c.update_share(".")],
    "page_size": [
        *(lambda c, bad=bad: c.list_my_shares(page_size=bad) for bad in (0, 101, "5", True, None)),
        lambda c: c.list_received_shares(page_size=0),
        lambda c: c.list_share_files(SHORT, page_size=101),
        lambda c: c.list_share_files_public(SHORT, page_size=101),
        lambda c: c.find_shares(page_size=0),
    ],
    "sort_direction": [
        lambda c: c.list_my_shares(sort_direction=0),
        lambda c: c.list_share_files(SHORT, sort_direction=3),
    ],
    "sort_type": [lambda c: c.list_share_files(SHORT, sort_type=3)],
    "refresh_count": [lambda c: c.list_share_files(SHORT, refresh_count=1)],
    "cursor": [lambda c: c.list_my_shares(cursor=""), lambda c: c.list_my_shares(cursor=7)],
    "dedupe": [lambda c: c.list_my_shares(dedupe=None)],
    "on_malformed": [
        lambda c: c.list_my_shares(on_malformed="ignore"),
        lambda c: c.find_shares(on_malformed=None),
    ],
    "display_name": [lambda c: c.list_my_shares(display_name=7)],
    "parent_folder": [lambda c: c.list_share_files(SHORT, parent_folder="")],
    "short_url": [
        lambda c: c.visit_share(""),
        lambda c: c.get_share_info(None),
        lambda c: c.list_share_files(" "),
        lambda c: c.verify_extract_code("", CODE),
        lambda c: c.visit_share_public(7),
    ],
    "file_id": [lambda c: c.get_download_url(ID, "")],
    "access": [
        lambda c: c.get_download_url(ID, "F1", access="kd"),
        lambda c: c.get_share_task("t", ID, access=1),
    ],
    "its access": [
        lambda c: c.get_share_task(CreatedTask("t", ID), ID),
        lambda c: c.wait_for_share_task(CreatedTask("t", ID), access=ACCESS),
    ],
    "task_type": [lambda c: task(c, task_type=3), lambda c: task(c, task_type="1")],
    "target": [
        lambda c: task(c, task_type=2),
        lambda c: task(c, target={"fileId": "root"}),
        lambda c: task(c, target=TaskTarget("", "C")),
    ],
    "zip_name": [lambda c: task(c, zip_name=1)],
    "interval": [lambda c, bad=bad: c.wait_for_share_task("t", ID, interval=bad) for bad in (0, -1, "1")],
    "deadline": [lambda c: c.wait_for_share_task("t", ID, deadline=0)],
    "created_before": [lambda c: c.find_shares(created_before=datetime(2024, 1, 1))],  # noqa: DTZ001
    "created_after": [lambda c: c.find_shares(created_after="2024-01-01")],
    "expired": [lambda c: c.find_shares(expired=1)],
    "without_views": [lambda c: c.find_shares(without_views=None)],
    "status": [lambda c: c.find_shares(status="7"), lambda c: c.find_shares(status=True)],
    "name": [lambda c: c.find_shares(name=7)],
    "where": [lambda c: c.find_shares(where="x")],
    "first": [lambda c: c.find_shares().plan(first=1_001)],
    "no shares": [lambda c: c.cancel(c.list_share_files(SHORT))],
}


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in BAD.items() for call in calls])
async def test_what_cannot_be_meant_is_refused(make_koodrive, name, call):
    emulator = make_koodrive(edition="carrier")
    async with client_of(emulator) as client:
        with pytest.raises(UsageError, match=name) as caught:
            await refused(call, client)
    assert emulator.requests == 0
    for secret in ("1234567", "abcd-123"):
        assert secret not in str(caught.value)


async def test_limits_are_inclusive(make_koodrive):
    emulator = make_koodrive(edition="carrier")
    async with client_of(emulator) as client:
        for changes in ({"valid_days": 1}, {"valid_days": 365}, {"comment": "x" * 511}, {"scope": 3}):
            await create(client, ["F"], **changes)
            await create(client, [f"F{n}" for n in range(100)], **changes)
        found = client.find_shares(status=ShareState.ACTIVE)
        assert len(await found.collect()) == 8


async def test_the_enterprise_edition_takes_longer_comments_and_scope_2(make_koodrive):
    emulator = make_koodrive()
    async with client_of(emulator) as client:
        await create(client, comment="x" * 2_000, scope=2)
        await create(client, expire_time="2031-01-01 00:00:00")
    assert len(emulator.created) == 2


async def test_a_bare_share_is_no_collection_of_ids(make_koodrive):
    emulator = make_koodrive(shares=1)
    async with client_of(emulator) as client:
        share = await anext(client.list_my_shares())
        with pytest.raises(InvalidShareId):
            await client.cancel(share)
        with pytest.raises(InvalidShareId, match="not ShareByMeLink"):
            await client.cancel([share])
