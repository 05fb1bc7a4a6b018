""" "Does not exist", said of a whole request: of a single id an answer, of several a refusal."""

import json
import logging
from itertools import pairwise

import pytest

from koodrive_async import Ended, InvalidRequest, NotFound, Pace, Status
from tests.client.wire import dated, some_ids
from tests.engine.kit import collect, perform, statuses
from tests.engine.transports import BOTH, over
from tests.support.rawserver import Pause, RawServer

pytestmark = pytest.mark.usefixtures("leaks")

GONE = {"code": "13000309", "msg": "resource does not exist"}


def ids_of(request):
    return json.loads(request.body)["shareIds"]


def well(request, code=0):
    return dated(
        {
            "code": 0,
            "msg": "ok",
            "subResponseList": [{"shareId": i, "code": code, "msg": "m"} for i in ids_of(request)],
        }
    )


@pytest.mark.parametrize(("status", "count"), [(404, 2), (200, 60), (400, 500), (404, 20_000)])
@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_everything_does_not_exist(connect, status, count, how):
    """A wrong user id, say: nothing was ever accepted, so nothing is settled by it."""
    ids, outcomes = some_ids(count), []
    with RawServer(lambda _: dated(GONE, status)) as server:
        async with connect(server.url) as client:
            with pytest.raises(NotFound, match="either all of it is gone already, or the user id") as caught:
                await perform(client, how, ids, outcomes)
        asked = [ids_of(request) for request in server.requests]
    report = caught.value.report
    assert not report
    assert report.ended is Ended.FAILED
    assert len(asked) == report.requests <= 40
    assert set(statuses(report)) <= {"rejected", "not_sent"}
    outcomes = list(report.outcomes) if how == "cancel" else outcomes
    sent = {i for batch in asked for i in batch}
    for outcome in outcomes:
        assert outcome.status is (Status.REJECTED if outcome.share_id in sent else Status.NOT_SENT)
        assert outcome.settlement.retryable
        assert isinstance(outcome.error, NotFound)
    if count == 20_000 and how == "cancel":  # single ids from all over the input were among them
        places = sorted(ids.index(batch[0]) for batch in asked if len(batch) == 1)
        assert len(places) >= 20
        assert places[-1] > 0.9 * count
        assert max(after - before for before, after in pairwise(places)) < 0.15 * count
        assert set(report.retryable_ids[-len(sent) :]) == sent


async def test_it_begins_in_a_job_that_works(connect):
    ids = some_ids(20_000)

    def handle(request):
        return well(request) if len(server.requests) <= 30 else dated(GONE, 404)

    with RawServer(handle) as server:
        async with connect(server.url, pace=Pace(concurrency=4)) as client:
            with pytest.raises(NotFound) as caught:
                await client.cancel(ids)
        assert len(server.requests) <= 30 + 4 + 40
    assert caught.value.report.counts[Status.CANCELLED] == 3_000
    assert caught.value.report.counts[Status.ALREADY_GONE] == 0


async def test_a_single_id_is_asked_once_more_on_another_connection(connect):
    with RawServer(lambda _: dated(GONE, 404)) as server:
        async with connect(server.url) as client:
            report = await client.cancel(["77"])
        assert [request.connection for request in server.requests] == [1, 2]
    assert statuses(report) == {"already_gone": 1}
    assert report.outcomes[0].attempts == 2


async def test_a_stray_gone_settles_nothing(connect):
    """It was the answer to another request: the second one says what is true."""

    def handle(request):
        return dated(GONE, 404) if len(server.requests) == 1 else well(request)

    with RawServer(handle) as server:
        async with connect(server.url) as client:
            report = await client.cancel(["77"])
    assert statuses(report) == {"cancelled": 1}


@pytest.mark.parametrize("pause", [0.05, 0.4])
@pytest.mark.parametrize("refusal", [GONE, {"code": "13000102", "msg": "parameter check failed"}])
async def test_a_deadline_in_the_midst_of_it_is_a_deadline(connect, pause, refusal):
    """Not everything was tried, so nothing is concluded: no error, nothing gone, nothing refused for good."""

    def handle(_request):
        yield Pause(pause)
        yield dated(refusal, 400)

    with RawServer(handle) as server:
        async with connect(server.url, pace=Pace(concurrency=1)) as client:
            report = await client.cancel(some_ids(200), deadline=0.5)
    assert (report.ended, bool(report)) == (Ended.DEADLINE, False)
    assert report.counts[Status.ALREADY_GONE] == 0
    assert set(report.retryable_ids) == set(some_ids(200))


