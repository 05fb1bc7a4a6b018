from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.codec import read_cancel_reply, read_model
from koodrive_async.core.errors import (
    ApiError,
    AttemptTimeout,
    AuthFailed,
    BadReply,
    ClockSkewed,
    ConnectFailed,
    ConnectionLost,
    Forbidden,
    InvalidRequest,
    NotFound,
    Sent,
    ServerFault,
    Throttled,
)
from koodrive_async.core.models import CommonShareLink
from koodrive_async.core.verdict import (
    Meaning,
    Verdict,
    classify,
    item_error,
    judge,
    judge_failure,
    parse_ceiling,
    parse_http_date,
    parse_retry_after,
)
from koodrive_async.core.wire import Reply
from tests.core.builders import EPOCH, HTTP_DATE, as_bytes, reply, wild_replies

M = Meaning
LISTED = [{"shareId": "1", "code": 0, "msg": "success"}]


def read_link(envelope):
    return read_model(envelope, "link", CommonShareLink)


def verdict(
    status=200, body=b"", *, read=read_cancel_reply, batched=True, signed_at=None, secrets=(), **headers
):
    return judge(
        reply(status, body, **headers), read, batched=batched, signed_at=signed_at, now=EPOCH, secrets=secrets
    )


# -- koodrive-api sections 4 and 4.1 --------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "cls", "meaning"),
    [
        # Nothing but a status.
        (301, None, ApiError, M.FATAL),
        (307, None, ApiError, M.FATAL),
        (400, None, InvalidRequest, M.INVALID),
        (401, None, AuthFailed, M.UNAUTHORISED),
        (403, None, Forbidden, M.FATAL),
        (404, None, NotFound, M.FATAL),
        (405, None, ApiError, M.FATAL),
        (407, None, ApiError, M.FATAL),
        (408, None, ServerFault, M.TRANSIENT),
        (409, None, ApiError, M.REFUSED),
        (413, None, ApiError, M.REFUSED),
        (422, None, InvalidRequest, M.INVALID),
        (425, None, ServerFault, M.TRANSIENT),
        (429, None, Throttled, M.THROTTLED),
        (431, None, ApiError, M.REFUSED),
        (494, None, ApiError, M.REFUSED),
        (500, None, ServerFault, M.TRANSIENT),
        (502, None, ServerFault, M.TRANSIENT),
        (503, None, ServerFault, M.TRANSIENT),
        (504, None, ServerFault, M.TRANSIENT),
        (599, None, ServerFault, M.TRANSIENT),
        # The service's codes, whatever the status.
        *((status, "13000101", InvalidRequest, M.INVALID) for status in (200, 400, 500)),
        *((status, "13000102", InvalidRequest, M.INVALID) for status in (200, 400, 500)),
        *((status, "13000309", NotFound, M.INVALID) for status in (200, 400, 404)),
        *((status, "13000410", Forbidden, M.REFUSED) for status in (200, 400)),
        (403, "13000410", Forbidden, M.FATAL),
        *((400, f"130003{n:02}", ApiError, M.REFUSED) for n in range(1, 13) if n != 9),
        *((400, f"130004{n:02}", ApiError, M.REFUSED) for n in range(1, 15) if n != 10),
        (400, "13000313", InvalidRequest, M.INVALID),
        (400, "13000201", InvalidRequest, M.INVALID),
        (401, "13000201", AuthFailed, M.UNAUTHORISED),
        (200, "13000201", ApiError, M.REFUSED),
        (500, "18000001", ServerFault, M.TRANSIENT),
        # The gateway's.
        (404, "APIG.0101", NotFound, M.FATAL),
        (404, "APIGW.0103", ApiError, M.FATAL),
        (500, "APIG.0103", ApiError, M.FATAL),
        (400, "APIG.0104", ApiError, M.FATAL),
        (500, "APIG.0105", ApiError, M.FATAL),
        (400, "APIG.0106", ApiError, M.FATAL),
        (400, "APIG.0201", InvalidRequest, M.INVALID),
        (413, "APIG.0201", ApiError, M.REFUSED),
        (502, "APIG.0202", ServerFault, M.TRANSIENT),
        (504, "APIG.0203", ServerFault, M.TRANSIENT),
        *((401, f"APIG.03{n:02}", AuthFailed, M.UNAUTHORISED) for n in (1, 3, 5, 7)),
        (401, "apigw.0301", AuthFailed, M.UNAUTHORISED),
        (403, "APIG.0304", Forbidden, M.FATAL),
        (200, "APIG.0308", Throttled, M.THROTTLED),
        (403, "APIGW.0308", Throttled, M.THROTTLED),
        (403, "APIG.0310", Forbidden, M.FATAL),
        (403, "APIG.0602", Forbidden, M.FATAL),
        (500, "APIG.0611", ServerFault, M.TRANSIENT),
        (401, "APIG.03011", AuthFailed, M.UNAUTHORISED),
        (500, "XAPIG.0308", ServerFault, M.TRANSIENT),
    ],
)
def test_a_code_says_more_than_a_status(status, code, cls, meaning):
    assert classify(status, code) == (cls, meaning)
    made = verdict(status, {"code": code, "msg": "no"} if code else "<html>")
    if status != 200 or code:
        assert (type(made.error), made.meaning) == (cls, meaning)
        assert (made.error.status, made.error.code) == (status, code or "")


