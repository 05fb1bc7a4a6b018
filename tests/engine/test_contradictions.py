"""Replies that contradict themselves, or that are no final answer: never believed, never REJECTED."""

import json

import httpx
import pytest

from koodrive_async import AsyncShareClient, BadReply, ConnectionLost, RetryPolicy, ServerFault, Status
from tests.client.wire import dated, some_ids
from tests.engine.kit import statuses
from tests.engine.transports import BOTH, over
from tests.support.http1 import json_reply
from tests.support.rawserver import RawServer

pytestmark = pytest.mark.usefixtures("leaks")

QUICK = RetryPolicy(attempts=2, base=0.001, cap=0.002)
IDS = some_ids(10)


def ids_of(request):
    return json.loads(request.body)["shareIds"]


def items(ids, code=0, **codes):
    return [{"shareId": i, "code": codes.get(f"_{i}", code), "msg": "m"} for i in ids]


def listed(subs, code=0):
    return {"code": code, "msg": "m", "subResponseList": subs}


def first_then_well(answer):
    """This answer to the first request, and a good one to each further one."""

    def handle(request):
        return answer(request) if len(handle.server.requests) == 1 else dated(listed(items(ids_of(request))))

    return handle


async def cancel(handle, transport, connect, ids=IDS, **options):
    options.setdefault("retry", QUICK)
    with RawServer(handle) as server:
        handle.server = server
        async with over(transport, connect, server.url, **options) as client:
            report = await client.cancel(ids)
        return report, [ids_of(request) for request in server.requests]


# -- two answers for one id -----------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "codes", [(0, "13000410"), ("13000410", 0), ("13000309", "13000410"), (0, "13000309")]
)
async def test_an_id_with_two_answers_is_asked_again_alone(connect, transport, codes):
    def answer(request):
        extra = [{"shareId": IDS[3], "code": code, "msg": "m"} for code in codes]
        return dated(listed([*items(i for i in ids_of(request) if i != IDS[3]), *extra]))

    report, asked = await cancel(first_then_well(answer), transport, connect)
    assert statuses(report) == {"cancelled": 10}
    if transport == "default":  # a borrowed client's reply settles nothing unless it answers for all
        assert asked == [IDS, [IDS[3]]]


async def test_an_id_that_always_has_two_answers_is_unknown(connect):
    def handle(request):
        return dated(listed([*items(ids_of(request)), *items(ids_of(request), "13000410")]))

    report, asked = await cancel(handle, "default", connect)
    assert statuses(report) == {"unknown": 10}
    assert {type(outcome.error) for outcome in report.outcomes} == {BadReply}
    assert len(asked) == 1 + 2 * 10  # each alone, twice


async def test_a_service_that_always_gives_two_answers_is_not_asked_for_each_id(connect):
    def handle(request):
        return dated(listed([*items(ids_of(request)), *items(ids_of(request), "13000410")]))

    report, asked = await cancel(handle, "default", connect, some_ids(100))
    assert statuses(report) == {"unknown": 100}
    assert len(asked) == 3


@pytest.mark.parametrize("code", [0, "13000410", "13000309"])
async def test_two_answers_that_agree_count_once(connect, code):
    def handle(request):
        return dated(listed(items(ids_of(request), code) * 2))

    report, asked = await cancel(handle, "default", connect)
    assert set(statuses(report).values()) == {10}
    assert len(asked) == 1


# -- ids under another name -----------------------------------------------------------------------

NAMED = {
    "share_id": lambda i: {"share_id": i},
    "id, a number": lambda i: {"id": int(i)},
    "nested": lambda i: {"share": {"link": {"id": i}}},
    "in a list": lambda i: {"ids": [i]},
    "in the text": lambda i: {"msg": f"share {i} is cancelled"},
    "in an address": lambda i: {"url": f"https://koodrive.invalid/s/{i}?x=1"},
}


