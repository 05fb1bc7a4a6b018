"""One odd reply in the midst of a job that works ends nothing; what is confirmed does."""

import json
import random

import pytest

from koodrive_async import (
    AuthFailed,
    Ended,
    Forbidden,
    NotFound,
    Pace,
    RetryPolicy,
    Status,
    TokenCredentials,
)
from koodrive_async.testing import forbidden, unauthorized
from tests.client.wire import dated, some_ids
from tests.conftest import USER
from tests.engine.kit import statuses
from tests.support.http1 import reply
from tests.support.rawserver import RawServer

pytestmark = pytest.mark.usefixtures("leaks")


def well(request):
    items = [{"shareId": i, "code": 0, "msg": "m"} for i in json.loads(request.body)["shareIds"]]
    return dated({"code": 0, "msg": "ok", "subResponseList": items})


def page(status, *headers):
    return reply(b"<html>a proxy's page</html>", status, (("Content-Type", "text/html"), *headers))


ODD = {
    "404": page(404),
    "403": page(403),
    "401": page(401),
    "400": page(400),
    "407": page(407),
    "302": page(302, ("Location", "https://login.invalid/")),
    "304": page(304),
    "own 403": dated({"code": "13000410", "msg": "no"}, 403),
    "own 404": dated({"error_code": "APIG.0101", "error_msg": "no such API", "request_id": "r"}, 404),
    "own 401": dated({"error_code": "APIG.0303", "error_msg": "signature", "request_id": "r"}, 401),
}


@pytest.mark.parametrize("odd", ODD)
async def test_once_among_thousands_of_successes(connect, odd):
    ids = some_ids(5_000)

    def handle(request):
        return ODD[odd] if len(server.requests) == 20 else well(request)

    with RawServer(handle) as server:
        async with connect(server.url) as client:
            report = await client.cancel(ids)
        assert len(server.requests) == 51
    assert statuses(report) == {"cancelled": 5_000}
    assert report.ended is Ended.EXHAUSTED


@pytest.mark.parametrize("odd", ["404", "403", "302"])
async def test_a_foreign_page_that_stays_for_one_batch_is_retryable(connect, odd):
    """It did nothing: REJECTED, and not UNKNOWN."""
    ids = some_ids(2_000)

    def handle(request):
        return ODD[odd] if ids[555] in json.loads(request.body)["shareIds"] else well(request)

    with RawServer(handle) as server:
        async with connect(server.url, retry=RetryPolicy(attempts=2, base=0.001, cap=0.002)) as client:
            report = await client.cancel(ids)
    assert report.counts[Status.CANCELLED] >= 1_900
    assert set(statuses(report)) == {"cancelled", "rejected"}
    assert ids[555] in report.retryable_ids


@pytest.mark.parametrize(
    ("odd", "error"), [("404", NotFound), ("own 403", Forbidden), ("own 401", AuthFailed)]
)
async def test_at_first_it_is_believed(connect, odd, error):
    with RawServer(lambda _: ODD[odd]) as server:
        async with connect(server.url) as client:
            with pytest.raises(error):
                await client.cancel(some_ids(1_000))
        assert len(server.requests) <= 3


@pytest.mark.parametrize(
    ("odd", "error"), [("own 403", Forbidden), ("own 404", NotFound), ("own 401", AuthFailed)]
)
async def test_what_is_confirmed_ends_the_call(connect, odd, error):
    """One confirmation serves all that are in flight; a 401 has three, one at a time."""

    def handle(request):
        return ODD[odd] if len(server.requests) > 20 else well(request)

    with RawServer(handle) as server:
        async with connect(server.url, pace=Pace(concurrency=8)) as client:
            with pytest.raises(error) as caught:
                await client.cancel(some_ids(10_000))
        assert len(server.requests) <= 20 + 8 + 8 + 8
    report = caught.value.report
    assert report.counts[Status.CANCELLED] == 2_000
    assert sum(report.counts.values()) == 10_000


async def test_one_batch_that_is_forbidden_while_others_are_not(connect):
    """403 for one id, whatever batch it is in: its batch is refused, the job goes on."""
    ids = some_ids(5_000)

    def handle(request):
        return ODD["own 403"] if ids[555] in json.loads(request.body)["shareIds"] else well(request)

    with RawServer(handle) as server:
        async with connect(server.url) as client:
            report = await client.cancel(ids)
    assert statuses(report) == {"cancelled": 4_900, "rejected": 100}
    assert len(report.retryable_ids) == 100


@pytest.mark.parametrize("same", [False, True], ids=["another token", "the same token"])
async def test_random_401s_and_a_provider(make_koodrive, connect, same):
    emulator = make_koodrive(shares=20_000)
    chance = random.Random(7)
    emulator.inject(lambda seen: unauthorized() if chance.random() < 0.05 else None)
    given = []

    async def provider(stale):
        given.append(stale)
        token = "demo-token" if same else f"token-{len(given)}"
        emulator.tokens.add(token)
        return token

    async with connect(emulator, TokenCredentials(provider, USER)) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 20_000}


async def test_a_provider_that_fails_once_in_mid_job(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000)
    emulator.inject(lambda seen: unauthorized() if seen.number == 20 else None)
    given = []

    async def provider(stale):
        given.append(stale)
        if len(given) == 2:
            raise OSError("the identity service is away")
        token = f"token-{len(given)}"
        emulator.tokens.add(token)
        return token

    async with connect(emulator, TokenCredentials(provider, USER)) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 5_000}
    assert len(given) >= 3


async def test_permission_taken_away_in_mid_run(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000)
    emulator.inject(lambda seen: forbidden() if seen.number > 10 else None)
    async with connect(emulator, pace=Pace(concurrency=2)) as client:
        with pytest.raises(Forbidden) as caught:
            await client.cancel(emulator.share_ids)
    assert emulator.requests <= 10 + 8
    assert caught.value.report.counts[Status.CANCELLED] == 1_000
