"""Ids that make the service fail, or hang, whatever batch they are in: found, and nobody else's concern."""

import json

import pytest

from koodrive_async import AttemptTimeout, Ended, Pace, PaceChanged, RetryPolicy, ServerFault, Status, Timeout
from tests.client.wire import dated, some_ids
from tests.engine.kit import collect, perform, statuses
from tests.support.rawserver import Pause, RawServer
from tests.support.threaded import End

pytestmark = pytest.mark.usefixtures("leaks")

RETRY = RetryPolicy(attempts=4, base=0.002, cap=0.01, patience=20)


def ids_of(request):
    return json.loads(request.body)["shareIds"]


def well(request):
    items = [{"shareId": i, "code": 0, "msg": "m"} for i in ids_of(request)]
    return dated({"code": 0, "msg": "ok", "subResponseList": items})


def poisoned(poison, answer):
    """A service that fails whenever one of these is in the request."""
    return lambda request: answer(request) if poison & set(ids_of(request)) else well(request)


def failing(_request):
    return dated({"code": "13000500", "msg": "oops"}, 500)


def hanging(_request):
    yield Pause(60)
    yield End.RST


def spread_over(ids, count):
    step = len(ids) // count
    return set(ids[step // 2 :: step][:count])


@pytest.mark.parametrize("count", [1, 2, 30])
async def test_ids_that_make_it_fail(connect, count):
    ids = some_ids(30_000)
    poison = spread_over(ids, count)
    paces = []
    with RawServer(poisoned(poison, failing)) as server:
        async with connect(server.url, retry=RETRY, hooks=[paces.append]) as client:
            report = await client.cancel(ids)
        assert len(server.requests) == report.requests < 1_000
    assert (report.complete, report.ended) == (True, Ended.EXHAUSTED)
    assert statuses(report) == {"cancelled": 30_000 - count, "unknown": count}
    assert {outcome.share_id for outcome in report.unknown} == poison
    assert {type(outcome.error) for outcome in report.unknown} == {ServerFault}
    assert not [event for event in paces if isinstance(event, PaceChanged) and event.closed], "a pause"


async def test_in_a_stream_too(connect):
    ids = some_ids(5_000)
    poison = spread_over(ids, 5)
    outcomes = []
    with RawServer(poisoned(poison, failing)) as server:
        async with connect(server.url, retry=RETRY) as client:
            await collect(client.open_cancel(ids), outcomes)
    assert {outcome.share_id for outcome in outcomes if outcome.status is Status.UNKNOWN} == poison
    assert sum(outcome.ok for outcome in outcomes) == 4_995


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
async def test_ids_that_make_it_hang(connect, how):
    """Each attempt with one costs the whole time-out: suspects hold a quarter of the permits at most."""
    ids = some_ids(3_000)
    poison = spread_over(ids, 2)
    outcomes = []
    limits = Timeout(read=0.5, total=1.0)
    retry = RetryPolicy(attempts=2, base=0.002, cap=0.01, patience=60)
    with RawServer(poisoned(poison, hanging)) as server:
        async with connect(server.url, retry=retry, timeout=limits) as client:
            if how == "cancel":
                outcomes = (await client.cancel(ids)).outcomes
            else:
                await perform(client, how, ids, outcomes)
    unknown = [outcome for outcome in outcomes if not outcome.ok]
    assert {outcome.share_id for outcome in unknown} == poison
    assert {type(outcome.error) for outcome in unknown} == {AttemptTimeout}


async def test_two_side_by_side_and_at_the_ends(connect):
    ids = some_ids(2_000)
    poison = {ids[0], ids[1], ids[450], ids[451], ids[452], ids[-1]}
    with RawServer(poisoned(poison, failing)) as server:
        async with connect(server.url, retry=RETRY) as client:
            report = await client.cancel(ids)
        assert len(server.requests) < 200
    assert {outcome.share_id for outcome in report.unknown} == poison


async def test_a_neighbour_is_not_held_up(connect):
    """Single calls of the same client go on while suspects are looked at."""
    import anyio

    ids = some_ids(3_000)
    poison = spread_over(ids, 6)
    waits = []
    with RawServer(poisoned(poison, failing)) as server:
        async with connect(server.url, retry=RETRY, pace=Pace(concurrency=4)) as client:

            async def neighbour():
                for number in range(20):
                    begun = anyio.current_time()
                    assert await client.cancel([f"neighbour{number}"])
                    waits.append(anyio.current_time() - begun)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(neighbour)
                report = await client.cancel(ids)
    assert len(report.unknown) == 6
    assert len(waits) == 20


async def test_a_service_that_fails_from_some_point_on_ends_the_call(connect):
    """That is an outage, not poison: the gate closes, and the patience ends it."""
    ids = some_ids(5_000)

    def handle(request):
        return well(request) if len(server.requests) <= 20 else failing(request)

    retry = RetryPolicy(attempts=3, base=0.002, cap=0.01, patience=0.5)
    with RawServer(handle) as server:
        async with connect(server.url, retry=retry) as client:
            with pytest.raises(ServerFault) as caught:
                await client.cancel(ids)
        assert len(server.requests) < 120
    assert caught.value.gave_up == "patience"
    assert caught.value.report.counts[Status.CANCELLED] == 2_000


async def test_a_call_with_nothing_but_suspects_left_ends_within_the_patience(connect):
    ids = some_ids(600)
    bad = set(ids[100:])

    def handle(request):
        if bad & set(ids_of(request)):
            return hanging(request)
        return well(request)

    retry = RetryPolicy(attempts=2, base=0.002, cap=0.01, patience=1.0)
    import anyio

    with RawServer(handle) as server:
        async with connect(server.url, retry=retry, timeout=Timeout(read=0.05, total=0.1)) as client:
            with anyio.fail_after(15):
                try:
                    report = await client.cancel(ids)
                except (AttemptTimeout, ServerFault) as error:
                    report = error.report
    assert report.counts[Status.CANCELLED] == 100
    assert sum(report.counts.values()) == 600
