"""Each operation against the emulator, in both editions: what it does, not only what it sends."""

from datetime import UTC, datetime, timedelta

import pytest

from koodrive_async import (
    ApiError,
    CancelReport,
    Forbidden,
    NotFound,
    ShareState,
    Status,
    TaskNotDone,
    TaskResult,
    TaskTarget,
    TaskType,
    UsageError,
)
from koodrive_async.testing import Rewrite
from tests.api.conftest import client_of

pytestmark = pytest.mark.usefixtures("leaks")

FILES = ["FryfD0bDk0aWSfrlCgZVJG7hxDMCY5hkl", "F2", "F3"]
SPACE = "IAAB5thdWzxEoAsiA1681759183084696448"


@pytest.fixture
async def made(client):
    """A fresh share with an access code."""
    return await client.create_share(
        FILES, container_id=SPACE, scope=1, valid_days=7, extract_code="abcd1234", comment="hi"
    )


# -- shared by you --------------------------------------------------------------------------------


async def test_create_look_change_cancel(service, client, made):
    assert service.created == [made.share_id]
    assert (made.extract_code, made.comment) == ("abcd1234", "hi")
    assert made.short_url
    assert made.link_url
    days = (made.expires_at - datetime.now(UTC)) / timedelta(days=1)
    assert 6.9 < days < 7.1

    detail = await client.get_my_share(made.share_id)
    assert (detail.share_id, detail.scope, detail.comment) == (made.share_id, 1, "hi")
    assert detail.extract_code == "abcd1234"
    assert detail.shared_at.tzinfo is not None
    assert detail.state(datetime.now(UTC)) is ShareState.ACTIVE
    assert detail.state(datetime.now(UTC) + timedelta(days=8)) is ShareState.EXPIRED

    when = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    changed = await client.update_share(made.share_id, expire_time=when, comment="ho", extract_code="")
    assert (changed.expires_at, changed.comment, changed.extract_code) == (when, "ho", "")
    assert changed.view_cnt == 0  # a string on the wire
    assert changed.updated_at >= changed.shared_at

    assert await client.cancel([made.share_id])
    with pytest.raises(NotFound):
        await client.get_my_share(made.share_id)
    with pytest.raises(NotFound):
        await client.update_share(made.share_id)


async def test_named_people(client, edition):
    made = await client.create_share(
        FILES[:1], container_id=SPACE, scope=3, valid_days=1, user_ids=["u1", "u2"], dept_ids=["d1"]
    )
    detail = await client.get_my_share(made.share_id)
    assert [user.id for user in detail.users] == ["u1", "u2"]
    assert [dept.id for dept in detail.depts] == ["d1"]
    assert detail.groups == ()


async def test_list_my_shares(service, client):
    shares = await client.list_my_shares().collect()
    assert [share.share_id for share in shares] == service.share_ids[::-1]
    known = service.share(shares[5].share_id)
    assert shares[5].display_name == known.name
    assert (shares[5].scope, shares[5].status) == (known.scope, known.status)
    assert shares[5].view_cnt == known.views
    assert len(shares[5].files) == known.files
    assert shares[5].extract_code == known.extract_code
    assert not any(share.extra for share in shares)
    oldest = await anext(client.list_my_shares(sort_direction=1))
    assert oldest.share_id == service.share_ids[0]
    some = await client.list_my_shares(display_name="budget").collect()
    assert some
    assert all("budget" in share.display_name for share in some)


# -- shared with you ------------------------------------------------------------------------------


async def test_received_shares(service, client):
    shares = await client.list_received_shares(page_size=50).collect()
    assert [share.share_id for share in shares] == service.received_ids[::-1]
    assert {type(share.scope) for share in shares} == {int}  # strings on the wire
    assert {type(share.view_cnt) for share in shares} == {int}
    assert shares[0].owner_id == service.colleague_id
    assert bool(shares[0].owner_mobile) is (service.edition == "carrier")
    detail = await client.get_received_share(shares[0].share_id)
    assert (detail.share_id, detail.owner_name) == (shares[0].share_id, "Li Lei")
    with pytest.raises(NotFound):
        await client.get_received_share(service.share_ids[0])


@pytest.mark.parametrize("names", [True, False])
async def test_exit_is_the_engine_of_cancel(service, client, names):
    service.exit_names_ids = names
    ids = service.received_ids
    report = await client.exit([*ids, "0", *ids])
    assert isinstance(report, CancelReport)
    assert report.counts[Status.CANCELLED] == 120
    assert report.counts[Status.ALREADY_GONE] == 1
    assert report.requests == 2
    assert await client.list_received_shares().collect() == []
    assert service.cancelled_count == 0  # the shares themselves are still there


async def test_open_exit(service, client):
    async with client.open_exit(client.list_received_shares()) as stream:
        left = [outcome.share_id async for outcome in stream if outcome.status is Status.CANCELLED]
    assert sorted(left) == service.received_ids
    assert stream.report


async def test_exit_finds_a_poisonous_id(service, client):
    service.poison = {service.received_ids[37]}
    report = await client.exit(service.received_ids)
    assert [outcome.share_id for outcome in report.rejected] == [service.received_ids[37]]
    assert report.counts[Status.CANCELLED] == 119


async def test_exit_keeps_a_journal_of_its_own(service, client, tmp_path):
    from koodrive_async import Journal

    await client.exit(service.received_ids[:3], journal=Journal(tmp_path / "j"))
    requests = service.requests
    assert await client.exit(service.received_ids[:3], journal=Journal(tmp_path / "j"))
    assert service.requests == requests
    with pytest.raises(Exception, match="exitShare"):
        await client.cancel(service.share_ids[:1], journal=Journal(tmp_path / "j"))