@pytest.mark.parametrize("named", NAMED)
async def test_an_id_under_another_name_outranks_its_place(connect, named):
    """Shuffled items: by their place each would be another's."""

    def handle(request):
        ids = ids_of(request)
        subs = [
            {"code": "13000410" if i == ids[0] else 0, "msg": "m", **NAMED[named](i)} for i in reversed(ids)
        ]
        return dated(listed(subs))

    report, asked = await cancel(handle, "default", connect)
    assert statuses(report) == {"cancelled": 9, "rejected": 1}
    assert report.rejected[0].share_id == IDS[0]
    assert len(asked) == 1


async def test_items_of_which_some_name_an_id_are_not_matched_by_place(connect):
    def handle(request):
        ids = ids_of(request)
        return dated(
            listed([{"code": 0, "msg": "m", "id": ids[-1]}, *({"code": 0, "msg": "m"} for _ in ids[1:])])
        )

    report, _ = await cancel(handle, "default", connect, IDS[:4])
    assert statuses(report) == {"unknown": 4}


@BOTH
async def test_items_that_name_nothing_are_matched_by_place_on_our_own_connections(connect, transport):
    def handle(request):
        return dated(listed([{"code": 0, "msg": "m"} for _ in ids_of(request)]))

    report, _ = await cancel(handle, transport, connect)
    assert statuses(report) == {"cancelled" if transport == "default" else "unknown": 10}
    assert all(outcome.error for outcome in report.outcomes if not outcome.ok)


# -- the list against the whole -------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("status", "code"), [(500, 0), (502, "13000500"), (503, "13000410"), (504, 0)])
async def test_a_list_inside_a_5xx_is_asked_again(connect, transport, status, code):
    def answer(request):
        return dated(listed(items(ids_of(request), code), code), status)

    report, asked = await cancel(first_then_well(answer), transport, connect)
    assert statuses(report) == {"cancelled": 10}
    assert len(asked) == 2


async def test_a_list_inside_a_5xx_that_stays_is_unknown(connect):
    def handle(request):
        return dated(listed(items(ids_of(request), "13000410"), "13000500"), 500)

    report, _ = await cancel(handle, "default", connect)
    assert statuses(report) == {"unknown": 10}
    assert {type(outcome.error) for outcome in report.outcomes} == {ServerFault}


@BOTH
@pytest.mark.parametrize(
    ("status", "code"), [(200, "13000500"), (200, "APIG.0201"), (400, "13000102"), (400, 0)]
)
async def test_nothing_but_zeros_beside_a_failure_is_asked_again(connect, transport, status, code):
    def answer(request):
        return dated(listed(items(ids_of(request)), code), status)

    report, asked = await cancel(first_then_well(answer), transport, connect)
    assert statuses(report) == {"cancelled": 10}
    assert len(asked) == 2


async def test_nothing_but_zeros_beside_a_failure_that_stays_is_unknown(connect):
    def handle(request):
        return dated(listed(items(ids_of(request)), "13000500"))

    report, _ = await cancel(handle, "default", connect)
    assert statuses(report) == {"unknown": 10}
    assert {type(outcome.error) for outcome in report.outcomes} == {BadReply}


@BOTH
@pytest.mark.parametrize("status", [200, 400])
async def test_a_mixed_list_beside_a_failure_is_believed_item_by_item(connect, transport, status):
    def handle(request):
        ids = ids_of(request)
        subs = [{"shareId": i, "code": "13000410" if n % 2 else 0, "msg": "m"} for n, i in enumerate(ids)]
        return dated(listed(subs, "13000500"), status)

    report, asked = await cancel(handle, transport, connect)
    assert statuses(report) == {"cancelled": 5, "rejected": 5}
    assert len(asked) == 1


# -- no final answer ------------------------------------------------------------------------------

ODD = {
    "101": (101, {}),
    "101 with a refusal": (101, {"code": "13000102", "msg": "m"}),
    "201": (201, {"code": "13000410", "msg": "m"}),
    "202": (202, {"code": "13000102", "msg": "m"}),
    "202 accepted": (202, {"code": 0, "msg": "accepted"}),
    "204": (204, {}),
    "206": (206, {"code": "13000309", "msg": "m"}),
    "299": (299, {"code": "APIG.0201", "msg": "m"}),
}


