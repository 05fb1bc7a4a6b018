"""413: the body was too large, so fewer ids go together; what is remembered is a number of bytes."""

import json

import pytest

from koodrive_async import InvalidRequest, Pace
from tests.client.wire import dated, some_ids
from tests.engine.kit import statuses
from tests.support.http1 import reply
from tests.support.rawserver import RawServer

pytestmark = pytest.mark.usefixtures("leaks")


def refusing(limit, *, html=True):
    def handle(request):
        if len(request.body) > limit:
            return (
                reply(b"<html>413</html>", 413, (("Content-Type", "text/html"),))
                if html
                else dated({"error_code": "APIG.0106", "error_msg": "too large"}, 413)
            )
        items = [{"shareId": i, "code": 0, "msg": "m"} for i in json.loads(request.body)["shareIds"]]
        return dated({"code": 0, "msg": "ok", "subResponseList": items})

    return handle


@pytest.mark.parametrize("concurrency", [1, 16])
@pytest.mark.parametrize("limit", [900, 500, 100])
async def test_a_batch_is_halved_until_it_fits(connect, limit, concurrency):
    ids = some_ids(2_000)  # a batch of 100 is 913 bytes
    with RawServer(refusing(limit)) as server:
        async with connect(server.url, pace=Pace(concurrency=concurrency)) as client:
            report = await client.cancel(ids)
        refused = sum(len(request.body) > limit for request in server.requests)
    assert statuses(report) == {"cancelled": 2_000}
    assert refused <= 5 * max(1, concurrency)  # those that were under way before it was known


async def test_long_ids_fit_by_their_bytes(connect):
    """Long ids and short ones in one input: batches of short ones still go whole."""
    long = [f"{number:0200d}" for number in range(200)]
    short = [f"s{number}" for number in range(1_000)]
    with RawServer(refusing(4_000)) as server:
        async with connect(server.url, pace=Pace(concurrency=1)) as client:
            report = await client.cancel([*long, *short])
        sizes = [len(json.loads(request.body)["shareIds"]) for request in server.requests]
    assert statuses(report) == {"cancelled": 1_200}
    assert sizes.count(100) == 10 + 1  # one of them was the first, which was refused


async def test_a_single_id_that_is_too_large_is_refused(connect):
    with RawServer(refusing(60)) as server:
        async with connect(server.url) as client:
            report = await client.cancel(["1", "2" * 200, "3"])
    assert statuses(report) == {"cancelled": 2, "rejected": 1}
    assert isinstance(report.rejected[0].error, InvalidRequest)
    assert report.rejected[0].error.status == 413


async def test_where_nothing_fits_it_is_recognised(connect):
    with RawServer(refusing(0)) as server:
        async with connect(server.url, pace=Pace(concurrency=1)) as client:
            with pytest.raises(InvalidRequest) as caught:
                await client.cancel(some_ids(5_000))
        assert len(server.requests) <= 45
    assert len(caught.value.report.retryable_ids) == 5_000