# -- access links ---------------------------------------------------------------------------------


async def test_a_link_with_an_access_code(service, client, made):
    await client.visit_share(made.short_url)
    assert service.share(made.share_id).views == 1
    info = await client.get_share_info(made.short_url)
    assert info.share_id == made.share_id
    with pytest.raises(Forbidden):
        await client.list_share_files(made.short_url).collect()
    with pytest.raises(Forbidden):
        await client.verify_extract_code(made.short_url, "WRONG123")

    access = await client.verify_extract_code(made.short_url, "abcd1234")
    listing = client.list_share_files(access, page_size=2, sort_type=1, sort_direction=1)
    files = await listing.collect()
    assert sorted(file.id for file in files) == sorted(FILES)
    assert [file.file_name for file in files] == sorted(file.file_name for file in files)
    assert files[0].edited_at is not None
    page = await anext(listing.pages())
    assert len(page.items) == 2
    assert page.link.share_id == made.share_id

    url = await client.get_download_url(made.share_id, FILES[0], access=access)
    assert url.startswith(service.url)
    with pytest.raises(Forbidden):
        await client.get_download_url(made.share_id, FILES[0])
    with pytest.raises(ApiError):
        await client.get_download_url(made.share_id, "another", access=access)


async def test_a_view_is_counted_only_where_that_is_wished(service, client, made):
    access = await client.verify_extract_code(made.short_url, "abcd1234")
    for wish, views in ((None, 0), (False, 0), (True, 1)):
        await client.list_share_files(access, refresh_count=wish).collect()
        assert service.share(made.share_id).views == views


@pytest.mark.parametrize("edition", ["carrier"])
async def test_the_public_calls(service, client, made):
    await client.visit_share_public(made.short_url)
    with pytest.raises(Forbidden):
        await client.verify_extract_code_public(made.short_url, "WRONG123")
    access = await client.verify_extract_code_public(made.short_url, "abcd1234")
    files = await client.list_share_files_public(access).collect()
    assert sorted(file.id for file in files) == sorted(FILES)
    with pytest.raises(Forbidden):
        await client.list_share_files_public(made.short_url).collect()


async def test_the_enterprise_edition_has_no_public_calls(make_koodrive):
    emulator = make_koodrive(shares=1)
    async with client_of(emulator) as client:
        with pytest.raises(NotFound):
            await client.visit_share_public("1")


# -- tasks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TaskType)
@pytest.mark.parametrize("fields", [("jobInfo",), ("taskInfos",), ("taskInfo",), ("jobInfo", "taskInfos")])
async def test_a_task(service, client, made, kind, fields):
    service.task_fields = fields
    service.task_seconds = 0.1
    access = await client.verify_extract_code(made.short_url, "abcd1234")
    task = await client.create_share_task(
        made.share_id,
        task_type=kind,
        container_id=SPACE,
        file_ids=FILES,
        target=TaskTarget("root", SPACE),
        access=access,
    )
    told = []
    done = await client.wait_for_share_task(task, interval=0.01, on_progress=told.append)
    assert done is told[-1]
    assert done.succeeded
    assert (done.task_id, done.task_type, done.progress) == (task.task_id, kind, 100)
    assert bool(done.download_url) is (kind is TaskType.PACKAGE)
    assert done.created_at <= done.ended_at
    assert [at.over for at in told] == [False] * (len(told) - 1) + [True]
    progress = [at.progress for at in told]
    assert progress == sorted(progress)
    again = await client.get_share_task(task.task_id, made.share_id)
    assert again.over


async def test_completed_is_not_successful(service, client, made):
    service.task_result_code = 2
    access = await client.verify_extract_code(made.short_url, "abcd1234")
    task = await client.create_share_task(
        made.share_id, task_type=1, container_id=SPACE, file_ids=FILES, access=access
    )
    done = await client.wait_for_share_task(task, interval=0.01)
    assert done.over
    assert not done.succeeded
    assert done.task_result_code == TaskResult.PARTLY_FAILED


async def test_a_task_that_takes_too_long(service, client, made):
    service.task_seconds = 1_000
    access = await client.verify_extract_code(made.short_url, "abcd1234")
    task = await client.create_share_task(
        made.share_id, task_type=1, container_id=SPACE, file_ids=FILES, access=access
    )
    with pytest.raises(TaskNotDone, match=r"within 0\.05 s") as caught:
        await client.wait_for_share_task(task, interval=0.01, deadline=0.05)
    assert caught.value.gave_up == "deadline"
    assert caught.value.task.task_id == task.task_id
    assert not caught.value.task.over


async def test_a_status_that_nobody_knows_is_not_the_end(service, client, made):
    service.task_seconds = 0
    access = await client.verify_extract_code(made.short_url, "abcd1234")
    task = await client.create_share_task(
        made.share_id, task_type=1, container_id=SPACE, file_ids=FILES, access=access
    )
    service.script(Rewrite(lambda reply: {**reply, "jobInfo": {"taskStatus": "7"}, "taskInfos": None}))
    told = []
    await client.wait_for_share_task(task, interval=0.001, on_progress=told.append)
    assert [at.task_status for at in told] == [7, 2]


async def test_a_task_that_nobody_knows(client, made):
    with pytest.raises(NotFound):
        await client.get_share_task("1", made.share_id)
    with pytest.raises(UsageError):
        await client.get_share_task("1")
