"""How ids become requests, and requests a report."""

import random

import anyio
import pytest

from koodrive_async import CancelReport, InvalidShareId, Pace, Status, UsageError
from tests.client.wire import some_ids, well
from tests.support.rawserver import Pause, RawServer

pytestmark = pytest.mark.usefixtures("leaks")


async def test_1234_ids_are_13_concurrent_requests_and_a_report_in_input_order(make_koodrive, connect):
    emulator = make_koodrive(shares=1234, latency=0.03)
    ids = emulator.share_ids
    random.Random(3).shuffle(ids)
    async with connect(emulator) as client:
        report = await client.cancel(ids)
    sizes = sorted(len(seen.share_ids) for seen in emulator.log)
    assert sizes == [34, *[100] * 12]
    assert emulator.max_in_flight > 1
    assert [outcome.share_id for outcome in report.outcomes] == ids
    assert report.counts[Status.CANCELLED] == 1234
    assert report
    assert report.requests == emulator.requests == 13
    assert emulator.cancelled == set(ids)
    assert report.elapsed > 0


@pytest.mark.parametrize(("count", "requests"), [(0, 0), (1, 1), (100, 1), (101, 2), (200, 2)])
async def test_as_few_requests_as_possible(make_koodrive, connect, count, requests):
    emulator = make_koodrive(shares=count)
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert emulator.requests == requests
    assert emulator.counts["batchCancel"] == requests
    assert len(report.outcomes) == count == emulator.cancelled_count
    assert report


async def test_no_ids_touch_no_socket(koodrive, connect):
    async with connect(koodrive) as client:
        report = await client.cancel([])
    assert report
    assert list(report.outcomes) == []
    assert koodrive.connections_opened == 0


async def test_never_more_in_flight_than_the_pace_allows(connect):
    with RawServer(lambda request: iter([Pause(0.01), well(request)])) as server:
        async with connect(server, pace=Pace(concurrency=4)) as client:
            assert await client.cancel(some_ids(4_000))
    assert server.max_in_flight == 4
    assert server.connections <= 4


async def test_an_outcome_knows_its_request(koodrive, connect):
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids[:3])
    (seen,) = koodrive.log
    for outcome in report.outcomes:
        assert (outcome.status, outcome.code, outcome.attempts) == (Status.CANCELLED, "0", 1)
        assert outcome.trace_id == seen.trace_id
        assert outcome.error is None


async def test_every_request_has_a_trace_id_of_its_own_that_tells_call_and_batch(koodrive, connect):
    async with connect(koodrive) as client:
        await client.cancel(some_ids(250))
        await client.cancel(some_ids(1))
        await client.get_share_info(koodrive.share(koodrive.share_ids[0]).short_url)
    ids = [seen.trace_id or "" for seen in koodrive.log]
    assert {len(trace_id) for trace_id in ids} == {58}
    assert len(set(ids)) == 5
    assert len({trace_id[:32] for trace_id in ids[:3]}) == 1
    assert len({trace_id[:32] for trace_id in ids}) == 3


async def test_what_is_sent_besides(koodrive, connect):
    async with connect(koodrive) as client:
        await client.cancel(koodrive.share_ids[:2])
    (seen,) = koodrive.log
    names = [name.decode().lower() for name, _ in seen.raw_headers]
    assert len(set(names)) == len(names)
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["x-user-id"] == koodrive.user_id
    assert "x-hw-agentname" not in names
    assert seen.method == "POST"
    assert seen.target == "/koodrive/ose/v1/share/cancel"


async def test_the_statuses_that_a_service_without_faults_gives(make_koodrive, connect):
    emulator = make_koodrive(shares=3, received=1)
    gone, mine, unknown, foreign = (
        emulator.share_ids[0],
        emulator.share_ids[1],
        "4711",
        emulator.received_ids[0],
    )
    async with connect(emulator) as client:
        await client.cancel([gone])
        report = await client.cancel([gone, mine, unknown, foreign])
    assert [outcome.status for outcome in report.outcomes] == [
        Status.ALREADY_GONE,
        Status.CANCELLED,
        Status.ALREADY_GONE,
        Status.REJECTED,
    ]
    assert not report
    assert report.rejected[0].code == "13000410"
    assert list(report.retryable_ids) == []
    assert emulator.requests == 2  # a definite refusal of one id is not asked again
    assert {sub.share_id for sub in report.sub_responses} == {gone, mine, unknown, foreign}


async def test_calls_run_side_by_side_on_one_client(make_koodrive, connect):
    emulator = make_koodrive(shares=600, latency=0.01)
    reports: list[CancelReport] = []
    async with connect(emulator) as client:

        async def part(ids):
            reports.append(await client.cancel(ids))

        async with anyio.create_task_group() as tasks:
            for start in range(0, 600, 200):
                tasks.start_soon(part, emulator.share_ids[start : start + 200])
    merged = sum(reports, CancelReport())
    assert merged.counts[Status.CANCELLED] == 600
    assert emulator.requests == merged.requests == 6


async def test_a_stream_gives_each_id_one_outcome(make_koodrive, connect):
    emulator = make_koodrive(shares=750)
    async with connect(emulator) as client:
        async with client.open_cancel(emulator.share_ids) as stream:
            seen = [outcome.share_id async for outcome in stream]
        assert sorted(seen) == sorted(emulator.share_ids)
        assert stream.report.counts[Status.CANCELLED] == 750
        assert stream.report.requests == emulator.requests == 8


# -- the primitive --------------------------------------------------------------------------------


async def test_cancel_batch_gives_the_services_reply(koodrive, connect):
    ids = koodrive.share_ids[:3]
    async with connect(koodrive) as client:
        reply = await client.cancel_batch([*ids, "4711"])
    assert reply.code == "0"
    assert [(sub.share_id, sub.code) for sub in reply.sub_responses] == [
        *((share_id, "0") for share_id in ids),
        ("4711", "13000309"),
    ]
    assert koodrive.requests == 1


async def test_cancel_batch_sends_what_it_is_given(koodrive, connect):
    ids = [*koodrive.share_ids[:2], koodrive.share_ids[0]]
    async with connect(koodrive) as client:
        await client.cancel_batch(ids)
    assert list(koodrive.log[0].share_ids) == ids


@pytest.mark.parametrize("ids", [[], some_ids(101), "123", None, [""], [1]])
async def test_cancel_batch_refuses_what_is_no_batch(koodrive, connect, ids):
    async with connect(koodrive) as client:
        with pytest.raises(UsageError) as caught:
            await client.cancel_batch(ids)
    assert isinstance(caught.value, InvalidShareId)
    assert koodrive.connections_opened == 0


async def test_cancel_batch_takes_a_hundred(koodrive, connect):
    async with connect(koodrive) as client:
        reply = await client.cancel_batch(koodrive.share_ids)
    assert len(reply.sub_responses or ()) == 100
