"""The first request reads certificates and imports much: beside the event loop, not on it."""

import time

import anyio
import anyio.lowlevel
import httpx
import pytest

from koodrive_async import Network
from koodrive_async.core.endpoint import Endpoint
from koodrive_async.core.errors import ConnectFailed, Sent
from koodrive_async.core.settings import Timeout
from koodrive_async.shell.departure import Departure
from koodrive_async.shell.transport import HttpxWire
from tests.client.sending import CLOSED, request_for, wire_to
from tests.client.wire import well
from tests.support.rawserver import RawServer
from tests.support.threaded import until
from tests.support.tls import client_context, server_context

pytestmark = pytest.mark.usefixtures("leaks")


@pytest.fixture
def slow(monkeypatch) -> list[float]:
    """Makes the building of a TLS context slow; the times at which one was begun."""
    begun = []

    def build(**_options):
        begun.append(time.monotonic())
        time.sleep(0.3)  # holds up whoever runs it
        return client_context()

    monkeypatch.setattr(httpx, "create_ssl_context", build)
    return begun


async def test_the_event_loop_goes_on_while_the_first_request_builds_its_tls_context(connect, slow):
    with RawServer(well, ssl_context=server_context()) as server:
        async with connect(server) as client, anyio.create_task_group() as tasks:
            ticks = []

            async def tick() -> None:
                while True:
                    ticks.append(time.monotonic())
                    await anyio.sleep(0.005)

            tasks.start_soon(tick)
            assert (await client.get_share_info("x")).share_id == "1"
            assert (await client.get_share_info("x")).share_id == "1"
            tasks.cancel_scope.cancel()
    (begun,) = slow
    assert len([at for at in ticks if begun < at < begun + 0.3]) > 10


async def test_concurrent_first_requests_share_the_context(slow):
    with RawServer(well, ssl_context=server_context()) as server:
        wire = HttpxWire(Endpoint.parse(server.url), Network())
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(wire.send, request_for(), Timeout(), Departure())
        await wire.aclose()
    assert len(slow) == 1
    assert len(server.requests) == 5


async def test_a_cancelled_first_request_leaves_the_others_in_order(slow):
    departures = [Departure() for _ in range(3)]
    with RawServer(well, ssl_context=server_context()) as server:
        wire = HttpxWire(Endpoint.parse(server.url), Network())
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(0.05):
                tasks.start_soon(wire.send, request_for(), Timeout(), departures[1])
                await wire.send(request_for(), Timeout(), departures[0])
            with anyio.move_on_after(0.05):
                await wire.send(request_for(), Timeout(), departures[2])
        await wire.aclose()
    assert len(slow) == 1
    assert departures[1].left
    assert len(server.requests) <= 3


async def test_closing_while_the_first_request_builds_its_context(connect, slow):
    with RawServer(well, ssl_context=server_context()) as server:
        wire = HttpxWire(Endpoint.parse(server.url), Network())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.send, request_for(), Timeout(), Departure())
            await until(lambda: bool(slow))
            await wire.aclose()
        await until(lambda: server.open_connections == 0)
    assert len(server.requests) == 1


async def test_a_context_that_could_not_be_built_is_built_by_the_next_request(monkeypatch):
    failures = [OSError(24, "Too many open files")]

    def build(**_options):
        if failures:
            raise failures.pop()
        return client_context()

    monkeypatch.setattr(httpx, "create_ssl_context", build)
    with RawServer(well, ssl_context=server_context()) as server:
        wire = HttpxWire(Endpoint.parse(server.url), Network())
        departure = Departure()
        with pytest.raises(ConnectFailed, match="Too many open files") as failed:
            await wire.send(request_for(), Timeout(), departure)
        assert (failed.value.sent, failed.value.permanent, departure.left) == (Sent.NO, False, False)
        assert (await wire.send(request_for(), Timeout(), departure)).status == 200
        await wire.aclose()


async def test_a_plain_endpoint_builds_no_context(connect, slow):
    with RawServer(well) as server:
        async with connect(server) as client:
            assert (await client.get_share_info("x")).share_id == "1"
    assert slow == []


async def test_where_no_thread_can_be_started_the_event_loop_does_it(connect, monkeypatch):
    async def none(*_args, **_options):
        await anyio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("koodrive_async.shell.transport.to_thread.run_sync", none)
    with RawServer(well) as server:
        wire = wire_to(server)
        assert (await wire.send(request_for(), Timeout(), Departure())).status == 200
        await wire.aclose()


async def test_the_context_for_an_https_proxy_is_built_once(monkeypatch, slow):
    """Httpcore would build one for each connection, on the event loop."""
    wire = HttpxWire(Endpoint.parse("https://127.0.0.1:1"), Network(proxy=CLOSED.replace("http:", "https:")))
    monkeypatch.setattr("httpcore._async.connection.default_ssl_context", None)
    for _ in range(2):
        with pytest.raises(ConnectFailed):
            await wire.send(request_for(), Timeout(), Departure())
    assert len(slow) == 2  # one for the endpoint, one for the proxy
    await wire.aclose()
