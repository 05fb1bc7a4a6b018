from __future__ import annotations

import copy
import pickle

import attrs
import pytest

from koodrive_async.core.credentials import AppCredentials, TokenCredentials, check_header_value
from koodrive_async.core.errors import ConfigurationError
from koodrive_async.core.secrets import Secret


async def provider(stale):
    return "fresh"


@pytest.mark.parametrize(
    ("token", "sent"),
    [
        ("Bearer+abc", "Bearer+abc"),
        ("Bearer abc", "Bearer abc"),
        ("AT 3b911d72", "AT 3b911d72"),
        ("abc", "Bearer+abc"),
        ("ATabc", "Bearer+ATabc"),
        ("Bearerabc", "Bearer+Bearerabc"),
        ("a Bearer+b", "Bearer+a Bearer+b"),
    ],
)
def test_a_token_with_a_scheme_goes_verbatim_any_other_after_the_documented_prefix(token, sent):
    assert TokenCredentials(token, "7").authorization(Secret(token)).reveal() == sent


@pytest.mark.parametrize(("prefix", "sent"), [("", "abc"), ("Bearer ", "Bearer abc"), ("AT+", "AT+abc")])
def test_the_prefix_is_a_setting_for_tokens_without_a_scheme(prefix, sent):
    credentials = TokenCredentials(provider, "7", prefix=prefix)
    assert credentials.authorization(Secret("abc")).reveal() == sent
    assert credentials.authorization(Secret("AT abc")).reveal() == "AT abc"


HEADER_LIKE = [
    *("", " ", "hunter2\r\nX-Evil: 1", "hunter2\n", "hunter2\r", "hunter2\0", "hunter2\x7f", "\thunter2"),
    *("hunter2é", "hunter2成", " hunter2", "hunter2 ", 7, b"hunter2", True),
]


@pytest.mark.parametrize("value", [*HEADER_LIKE, None])
@pytest.mark.parametrize(
    "make",
    [
        lambda v: TokenCredentials(v, "7"),
        lambda v: TokenCredentials("tok", v),
        lambda v: AppCredentials(v, "secret", "7"),
        lambda v: AppCredentials("id", v, "7"),
        lambda v: AppCredentials("id", "secret", v),
        lambda v: AppCredentials("id", Secret(v), "7"),
    ],
)
def test_what_can_t_stand_in_a_header_is_refused_and_not_repeated(make, value):
    with pytest.raises(ConfigurationError, match=r"^\w+\(\w+=\.\.\.\) must") as caught:
        make(value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", HEADER_LIKE)
def test_an_agent_name_stands_in_a_header_or_is_none(value):
    for make in (TokenCredentials, lambda *a, **k: AppCredentials("id", *a, **k)):
        with pytest.raises(ConfigurationError, match="agent_name"):
            make("tok", "7", agent_name=value)
        assert make("tok", "7", agent_name=None).agent_name is None


@pytest.mark.parametrize("prefix", [None, 7, " ", "é", "a\n", " Bearer"])
def test_a_prefix_that_can_t_stand_in_a_header_is_refused(prefix):
    with pytest.raises(ConfigurationError, match="prefix"):
        TokenCredentials("tok", "7", prefix=prefix)


@pytest.mark.parametrize("app_id", ["a,b", "a b"])
def test_an_app_id_stands_between_an_equals_sign_and_a_comma(app_id):
    with pytest.raises(ConfigurationError, match="commas or blanks"):
        AppCredentials(app_id, "secret", "7")


@pytest.mark.parametrize(
    ("names", "signed"),
    [
        (("X-User-Id", "X-Date"), ("x-date", "x-user-id")),
        (["x-user-id", "host", "x-date", "HOST"], ("host", "x-date", "x-user-id")),
        (("x-hw-agentname", "x-user-id", "x-date"), ("x-date", "x-hw-agentname", "x-user-id")),
        (
            ("x-traceid", "content-type", "x-user-id", "x-date"),
            ("content-type", "x-date", "x-traceid", "x-user-id"),
        ),
    ],
)
def test_signed_headers_are_lower_case_and_in_order(names, signed):
    assert AppCredentials("id", "secret", "7", "carrier", names).signed_headers == signed


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("x-date",),
        ("x-date", "x-user-id", "authorization"),
        ("x-date", "x-user-id", ""),
        "x-date",
        None,
        (1,),
    ],
)
def test_headers_that_can_t_be_signed_are_refused(names):
    with pytest.raises(ConfigurationError, match="signed_headers"):
        AppCredentials("id", "secret", "7", signed_headers=names)


def test_an_agent_name_is_signed_only_where_there_is_one():
    with pytest.raises(ConfigurationError, match="there is no agent_name"):
        AppCredentials("id", "secret", "7", signed_headers=("x-date", "x-user-id", "x-hw-agentname"))


CREDENTIALS = [
    TokenCredentials("hunter2", "7"),
    TokenCredentials(Secret("hunter2"), "7", "carrier"),
    AppCredentials("id", "hunter2", "7"),
    AppCredentials("id", Secret("hunter2"), "7"),
]


@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_secrets_are_never_shown(credentials):
    for shown in (repr(credentials), str(credentials), repr(attrs.asdict(credentials, recurse=False))):
        assert "hunter2" not in shown
        assert "***" in shown
        assert "'7'" in shown


@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_credentials_with_a_secret_are_not_pickled(credentials):
    with pytest.raises(TypeError, match="a secret is not pickled") as caught:
        pickle.dumps(credentials)
    assert "hunter2" not in str(caught.value)
    assert copy.copy(credentials) == credentials


@pytest.mark.parametrize(
    ("credentials", "token", "secrets"),
    [
        (TokenCredentials(provider, "7"), None, {""}),
        (TokenCredentials(provider, "7"), "abc", {"abc"}),
        (TokenCredentials("old", "7"), "Bearer+abc", {"Bearer+abc", "abc"}),
        (TokenCredentials("old", "7"), "Bearer abc", {"Bearer abc", "abc"}),
        (TokenCredentials("old", "7"), "AT abc", {"AT abc", "abc"}),
        (AppCredentials("id", "hunter2", "7"), None, {"id", "hunter2"}),
    ],
)
def test_what_no_text_may_repeat_is_the_secret_with_its_scheme_and_without(credentials, token, secrets):
    assert {*credentials.secrets(token and Secret(token))} == secrets


def test_credentials_are_values():
    assert TokenCredentials("a", "7") == TokenCredentials(Secret("a"), "7") != TokenCredentials("b", "7")
    assert len({TokenCredentials("a", "7"), TokenCredentials("a", "7"), TokenCredentials(provider, "7")}) == 2
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        CREDENTIALS[0].user_id = "8"


@pytest.mark.parametrize("value", ["a", "a b", "~!@#$%^&*()", "a" * 10_000])
def test_what_can_stand_in_a_header_passes(value):
    assert check_header_value("x", value) == value
