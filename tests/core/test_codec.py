from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.codec import (
    camel,
    has_sub_responses,
    read_cancel_reply,
    read_code,
    read_envelope,
    read_model,
    read_text,
)
from koodrive_async.core.errors import BadReply
from koodrive_async.core.jsontext import dump, excerpt, parse_object
from koodrive_async.core.models import CommonShareLink, SharePermission, ShareSubResponse
from koodrive_async.core.secrets import EXCERPT
from tests.core.builders import as_bytes, encodable, envelope, json_values, wild_replies

# -- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"<html>502</html>",
        b'{"code": 0',
        b'{"code": 0}{"code": 0}',
        b'{"code": 0} x',
        b"[]",
        b"null",
        b"0",
        b'"code"',
        b'{"code": NaN}',
        b'{"code": Infinity}',
        b'{"code": -Infinity}',
        b'{"code": 0, "code": 1}',
        b'{"list": [{"code": 0, "code": 0}]}',
        b'{"msg": "\\ud800"}',
        b'{"\\udfff": 0}',
        b'{"msg": "\\uDBFF"}',
        b'{"msg": "\xff"}',
        '{"code": 0}'.encode("utf-16"),
        b'{"code": ' + b"9" * 5_000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"0" + b"}" * 100_000,
        b"[" * 100_000,
        b"\x00" * 1000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_object_or_could_be_misread_is_a_bad_reply(body):
    with pytest.raises(
        BadReply, match=r"^(an empty body|not the JSON expected|a JSON \w+ instead of an object)"
    ):
        parse_object(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"code": 0}', {"code": 0}),
        (b' {"code": 0}\r\n', {"code": 0}),
        (b"{}", {}),
        ('{"msg": "成功"}'.encode(), {"msg": "成功"}),
        (b'{"msg": "\\ud83d\\ude00"}', {"msg": "😀"}),
        (b'{"msg": "\\\\ud800"}', {"msg": "\\ud800"}),
        (b'{"shareId": 16897598414441958400001}', {"shareId": 16897598414441958400001}),
        (b'{"a": {"x": 1}, "b": {"x": 1}}', {"a": {"x": 1}, "b": {"x": 1}}),
    ],
)
def test_objects_are_read_exactly(body, value):
    assert parse_object(body) == value


@pytest.mark.parametrize("depth", [10, 500, *range(900, 1010, 3), 5_000])
def test_nesting_near_the_interpreter_s_limit_is_a_value_or_a_typed_error(depth):
    nest = b"[" * depth + b"]" * depth
    for name in (b"link", b"subResponseList"):
        try:
            made = read_envelope(parse_object(b'{"code":0,"' + name + b'":' + nest + b"}"))
            read_cancel_reply(made)
            read_model(made, "link", CommonShareLink)
        except BadReply:
            continue


@given(json_values | wild_replies)
def test_any_json_is_an_object_or_a_bad_reply(value):
    body = json.dumps(value).encode()
    try:
        assert parse_object(body) == json.loads(body)
    except BadReply:
        misread = "NaN" in body.decode() or "Infinity" in body.decode() or b"\\ud" in body
        assert misread or not isinstance(value, dict)


@given(st.binary(max_size=64) | wild_replies.map(as_bytes), st.integers(0, 200))
def test_any_bytes_and_any_stump_of_a_reply_are_an_object_or_a_bad_reply(body, end):
    try:
        parse_object(body[:end])
    except BadReply as error:
        str(error).encode()


def test_an_excerpt_shows_the_beginning_without_secrets():
    found = excerpt(b'{"access_token": "abc", "x": "hunter2' + b"\x00\xff" * 500, ("hunter2",))
    assert found.startswith('{"access_token": "***", "x": "***')
    assert len(found) <= EXCERPT
    assert found.isprintable()
    assert excerpt(b"") == ""


@given(st.dictionaries(encodable, st.lists(encodable) | encodable | st.integers() | st.booleans()))
def test_what_is_dumped_is_compact_and_reads_back(value):
    assert parse_object(dump(value)) == value
    assert dump(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"shareIds": ["1689759841444195840"]}, b'{"shareIds":["1689759841444195840"]}'),
        ({"comment": 'é"\\\n成'}, '{"comment":"é\\"\\\\\\n成"}'.encode()),
        ({"b": 1, "a": [True, None]}, b'{"b":1,"a":[true,null]}'),
    ],
)
def test_dumps_to_the_byte(value, body):
    assert dump(value) == body


@pytest.mark.parametrize("value", [{"x": math.nan}, {"x": math.inf}, {"x": "\ud800"}])
def test_what_is_no_json_is_not_sent(value):
    with pytest.raises(ValueError):
        dump(value)


