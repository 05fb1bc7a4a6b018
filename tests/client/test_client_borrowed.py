"""What is known of requests sent by a borrowed client, whose transport may do anything with them."""

import contextlib
import socket

import anyio
import httpx
import pytest

from koodrive_async import Pace, RetryPolicy, Status
from koodrive_async.core.endpoint import Endpoint
from koodrive_async.core.errors import AttemptTimeout, ConnectFailed, ConnectionLost, Sent, TransportFailure
from koodrive_async.core.settings import Network, Timeout
from koodrive_async.shell.departure import Departure
from koodrive_async.shell.transport import HttpxWire
from tests.client.sending import CLOSED, report_of, request_for
from tests.client.wire import some_ids, well
from tests.support.blackhole import full_backlog
from tests.support.connectproxy import AskAuth, ConnectProxy, RefuseConnect
from tests.support.h2server import H2Server
from tests.support.http1 import SeenRequest
from tests.support.rawserver import Pause, RawServer
from tests.support.threaded import End, until
from tests.support.tls import client_context, server_context, tls_server

pytestmark = pytest.mark.usefixtures("leaks")

REQUEST = request_for()
ONCE = RetryPolicy(attempts=1)


def through(http: httpx.AsyncClient, url: str) -> HttpxWire:
    return HttpxWire(Endpoint.parse(url), Network(), http)


async def failure(wire: HttpxWire, departure: Departure, **limits: float) -> TransportFailure:
    with pytest.raises(TransportFailure) as failed:
        await wire.send(REQUEST, Timeout(**limits), departure)
    assert (failed.value.sent is Sent.MAYBE) == departure.left
    return failed.value


