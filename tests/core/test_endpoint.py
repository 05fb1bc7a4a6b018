from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.endpoint import Endpoint, is_loopback
from koodrive_async.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "scheme", "hostname", "host"),
    [
        ("https://intl.myhuaweicloud-koodrive.com", "https", *["intl.myhuaweicloud-koodrive.com"] * 2),
        ("https://Example.COM/", "https", *["example.com"] * 2),
        ("https://example.com:443", "https", *["example.com"] * 2),
        ("https://example.com:8443", "https", "example.com", "example.com:8443"),
        ("https://10.32.45.165", "https", *["10.32.45.165"] * 2),
        ("HTTPS://example.com", "https", *["example.com"] * 2),
        ("http://localhost:8080", "http", "localhost", "localhost:8080"),
        ("http://127.0.0.1:80/", "http", *["127.0.0.1"] * 2),
        ("http://127.1.2.3:443", "http", "127.1.2.3", "127.1.2.3:443"),
        ("http://[::1]:8080", "http", "::1", "[::1]:8080"),
        ("https://[2001:db8::1]", "https", "2001:db8::1", "[2001:db8::1]"),
    ],
)
def test_endpoints(text, scheme, hostname, host):
    endpoint = Endpoint.parse(text)
    assert endpoint == Endpoint(scheme, hostname, host)
    assert str(endpoint) == f"{scheme}://{host}"
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "example.com", "//example.com", "https://", "https:///a", "https://:443", "https://."),
        *("ftp://example.com", "ws://localhost", "https:example.com", "https://example.com:port"),
        *("https://example.com:99999", "https://[::1", "https://é.example", "https://exa mple.com"),
        *("https://example.com\r\nX: 1", "https://example.com\n", "\thttps://example.com", None, 7),
        *(b"https://example.com", ["https://example.com"]),
    ],
)
def test_what_is_no_https_url_of_a_host_is_refused(text):
    with pytest.raises(ConfigurationError, match="must be an https URL"):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "https://example.com/koodrive",
            "https://example.com?a=1",
            "https://example.com#a",
            "https://example.com//",
        ),
        *("https://me@example.com", "https://me:hunter2@example.com", "https://@example.com"),
    ],
)
def test_what_is_more_than_scheme_and_host_is_refused_and_a_password_not_repeated(text):
    with pytest.raises(ConfigurationError, match="scheme and host only") as caught:
        Endpoint.parse(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "hostname",
    [
        *("example.com", "10.0.0.1", "0.0.0.0", "128.0.0.1", "localhost.example.com", "127.0.0.1.nip.io"),
        *("[2001:db8::1]", "2130706433", "127.1", "localhost.", "[::]"),
    ],
)
def test_http_is_for_loopback_only(hostname):
    assert not is_loopback(hostname.strip("[]"))
    with pytest.raises(ConfigurationError, match="in the clear"):
        Endpoint.parse(f"http://{hostname}:8080")


@given(
    st.text() | st.text(max_size=20).map("https://{}".format) | st.text(max_size=20).map("http://{}".format)
)
def test_any_text_is_an_endpoint_that_is_safe_or_a_typed_error(text):
    try:
        endpoint = Endpoint.parse(text)
    except ConfigurationError:
        return
    assert endpoint.scheme == "https" or is_loopback(endpoint.hostname)
    assert endpoint.host.isascii()
    assert endpoint.host.isprintable()
    assert not {*"@/?# \\"} & {*endpoint.host}
