"""The checks before the body: credentials, date, user, trace id, carrier; and the body's own rules."""

import json
from datetime import UTC, datetime

import pytest

from koodrive_async.testing import Emulator

TRACE = "T" * 58


@pytest.mark.parametrize(
    "value", ["demo-token", "Bearer+demo-token", "Bearer demo-token", "AT demo-token", "AT+demo-token"]
)
def test_a_token_is_good_with_any_scheme(caller, value):
    assert caller().cancel("x", authorization=value).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "code", "says"),
    [
        ({"authorization": None}, 401, "APIG.0301", "no Authorization"),
        ({"authorization": "Bearer+wrong"}, 401, "APIG.0301", "decrypt token fail"),
        ({"authorization": "Basic demo-token"}, 401, "APIG.0301", "decrypt token fail"),
        ({"x_date": None}, 400, 13000102, "X-Date is missing"),
        ({"x_date": "2024-09-09T03:33:25Z"}, 400, 13000102, "must look like"),
        ({"x_date": "20241309T033325Z"}, 400, 13000102, "must look like"),
        ({"x_user_id": None}, 400, 13000102, "X-User-Id is missing"),
        ({"x_user_id": "7"}, 403, 13000410, "unknown"),
        ({"x_traceid": "T" * 57}, 400, 13000102, "58"),
        ({"x_traceid": "T" * 57 + "-"}, 400, 13000102, "58"),
    ],
)
def test_refusals(caller, changes, status, code, says):
    call = caller(shares=1)
    reply = call.cancel(call.emulator.share_ids[0], **changes)
    body = reply.json()
    assert reply.status_code == status
    assert body.get("code", body.get("error_code")) == code
    assert says in body.get("msg", body.get("error_msg"))
    assert not call.emulator.cancelled


def test_a_trace_id_of_58_is_taken_and_logged(caller):
    call = caller()
    assert call.cancel("x", x_traceid=TRACE).status_code == 200
    assert call.emulator.log[-1].trace_id == TRACE


def test_repeated_headers_are_refused(caller):
    call = caller()
    headers = [*call.headers().items(), ("x-date", "20240101T000000Z")]
    reply = call.client.post("/koodrive/ose/v1/share/cancel", content=b"{}", headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (400, 13000102)


@pytest.mark.parametrize(("offset", "status"), [(-899, 200), (-901, 401), (0, 200), (1, 401), (50_000, 401)])
def test_the_date_window(caller, signer, offset, status):
    """15 minutes back, nothing forward, by the server's own clock; for tokens and signatures."""
    now = 1_700_000_000.0
    call = caller(clock=lambda: now, clock_offset=3600.0)
    date = datetime.fromtimestamp(now + 3600 + offset, UTC).strftime("%Y%m%dT%H%M%SZ")
    by_token = call.cancel("x", x_date=date)
    headers = {"x-date": date, "x-user-id": call.emulator.user_id}
    value = signer(
        "demo-app-secret", "POST", "/koodrive/ose/v1/share/cancel/", "", headers, b'{"shareIds": ["x"]}'
    )
    claim = f"HMAC-SHA256 AppId=demo-app-id,SignedHeaders=x-date;x-user-id,Signature={value}"
    by_app = call.cancel("x", x_date=date, authorization=claim)
    assert by_token.status_code == by_app.status_code == status
    assert by_app.headers["date"] == "Tue, 14 Nov 2023 23:13:20 GMT"
    if status == 401:
        assert by_token.json()["error_code"] == "APIG.0301"
        assert by_app.json()["error_code"] == "APIG.0303"
        text = by_app.json()["error_msg"]
        assert f"signature time:{date},server time:20231114T231320Z" in text


def test_the_carrier_wants_its_name(caller):
    call = caller(edition="carrier")
    assert call.cancel("x").status_code == 200
    assert call.cancel("x", x_hw_agentname=None).json()["code"] == 13000102
    assert call.cancel("x", x_hw_agentname="other").status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"shareIds":"1"}',
        b'{"shareIds":[]}',
        b'{"shareIds":[1]}',
        b'{"shareIds":[""]}',
        b'{"shareIds":null}',
        json.dumps({"shareIds": ["x"] * 101}).encode(),
    ],
)
def test_bad_bodies(caller, body):
    call = caller()
    reply = call.client.post("/koodrive/ose/v1/share/cancel", content=body, headers=call.headers())
    assert reply.status_code == 400
    assert reply.json()["code"] == 13000102
    assert reply.json()["msg"].startswith("Verify parameters failed.")
    assert call.emulator.log[-1].share_ids in {(), ("",), ("x",) * 101}


def test_a_body_beyond_12_megabytes(caller):
    call = caller()
    reply = call.cancel("x" * 13_000_000)
    assert (reply.status_code, reply.json()["error_code"]) == (413, "APIG.0201")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("DELETE", "/share/cancel"), ("DELETE", "/share")]
)
def test_unknown_paths_and_methods(caller, method, path):
    call = caller()
    reply = call.send(method, path)
    assert (reply.status_code, reply.json()["error_code"]) == (404, "APIG.0101")
    assert call.emulator.counts[""] == 1


def test_tokens_expire_when_told_and_are_renewed(caller):
    call = caller()
    call.emulator.expire_tokens()
    assert call.cancel("x").json()["error_code"] == "APIG.0307"
    assert len(call.emulator.tokens) == 0
    call.emulator.tokens.add("Bearer+fresh")
    assert "fresh" in call.emulator.tokens
    assert call.cancel("x", authorization="Bearer fresh").status_code == 200
    call.emulator.tokens.discard("fresh")
    assert call.cancel("x", authorization="fresh").json()["error_code"] == "APIG.0301"
    assert 7 not in call.emulator.tokens
    assert repr(call.emulator.tokens) == "<0 tokens>"


def test_a_tokens_life_slides(caller):
    now = [1_700_000_000.0]
    call = caller(clock=lambda: now[0], token_lifetime=1200.0)
    for _ in range(3):
        now[0] += 1199
        assert call.cancel("x").status_code == 200
    now[0] += 1201
    assert "demo-token" not in call.emulator.tokens
    assert call.cancel("x").json()["error_code"] == "APIG.0307"


def test_settings_are_checked():
    with pytest.raises(ValueError, match="twice"):
        Emulator(shares=["1", "1"])
