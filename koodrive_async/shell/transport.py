"""Sends one request and reads its whole reply. The only file that imports httpx.

Requests go through slots, each an `httpx.AsyncHTTPTransport` of a single connection: httpx's own
pool looks at every connection on every request (nine times the cost at 64 connections) and loses
places for ever when requests are cancelled (httpcore issue 1093). An `httpx.AsyncClient` is used only
where the user brings one: its cookies, redirects and hooks are a tenth of the cost.

Not here: keeping connections and searching them (see `slots`), retrying, judging a reply.
Redirects are never followed.
"""

from __future__ import annotations

import logging
import ssl
import time
import urllib.request
from typing import Any, Self

import anyio
import httpx
from anyio import to_thread

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
from koodrive_async.shell.departure import Departure, Sending
from koodrive_async.shell.racing import Opening, Race
from koodrive_async.shell.slots import Slot, Slots

#: How many parsed URLs are kept; those of bulk calls are few, those of single shares without end.
_KEPT_URLS = 64


def _proxy(endpoint: Endpoint, network: Network) -> httpx.Proxy | None:
    """The proxy to go through, if any.

    Raises:
        ConfigurationError: It would see the credentials, or is no proxy's URL.
    """
    where = network.proxy
    if where is None and network.trust_env and not urllib.request.proxy_bypass(endpoint.hostname):
        found = urllib.request.getproxies()
        where = found.get(endpoint.scheme, found.get("all"))
    if where is None:
        return None
    if endpoint.scheme == "http":
        raise ConfigurationError(
            "a proxy would see the credentials of an http endpoint; use https or no proxy"
        )
    try:
        return httpx.Proxy(where)
    except (ValueError, httpx.InvalidURL):
        raise ConfigurationError("the proxy is no URL of a known scheme") from None


# -- connections ----------------------------------------------------------------------------------