# -- codes, texts, envelopes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, "0"),
        ("0", "0"),
        ("00", "0"),
        (" 0 ", "0"),
        (13000309, "13000309"),
        ("13000309", "13000309"),
        ("0013000309", "13000309"),
        (-1, "-1"),
        ("-1", "-1"),
        ("APIG.0308", "APIG.0308"),
        ("success", "success"),
        # What must not be taken for success, or for a code at all.
        (0.0, None),
        (-0.0, None),
        (None, None),
        (True, None),
        (False, None),
        ("", None),
        ("  ", None),
        ([], None),
        ([0], None),
        ({}, None),
        ({"code": 0}, None),
        ("0.0", "0.0"),
        ("0x0", "0x0"),
        ("false", "false"),
        ("\uff10", "\uff10"),
        ("\u0660", "\u0660"),
        ("9" * 64, "9" * 64),
        ("0" * 65, None),
        pytest.param("9" * 5_000, None, id="long"),
        (10**63, None),
        pytest.param(10**5_000, None, id="huge"),
        ("x" * 65, None),
    ],
)
def test_codes(value, code):
    assert read_code(value) == code


@given(json_values)
def test_success_is_read_from_zero_only(value):
    code = read_code(value)
    assert code is None or (isinstance(code, str) and 0 < len(code) <= 64)
    zero = (type(value) is int and value == 0) or (
        isinstance(value, str) and value.strip().removeprefix("-").strip("0") == "" and "0" in value
    )
    assert (code == "0") is zero


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (7, "7"),
        (1.5, "1.5"),
        (10**30, "1" + "0" * 30),
        (True, ""),
        (None, ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_texts(value, text):
    assert read_text(value) == text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"code": 0, "msg": "success", "data": {}}, ("0", "success", "")),
        ({"code": "13000102", "message": "bad"}, ("13000102", "bad", "")),
        ({"code": 1, "msg": "", "message": "second"}, ("1", "second", "")),
        ({"error_code": "APIG.0308", "error_msg": "slow", "request_id": "r1"}, ("APIG.0308", "slow", "r1")),
        ({"error_code": "APIG.0308"}, ("APIG.0308", "", "")),
        ({"error": {"code": 5, "msg": "no"}}, ("5", "no", "")),
        ({"error": {"errorData": {"code": "5", "message": "no"}}}, ("5", "no", "")),
        ({"error": {"code": 5, "errorData": {"code": 6}}}, ("5", "", "")),
        ({"error": {"error_code": "5", "error_msg": "no"}, "request_id": "r2"}, ("5", "no", "r2")),
        ({"code": 0, "error": {"code": 5}}, ("0", "", "")),
        ({"error": "no"}, (None, "", "")),
        ({"error": {"errorData": []}}, (None, "", "")),
        ({"code": None, "msg": 7}, (None, "7", "")),
        ({"code": True, "msg": None}, (None, "", "")),
        ({"request_id": "r" * 100}, (None, "", "r" * 64)),
        ({}, (None, "", "")),
    ],
)
def test_code_and_text_stand_in_one_of_three_shapes(body, expected):
    made = envelope(body)
    assert (made.code, made.message, made.request_id) == expected
    assert made.data == body
    assert "data" not in repr(made)


# -- the hot reply --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "sub"),
    [
        ({"shareId": "7", "code": 0, "msg": "ok"}, ShareSubResponse("7", "0", "ok")),
        ({"shareId": "7", "code": "0", "message": "ok"}, ShareSubResponse("7", "0", "ok")),
        ({"shareId": 2**63 + 1, "code": 5}, ShareSubResponse("9223372036854775809", "5", "")),
        ({"code": "13000309", "msg": None, "message": 7}, ShareSubResponse(None, "13000309", "7")),
        ({"shareId": None, "code": True}, ShareSubResponse(None, None, "")),
        ({"shareId": "7", "code": 0.0, "msg": []}, ShareSubResponse("7", None, "")),
        ({"shareId": "7", "code": 0, "more": 1}, ShareSubResponse("7", "0", "")),
    ],
)
def test_sub_responses(item, sub):
    (found,) = read_cancel_reply(envelope({"code": 0, "subResponseList": [item]})).sub_responses
    assert found == sub
    kept = {} if sub.share_id else item  # who has no name here may have one elsewhere
    assert {**found.extra, "code": None} == {**kept, "code": None}
    assert "extra" not in repr(found)


@pytest.mark.parametrize("listed", [None, {}, "x", 0, True])
def test_without_a_list_there_are_no_sub_responses(listed):
    made = envelope({"code": "0", "msg": "success", "subResponseList": listed})
    assert read_cancel_reply(made).sub_responses is None
    assert not has_sub_responses(made.data)
    assert read_cancel_reply(envelope({"code": 0, "subResponseList": []})).sub_responses == []