@pytest.mark.parametrize(
    "body",
    [
        {"code": 13000102, "msg": "Verify parameters failed."},
        {"code": "13000102", "message": "Verify parameters failed."},
        {"error": {"code": 13000102, "msg": "Verify parameters failed."}},
        {"error": {"errorData": {"code": "13000102", "message": "Verify parameters failed."}}},
        {"error_code": "13000102", "error_msg": "Verify parameters failed.", "request_id": "r1"},
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_all_three_shapes_of_an_error_are_read(status, body):
    error = verdict(status, body).error
    assert isinstance(error, InvalidRequest)
    assert (error.code, error.message) == ("13000102", "Verify parameters failed.")
    assert error.request_id == body.get("request_id", "")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (204, b""),
        (200, "<html>Log in to the Wi-Fi</html>"),
        (200, '{"code": 0, "subResp'),
        (200, []),
        (200, {}),
        (200, {"msg": "success"}),
        (200, {"code": None}),
        (200, {"code": True}),
        (200, {"code": 0.0}),
        (200, b'{"code": 0, "code": 5}'),
    ],
)
def test_a_good_status_without_a_readable_answer_is_ambiguous(status, body):
    made = verdict(status, body, date=HTTP_DATE)
    assert (made.meaning, made.ambiguous) == (M.TRANSIENT, True)
    assert isinstance(made.error, BadReply)
    assert made.error.status == status
    assert made.server_date is None
    assert not made.overloaded


@pytest.mark.parametrize(
    ("status", "ambiguous"),
    [
        (408, True),
        (425, False),
        (429, False),
        (500, True),
        (502, True),
        (503, True),
        (504, True),
        (400, False),
        (401, False),
    ],
)
def test_could_the_service_have_acted(status, ambiguous):
    made = verdict(status, "<html>Bad Gateway</html>", content_type="text/html; charset=utf-8")
    assert made.ambiguous is ambiguous
    assert made.error.message == "a body of 24 bytes that is not the service's (text/html)"
    assert made.overloaded is (status in (408, 425, 429) or status >= 500)


MIXED = [*LISTED, {"shareId": "2", "code": 5, "msg": "no"}]
REFUSED = [{"shareId": "1", "code": 5, "msg": "no"}]
A, B, F = "answer", BadReply, ServerFault