def _no_header_blocks(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


class _Own:
    """Connections of this package, any number of them; how many are in use is the business of the gate.

    Shared by all calls of a client.
    """

    def __init__(self, endpoint: Endpoint, network: Network) -> None:
        self._network = network
        self._proxy = _proxy(endpoint, network)
        self._secure = endpoint.scheme == "https"
        self._tls: ssl.SSLContext | None = network.tls
        if network.http2:
            # At DEBUG hpack logs whole header blocks; that they are Huffman-coded hides no credentials.
            logging.getLogger("hpack.hpack").addFilter(_no_header_blocks)
        self._slots = Slots(network.keepalive_expiry)
        self._prepared = False
        self._preparing: anyio.Lock | None = None

    async def _be_prepared(self) -> None:
        """Have what all new connections need.

        That takes tens of milliseconds (certificates are read, httpcore and its back-ends are imported), so
        it is done in a thread, once for all requests that need it meanwhile.
        """
        if self._preparing is None:  # not sooner: it belongs to the event loop of the first request
            self._preparing = anyio.Lock()
        async with self._preparing:
            if not self._prepared:
                try:
                    await self._prepare_in_thread()
                except OSError as error:  # no file descriptor left to read the certificates with
                    raise httpx.ConnectError(str(error)) from error

    async def _prepare_in_thread(self) -> None:
        # With a limiter of its own: other people's threads must not hold up the first request. The thread
        # is not abandoned when the request is cancelled, so the next one in line finds the work done.
        try:
            await to_thread.run_sync(self._prepare, limiter=anyio.CapacityLimiter(1))
        except RuntimeError:  # "can't start new thread"
            self._prepare()

    def _prepare(self) -> None:
        if self._tls is None:
            if self._secure:
                self._tls = httpx.create_ssl_context(trust_env=self._network.trust_env)
            else:
                self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, but httpx would build one
        if self._proxy is not None and self._proxy.url.scheme == "https" and self._proxy.ssl_context is None:
            # Trusts what httpcore's default trusts, which httpcore would build for each connection.
            self._proxy.ssl_context = httpx.create_ssl_context(trust_env=False)
            self._proxy.ssl_context.load_default_certs()
        self._make()  # imports httpcore
        self._prepared = True

    def _make(self) -> Slot:
        """Return a slot without a connection."""
        assert self._tls is not None
        return Slot(
            httpx.AsyncHTTPTransport(
                verify=self._tls,
                http2=self._network.http2,
                proxy=self._proxy,
                limits=httpx.Limits(
                    max_connections=1,
                    max_keepalive_connections=1,
                    keepalive_expiry=self._network.keepalive_expiry,
                ),
            )
        )

    async def exchange(
        self, request: httpx.Request, sending: Sending, limit: int, opening: Opening | None = None
    ) -> tuple[httpx.Response, bytes]:
        """Send on the slot that was used last, or on a new one; the reply and its whole body.

        Args:
            request: What to send.
            sending: Where to note what becomes of it.
            limit: The most bytes of the body.
            opening: The new connection to use, if it was decided that it takes one.
        """
        slot = await self._slots.take() if opening is None else opening.slot
        if slot is None:
            return await self._race(request, sending, limit)
        if opening is None:
            sending.take(slot)
        slot.served += 1
        whole = False
        try:
            response = await slot.transport.handle_async_request(request)
            body = await _read(response, limit)
            await response.aclose()
            whole = True
            self._slots.keep(slot, response.status_code, response.extensions)
        finally:
            slot.spoilt = slot.spoilt or not whole
            await self._slots.release(slot, opening and opening.stream)
        return response, body

    async def _race(
        self, request: httpx.Request, sending: Sending, limit: int
    ) -> tuple[httpx.Response, bytes]:
        if not self._prepared:
            await self._be_prepared()

        async def send(opening: Opening) -> tuple[httpx.Response, bytes]:
            extensions = {**request.extensions, "trace": opening.watch}
            parts: dict[str, Any] = {"headers": request.headers, "stream": request.stream}
            traced = httpx.Request(request.method, request.url, **parts, extensions=extensions)
            return await self.exchange(traced, sending, limit, opening)

        return await Race(sending, send).run(self._make)

    async def aclose(self) -> None:
        """Close every idle connection; those in use close when they come back."""
        await self._slots.aclose()


class _Lent:
    """A client that the user brought: used as it is, and never closed."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def exchange(
        self, request: httpx.Request, sending: Sending, limit: int
    ) -> tuple[httpx.Response, bytes]:
        """The reply and its whole body."""
        request.extensions["trace"] = sending.watch
        response = await self._http.send(request, stream=True, auth=None, follow_redirects=False)
        try:
            return response, await _read(response, limit)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Do nothing: the caller owns this client."""


class _Body(httpx.AsyncByteStream):
    """A request's body in one piece; readable again, since httpcore may turn to another connection.

    No generator, which a broken connection would leave suspended.
    """

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __aiter__(self) -> _Once:
        return _Once(self._body)


class _Once:
    __slots__ = ("_left",)

    def __init__(self, body: bytes) -> None:
        self._left = body

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        body, self._left = self._left, b""
        return body


# -- one request ----------------------------------------------------------------------------------


class HttpxWire:
    """The way to the service; one per client, shared by all its calls."""

    def __init__(self, endpoint: Endpoint, network: Network, http: httpx.AsyncClient | None = None) -> None:
        if http is not None and not isinstance(http, httpx.AsyncClient):
            raise ConfigurationError(f"http must be an httpx.AsyncClient, not {type(http).__name__}")
        self.endpoint = endpoint
        self.exclusive = http is None
        self._url = httpx.URL(str(endpoint))
        self._urls: dict[str, httpx.URL] = {}
        self._limit = network.max_reply_bytes
        self._way = _Own(endpoint, network) if http is None else _Lent(http)

    async def send(self, request: Request, timeout: Timeout, departure: Departure) -> Reply:  # noqa: ASYNC109 - httpx's
        """Send a request and read the whole reply.

        Args:
            request: With all its headers.
            timeout: The limits of its parts; the total is the caller's to keep.
            departure: Where to note that it left, for a caller that cuts this off; one per attempt.

        Raises:
            TransportFailure: No reply.
            BadReply: A reply that is too large or coded in a way that was not asked for.
        """
        built = self._build(request, timeout)
        sending = departure.begin(exclusive=self.exclusive)
        sent_at = time.monotonic()
        try:
            response, body = await self._way.exchange(built, sending, self._limit)
        except httpx.TransportError as error:
            raise _failure(error, departure, sending) from None
        return Reply(
            status=response.status_code,
            headers=response.headers.multi_items(),
            body=body,
            sent_at=sent_at,
            received_at=time.monotonic(),
        )

    def _target(self, target: str) -> httpx.URL:
        """Parsing a URL costs as much as signing a request, and all batches have the same."""
        url = self._urls.get(target)
        if url is None:
            if len(self._urls) >= _KEPT_URLS:
                self._urls.clear()
            url = self._urls[target] = self._url.copy_with(raw_path=target.encode("ascii"))
        return url

    def _build(self, request: Request, timeout: Timeout) -> httpx.Request:
        headers = [("Host", self.endpoint.host), *request.headers]
        if request.body:
            headers.append(("Content-Length", str(len(request.body))))
        return httpx.Request(
            request.method,
            self._target(request.target),
            headers=headers,
            stream=_Body(request.body),
            extensions={
                "timeout": {
                    "connect": timeout.connect,
                    "read": timeout.read,
                    "write": timeout.write,
                    "pool": timeout.pool,
                }
            },
        )

    async def aclose(self) -> None:
        """Close what is ours; a borrowed client stays open."""
        await self._way.aclose()


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The body, decoded, of at most `limit` bytes."""
    if response.is_stream_consumed:  # a borrowed client's transport may hand out whole replies, decoded
        body = Body("", limit, response.status_code)
        body.add(response.content)
        return body.whole()
    body = Body(response.headers.get("content-encoding", ""), limit, response.status_code)
    failure: BadReply | None = None
    # Leaving the loop by an exception would leave half a dozen generators inside httpx suspended (trio
    # warns of each); a cancelled read ends the innermost one, and all the others with it.
    assert isinstance(response.stream, httpx.AsyncByteStream)
    with anyio.CancelScope() as reading:
        async for piece in response.stream:
            if failure is None:
                try:
                    body.add(piece)
                except BadReply as error:
                    failure = error
                    reading.cancel()
    if failure is not None:
        raise failure
    return body.whole()


# -- failures -------------------------------------------------------------------------------------

#: Reasons of a TLS failure that will be the same next time; a handshake cut short is not among them.
_TRANSIENT_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what caused it, down to the bottom; of a group its first."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        grouped = at.exceptions[0] if isinstance(at, BaseExceptionGroup) else None
        at = grouped or at.__cause__ or at.__context__
    return chain


def _text(error: BaseException, chain: list[BaseException]) -> str:
    """What to say of it: outer texts are often empty or vague, the reason is at the bottom."""
    texts = [str(at) for at in chain if str(at)]
    said = dict.fromkeys((*texts[:1], *texts[-1:]))
    return ": ".join((type(error).__name__, *said))


def _failure(error: httpx.TransportError, departure: Departure, sending: Sending) -> TransportFailure:
    """Translate an httpx exception: from `TransportError` downwards, exceptions to the rule first.

    An exclusive transport sends once, so a failure to connect says that this send did not leave. A
    borrowed client may have tried several times, and shows only the last failure: its trace decides.
    """
    chain = _chain(error)
    text = _text(error, chain)
    sent = Sent.MAYBE if departure.left else Sent.NO
    others = Sent.MAYBE if departure.left_besides(sending) else Sent.NO
    unconnected = others if sending.exclusive else sent
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return AttemptTimeout(text, sent=unconnected)
    if isinstance(error, httpx.TimeoutException):
        return AttemptTimeout(text, sent=sent)
    tls = next((at for at in chain if isinstance(at, ssl.SSLError)), None)
    if isinstance(error, httpx.ConnectError):
        permanent = tls is not None and not isinstance(tls, _TRANSIENT_TLS)
        return ConnectFailed(f"TLS: {tls}" if permanent else text, sent=unconnected, permanent=permanent)
    if isinstance(error, httpx.ProxyError):
        return ConnectFailed(text, sent=unconnected, permanent=" 407" in f" {error}")
    if isinstance(error, httpx.UnsupportedProtocol):
        return ConnectFailed(text, sent=unconnected, permanent=True)
    # HTTP/2 REFUSED_STREAM (7): "the stream was closed before any application processing" (RFC 9113, 8.7).
    refused = "StreamReset" in text and "error_code:7" in text
    once = sending.exclusive or sending.heads == 1
    lost = ConnectionLost(text, sent=others if refused and once else sent)
    lost.stale = sending.reused
    return lost