@given(wild_replies)
def test_any_object_is_a_cancel_reply(value):
    try:
        made = envelope(value)
    except BadReply:
        return
    found = read_cancel_reply(made)
    assert all(sub.share_id is None or isinstance(sub.share_id, str) for sub in found.sub_responses or ())
    assert all(isinstance(sub.message, str) for sub in found.sub_responses or ())


# -- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wire"),
    [("share_id", "shareId"), ("status", "status"), ("a_b_c", "aBC"), ("short_url", "shortUrl")],
)
def test_names_on_the_wire(name, wire):
    assert camel(name) == wire


LINK = {
    "shareId": "1689759841444195840",
    "shortUrl": "1808628918203192832",
    "shareTime": "2024-06-03T02:20:24.274Z",
    "ownerId": "1505084218764547200",
    "ownerName": "小明",
    "permission": {"preview": True, "edit": False, "download": True},
    "expireTime": "2024-07-03 02:20:24",
    "status": 0,
    "expireDate": "3",
}


def link(**changes):
    return read_model(envelope({"code": 0, "link": {**LINK, **changes}}), "link", CommonShareLink)


def test_a_link_as_documented():
    found = link()
    assert found == CommonShareLink(
        share_id="1689759841444195840",
        short_url="1808628918203192832",
        share_time="2024-06-03T02:20:24.274Z",
        owner_id="1505084218764547200",
        owner_name="小明",
        permission=SharePermission(preview=True, edit=False, download=True),
        expire_time="2024-07-03 02:20:24",
        status=0,
        expire_date="3",
    )
    assert found.shared_at == datetime(2024, 6, 3, 2, 20, 24, 274_000, tzinfo=UTC)
    assert found.expires_at == datetime(2024, 7, 3, 2, 20, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("shareId", 1689759841444195841, "1689759841444195841"),
        ("expireDate", 3, "3"),
        ("status", "2", 2),
        ("status", " 2 ", 2),
        ("status", 2.0, 2),
        ("status", -1, -1),
        ("status", 99, 99),
        ("permission", {"preview": "true"}, SharePermission(preview=True)),
        ("permission", {"preview": 0, "edit": "1"}, SharePermission(preview=False, edit=True)),
        ("permission", {}, SharePermission()),
        ("permission", {"preview": None, "print": 1}, SharePermission(extra={"print": 1})),
        ("permission", None, None),
        ("status", None, None),
        ("ownerName", None, ""),
        ("ownerName", "", ""),
    ],
)
def test_fields_are_read_whichever_way_their_type_drifts(field, raw, value):
    found = link(**{field: raw})
    name = {camel(name): name for name in ("share_id", "expire_date", "status", "permission", "owner_name")}[
        field
    ]
    assert getattr(found, name) == value
    assert not found.extra


@pytest.mark.parametrize(
    ("field", "raw", "default"),
    [
        ("status", "two", None),
        ("status", 2.5, None),
        ("status", True, None),
        ("status", [2], None),
        pytest.param("status", "9" * 5_000, None, id="long"),
        ("shareId", ["7"], ""),
        ("shareId", {}, ""),
        ("shareId", False, ""),
        ("permission", "all", None),
        ("permission", [], None),
    ],
)
def test_a_field_of_another_shape_is_at_its_default_and_kept_beside(field, raw, default):
    found = link(**{field: raw})
    assert getattr(found, {"shareId": "share_id"}.get(field, field)) == default
    assert found.extra == {field: raw}


def test_a_permission_that_is_no_yes_or_no_is_kept_beside():
    assert link(permission={"edit": "maybe", "preview": 7}).permission == SharePermission(
        extra={"edit": "maybe", "preview": 7}
    )


def test_unknown_fields_are_kept_also_one_of_the_name_that_they_are_kept_under():
    found = link(watermark={"on": 1}, extra=2, share_id=3)
    assert found.extra == {"watermark": {"on": 1}, "extra": 2, "share_id": 3}
    assert found.share_id == LINK["shareId"]


@given(wild_replies)
def test_any_object_is_a_link_or_a_bad_reply(value):
    try:
        found = read_model(envelope(value), "link", CommonShareLink)
    except BadReply:
        return
    assert isinstance(found.share_id, str)
    assert found.status is None or type(found.status) is int
    assert found.permission is None or isinstance(found.permission, SharePermission)


@pytest.mark.parametrize("value", [None, [], "x", 0])
def test_without_its_object_a_reply_is_bad(value):
    with pytest.raises(BadReply, match="no object 'link'"):
        read_model(envelope({"code": 0, "link": value}), "link", CommonShareLink)
