"""Throw-away certificates, good and bad, and a server that shows them."""

import functools
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

import trustme

from tests.support.http1 import SeenRequest
from tests.support.rawserver import Answer, RawServer
from tests.support.threaded import HOST

Cert = Literal["good", "expired", "wrong-host", "untrusted"]


@functools.cache
def _authority(name: str) -> trustme.CA:
    return trustme.CA(organization_name=name)


def client_context() -> ssl.SSLContext:
    """Trusts the authority behind every certificate here but the "untrusted"."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority("trusted").configure_trust(context)
    return context


def server_context(cert: Cert = "good", *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    authority = _authority("unknown" if cert == "untrusted" else "trusted")
    hosts = ("elsewhere.example",) if cert == "wrong-host" else (HOST, "localhost")
    if cert == "expired":
        yesterday = datetime.now(UTC) - timedelta(days=1)
        leaf = authority.issue_cert(*hosts, not_before=yesterday - timedelta(days=1), not_after=yesterday)
    else:
        leaf = authority.issue_cert(*hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def tls_server(answer: bytes | Callable[[SeenRequest], Answer], cert: Cert = "good") -> RawServer:
    """A `RawServer` over TLS; `answer` is its handler, or the raw reply to everything."""
    handler = answer if callable(answer) else lambda _request: answer
    return RawServer(handler, ssl_context=server_context(cert))