@pytest.mark.parametrize("count", [1, 5])
async def test_over_a_borrowed_client_it_settles_nothing_at_all(connect, count):
    with RawServer(lambda _: dated(GONE, 404)) as server:
        async with over("http", connect, server.url) as client:
            report = None
            try:
                report = await client.cancel(some_ids(count))
            except NotFound as error:
                report = error.report
    assert set(statuses(report)) <= {"unknown", "rejected"}
    assert not report
    assert len(report.retryable_ids) == count
    if count == 1:
        assert statuses(report) == {"unknown": 1}
        assert isinstance(report.outcomes[0].error, NotFound)


async def test_some_gone_ids_in_a_service_that_refuses_the_batch(connect):
    """Once something was accepted, what is refused alone as gone is gone."""
    ids = some_ids(1_000)
    gone = {ids[0], ids[1], ids[150], ids[999]}

    def handle(request):
        return dated(GONE, 404) if gone & set(ids_of(request)) else well(request)

    with RawServer(handle) as server:
        async with connect(server.url) as client:
            report = await client.cancel(ids)
        assert len(server.requests) < 90
    assert statuses(report) == {"cancelled": 996, "already_gone": 4}
    assert {outcome.share_id for outcome in report.already_gone} == gone


# -- every id gone, item by item ------------------------------------------------------------------

GONE_ALREADY = "gone before this call"


@pytest.mark.parametrize("count", [2, 250])
async def test_every_id_named_as_gone_deserves_a_warning(connect, caplog, count):
    with RawServer(lambda request: well(request, "13000309")) as server:
        async with connect(server.url) as client:
            report = await client.cancel(some_ids(count))
    assert report
    assert [r.levelno for r in caplog.records if GONE_ALREADY in r.getMessage()] == [logging.WARNING]


@BOTH
async def test_no_warning_where_something_was_cancelled(connect, transport, caplog):
    with RawServer(lambda request: well(request, "13000309" if "100000" in ids_of(request) else 0)) as server:
        async with over(transport, connect, server.url) as client:
            assert await client.cancel(some_ids(150))
            assert await client.cancel(["100000"])  # one alone says little
    assert GONE_ALREADY not in caplog.text


async def test_no_warning_where_our_own_lost_request_did_it(make_koodrive, connect, caplog):
    from koodrive_async.testing import lost_reply

    emulator = make_koodrive(shares=100)
    emulator.script(lost_reply())
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"already_gone": 100}
    assert GONE_ALREADY not in caplog.text


# -- bad ids, wherever they are -------------------------------------------------------------------


def refusing(bad):
    def handle(request):
        if bad & set(ids_of(request)):
            return dated({"code": "13000102", "msg": "parameter check failed"}, 400)
        return well(request)

    return handle


async def test_bad_ids_in_front_do_not_keep_the_good_ones_from_going(connect):
    ids = some_ids(20_000)
    bad = set(ids[:300])
    with RawServer(refusing(bad)) as server:
        async with connect(server.url) as client:
            report = await client.cancel(ids)
        assert len(server.requests) < 200 + 2 * 300 + 60
    assert statuses(report) == {"cancelled": 19_700, "rejected": 300}
    assert {outcome.share_id for outcome in report.rejected} == bad


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_bad_ids_at_the_head_of_each_batch(connect, how):
    ids = some_ids(1_000)
    bad = {i for n, i in enumerate(ids) if n % 100 < 13}
    outcomes = []
    with RawServer(refusing(bad)) as server:
        async with connect(server.url) as client:
            if how == "cancel":
                outcomes = (await client.cancel(ids)).outcomes
            else:
                await collect(client.open_cancel(ids), outcomes)
    assert {o.share_id for o in outcomes if o.status is Status.REJECTED} == bad
    assert sum(o.status is Status.CANCELLED for o in outcomes) == 870


async def test_every_second_id_is_bad(connect):
    ids = some_ids(300)
    bad = set(ids[::2])
    with RawServer(refusing(bad)) as server:
        async with connect(server.url) as client:
            report = await client.cancel(ids)
    assert statuses(report) == {"cancelled": 150, "rejected": 150}


@pytest.mark.parametrize("concurrency", [1, 64])
async def test_a_refusal_of_everything_says_what_was_tried(connect, concurrency):
    ids = some_ids(20_000)
    with RawServer(refusing(set(ids))) as server:
        async with connect(server.url, pace=Pace(concurrency=concurrency)) as client:
            with pytest.raises(InvalidRequest, match="20 single ids from all over the input") as caught:
                await client.cancel(ids)
        assert len(server.requests) <= 40
    report = caught.value.report
    assert report.counts[Status.NOT_SENT] > 19_000
    assert len(report.retryable_ids) == 20_000
    with RawServer(refusing(set(ids))) as server:
        async with connect(server.url) as client:
            with pytest.raises(InvalidRequest, match="what was read of the source"):
                await collect(client.open_cancel(iter(ids)), [])
        assert len(server.requests) <= 40
