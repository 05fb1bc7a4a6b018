"""The extra ``fast``: requests over pyreqwest (Rust: reqwest and hyper) instead of httpx. On asyncio only.

The only file that imports pyreqwest. Its own classes of errors are not believed: a connection that is
lost after a request was sent is a "ConnectError" there, a service that stays silent a "ConnectTimeoutError".
What was certainly not sent is read off hyper's words in the causes; all else may have been sent.
Refuses what pyreqwest can't do as the default does: TLS contexts of Python's, proxies, HTTP/2.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import anyio
import sniffio
from anyio.lowlevel import checkpoint_if_cancelled
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, PyreqwestError
from pyreqwest.response import Response

from koodrive_async.core.body import Body
from koodrive_async.core.endpoint import Endpoint
from koodrive_async.core.errors import (
    AttemptTimeout,
    BadReply,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    Sent,
    TransportFailure,
)
from koodrive_async.core.settings import Network, Timeout
from koodrive_async.core.wire import Reply, Request
from koodrive_async.shell.departure import Departure

#: Hyper's word for everything before the first byte of a request.
_CONNECTING = "client error (Connect)"

#: A day: what a duration of Rust's can hold without doubt.
_LONGEST = 86_400.0


def _duration(seconds: float) -> timedelta:
    return timedelta(seconds=min(seconds, _LONGEST))


class FastWire:
    """The way to the service; in place of ``transport.HttpxWire``.

    Raises:
        ConfigurationError: A setting that needs the default transport.
    """

    def __init__(self, endpoint: Endpoint, network: Network) -> None:
        unable = [name for name in ("tls", "proxy", "trust_env", "http2") if getattr(network, name)]
        if unable:
            raise ConfigurationError(f"the fast transport has no {', '.join(unable)}; use the default one")
        self.endpoint = endpoint
        self.odd_kinds = False  # whether a content type that is not JSON's was mentioned
        self._base = str(endpoint)
        self._network = network
        # Time-outs belong to a pyreqwest client, and so to a pool; views with others have pools of their own.
        self._clients: dict[tuple[float, float], Client] = {}

    def _client(self, connect: float, read: float) -> Client:
        client = self._clients.get((connect, read))
        if client is None:
            if sniffio.current_async_library() != "asyncio":
                raise ConfigurationError("the fast transport runs on asyncio only; use the default one")
            client = self._clients[connect, read] = (
                ClientBuilder()
                .connect_timeout(_duration(connect))
                .read_timeout(_duration(read))
                .pool_idle_timeout(_duration(self._network.keepalive_expiry))
                .follow_redirects(False)
                .referer(False)
                .gzip(False)
                .brotli(False)
                .deflate(False)
                .zstd(False)
                .http1_only()
                .no_proxy()
                .build()
            )
        return client

    async def send(self, request: Request, timeout: Timeout, departure: Departure) -> Reply:  # noqa: ASYNC109 - as `Wire`
        """Send a request and read the whole reply; as `HttpxWire.send`.

        Raises:
            TransportFailure: No reply.
            BadReply: A reply that is too large or coded in a way that was not asked for.
        """
        departure.left = True  # it does not tell
        made = await self._exchange(request, timeout)
        if not isinstance(made, Reply):
            raise made
        return made

    async def _exchange(self, request: Request, timeout: Timeout) -> Reply | TransportFailure | BadReply:  # noqa: ASYNC109
        """The reply, or what to raise: no traceback may keep this frame, since sockets live as long as it."""
        sent_at = time.monotonic()
        try:
            asked = (
                self._client(timeout.connect, timeout.read)
                .request(request.method, self._base + request.target)
                .headers([("Host", self.endpoint.host), *request.headers])
                # Ours comes first; should a request that was cut linger in the other runtime, it ends then.
                .timeout(_duration(timeout.total + 1.0))
            )
            if request.body:
                asked = asked.body_bytes(request.body)
            async with asked.build_streamed() as response:
                body = await _read(response, self._network.max_reply_bytes)
                headers = list(response.headers.items())
                status = response.status
        except PyreqwestError as error:
            return _failure(error)
        except BadReply as error:
            return error.with_traceback(None)
        except anyio.get_cancelled_exc_class():
            # A fresh one, without the words by which anyio knows its own: it would end more than its scope.
            await checkpoint_if_cancelled()
            raise
        return Reply(status=status, headers=headers, body=body, sent_at=sent_at, received_at=time.monotonic())

    async def aclose(self) -> None:
        """Close all connections; idle ones go when the last reference to their client does."""
        while self._clients:
            await self._clients.popitem()[1].close()


async def _read(response: Response, limit: int) -> bytes:
    body = Body(response.get_header("content-encoding") or "", limit, response.status)
    reader = response.body_reader
    while (piece := await reader.read_chunk()) is not None:
        body.add(bytes(piece))
    return body.whole()


def _causes(error: PyreqwestError) -> Sequence[str]:
    details = getattr(error, "details", None) or {}
    return [cause["message"] for cause in details.get("causes") or ()]


def _failure(error: PyreqwestError) -> TransportFailure:
    """Whose words are on the way is not known; those of hyper's that count are compared whole."""
    causes = _causes(error)
    reason = causes[-1] if causes else error.message
    text = f"{type(error).__name__}: {reason}"
    sent = Sent.NO if _CONNECTING in causes or isinstance(error, BuilderError) else Sent.MAYBE
    if isinstance(error, TimeoutError):
        return AttemptTimeout(text, sent=sent)
    if sent is Sent.NO:
        permanent = any("certificate" in cause for cause in causes)
        return ConnectFailed(f"TLS: {reason}" if permanent else text, sent=sent, permanent=permanent)
    return ConnectionLost(text, sent=sent)