@pytest.mark.parametrize(
    ("status", "code", "listed", "batched", "meant"),
    [
        (200, 0, LISTED, True, A),
        (200, 0, MIXED, True, A),
        (200, 0, REFUSED, True, A),
        (200, 0, LISTED, False, A),
        (200, None, LISTED, True, A),
        (200, None, MIXED, True, A),
        (207, 0, LISTED, True, A),
        # A partial failure: item by item.
        (200, 13000102, MIXED, True, A),
        (200, 13000102, REFUSED, True, A),
        (202, 13000102, MIXED, True, A),
        (207, 13000102, MIXED, True, A),
        (400, 13000102, MIXED, True, A),
        (400, 0, MIXED, True, A),
        (400, None, REFUSED, True, A),
        # A failure of nothing but successes: which of both is true?
        (200, 13000102, LISTED, True, B),
        (200, "APIG.0308", LISTED * 2, True, B),
        (202, 13000102, LISTED, True, B),
        (400, 13000102, LISTED, True, B),
        (400, 0, LISTED, True, B),
        (400, None, LISTED, True, B),
        # Neither an answer nor a refusal.
        (500, 13000102, MIXED, True, F),
        (500, 0, LISTED, True, F),
        (502, 0, LISTED, True, F),
        (503, None, REFUSED, True, F),
        (504, 13000309, REFUSED, True, F),
        (101, 0, LISTED, True, B),
        (199, 13000102, MIXED, True, B),
        # No list of which anybody would know.
        (200, 13000102, LISTED, False, InvalidRequest),
        (401, 13000102, MIXED, True, InvalidRequest),
        (403, 0, LISTED, True, Forbidden),
        (429, 0, MIXED, True, Throttled),
        (307, 0, LISTED, True, ApiError),
    ],
)
def test_a_list_of_answers_is_believed_where_it_does_not_contradict_itself(
    status, code, listed, batched, meant
):
    made = verdict(status, {"code": code, "msg": "", "subResponseList": listed}, batched=batched)
    assert (made.meaning is M.ANSWER) is (made.value is not None) is (made.error is None) is (meant is A)
    assert made.ambiguous is (meant in (B, F))
    if meant is A:
        assert len(made.value.sub_responses) == len(listed)
    else:
        assert type(made.error) is meant
        assert made.error.status == status
        assert (made.meaning is M.TRANSIENT) is (meant in (B, F))


@pytest.mark.parametrize(
    ("status", "body", "batched", "text"),
    [
        (100, {"code": 0}, True, "HTTP 100 is no final reply"),
        (101, b"", True, ""),
        (101, {"code": 13000102}, True, "HTTP 101 is no final reply"),
        (103, {"code": 13000102}, False, "HTTP 103 is no final reply"),
        (201, {"code": 13000102}, True, "HTTP 201 with the failure code 13000102"),
        (202, {"code": "APIG.0308"}, True, "HTTP 202 with the failure code APIG.0308"),
        (299, {"code": 13000309}, True, "HTTP 299 with the failure code 13000309"),
        (202, {"code": 5, "subResponseList": []}, True, "HTTP 202 with the failure code 5"),
        (202, {"msg": "accepted"}, True, "a reply without a code"),
        (204, b"", True, ""),
        (200, {"msg": "?"}, False, "a reply without a code"),
        (200, {"code": ""}, True, "a reply without a code"),
    ],
)
def test_what_is_neither_an_answer_nor_a_refusal_may_have_been_done(status, body, batched, text):
    made = verdict(status, body, batched=batched)
    assert (made.meaning, made.value, made.ambiguous, type(made.error)) == (M.TRANSIENT, None, True, BadReply)
    assert made.error.status == status
    assert text in str(made.error)


@pytest.mark.parametrize("status", [200, 202])
def test_a_single_request_s_failure_code_beside_2xx_is_a_refusal(status):
    made = verdict(status, {"code": 13000409, "msg": "frozen"}, batched=False)
    assert (made.meaning, made.ambiguous, type(made.error)) == (M.REFUSED, False, ApiError)


@pytest.mark.parametrize(
    ("status", "code", "listed", "wait"),
    [(200, 0, REFUSED, 7.0), (400, 5, MIXED, 7.0), (200, 5, LISTED, None), (200, 0, [], None)],
)
def test_a_list_may_ask_to_wait_for_those_in_it_that_are_throttled(status, code, listed, wait):
    body = {"code": code, "subResponseList": listed}
    assert verdict(status, body, retry_after="7").retry_after == wait
    assert verdict(status, body).retry_after is None


def test_an_answer_that_its_reader_refuses_is_a_bad_reply():
    made = verdict(200, {"code": 0, "link": 7}, read=read_link, date=HTTP_DATE)
    assert (made.meaning, made.ambiguous, made.server_date) == (M.TRANSIENT, True, EPOCH)
    assert isinstance(made.error, BadReply)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("moved", "a redirect, which is never followed"),
        ({"code": 7, "msg": "there"}, "a redirect, which is never followed; there"),
    ],
)
def test_a_redirect_is_fatal_and_says_so(body, text):
    made = verdict(307, body, location="https://evil.example/")
    assert (made.meaning, made.ambiguous, made.error.message) == (M.FATAL, False, text)


