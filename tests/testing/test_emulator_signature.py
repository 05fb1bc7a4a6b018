"""The server's reading of APP signatures: the dossier's vectors, awkward targets, refusals."""

import httpx
import pytest

from koodrive_async.testing import signature

DATE, USER = "20240909T033325Z", "1505084218764547200"
BODY = b'{"shareIds":["1689759841444195840"]}'
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("method", "path", "query", "extra", "body", "digest", "expected"),
    [
        (
            "POST",
            b"/koodrive/ose/v1/share/cancel",
            b"",
            {},
            BODY,
            "a1390d258e02426a989efccbc063d7eca651c1b30f9a8e0e10c716b15d507f1b",
            "0c091baecf1e483fbec03392d6a7f18fb739e8212bad33d25e7e9d2f52e10373",
        ),
        (
            "POST",
            b"/koodrive/ose/v1/share/cancel",
            b"",
            {"host": "intl.myhuaweicloud-koodrive.com"},
            BODY,
            "29c8d765e0572ba3ca42641b16c8543f960ff1e405d173c4bd4f3a8b6d2b2159",
            "f9b801ffefab0947faebd94ea32649175a0704d6c47e7a5ea0546b7314ac9784",
        ),
        (
            "GET",
            b"/koodrive/ose/v1/share/userInfo",
            b"shortUrl=1808628918203192832",
            {},
            b"",
            "2f6e09a1d1907f06603991f83a71e9464bbaeff6508bd2337b6ff6ec8c31b741",
            "686fb6d186574ea1c607372123c8901e8ccb3dbf5ade1153789f111da92063e8",
        ),
    ],
)
def test_vectors(method, path, query, extra, body, digest, expected):
    headers = {"x-date": DATE, "x-user-id": USER, **extra}
    canonical = signature.canonical_request(
        method, raw_path=path, raw_query=query, headers=headers, signed=sorted(headers), body=body
    )
    to_sign = signature.string_to_sign(canonical)
    assert to_sign == f"HMAC-SHA256\n{digest}"
    assert signature.signature("demo-app-secret", to_sign) == expected


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"/a/b", "/a/b/"),
        (b"/a/b/", "/a/b/"),
        (b"/", "/"),
        (b"//a///b/./c/../d", "/a/b/d/"),
        (b"/a%20b/%7Etilde/%2a", "/a%20b/~tilde/%2A/"),
        (b"/a+b*c", "/a%2Bb%2Ac/"),
        (b"/a%2Fb", "/a%2Fb/"),
        (b"/%E5%90%88", "/%E5%90%88/"),
        (b"/100%25", "/100%25/"),
        (b"/../..", "/"),
    ],
)
def test_canonical_uri(raw, canonical):
    assert signature.canonical_uri(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"", ""),
        (b"b=1&F=2", "F=2&b=1"),
        (b"parm1=value1&parm2=", "parm1=value1&parm2="),
        (b"flag", "flag="),
        (b"a=2&a=1", "a=1&a=2"),
        (b"q=a%20b&r=a+b", "q=a%20b&r=a%2Bb"),
        (b"q=x=y&&", "q=x%3Dy"),
        (b"%C3%A9=1&z=2", "z=2&%C3%A9=1"),
        (b"q=~*-_.%7e", "q=~%2A-_.~"),
    ],
)
def test_canonical_query(raw, canonical):
    assert signature.canonical_query(raw) == canonical


def authorization(value, names="x-date;x-user-id", app_id="demo-app-id"):
    return f"HMAC-SHA256 AppId={app_id},SignedHeaders={names},Signature={value}"


def test_a_good_signature_is_accepted_for_a_body_a_query_and_the_host(caller, signer):
    call = caller(shares=2)
    headers = {name: call.headers()[name] for name in ("x-date", "x-user-id")}
    value = signer(
        "demo-app-secret", "POST", "/koodrive/ose/v1/share/cancel/", "", headers, b'{"shareIds": ["x"]}'
    )
    assert call.cancel("x", authorization=authorization(value)).status_code == 200

    query = "displayName=a%20%2B%E5%90%88&pageSize=5"
    value = signer("demo-app-secret", "GET", "/koodrive/ose/v1/share/", query, headers, b"")
    signed = {**headers, "authorization": authorization(value)}
    reply = call.client.get("/koodrive/ose/v1/share?pageSize=5&displayName=a%20%2B%E5%90%88", headers=signed)
    assert reply.status_code == 200

    headers["host"] = call.emulator.url.removeprefix("http://")
    value = signer("demo-app-secret", "GET", "/koodrive/ose/v1/share/", "", headers, b"")
    signed = {**headers, "authorization": authorization(value, "host;x-date;x-user-id")}
    assert call.client.get("/koodrive/ose/v1/share", headers=signed).status_code == 200
    assert call.emulator.app_calls == {"demo-app-id": 3}


def test_a_wrong_signature_is_explained(caller):
    call = caller()
    reply = call.cancel("x", authorization=authorization("0" * 64))
    assert reply.status_code == 401
    body = reply.json()
    assert body["error_code"] == "APIG.0303"
    date = call.emulator.log[-1].date
    assert f"POST\n/koodrive/ose/v1/share/cancel/\n\nx-date:{date}\nx-user-id:{USER}\n\n" in body["error_msg"]
    assert "string to sign:\nHMAC-SHA256\n" in body["error_msg"]
    assert "demo-app-secret" not in reply.text


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("HMAC-SHA256 AppId=demo-app-id, SignedHeaders=x-date;x-user-id, Signature=" + "0" * 64, "exactly"),
        (authorization("0" * 63), "exactly"),
        (authorization("A" * 64), "exactly"),
        ("HMAC-SHA256", "exactly"),
        (authorization("0" * 64, app_id="other"), "app not found"),
        (authorization("0" * 64, "x-user-id;x-date"), "alphabetical"),
        (authorization("0" * 64, "X-Date;X-User-Id"), "alphabetical"),
        (authorization("0" * 64, "x-date;x-date;x-user-id"), "alphabetical"),
        (authorization("0" * 64, "x-date"), "x-user-id must be"),
        (authorization("0" * 64, "x-date;x-missing;x-user-id"), "not sent: x-missing"),
    ],
)
def test_what_is_wrong_with_the_header_is_said(caller, value, says):
    reply = caller().cancel("x", authorization=value)
    assert reply.status_code == 401
    assert reply.json()["error_code"] == "APIG.0303"
    assert says in reply.json()["error_msg"]


def test_a_changed_body_is_noticed(caller, signer):
    call = caller()
    headers = {name: call.headers()[name] for name in ("x-date", "x-user-id")}
    value = signer("demo-app-secret", "POST", "/koodrive/ose/v1/share/cancel/", "", headers, b"{}")
    assert call.cancel("x", authorization=authorization(value)).status_code == 401


def test_the_raw_target_counts_not_a_decoded_one(caller, signer):
    """`%2B` and `%2F` reach the check as they were sent."""
    call = caller()
    headers = {name: call.headers()[name] for name in ("x-date", "x-user-id")}
    value = signer("demo-app-secret", "GET", "/koodrive/ose/v1/share/a%2Bb%20c/", "", headers, b"")
    url = httpx.URL(call.emulator.url).copy_with(raw_path=b"/koodrive/ose/v1/share/a%2Bb%20c")
    reply = call.client.get(url, headers={**headers, "authorization": authorization(value)})
    assert reply.json()["code"] == 13000309
    assert call.emulator.log[-1].target == "/koodrive/ose/v1/share/a%2Bb%20c"
