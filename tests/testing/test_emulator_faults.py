"""Each fault over a real socket, as a plain client sees it, and whether the service acted."""

import gzip
import json
import shutil
import subprocess
import time
import zlib

import httpx
import pytest

from koodrive_async.testing import (
    BlackHole,
    Body,
    Chaos,
    Delay,
    Drip,
    Drop,
    Encoded,
    EndlessBody,
    Fault,
    Headers,
    HugeBody,
    LateEffect,
    Raw,
    RequestSeen,
    Rewrite,
    Status,
    TruncatedBody,
    TruncatedJson,
    codings,
    content_type,
    dropped,
    empty_reply,
    forbidden,
    gateway_timeout,
    html_page,
    lost_reply,
    redirect,
    refused,
    rewrites,
    server_error,
    throttled,
    unauthorized,
    unavailable,
)


@pytest.mark.parametrize(
    ("fault", "status", "holds", "acts"),
    [
        (
            throttled(),
            429,
            lambda r: "limit:20,time:1 second" in r.text and "retry-after" not in r.headers,
            False,
        ),
        (throttled(2.5, limit=5, period="1 minute"), 429, lambda r: r.headers["retry-after"] == "2.5", False),
        (unavailable(), 503, lambda r: r.json()["error_code"] == "APIG.0202", False),
        (unavailable(9), 503, lambda r: r.headers["retry-after"] == "9", False),
        (html_page(), 502, lambda r: r.headers["content-type"] == "text/html", False),
        (html_page(200), 200, lambda r: r.text.startswith("<html>"), False),
        (gateway_timeout(), 504, lambda r: r.json()["error_code"] == "APIG.0203", False),
        (gateway_timeout(act=True), 504, lambda r: True, True),
        (server_error(), 500, lambda r: r.content == b"", False),
        (empty_reply(), 200, lambda r: r.content == b"" and r.headers["content-length"] == "0", True),
        (empty_reply(204), 204, lambda r: "content-length" not in r.headers, True),
        (
            redirect("http://127.0.0.1:9/x"),
            307,
            lambda r: r.headers["location"] == "http://127.0.0.1:9/x",
            False,
        ),
        (forbidden(), 403, lambda r: r.json()["error_code"] == "APIG.0304", False),
        (unauthorized("APIG.0307"), 401, lambda r: r.json()["error_code"] == "APIG.0307", False),
        (refused(13000301, "no"), 400, lambda r: r.json() == {"code": 13000301, "msg": "no"}, False),
        (refused("APIG.1", status=200), 200, lambda r: r.json()["code"] == "APIG.1", False),
        (
            content_type("text/plain"),
            200,
            lambda r: r.headers["content-type"] == "text/plain" and r.json(),
            True,
        ),
        (Headers({"date": None, "x-extra": "1"}), 200, lambda r: "date" not in r.headers, True),
        (Headers({"Date": "nonsense"}), 200, lambda r: r.headers["date"] == "nonsense", True),
        (
            Status(418, b"tea", {"x-pot": "1"}),
            418,
            lambda r: r.headers["x-pot"] == "1" and r.text == "tea",
            False,
        ),
        (Status(599), 599, lambda r: True, False),
        (Body(b"NaN"), 200, lambda r: r.text == "NaN", True),
        (Body(b"x", status=201, content_type="a/b", act=False), 201, lambda r: r.text == "x", False),
        (Delay(0.05), 200, lambda r: r.json(), True),
        (Delay(0.01, server_error()), 500, lambda r: True, False),
        (TruncatedJson(), 200, lambda r: r.text.startswith('{"code":"0"') and r.text[-1] != "}", True),
        (TruncatedJson(0.0), 200, lambda r: r.text == "", True),
        (Drip(0.0, size=7), 200, lambda r: r.json()["code"] == "0", True),
        (Drip(0.0, size=7, head=True), 200, lambda r: r.json()["code"] == "0", True),
        (HugeBody(300_000), 200, lambda r: r.json() and 299_000 < len(r.content) < 301_000, True),
        (
            HugeBody(10, announce=False),
            200,
            lambda r: r.headers["transfer-encoding"] == "chunked" and r.json(),
            True,
        ),
        (Encoded("gzip"), 200, lambda r: r.headers["content-encoding"] == "gzip" and r.json(), True),
        (
            Encoded("gzip", layers=2),
            200,
            lambda r: r.headers["content-encoding"] == "gzip, gzip" and r.json(),
            True,
        ),
        (Encoded("gzip", bomb=3_000_000), 200, lambda r: len(r.json()["padding"]) == 3_000_000, True),
        (Encoded("deflate", bomb=5), 200, lambda r: r.json()["padding"] == "aaaaa", True),
        (Fault(), 200, lambda r: r.json(), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else None,
)
def test_replies(caller, fault, status, holds, acts):
    call = caller(shares=2)
    emulator = call.emulator
    emulator.script(fault)
    reply = call.cancel(*emulator.share_ids)
    assert reply.status_code == status
    assert holds(reply)
    assert emulator.cancelled == (set(emulator.share_ids) if acts else set())
    seen = emulator.log[-1]
    assert (seen.fault, seen.status, seen.acted) == (fault, status, acts)
    assert emulator.faults_played == {type(fault).__name__: 1}
    assert call.cancel("x").status_code == 200
    assert emulator.scripted == 0


@pytest.mark.parametrize(
    ("fault", "raised", "acts"),
    [
        (lost_reply(), httpx.ReadError, True),
        (lost_reply("fin"), httpx.RemoteProtocolError, True),
        (dropped(), httpx.ReadError, False),
        (dropped("fin"), httpx.RemoteProtocolError, False),
        (Drop(after=0.01), httpx.ReadError, False),
        (TruncatedBody(), httpx.RemoteProtocolError, True),
        (TruncatedBody(how="rst"), httpx.ReadError, True),
        (BlackHole(), httpx.ReadTimeout, False),
        (BlackHole(act=True), httpx.ReadTimeout, True),
        (Drip(0.6), httpx.ReadTimeout, True),
        (Raw(b"HTTP/1.1 20"), httpx.RemoteProtocolError, False),
        (Raw(b"HTTP/1.1 20", act=True, how="rst"), httpx.ReadError, True),
        (Raw(b"HTTP/1.1 102 Processing\r\n\r\n", repeat=3, how="keep"), httpx.ReadTimeout, False),
        (
            Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx"),
            httpx.RemoteProtocolError,
            False,
        ),
        (Encoded("gzip", broken=True), httpx.DecodingError, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else None,
)
def test_broken_connections(caller, fault, raised, acts):
    call = caller(shares=1, timeout=0.3)
    emulator = call.emulator
    emulator.script(fault)
    with pytest.raises(raised):
        call.cancel(*emulator.share_ids)
    assert emulator.cancelled == (set(emulator.share_ids) if acts else set())
    assert caller(emulator).cancel("x").status_code == 200


def test_an_endless_body_ends_with_its_reader(caller):
    call = caller(shares=1)
    emulator = call.emulator
    emulator.script(EndlessBody())
    url, headers = f"{emulator.url}/koodrive/ose/v1/share/cancel", call.headers()
    body = json.dumps({"shareIds": emulator.share_ids})
    with httpx.stream("POST", url, content=body, headers=headers, trust_env=False) as reply:
        read = 0
        for chunk in reply.iter_raw():
            read += len(chunk)
            if read > 1_000_000:
                break
    assert emulator.settled()
    assert emulator.in_flight == 0
    assert emulator.cancelled


def test_a_late_effect_comes_later(caller):
    call = caller(shares=1)
    emulator = call.emulator
    emulator.script(LateEffect(0.5))
    assert call.cancel(*emulator.share_ids).status_code == 504
    assert emulator.live_ids == emulator.share_ids
    time.sleep(0.51)
    assert emulator.live_ids == []
    assert call.codes(*emulator.share_ids) == [13000309]


def test_the_script_is_played_in_order_on_any_operation(caller):
    call = caller(shares=1)
    call.emulator.script(server_error(), None, forbidden())
    call.emulator.inject(lambda seen: unavailable() if seen.operation == "getShareInfo" else None)
    got = [call.send("GET", "/share/userInfo").status_code for _ in range(4)]
    assert got == [500, 400, 403, 503]
    assert call.cancel("x").status_code == 200
    call.emulator.inject(None)
    assert call.send("GET", "/share/userInfo").status_code == 400
    call.emulator.script(forbidden())
    call.emulator.inject(Chaos(1, {forbidden(): 1.0}))
    call.emulator.behave()
    assert call.cancel("x").status_code == 200


def test_a_rule_sees_the_request(caller):
    call = caller(shares=3)
    bad = call.emulator.share_ids[1]
    call.emulator.inject(lambda seen: server_error() if bad in seen.share_ids else None)
    assert call.cancel(bad).status_code == 500
    assert call.cancel("x").status_code == 200


def seen(operation="batchCancel"):
    return RequestSeen(0, operation, "POST", "/", (), b"", 0.0, 0.0)


def test_chaos_is_repeatable_and_keeps_its_shares():
    mix = {server_error(): 0.2, forbidden(): 0.1}
    one, two = Chaos(5, mix), Chaos(5, mix)
    got = [one(seen()) for _ in range(5000)]
    assert got == [two(seen()) for _ in range(5000)]
    assert 900 < got.count(server_error()) < 1100
    assert 420 < got.count(forbidden()) < 580
    assert 3300 < got.count(None) < 3700


def test_chaos_can_be_limited():
    chaos = Chaos(5, {server_error(): 1.0}, operations=["batchCancel"], limit=2)
    assert chaos(seen("listShareByMe")) is None
    assert [chaos(seen()), chaos(seen()), chaos(seen())] == [server_error(), server_error(), None]
    with pytest.raises(ValueError, match="probabilities"):
        Chaos(1, {server_error(): 0.6, forbidden(): 0.5})


def test_a_fault_of_ones_own(caller):
    class Twice(Fault):
        async def play(self, exchange):
            await exchange.sleep(0.001)
            answer = exchange.act()
            assert exchange.act() is answer
            await exchange.reply(answer.with_headers([("x-mine", "1")]))

    call = caller(shares=1)
    call.emulator.script(Twice())
    assert call.cancel(*call.emulator.share_ids).headers["x-mine"] == "1"


IDS = ["1689759841444195840", "1689759841444195841", "1689759841444195842"]


def rewritten(change):
    items = [{"shareId": share_id, "code": 0, "msg": "success"} for share_id in IDS]
    return change({"code": "0", "msg": "success", "subResponseList": items})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            rewrites.shuffled,
            lambda r: {i["shareId"] for i in r} == set(IDS) and [i["shareId"] for i in r] != IDS,
        ),
        (rewrites.losing(2), lambda r: [i["shareId"] for i in r] == IDS[2:]),
        (rewrites.losing_ids(IDS[1]), lambda r: [i["shareId"] for i in r] == [IDS[0], IDS[2]]),
        (rewrites.duplicated, lambda r: len(r) == 6),
        (rewrites.conflicting, lambda r: [i["code"] for i in r] == [0, 0, 0, 13000410, 13000410, 13000410]),
        (rewrites.with_foreign, lambda r: len(r) == 4 and r[0]["shareId"] not in IDS),
        (rewrites.numeric_ids, lambda r: [i["shareId"] for i in r] == [int(i) for i in IDS]),
        (rewrites.without_ids, lambda r: r == [{"code": 0, "msg": "success"}] * 3),
        (rewrites.message_for_msg, lambda r: r[0] == {"shareId": IDS[0], "code": 0, "message": "success"}),
        (rewrites.string_codes, lambda r: r[0]["code"] == "0"),
        (rewrites.chained(rewrites.string_codes, rewrites.integer_codes), lambda r: r[0]["code"] == 0),
        (rewrites.null_list, lambda r: r is None),
        (rewrites.list_is_an_object, lambda r: set(r) == set(IDS)),
        (rewrites.unknown_fields, lambda r: r[0]["region"]),
        (rewrites.item_code("APIG.0308", IDS[0]), lambda r: [i["code"] for i in r] == ["APIG.0308", 0, 0]),
        (rewrites.item_code(7), lambda r: [i["code"] for i in r] == [7, 7, 7]),
    ],
)
def test_rewrites(change, expected):
    reply = rewritten(change)
    assert expected(reply["subResponseList"])
    assert change({"code": 0}).get("subResponseList") is None
    assert change([]) == []


def test_rewrites_of_the_whole_reply():
    assert rewritten(rewrites.no_list) == {"code": "0", "msg": "success"}
    assert rewritten(rewrites.top_code(13000301)) == {"code": 13000301, "msg": "failed"}
    assert rewritten(rewrites.integer_codes)["code"] == 0
    assert rewritten(rewrites.string_codes)["code"] == "0"
    assert rewrites.no_list([]) == []


def test_a_rewrite_acts(caller):
    call = caller(shares=3)
    call.emulator.script(Rewrite(rewrites.losing(1)))
    assert len(call.codes(*call.emulator.share_ids)) == 2
    assert call.emulator.cancelled_count == 3


PARTS = (b'{"a":1,"b":"' * 20_000, 200_001, b'"}')
PLAIN = PARTS[0] + b"a" * PARTS[1] + PARTS[2]


def test_gzip_and_deflate_are_right():
    assert gzip.decompress(codings.encode("gzip", *PARTS)) == PLAIN
    assert zlib.decompress(codings.encode("deflate", *PARTS)) == PLAIN


def test_a_gigabyte_in_a_megabyte():
    data = codings.encode("gzip", b'{"p":"', 1 << 30, b'"}')
    assert len(data) < 1_100_000


@pytest.mark.skipif(shutil.which("zstd") is None, reason="checked with the command zstd, which is not here")
def test_zstd_is_right():
    done = subprocess.run(
        ["zstd", "-dc"], input=codings.encode("zstd", *PARTS), capture_output=True, check=True
    )
    assert done.stdout == PLAIN


@pytest.mark.skipif(shutil.which("node") is None, reason="checked with Node, which is not here")
def test_brotli_is_right():
    script = "process.stdout.write(require('zlib').brotliDecompressSync(require('fs').readFileSync(0)))"
    data = codings.encode("br", *PARTS)
    done = subprocess.run(["node", "-e", script], input=data, capture_output=True, check=True)
    assert done.stdout == PLAIN


def test_brotli_and_zstd_have_their_frames():
    assert codings.encode("zstd", b"x", 0, b"").startswith(b"\x28\xb5\x2f\xfd")
    assert codings.encode("br", b"", 0, b"") == b"\x06"