@given(
    st.integers(100, 599),
    wild_replies.map(as_bytes) | st.binary(max_size=40),
    st.lists(st.tuples(st.sampled_from(["date", "retry-after", "content-type"]), st.text(max_size=30))),
    st.booleans(),
)
def test_whatever_comes_back_has_a_meaning(status, body, headers, batched):
    for read in (read_cancel_reply, read_link):
        made = judge(Reply(status, headers, body), read, batched=batched, signed_at=EPOCH, now=EPOCH)
        assert (made.meaning is M.ANSWER) == (made.value is not None) == (made.error is None)
        assert not made.ambiguous or made.meaning is M.TRANSIENT
        assert 200 <= status < 500 or made.meaning in (M.TRANSIENT, M.THROTTLED)
        str(made.error)


# -- no secrets -----------------------------------------------------------------------------------

SECRET = "Zr7-Kq+Wm/29xPd"


@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 502])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"code": 5, "msg": f"signed with {SECRET}."}, {}),
        ({"code": SECRET}, {}),
        ({"error_code": "APIG.0303", "error_msg": "no", "request_id": SECRET}, {}),
        ({"echo": SECRET}, {}),
        ({"code": 0, "echo": SECRET}, {}),
        (f"<p>{SECRET}", {}),
        (" " * 195 + SECRET, {}),
        ("<" + " " * 189 + SECRET, {}),
        ("<html>", {"content_type": SECRET}),
    ],
)
def test_no_error_repeats_a_secret_wherever_a_reply_puts_it(status, body, headers):
    error = verdict(status, body, read=read_link, batched=False, secrets=(SECRET,), **headers).error
    for shown in (str(error), repr(error), repr(vars(error))):
        assert SECRET[:5] not in shown
        assert SECRET[:5] not in json.loads(json.dumps(shown))


# -- when to ask again ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "wait"),
    [
        # Row 47 of the fault matrix.
        (["2"], 2.0),
        (["Mon, 09 Sep 2024 03:33:27 GMT"], 2.0),
        (["-1"], None),
        (["1e9"], None),
        (["abc"], None),
        (["NaN"], None),
        (["Mon, 09 Sep 2024 03:33:20 GMT"], 0.0),
        (["2", "5"], 5.0),
        (["5", "2"], 5.0),
        # And what else is written there.
        ([], None),
        ([""], None),
        (["0"], 0.0),
        ([" 2 "], 2.0),
        (["1.5"], 1.5),
        (["86400"], 86400.0),
        (["1000000000"], 1e9),
        (["999999999999999"], 999999999999999.0),
        (["abc", "3"], 3.0),
        (["2", "Mon, 09 Sep 2024 03:34:25 GMT"], 60.0),
        (["Monday, 09-Sep-24 03:33:27 GMT"], 2.0),
        (["Mon Sep  9 03:33:27 2024"], 2.0),
        (["Mon, 09 Sep 2024 03:33:27 -0000"], 2.0),
        (["Mon, 09 Sep 2024 11:33:27 +0800"], 2.0),
        (["Mon, 99 Sep 2024 03:33:27 GMT"], None),
        (["\uff12"], None),
        (["inf"], None),
        (["Infinity"], None),
        (["2s"], None),
        (["0x10"], None),
    ],
)
def test_retry_after(values, wait):
    assert parse_retry_after(values, EPOCH) == wait


def test_a_wait_too_long_for_any_clock_is_not_taken_for_none():
    assert (parse_retry_after(["9" * 40], EPOCH) or 0.0) > 1e9


@given(st.lists(st.text(max_size=40) | st.from_regex(r"\A[0-9A-Za-z,:+ -]{1,40}\Z"), max_size=3))
def test_any_retry_after_is_a_wait_or_none(values):
    wait = parse_retry_after(values, EPOCH)
    assert wait is None or wait >= 0.0


@given(
    st.text(max_size=40)
    | st.from_regex(r"\A\w{3}, [0-9]{1,2} \w{3} [0-9]{1,6} [0-9:]{1,9} [+-]?[0-9A-Z]{1,6}\Z")
)
def test_any_date_is_a_time_or_none(text):
    date = parse_http_date(text)
    assert date is None or isinstance(date, float)