@BOTH
@pytest.mark.parametrize("odd", ODD)
async def test_it_is_never_a_refusal(connect, transport, odd):
    status, body = ODD[odd]

    def handle(request):
        if status == 204:
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        return json_reply(body, status)

    try:
        report, _ = await cancel(handle, transport, connect, ["1", "2"])
    except ConnectionLost as error:  # what h11 makes of a 101 that nobody asked for: no answer at all
        assert status == 101
        report = error.report
    assert statuses(report) == {"unknown": 2}
    assert all(outcome.error is not None for outcome in report.outcomes)


async def test_101_from_a_transport_that_hands_it_on(by_token):
    def handle(_request):
        return httpx.Response(101, json={"code": "13000102", "msg": "m"})

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http,
        AsyncShareClient("http://127.0.0.1:1", by_token, http=http, retry=QUICK) as client,
    ):
        report = await client.cancel(["1"])
    assert statuses(report) == {"unknown": 1}
    assert isinstance(report.outcomes[0].error, BadReply)


@pytest.mark.parametrize("odd", ["101", "202", "204"])
async def test_an_odd_answer_passes(connect, odd):
    status, body = ODD[odd]

    def answer(_request):
        return b"HTTP/1.1 204 No Content\r\n\r\n" if status == 204 else json_reply(body, status)

    report, asked = await cancel(first_then_well(answer), "default", connect)
    assert statuses(report) == {"cancelled": 10}
    assert len(asked) == 2


@pytest.mark.parametrize("status", [201, 202, 207])
async def test_a_list_with_another_2xx_is_believed(connect, status):
    def handle(request):
        return json_reply(listed(items(ids_of(request))), status)

    report, _ = await cancel(handle, "default", connect)
    assert {outcome.status for outcome in report.outcomes} == {Status.CANCELLED}


@pytest.mark.parametrize("retry_after", ["1", "0.4"])
async def test_retry_after_of_a_200_whose_items_are_throttled_is_honoured(connect, retry_after):
    """Everybody waits, as after a 429."""
    moments = []

    def handle(request):
        moments.append(request.received_at)
        if len(moments) == 1:
            subs = items(ids_of(request), "APIG.0308")
            return json_reply(listed(subs), 200, (("Retry-After", retry_after),))
        return dated(listed(items(ids_of(request))))

    report, asked = await cancel(handle, "default", connect)
    assert statuses(report) == {"cancelled": 10}
    assert len(asked) == 2
    assert moments[1] - moments[0] >= float(retry_after)


# -- replies that name other ids ------------------------------------------------------------------


async def test_a_reply_that_names_other_ids_spoils_its_connection(connect):
    """It may be the reply to another request; what it does not answer for is asked again, elsewhere."""

    def answer(_request):
        return dated(listed(items(some_ids(10, start=900_000))))

    handle = first_then_well(answer)
    with RawServer(handle) as server:
        handle.server = server
        async with connect(server.url, retry=QUICK) as client:
            report = await client.cancel(IDS)
            assert await client.cancel(["1"])
        assert [request.connection for request in server.requests] == [1, 2, 2]
    assert statuses(report) == {"cancelled": 10}


async def test_one_more_id_than_asked_for_is_ignored_and_spoils_the_connection(connect, caplog):
    def answer(request):
        return dated(listed(items([*ids_of(request), "999999"])))

    handle = first_then_well(answer)
    with RawServer(handle) as server:
        handle.server = server
        async with connect(server.url, retry=QUICK) as client:
            report = await client.cancel(IDS)
            assert await client.cancel(["1"])
        assert [request.connection for request in server.requests] == [1, 2]
    assert statuses(report) == {"cancelled": 10}
    assert "not asked for" in caplog.text
