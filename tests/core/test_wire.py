from __future__ import annotations

import string
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.wire import (
    SHOWN_HEADERS,
    Reply,
    Request,
    encode_query,
    header_values,
    percent_encode,
    shown,
)
from tests.core.builders import encodable

SECRETS = [
    ("Authorization", "hunter2"),
    ("Cookie", "hunter2"),
    ("Set-Cookie", "hunter2"),
    ("X-User-Id", "hunter2"),
    ("Proxy-Authorization", "hunter2"),
    ("X-Anything", "hunter2"),
]


def test_headers_are_masked_unless_known_to_be_harmless():
    assert shown([*SECRETS[:2], ("X-TRACEID", "t"), ("Content-Type", "a/b")]) == (
        "{Authorization: ***, Cookie: ***, X-TRACEID: t, Content-Type: a/b}"
    )
    assert not SHOWN_HEADERS & {name.lower() for name, _ in SECRETS}
    assert {name.lower() for name in SHOWN_HEADERS} == SHOWN_HEADERS


@pytest.mark.parametrize(
    "value",
    [
        Request("POST", "/a", [("kdstoken", "hunter2")], SECRETS, b"hunter2", "verify", "t"),
        Reply(200, SECRETS, b"hunter2"),
    ],
)
def test_neither_a_request_nor_a_reply_shows_a_secret(value):
    for text in (repr(value), str(value), f"{value}"):
        assert "hunter2" not in text
        assert "Authorization: ***" in text


@given(encodable)
def test_encoding_leaves_only_unreserved_characters_and_upper_case_hex(text):
    encoded = percent_encode(text)
    assert unquote(encoded) == text
    unreserved = string.ascii_letters + string.digits + "-_.~"
    plain, *escaped = encoded.split("%")
    assert all(piece[:2].isalnum() and piece[:2] == piece[:2].upper() for piece in escaped)
    assert {*plain, *"".join(piece[2:] for piece in escaped)} <= {*unreserved}
    assert all(percent_encode(char) == char for char in unreserved)


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ([], "/a"),
        ([("b", "2"), ("a", "1")], "/a?b=2&a=1"),
        ([("a", "")], "/a?a="),
        ([("a", "x y+z"), ("a", "&=")], "/a?a=x%20y%2Bz&a=%26%3D"),
        ([("é", "成")], "/a?%C3%A9=%E6%88%90"),
        ([("~", "*!'()/")], "/a?~=%2A%21%27%28%29%2F"),
    ],
)
def test_a_target_is_path_and_query_as_given(query, target):
    assert Request("GET", "/a", query).target == target


@given(st.lists(st.tuples(encodable, encodable), max_size=4))
def test_a_query_can_be_read_back(query):
    encoded = encode_query(query)
    assert [tuple(map(unquote, pair.split("="))) for pair in encoded.split("&") if pair] == query


def test_more_headers_replace_those_of_the_same_name_and_keep_the_rest():
    request = Request("GET", "/a", headers=[("Accept", "a/b"), ("x-date", "old"), ("X-Date", "older")])
    assert request.with_headers(("X-Date", "new"), ("Y", "1")).headers == (
        ("Accept", "a/b"),
        ("X-Date", "new"),
        ("Y", "1"),
    )
    assert list(request.headers)[1] == ("x-date", "old")


def test_a_header_is_found_whatever_its_case():
    reply = Reply(200, [("Retry-After", "2"), ("retry-after", "5"), ("Date", "now")])
    assert header_values(reply.headers, "RETRY-AFTER") == ["2", "5"]
    assert (reply.header("retry-after"), reply.header("DATE"), reply.header("server")) == ("2", "now", None)