@pytest.mark.parametrize(
    ("text", "ceiling"),
    [
        (
            "The throttling threshold has been reached: policy user over ratelimit,limit:20,time:1 second",
            20.0,
        ),
        ("policy user over ratelimit,limit:600,time:1 minute", 10.0),
        ("limit:36000, time:10 hour", 1.0),
        ("LIMIT: 86400 , TIME: 1 DAY", 1.0),
        ("limit:20,time: second", 20.0),
        ("limit:20,time:5 seconds", 4.0),
        ("limit:0,time:1 second", None),
        ("limit:20,time:0 second", None),
        ("limit:XX,time:1 minute", None),
        ("limit:20", None),
        ("slow down", None),
        ("", None),
        ("limit:" + "9" * 5_000 + ",time:1 second", None),
    ],
)
def test_the_ceiling_that_a_refusal_names(text, ceiling):
    assert parse_ceiling(text) == ceiling
    assert verdict(429, {"error_code": "APIG.0308", "error_msg": text}).ceiling == ceiling


def test_a_throttled_reply_says_when_to_come_back():
    made = verdict(429, {"error_code": "APIG.0308", "error_msg": "slow"}, retry_after="120")
    assert (made.meaning, made.retry_after, made.error.retry_after) == (M.THROTTLED, 120.0, 120.0)
    assert made.error.retry_at == datetime.fromtimestamp(EPOCH + 120, UTC)


def test_an_instant_beyond_all_calendars_is_none():
    error = verdict(429, "", retry_after="999999999999999").error
    assert (error.retry_after, error.retry_at) == (999999999999999.0, None)


@pytest.mark.parametrize(
    ("retry_after", "date", "wait"),
    [
        ("Mon, 09 Sep 2024 11:33:35 CST", "Mon, 09 Sep 2024 11:33:25 CST", 10.0),
        ("Mon, 09 Sep 2024 11:33:35 CST", "Mon, 09 Sep 2024 03:33:25 GMT", None),
        ("Mon, 09 Sep 2024 11:33:35 CST", "Mon, 09 Sep 2024 11:33:25 EST", None),
        ("Mon, 09 Sep 2024 11:33:35 CST", None, None),
        ("Mon, 09 Sep 2024 11:33:20 CST", "Mon, 09 Sep 2024 11:33:25 CST", 0.0),
        ("never CST", "never CST", None),
        ("Mon, 09 Sep 2024 03:33:35 UTC", "Mon, 09 Sep 2024 03:33:25 GMT", 10.0),
        ("Mon, 09 Sep 2024 11:33:35 +0800", "Mon, 09 Sep 2024 03:33:25 GMT", 10.0),
    ],
)
def test_a_zone_with_a_name_of_several_meanings_is_never_guessed(retry_after, date, wait):
    headers = {"date": date} if date else {}
    made = verdict(503, {"code": 1, "msg": ""}, retry_after=retry_after, **headers)
    assert made.retry_after == wait


def test_a_date_to_come_back_is_measured_on_the_server_s_clock():
    later = "Mon, 09 Sep 2024 04:33:35 GMT"
    ahead = {"date": "Mon, 09 Sep 2024 04:33:25 GMT"}  # an hour ahead of ours
    assert verdict(503, {"code": 1, "msg": ""}, retry_after=later, **ahead).retry_after == 10.0
    assert verdict(503, "<html>", retry_after=later, **ahead).retry_after == 3610.0


@pytest.mark.parametrize(
    ("status", "waits"), [(429, True), (503, True), (500, True), (408, True), (400, False), (403, False)]
)
def test_only_what_is_asked_again_waits(status, waits):
    assert (verdict(status, "", retry_after="7").retry_after == 7.0) is waits


# -- dates ----------------------------------------------------------------------------------------

NO = {"error_code": "APIG.0303", "error_msg": "Incorrect app authentication information"}


