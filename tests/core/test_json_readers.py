"""The extra ``fast`` brings another JSON reader: it must say the same of every body, refusals included."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from koodrive_async.core import jsontext
from koodrive_async.core.errors import BadReply

pytest.importorskip("orjson")

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["0", "success", "a:b"])
)
ITEMS = st.dictionaries(st.sampled_from(["shareId", "code", "msg", "x:y", "é"]), SCALARS, max_size=4)
VALUES = st.one_of(SCALARS, st.lists(ITEMS, max_size=4), st.lists(SCALARS, max_size=3), ITEMS)
REPLIES = st.dictionaries(st.sampled_from(["code", "msg", "subResponseList", "x"]), VALUES, max_size=4)
# fmt: off
TOKENS = st.sampled_from([
    '{"a":', '"a":1', ",", "}", "[", "]", '"', ":", "1e5", "-0", "01", "18446744073709551616", "NaN", "1.0",
    '"\\ud800"', '"\\ud83d\\ude00"', '"\x01"', '"\x7f"', " ", "\ufeff", '"code":"0"', '[{"code":0,"code":1}]',
    "null", "\\u003a",
])
# fmt: on


def outcome(body):
    try:
        made = jsontext.parse_object(body)
    except BadReply as error:
        return str(error)
    return repr(made)  # tells 1 from 1.0 and True, and -0.0 from 0.0


def both(body):
    with pytest.MonkeyPatch.context() as patch:
        fast = outcome(body)
        patch.setattr(jsontext, "_fast_loads", None)
        return fast, outcome(body)


@given(REPLIES, st.booleans())
@example({"code": 2**64, "subResponseList": [{"code": -(2**63) - 1}]}, True)
def test_of_replies(reply, ascii_only):
    body = json.dumps(reply, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    fast, plain = both(body)
    assert fast == plain


@given(st.lists(TOKENS, max_size=12).map("".join), st.binary(max_size=4))
@example('{"a":1,"a":2}', b"")
@example('{"a":-0}', b"")
@example('{"a":[{"b":18446744073709551616}]}', b"")
@example('{"a":"\\u003a","a":1}', b"")
@example('{"\\u0061":1,"a":2}', b"")
@example('{"a":"\\ud800"}', b"")
@example("[" * 2000, b"")
def test_of_anything(text, tail):
    body = text.encode("utf-8", "surrogatepass") + tail
    fast, plain = both(body)
    assert fast == plain


def test_the_hot_reply_is_read_fast():
    body = b'{"code":"0","msg":"success","subResponseList":[{"shareId":"1","code":"0","msg":"success"}]}'
    assert jsontext._read_fast(body) == json.loads(body)
    assert jsontext._read_fast(body.replace(b'"1"', b'"1:"')) is None
