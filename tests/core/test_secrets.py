from __future__ import annotations

import copy
import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.secrets import EXCERPT, MASK, MESSAGE, Secret, scrub

TOKEN_CHARS = string.ascii_letters + string.digits + "+/=._-"
tokens = st.text(TOKEN_CHARS, min_size=8, max_size=80)


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "%s".__mod__, "{0!r}".format, lambda s: f"{[s]}"])
def test_a_secret_prints_as_a_mask(shown):
    text = shown(Secret("hunter2"))
    assert "hunter2" not in text
    assert MASK in text


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy])
def test_a_secret_refuses_to_be_pickled_and_does_not_say_itself(leak):
    with pytest.raises(TypeError, match="a secret is not pickled") as caught:
        leak(Secret("hunter2"))
    assert "hunter2" not in str(caught.value)


def test_secrets_are_equal_and_hash_by_value():
    assert {Secret("a"), Secret("a"), Secret("b")} == {Secret("a"), Secret("b")}
    assert Secret("a") != "a"
    assert Secret("a").reveal() == "a"


@given(pieces=st.lists(st.text(max_size=30), max_size=8), secrets=st.lists(tokens, min_size=1, max_size=3))
def test_no_given_secret_survives(pieces, secrets):
    text = "".join(piece + secret for piece, secret in zip(pieces, secrets * 8, strict=False))
    freed = scrub(text, tuple(secrets))
    assert not [secret for secret in secrets if secret in freed]
    assert freed.isprintable()
    assert len(freed) <= MESSAGE


@pytest.mark.parametrize("length", [20, 64, 300, 1000])
@pytest.mark.parametrize("before", [0, 1, 190, 199, 350, 799])
def test_not_even_the_beginning_of_a_secret_survives_a_cut(length, before):
    secret = "S3cr" * (length // 4)
    assert "S3cr" not in scrub("x" * before + secret * 9, (secret,), limit=EXCERPT)


@pytest.mark.parametrize("secrets", [("abcd1234", "abcd1234efgh5678"), ("abcd1234efgh5678", "abcd1234")])
def test_of_secrets_within_each_other_none_leaves_a_rest(secrets):
    assert scrub("id abcd1234efgh5678 and abcd1234.", secrets) == f"id {MASK} and {MASK}."


@pytest.mark.parametrize(
    ("text", "freed"),
    [
        ("Authorization: Bearer+abc.def", "Authorization: Bearer+***"),
        ("Authorization: Bearer abc.def, more", "Authorization: Bearer ***, more"),
        ("Authorization: AT 3b911d72", "Authorization: AT ***"),
        ('{"accessToken":"abc","userId":"7"}', '{"accessToken":"***","userId":"7"}'),
        ('{"access_token": "abc"}', '{"access_token": "***"}'),
        ("kdstoken=abc&shareId=7", "kdstoken=***&shareId=7"),
        ("{'extractCode': '31945314'}", "{'extractCode': '***'}"),
        ("appSecret=s3cr3t;", "appSecret=***;"),
        (
            "HMAC-SHA256 AppId=me,SignedHeaders=x-date,Signature=0c09",
            "HMAC-SHA256 AppId=***,SignedHeaders=x-date,Signature=***",
        ),
        ("signature time:20240909T033325Z,server time:20240909T033325Z",) * 2,
        ("the share expired at noon, found at server 7",) * 2,
        ("line\r\nbreak\x1b[31m and \u202e", "line  break [31m and  "),
        ("", ""),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_nothing_else(text, freed):
    assert scrub(text) == freed


def test_a_long_text_is_cut_and_shows_it():
    assert scrub("x" * 10_000_000, limit=50) == "x" * 49 + "…"
    assert scrub("x" * 50, limit=50) == "x" * 50


def test_an_empty_secret_masks_nothing():
    assert scrub("text", ("",)) == "text"