@pytest.mark.parametrize(
    ("signed_at", "status", "body", "headers", "meaning"),
    [
        (EPOCH + 1, 401, NO, {"date": HTTP_DATE}, M.WRONG_DATE),
        (EPOCH + 3600, 401, NO, {"date": HTTP_DATE}, M.WRONG_DATE),
        (EPOCH - 901, 401, NO, {"date": HTTP_DATE}, M.WRONG_DATE),
        (EPOCH, 401, NO, {"date": HTTP_DATE}, M.UNAUTHORISED),
        (EPOCH + 0.9, 401, NO, {"date": HTTP_DATE}, M.UNAUTHORISED),
        (EPOCH - 890, 401, NO, {"date": HTTP_DATE}, M.UNAUTHORISED),
        (None, 401, NO, {"date": HTTP_DATE}, M.UNAUTHORISED),
        (EPOCH + 3600, 401, NO, {}, M.UNAUTHORISED),
        (EPOCH + 3600, 401, NO, {"date": "yesterday"}, M.UNAUTHORISED),
        (EPOCH + 3600, 401, "<html>", {"date": HTTP_DATE}, M.UNAUTHORISED),
        (EPOCH + 3600, 403, {"code": 7}, {"date": HTTP_DATE}, M.FATAL),
        (EPOCH + 3600, 400, {"code": "APIG.0301"}, {"date": HTTP_DATE}, M.WRONG_DATE),
    ],
)
def test_a_signature_that_the_server_s_clock_must_refuse_was_refused_for_its_date(
    signed_at, status, body, headers, meaning
):
    made = verdict(status, body, signed_at=signed_at, **headers)
    assert made.meaning is meaning
    assert isinstance(made.error, ClockSkewed) is (meaning is M.WRONG_DATE)


def test_the_gateway_s_own_words_teach_the_time_where_no_header_does():
    text = "signature expired, signature time:20240909T043325Z,server time:20240909T033325Z"
    made = verdict(401, {"error_code": "APIG.0303", "error_msg": text}, signed_at=EPOCH + 3600)
    assert (made.meaning, made.server_date) == (M.WRONG_DATE, EPOCH)


@pytest.mark.parametrize(
    "time", ["99999999T999999Z", "00000101T000000Z", "20240230T000000Z", "20240909T036060Z"]
)
def test_words_that_are_no_time_teach_nothing(time):
    made = verdict(401, {"error_code": "APIG.0303", "error_msg": f"server time:{time}"}, signed_at=EPOCH)
    assert (made.meaning, made.server_date) == (M.UNAUTHORISED, None)


@pytest.mark.parametrize(
    ("status", "body", "learns"),
    [
        (200, {"code": 0}, True),
        (200, {"code": 13000102}, True),
        (401, NO, True),
        (503, {"error_code": "APIG.0202"}, True),
        (200, "<html>", False),
        (502, "<html>", False),
        (200, {"status": "ok"}, False),
        (407, {"error": "proxy"}, False),
    ],
)
def test_only_the_service_and_its_gateway_teach_the_time(status, body, learns):
    assert verdict(status, body, date=HTTP_DATE).server_date == (EPOCH if learns else None)


# -- no reply, and single ids ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "meaning", "ambiguous"),
    [
        (ConnectFailed("refused", sent=Sent.NO), M.TRANSIENT, False),
        (ConnectFailed("certificate", sent=Sent.NO, permanent=True), M.FATAL, False),
        (AttemptTimeout("pool", sent=Sent.NO), M.TRANSIENT, False),
        (AttemptTimeout("read"), M.TRANSIENT, True),
        (ConnectionLost("reset"), M.TRANSIENT, True),
        (BadReply("too large"), M.TRANSIENT, True),
    ],
)
def test_no_reply(error, meaning, ambiguous):
    assert judge_failure(error) == Verdict(meaning, error=error, ambiguous=ambiguous)


@pytest.mark.parametrize(
    ("code", "cls", "retryable"),
    [
        ("13000309", NotFound, False),
        ("13000410", Forbidden, False),
        ("APIG.0304", Forbidden, False),
        ("APIG.0301", AuthFailed, False),
        ("APIG.0308", Throttled, True),
        ("APIG.0203", ServerFault, True),
        ("429", ApiError, False),
    ],
)
def test_said_of_one_id_a_refusal_is_about_that_id(code, cls, retryable):
    error = item_error(code, "token Bearer+abc", "trace")
    assert (type(error), error.retryable, error.code) == (cls, retryable, code)
    assert (error.message, error.trace_id) == ("token Bearer+***", "trace")
    assert cls.retryable or not error.retryable
