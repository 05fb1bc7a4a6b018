"""Signatures against three vectors, against another tool, and against what goes over the wire."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koodrive_async.core.credentials import AppCredentials, TokenCredentials
from koodrive_async.core.operations import Operation, Repeat
from koodrive_async.core.secrets import Secret
from koodrive_async.core.signing import (
    authorization_value,
    canonical_query,
    canonical_request,
    canonical_uri,
    format_date,
    sign,
    signature,
    string_to_sign,
    trace_id,
)
from koodrive_async.core.wire import Request, header_values
from tests.core.builders import EPOCH, encodable

DATE, USER = "20240909T033325Z", "1505084218764547200"
HOST = "intl.myhuaweicloud-koodrive.com"
APP = AppCredentials("demo-app-id", "demo-app-secret", USER)
CANCEL = b'{"shareIds":["1689759841444195840"]}'
EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

# -- another tool ---------------------------------------------------------------------------------

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command here")


def digest(data: bytes, *options: str) -> str:
    """What the `openssl` command line makes of the bytes, in hex."""
    command = ["openssl", "dgst", "-sha256", *options]
    printed = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    return printed.decode().split()[-1]


def openssl_signature(secret: str, canonical: str) -> str:
    text = f"HMAC-SHA256\n{digest(canonical.encode())}"
    return digest(text.encode(), "-mac", "HMAC", "-macopt", f"hexkey:{secret.encode().hex()}")


# -- koodrive-api 2.3, to the letter --------------------------------------------------------------

VECTORS = [
    pytest.param(
        Request("POST", "/koodrive/ose/v1/share/cancel", body=CANCEL),
        ("x-date", "x-user-id"),
        "POST\n/koodrive/ose/v1/share/cancel/\n\nx-date:20240909T033325Z\nx-user-id:1505084218764547200\n\n"
        "x-date;x-user-id\ndd70bf83b9c02e005cc47272d09ba7111b7ecd02657676e7ecb703a58dbed788",
        "a1390d258e02426a989efccbc063d7eca651c1b30f9a8e0e10c716b15d507f1b",
        "0c091baecf1e483fbec03392d6a7f18fb739e8212bad33d25e7e9d2f52e10373",
        id="cancel",
    ),
    pytest.param(
        Request("POST", "/koodrive/ose/v1/share/cancel", body=CANCEL),
        ("host", "x-date", "x-user-id"),
        "POST\n/koodrive/ose/v1/share/cancel/\n\nhost:intl.myhuaweicloud-koodrive.com\n"
        "x-date:20240909T033325Z\nx-user-id:1505084218764547200\n\n"
        "host;x-date;x-user-id\ndd70bf83b9c02e005cc47272d09ba7111b7ecd02657676e7ecb703a58dbed788",
        "29c8d765e0572ba3ca42641b16c8543f960ff1e405d173c4bd4f3a8b6d2b2159",
        "f9b801ffefab0947faebd94ea32649175a0704d6c47e7a5ea0546b7314ac9784",
        id="with the host",
    ),
    pytest.param(
        Request("GET", "/koodrive/ose/v1/share/userInfo", [("shortUrl", "1808628918203192832")]),
        ("x-date", "x-user-id"),
        "GET\n/koodrive/ose/v1/share/userInfo/\nshortUrl=1808628918203192832\n"
        f"x-date:20240909T033325Z\nx-user-id:1505084218764547200\n\nx-date;x-user-id\n{EMPTY_HASH}",
        "2f6e09a1d1907f06603991f83a71e9464bbaeff6508bd2337b6ff6ec8c31b741",
        "686fb6d186574ea1c607372123c8901e8ccb3dbf5ade1153789f111da92063e8",
        id="with a query",
    ),
]


@pytest.mark.parametrize(("request_", "signed", "canonical", "hashed", "expected"), VECTORS)
def test_the_vectors(request_, signed, canonical, hashed, expected):
    headers = {"host": HOST, "x-date": DATE, "x-user-id": USER}
    made = canonical_request(request_.method, request_.path, request_.query, headers, signed, request_.body)
    assert made == canonical
    assert string_to_sign(made) == f"HMAC-SHA256\n{hashed}"
    assert signature(APP.app_secret, made) == expected
    credentials = AppCredentials("demo-app-id", "demo-app-secret", USER, signed_headers=signed)
    assert header_values(
        sign(request_, credentials, None, date=DATE, host=HOST).headers, "Authorization"
    ) == [f"HMAC-SHA256 AppId=demo-app-id,SignedHeaders={';'.join(signed)},Signature={expected}"]


@openssl
@pytest.mark.parametrize(("request_", "signed", "canonical", "hashed", "expected"), VECTORS)
def test_the_vectors_by_another_tool(request_, signed, canonical, hashed, expected):
    assert digest(request_.body) == canonical.rpartition("\n")[2]
    assert digest(canonical.encode()) == hashed
    assert openssl_signature("demo-app-secret", canonical) == expected


# Canonical requests written by hand from the rules of page koodrive_05_0035, not by the code under test.
AWKWARD = [
    (
        Request("get", "/koodrive/ose/v1/share", [("b", "2"), ("a", ""), ("F", "x y"), ("a", "+%~*")]),
        "GET\n/koodrive/ose/v1/share/\nF=x%20y&a=&a=%2B%25~%2A&b=2\n",
    ),
    (
        Request("GET", "/koodrive/ose/v1/share/a%2Fb%20c%E6%88%90", [("é", "成/=&?")]),
        "GET\n/koodrive/ose/v1/share/a%2Fb%20c%E6%88%90/\n%C3%A9=%E6%88%90%2F%3D%26%3F\n",
    ),
    (
        Request("GET", "/koodrive/ose/v1/share", [("already", "%20"), ("plus", "a+b")]),
        "GET\n/koodrive/ose/v1/share/\nalready=%2520&plus=a%2Bb\n",
    ),
    (Request("PUT", "/koodrive/ose/v1/share/7", body="{成}".encode()), "PUT\n/koodrive/ose/v1/share/7/\n\n"),
]


@openssl
@pytest.mark.parametrize(("request_", "beginning"), AWKWARD)
def test_awkward_requests_by_another_tool(request_, beginning):
    canonical = (
        f"{beginning}host:localhost:8080\nx-date:{DATE}\nx-hw-agentname:carrier\nx-user-id:{USER}\n\n"
        f"host;x-date;x-hw-agentname;x-user-id\n{digest(request_.body)}"
    )
    signed = ("x-user-id", "X-Hw-Agentname", "host", "x-date")
    credentials = AppCredentials("demo-app-id", "demo-app-secret", USER, "carrier", signed)
    made = sign(request_, credentials, None, date=DATE, host="localhost:8080")
    expected = openssl_signature("demo-app-secret", canonical)
    names = "host;x-date;x-hw-agentname;x-user-id"
    (value,) = header_values(made.headers, "authorization")
    assert value == f"HMAC-SHA256 AppId=demo-app-id,SignedHeaders={names},Signature={expected}"


@openssl
@settings(max_examples=15)
@given(secret=st.text(min_size=1, max_size=100).filter(str.isprintable), canonical=encodable)
def test_any_secret_and_text_by_another_tool(secret, canonical):
    assert signature(Secret(secret), canonical) == openssl_signature(secret, canonical)


# -- canonical form -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/", "/"),
        ("", "/"),
        ("/a", "/a/"),
        ("/a/", "/a/"),
        ("//a///b//", "/a/b/"),
        ("/a/./b", "/a/b/"),
        ("/a/../b", "/b/"),
        ("/../a", "/a/"),
        ("/a/b/..", "/a/"),
        ("/a b", "/a%20b/"),
        ("/a+b", "/a%2Bb/"),
        ("/a~b-c_d.e", "/a~b-c_d.e/"),
        ("/a*b", "/a%2Ab/"),
        ("/é/成", "/%C3%A9/%E6%88%90/"),
        ("/%C3%A9", "/%C3%A9/"),
        ("/a%20b", "/a%20b/"),
        ("/a%2fb", "/a%2Fb/"),
        ("/a%2Bb", "/a%2Bb/"),
        ("/a%25b", "/a%25b/"),
        ("/a%2520b", "/a%2520b/"),
        ("/a%7Eb", "/a~b/"),
        ("/100%", "/100%25/"),
    ],
)
def test_paths(path, canonical):
    assert canonical_uri(path) == canonical


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ([], ""),
        ([("parm2", ""), ("parm1", "value1")], "parm1=value1&parm2="),
        ([("b", "1"), ("F", "2")], "F=2&b=1"),
        ([("a", "2"), ("a", "10"), ("a", "")], "a=&a=10&a=2"),
        ([("a b", "c d")], "a%20b=c%20d"),
        ([("a", "+%~*")], "a=%2B%25~%2A"),
        ([("a", "%20")], "a=%2520"),
        ([("a", "-_.~AZaz09")], "a=-_.~AZaz09"),
        (
            [("a", "!'()[]{}|\\^`\"<>#$&/:;=?@,")],
            "a=%21%27%28%29%5B%5D%7B%7D%7C%5C%5E%60%22%3C%3E%23%24%26%2F%3A%3B%3D%3F%40%2C",
        ),
        ([("é", "成")], "%C3%A9=%E6%88%90"),
        ([("z", "1"), ("é", "2")], "z=1&%C3%A9=2"),
        ([("", "")], "="),
        ([("a", "\r\n\x00")], "a=%0D%0A%00"),
    ],
)
def test_queries(query, canonical):
    assert canonical_query(query) == canonical


@given(st.lists(st.tuples(encodable, encodable), max_size=5))
def test_the_query_that_is_signed_is_what_goes_over_the_wire_in_order_of_names(query):
    _, _, wire = Request("GET", "/a", query).target.partition("?")
    assert sorted(canonical_query(query).split("&")) == sorted(wire.split("&"))
    pairs = [tuple(map(unquote, pair.split("="))) for pair in canonical_query(query).split("&") if pair]
    assert pairs == sorted(query)


@given(encodable.filter(lambda text: text.strip(". ") and text.isprintable()))
def test_the_path_that_is_signed_is_what_goes_over_the_wire_and_a_slash(segment):
    path = Operation("any", "GET", "/share/{}", Repeat.ALWAYS, "any.html").url_path(segment)
    assert canonical_uri(path) == path + "/"


def test_header_values_are_trimmed_and_nothing_else():
    made = canonical_request("GET", "/", [], {"x-date": " a  b\t", "host": "H"}, ["host", "x-date"], b"")
    assert made == f"GET\n/\n\nhost:H\nx-date:a  b\n\nhost;x-date\n{EMPTY_HASH}"


# -- headers --------------------------------------------------------------------------------------


def headers_of(credentials, token=None, **changes):
    request = Request(**{"method": "POST", "path": "/a", "body": b"{}", **changes})
    made = sign(request, credentials, token, date=DATE, host="h:1").headers
    assert len({name.lower() for name, _ in made}) == len(made)
    return dict(made)


def test_a_token_goes_with_all_that_the_tables_ask_for():
    assert headers_of(TokenCredentials("tok", USER), Secret("tok"), headers=(("Accept", "a/b"),)) == {
        "Accept": "a/b",
        "X-User-Id": USER,
        "X-Date": DATE,
        "Authorization": "Bearer+tok",
    }


def test_the_token_of_the_moment_goes_not_the_one_of_the_credentials():
    assert headers_of(TokenCredentials("old", USER, prefix=""), Secret("new"))["Authorization"] == "new"


def test_older_headers_are_replaced():
    older = (("authorization", "old"), ("X-DATE", "old"), ("x-user-id", "old"), ("x-hw-agentname", "old"))
    made = headers_of(AppCredentials("id", "s", USER, "carrier"), headers=older)
    assert made.keys() == {"X-User-Id", "X-Date", "X-Hw-Agentname", "Authorization"}
    assert "old" not in made.values()


def test_signing_again_with_another_date_gives_another_signature():
    first, second = (
        sign(Request("GET", "/a"), APP, None, date=date, host="h") for date in (DATE, "20240909T033326Z")
    )
    assert first.headers != second.headers
    assert sign(second, APP, None, date=DATE, host="h").headers == first.headers


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "GET"},
        {"path": "/b"},
        {"query": [("a", "")]},
        {"body": b"{} "},
        {"headers": [("Content-Type", "text/plain")]},
    ],
)
def test_whatever_is_signed_changes_the_signature(changed):
    signed = ("host", "x-date", "x-user-id", "content-type")
    credentials = AppCredentials("id", "s", USER, signed_headers=signed)
    json = {"headers": [("Content-Type", "application/json")]}
    assert (
        headers_of(credentials, **json)["Authorization"]
        != headers_of(credentials, **{**json, **changed})["Authorization"]
    )


@pytest.mark.parametrize("name", ["content-type", "x-traceid"])
def test_a_header_that_a_request_does_not_have_is_not_said_to_be_signed(name):
    credentials = AppCredentials("id", "s", USER, signed_headers=("x-date", "x-user-id", name))
    value = headers_of(credentials, method="GET", body=b"")["Authorization"]
    assert "SignedHeaders=x-date;x-user-id,Signature=" in value


@pytest.mark.parametrize(
    "credentials",
    [
        TokenCredentials("tok", USER),
        APP,
        TokenCredentials("t", USER, "carrier"),
        AppCredentials("a", "s", USER, "carrier"),
    ],
)
def test_a_public_call_names_the_carrier_and_nobody_else(credentials):
    made = headers_of(credentials, Secret("tok"), authenticated=False)
    assert made == ({"X-Hw-Agentname": "carrier"} if credentials.agent_name else {})


def test_the_authorization_has_one_blank_and_commas_without():
    assert authorization_value("id", ["x-date", "x-user-id"], "ff" * 32) == (
        "HMAC-SHA256 AppId=id,SignedHeaders=x-date;x-user-id,Signature=" + "ff" * 32
    )


# -- dates and trace ids --------------------------------------------------------------------------


def test_dates():
    assert format_date(EPOCH) == DATE
    assert format_date(EPOCH + 0.999999) == DATE
    assert format_date(0) == "19700101T000000Z"


@given(st.floats(0, 4e9))
def test_a_date_is_never_later_than_the_time_and_less_than_a_second_earlier(epoch):
    written = datetime.strptime(format_date(epoch), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    assert written <= epoch < written + 1


@given(st.from_regex(r"\A[0-9a-f]{32}\Z"), st.integers(0, 10**12 - 1), st.integers(0, 10**12 - 1))
def test_a_trace_id_has_58_characters_and_tells_what_it_is_of(call, batch, request):
    made = trace_id(call, batch, request)
    assert re.fullmatch(r"[0-9A-Za-z_]{58}", made)
    assert re.fullmatch(r"(.{32})b0*(\d+)r0*(\d+)", made).groups() == (call, str(batch), str(request))


def test_trace_ids_are_distinct():
    calls = ["0" * 32, "f" * 32, "0f" * 16]
    made = [
        trace_id(call, batch, request) for call in calls for batch in range(30) for request in range(1, 8)
    ]
    assert len({*made}) == len(made)
    assert {len(trace_id(call, 1, 1)) for call in ("", "short", "l" * 99)} == {58}