class Retrying(httpx.AsyncBaseTransport):
    """Sends again what failed, as users' transports do."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, between=lambda: None) -> None:
        self.inner = inner
        self.between = between
        self.tries = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.tries += 1
        try:
            return await self.inner.handle_async_request(request)
        except httpx.TransportError:
            self.between()
            self.tries += 1
            return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


# -- exclusive ------------------------------------------------------------------------------------


async def test_only_connections_of_our_own_are_exclusive(koodrive):
    async with httpx.AsyncClient() as http:
        assert not through(http, CLOSED).exclusive
    assert HttpxWire(Endpoint.parse(CLOSED), Network()).exclusive


async def test_spoiling_touches_no_connection_of_a_borrowed_client():
    with RawServer(well) as server:
        async with httpx.AsyncClient() as http:
            wire = through(http, server.url)
            departure = Departure()
            for _ in range(2):
                await wire.send(REQUEST, Timeout(), departure)
                departure.spoil()
        assert departure.left
        assert not departure.reused
    assert server.connections == 1


# -- what left ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 100])
async def test_a_transport_that_sends_twice(connect, count):
    """The first request is executed and its reply lost, the second one meets a closed port."""
    with RawServer(lambda _request: End.RST) as server:
        transport = Retrying(httpx.AsyncHTTPTransport(), between=server.stop)
        async with (
            httpx.AsyncClient(transport=transport) as http,
            connect(server, http=http, retry=ONCE) as client,
        ):
            report = await report_of(client, some_ids(count))
        assert len(server.requests) == 1
    assert transport.tries >= 2
    assert report.counts[Status.UNKNOWN] == count


async def test_a_first_try_that_connects_nowhere_and_a_second_that_is_lost():
    with RawServer(lambda _request: End.RST) as server:
        server.stop()
        transport = Retrying(httpx.AsyncHTTPTransport(), between=server.start)
        async with httpx.AsyncClient(transport=transport) as http:
            error = await failure(through(http, server.url), Departure())
    assert transport.tries == 2
    assert (type(error), error.sent) == (ConnectionLost, Sent.MAYBE)


@pytest.mark.parametrize("tries", [1, 2])
async def test_a_port_where_nobody_listens_however_often_it_is_tried(tries):
    inner = httpx.AsyncHTTPTransport(retries=tries - 1)
    async with httpx.AsyncClient(transport=Retrying(inner)) as http:
        departure = Departure()
        error = await failure(through(http, CLOSED), departure)
        assert (type(error), error.sent) == (ConnectFailed, Sent.NO)
        error = await failure(through(http, CLOSED), departure)
        assert error.sent is Sent.NO


async def test_ids_of_a_service_that_is_not_there_were_not_sent(connect):
    async with (
        httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=1)) as http,
        connect(CLOSED, http=http, retry=ONCE) as client,
    ):
        report = await report_of(client, some_ids(3))
    assert report.counts[Status.NOT_SENT] == 3


async def test_a_socket_file_that_is_not_there(tmp_path):
    transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "none"))
    async with httpx.AsyncClient(transport=transport) as http:
        error = await failure(through(http, "http://127.0.0.1"), Departure())
    assert (type(error), error.sent) == (ConnectFailed, Sent.NO)


async def test_a_certificate_of_an_unknown_authority():
    with tls_server(b"", "untrusted") as server:
        async with httpx.AsyncClient(verify=client_context()) as http:
            error = await failure(through(http, server.url), Departure())
    assert (type(error), error.sent, error.permanent) == (ConnectFailed, Sent.NO, True)


@pytest.mark.parametrize("behaviour", [RefuseConnect(), AskAuth()])
async def test_a_proxy_that_refuses(behaviour):
    with RawServer(well, ssl_context=server_context()) as server, ConnectProxy(None, behaviour) as proxy:
        async with httpx.AsyncClient(proxy=proxy.url, verify=client_context()) as http:
            error = await failure(through(http, server.url), Departure())
    assert proxy.seen
    assert error.sent is Sent.NO
    assert server.requests == []


async def test_a_proxy_that_does_its_job_and_a_server_that_does_not():
    with (
        RawServer(lambda _request: End.RST, ssl_context=server_context()) as server,
        ConnectProxy() as proxy,
    ):
        async with httpx.AsyncClient(proxy=proxy.url, verify=client_context()) as http:
            error = await failure(through(http, server.url), Departure())
    assert error.sent is Sent.MAYBE


async def test_a_proxy_that_is_shown_the_request():
    """A request for an ``http`` URL goes to the proxy itself, so it has left."""
    with RawServer(lambda _request: End.RST) as proxy:
        async with httpx.AsyncClient(proxy=proxy.url) as http:
            error = await failure(through(http, CLOSED), Departure())
    assert error.sent is Sent.MAYBE


async def test_a_connect_that_takes_too_long():
    with full_backlog() as port, anyio.fail_after(5):
        async with httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{port}"
            error = await failure(through(http, url), Departure(), connect=0.05)
            assert (type(error), error.sent) == (AttemptTimeout, Sent.NO)
            departure = Departure()
            with anyio.move_on_after(0.05):
                await through(http, url).send(REQUEST, Timeout(), departure)
            assert not departure.left


async def test_a_reply_that_takes_too_long():
    with RawServer(lambda _request: (Pause(0.5), b"")) as server:
        async with httpx.AsyncClient() as http:
            error = await failure(through(http, server.url), Departure(), read=0.05)
            assert (type(error), error.sent) == (AttemptTimeout, Sent.MAYBE)
            departure = Departure()
            with anyio.move_on_after(0.05):
                await through(http, server.url).send(REQUEST, Timeout(), departure)
            assert departure.left


async def test_a_connection_that_served_before():
    def once(request: SeenRequest):
        return well(request) if len(server.requests) == 1 else End.RST

    with RawServer(once) as server:
        async with httpx.AsyncClient() as http:
            wire = through(http, server.url)
            assert (await wire.send(REQUEST, Timeout(), Departure())).status == 200
            error = await failure(wire, Departure())
    assert server.connections == 1
    assert error.sent is Sent.MAYBE


async def test_a_client_whose_places_are_all_taken():
    """Nothing left, but nothing was traced either: it could have been tried before."""
    with RawServer(lambda _request: (Pause(0.5), b"")) as server:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as http:
            wire = through(http, server.url)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wire.send, REQUEST, Timeout(), Departure())
                await until(lambda: server.in_flight == 1)
                error = await failure(wire, Departure(), pool=0.05)
                tasks.cancel_scope.cancel()
    assert (type(error), error.sent) == (AttemptTimeout, Sent.MAYBE)


@pytest.mark.parametrize("refused", [1, 2])
async def test_a_refused_stream(refused):
    """Refused once and nothing else: not processed. A second try may hide what became of the first."""
    with H2Server(lambda *_request: (200, (), b"{}"), refuse=lambda *_: True) as server:
        inner = httpx.AsyncHTTPTransport(http2=True, verify=client_context())
        transport = inner if refused == 1 else Retrying(inner)
        async with httpx.AsyncClient(transport=transport) as http:
            departure = Departure()
            with pytest.raises(ConnectionLost) as failed:
                await through(http, server.url).send(REQUEST, Timeout(), departure)
    assert server.refused == refused
    assert failed.value.sent is (Sent.NO if refused == 1 else Sent.MAYBE)


# -- transports that do not trace -----------------------------------------------------------------


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no connection, or so it says")


class Untraced(httpx.AsyncBaseTransport):
    """Passes requests on without their extensions."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {}
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Talkative(httpx.AsyncBaseTransport):
    """Has events of its own."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("talkative.executed", {})
        raise httpx.ConnectError("afterwards")


async def executed(scope, receive, send) -> None:
    raise httpx.ConnectError("from inside the application")


SILENT = {
    "mock": lambda: httpx.MockTransport(refuse),
    "mock, twice": lambda: Retrying(httpx.MockTransport(refuse)),
    "application": lambda: httpx.ASGITransport(executed),
    "untraced": lambda: Untraced(httpx.AsyncHTTPTransport()),
    "talkative": Talkative,
}


@pytest.mark.parametrize("transport", SILENT)
async def test_a_transport_that_does_not_trace_may_have_sent(transport):
    async with httpx.AsyncClient(transport=SILENT[transport]()) as http:
        departure = Departure()
        error = await failure(through(http, CLOSED), departure)
    assert (type(error), error.sent) == (ConnectFailed, Sent.MAYBE)
    assert departure.left


async def test_ids_sent_by_a_transport_that_does_not_trace_are_unknown(connect):
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http,
        connect(CLOSED, http=http, retry=ONCE, pace=Pace(concurrency=1)) as client,
    ):
        report = await report_of(client, some_ids(3))
    assert report.counts[Status.UNKNOWN] == 3


async def test_the_hook_of_a_borrowed_client_that_fails_tells_nothing():
    async def fail(request: httpx.Request) -> None:
        raise httpx.ConnectError("from a hook")

    async with httpx.AsyncClient(event_hooks={"request": [fail]}) as http:
        error = await failure(through(http, CLOSED), Departure())
    assert error.sent is Sent.MAYBE


# -- several sends --------------------------------------------------------------------------------


async def test_what_left_once_has_left():
    """An untraced send first, then one that certainly found no connection."""
    departure = Departure()
    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        await failure(through(http, CLOSED), departure)
    async with httpx.AsyncClient() as http:
        error = await failure(through(http, CLOSED), departure)
    assert error.sent is Sent.MAYBE


async def test_a_middleware_that_sends_twice_through_a_borrowed_client(connect):
    async def twice(request, send):
        with contextlib.suppress(ConnectionLost):
            return await send(request)
        server.stop()
        return await send(request)

    with RawServer(lambda _request: End.RST) as server:
        async with (
            httpx.AsyncClient() as http,
            connect(server, http=http, middleware=[twice], retry=ONCE) as client,
        ):
            report = await report_of(client, some_ids(3))
        assert len(server.requests) == 1
    assert report.counts[Status.UNKNOWN] == 3


async def test_sends_in_parallel_do_not_answer_for_each_other():
    def lose_late(_request: SeenRequest):
        return (Pause(0.05), End.RST)

    with RawServer(lose_late) as server, socket.create_server(("127.0.0.1", 0)) as mute:
        departure = Departure()
        silent = f"https://127.0.0.1:{mute.getsockname()[1]}"
        async with httpx.AsyncClient(verify=client_context()) as http:
            assert (await failure(through(http, silent), departure, connect=0.05)).sent is Sent.NO
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(failure, through(http, server.url), departure)
                await until(lambda: server.in_flight == 1)
                assert (await failure(through(http, CLOSED), departure)).sent is Sent.MAYBE
