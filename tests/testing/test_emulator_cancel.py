"""batchCancel: state, sub-responses, poison, scripted codes; limits; the log."""

import time

import pytest

from koodrive_async.testing import Emulator, RateLimit, throttled
from koodrive_async.testing.limits import Meter


def test_a_share_is_cancelled_once(caller):
    call = caller(shares=3, received=2)
    emulator = call.emulator
    first, second, third = emulator.share_ids
    theirs = emulator.received_ids[0]
    assert call.codes(first, "404404", first, theirs) == [0, 13000309, 13000309, 13000410]
    assert emulator.cancelled == {first}
    assert emulator.cancelled_count == 1
    assert emulator.is_cancelled(first)
    assert not emulator.is_cancelled(second)
    assert emulator.live_ids == [second, third]
    assert emulator.share(first).share_id == first
    with pytest.raises(KeyError):
        emulator.share("404404")


def test_ids_are_realistic_and_repeatable():
    one, two = Emulator(shares=2000, seed=3), Emulator(shares=2000, seed=3)
    assert one.share_ids == two.share_ids
    assert len(set(one.share_ids)) == 2000
    assert {len(share_id) for share_id in one.share_ids} == {19}
    assert Emulator(shares=5, seed=4).share_ids != one.share_ids[:5]
    assert one.share(one.share_ids[7]).name == two.share(two.share_ids[7]).name


@pytest.mark.parametrize(
    ("edition", "expected"),
    [
        ("enterprise", {"code": "0", "msg": "success"}),
        ("carrier", {"code": 0, "msg": "Success."}),
    ],
)
def test_the_documented_shape(caller, edition, expected):
    call = caller(shares=['odd "id"\n', "17"], edition=edition)
    body = call.cancel(*call.emulator.share_ids, "é").json()
    assert body == {
        **expected,
        "subResponseList": [
            {"shareId": 'odd "id"\n', "code": 0, "msg": "success"},
            {"shareId": "17", "code": 0, "msg": "success"},
            {"shareId": "é", "code": 13000309, "msg": "The resource does not exist."},
        ],
    }


@pytest.mark.parametrize("status", [400, 200])
def test_a_poisonous_id_spoils_its_batch(caller, status):
    call = caller(shares=3)
    emulator = call.emulator
    emulator.poison.add("bad")
    emulator.poison_status = status
    reply = call.cancel(*emulator.share_ids, "bad")
    assert (reply.status_code, reply.json()["code"]) == (status, 13000102)
    assert not emulator.cancelled
    assert call.codes(*emulator.share_ids) == [0, 0, 0]


def test_codes_by_id_once_several_times_or_for_ever(caller):
    call = caller(shares=3)
    a, b, c = call.emulator.share_ids
    call.emulator.item_codes = {a: "APIG.0308", b: [13000301, 0], c: [5, 6]}
    assert call.codes(a, b, c) == ["APIG.0308", 13000301, 5]
    assert call.codes(a, b, c) == ["APIG.0308", 0, 6]
    assert call.codes(a, b, c) == ["APIG.0308", 13000309, 0]
    assert call.emulator.cancelled == {b, c}


def test_another_user_cancels_their_own_only(caller):
    call = caller(shares=1, received=1)
    emulator = call.emulator
    ids = [*emulator.share_ids, *emulator.received_ids]
    reply = call.cancel(*ids, x_user_id=emulator.colleague_id)
    assert [item["code"] for item in reply.json()["subResponseList"]] == [13000410, 0]


def test_the_log_tells_what_came(caller):
    call = caller(shares=3, clock_offset=7200.0)
    call.cancel(*call.emulator.share_ids, x_traceid="a" * 58)
    call.send("GET", "/share/userInfo?shortUrl=%3F%20")
    emulator = call.emulator
    first, second = emulator.log
    assert (first.number, first.operation, first.method, first.status) == (1, "batchCancel", "POST", 200)
    assert first.share_ids == tuple(emulator.share_ids)
    assert first.headers["x-traceid"] == first.trace_id == "a" * 58
    assert (first.user_id, first.acted, first.fault) == (emulator.user_id, True, None)
    assert first.authorization == "Bearer+demo-token"
    assert "demo-token" not in repr(first)
    assert abs(first.at - time.time() - 7200) < 60
    assert first.connection is not None
    assert first.connection == second.connection
    assert first.finished is not None
    assert second.path == "/koodrive/ose/v1/share/userInfo"
    assert second.target == "/koodrive/ose/v1/share/userInfo?shortUrl=%3F%20"
    assert second.share_ids == ()
    assert second.header("x-nothing") is None
    assert emulator.requests == 2
    assert emulator.counts == {"batchCancel": 1, "getShareInfo": 1}
    assert emulator.statuses == {200: 1, 400: 1}
    assert (emulator.in_flight, emulator.max_in_flight) == (0, 1)


def test_the_log_is_bounded(caller):
    call = caller(max_log=2)
    for _ in range(4):
        call.cancel("x")
    assert [seen.number for seen in call.emulator.log] == [3, 4]
    assert call.emulator.requests == 4


def test_meter_of_a_bucket():
    meter = Meter(RateLimit(10, burst=2), now=100.0)
    assert [meter.wait(100.0), meter.wait(100.0)] == [0.0, 0.0]
    assert meter.wait(100.0) == pytest.approx(0.1)
    assert meter.wait(100.11) == 0.0
    assert [meter.wait(200.0), meter.wait(200.0)] == [0.0, 0.0]
    assert meter.wait(200.0) > 0
    assert Meter(RateLimit(0, burst=0), now=0).wait(0) == float("inf")


def test_meter_of_fixed_windows():
    meter = Meter(RateLimit(2, window=1.0), now=0.5)
    assert [meter.wait(0.5), meter.wait(0.6)] == [0.0, 0.0]
    assert meter.wait(0.75) == pytest.approx(0.25)
    assert meter.wait(1.0) == 0.0


def test_a_throttled_request_says_so(caller):
    call = caller(rate_limit=RateLimit(1, burst=1, retry_after="auto"))
    assert call.cancel("x").status_code == 200
    reply = call.cancel("x")
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    body = reply.json()
    assert body["error_code"] == "APIG.0308"
    assert body["error_msg"].endswith("policy user over ratelimit,limit:1,time:1 second")
    assert body["request_id"]
    call.emulator.rate_limit = RateLimit(0.05, window=60, retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
    replies = [call.cancel("x") for _ in range(7)]
    late = [reply for reply in replies if reply.status_code == 429]
    assert late
    assert late[0].headers["retry-after"].startswith("Wed, ")
    assert "limit:3,time:60 seconds" in late[0].text
    call.emulator.rate_limit = RateLimit(0, burst=0, explain=False)
    reply = call.cancel("x")
    assert "retry-after" not in reply.headers
    assert "limit:" not in reply.text
    call.emulator.rate_limit = 1e6
    assert call.emulator.rate_limit == RateLimit(1e6)
    assert call.cancel("x").status_code == 200
    call.emulator.rate_limit = None
    assert call.emulator.rate_limit is None


def test_throttling_comes_before_the_script(caller):
    call = caller(rate_limit=RateLimit(0, burst=0))
    call.emulator.script(throttled("77"))
    assert "retry-after" not in call.cancel("x").headers
    assert call.emulator.scripted == 1
