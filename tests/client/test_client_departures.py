"""What left once has left, however often an attempt sends."""

import socket

import anyio
import pytest

from koodrive_async import Status
from koodrive_async.core.errors import AttemptTimeout, ConnectFailed, ConnectionLost, Sent
from koodrive_async.core.settings import Timeout
from koodrive_async.shell.departure import Departure
from tests.client.sending import CLOSED, report_of, request_for, wire_to
from tests.client.wire import some_ids
from tests.support.h2server import H2Server
from tests.support.rawserver import Pause, RawServer
from tests.support.threaded import End, until

pytestmark = pytest.mark.usefixtures("leaks")


async def test_a_second_send_that_finds_no_connection_takes_nothing_back():
    with RawServer(lambda _request: End.RST) as server:
        lively, dead = wire_to(server), wire_to(CLOSED)
        departure = Departure()
        with pytest.raises(ConnectionLost) as lost:
            await lively.send(request_for(), Timeout(), departure)
        assert lost.value.sent is Sent.MAYBE
        with pytest.raises(ConnectFailed) as failed:
            await dead.send(request_for(), Timeout(), departure)
        assert failed.value.sent is Sent.MAYBE
        assert departure.left
        assert not departure.reused


async def test_a_send_in_parallel_that_finds_no_connection_takes_nothing_back():
    with RawServer(lambda _request: (Pause(5), b"")) as server:
        lively, dead = wire_to(server), wire_to(CLOSED)
        departure = Departure()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lively.send, request_for(), Timeout(), departure)
            await until(lambda: server.in_flight == 1)
            with pytest.raises(ConnectFailed) as failed:
                await dead.send(request_for(), Timeout(), departure)
            assert failed.value.sent is Sent.MAYBE
            tasks.cancel_scope.cancel()
        assert departure.left


async def test_sends_that_all_find_no_connection_left_nothing():
    with socket.create_server(("127.0.0.1", 0)) as full:  # accepts nothing: TLS never begins
        dead, silent = wire_to(CLOSED), wire_to(f"https://127.0.0.1:{full.getsockname()[1]}")
        departure = Departure()
        assert not departure.left
        for _ in range(2):
            with pytest.raises(ConnectFailed) as failed:
                await dead.send(request_for(), Timeout(), departure)
            assert failed.value.sent is Sent.NO
        with pytest.raises(AttemptTimeout) as late:
            await silent.send(request_for(), Timeout(connect=0.05), departure)
        assert late.value.sent is Sent.NO
        assert not departure.left


async def test_a_refused_stream_left_nothing_unless_another_send_did():
    with (
        H2Server(lambda *_request: (200, (), b"{}"), refuse=lambda *_: True) as refusing,
        RawServer(lambda _request: End.RST) as losing,
    ):
        refused, lost = wire_to(refusing, http2=True), wire_to(losing)
        departure = Departure()
        with pytest.raises(ConnectionLost) as first:
            await refused.send(request_for(), Timeout(), departure)
        assert first.value.sent is Sent.NO
        with pytest.raises(ConnectionLost):
            await lost.send(request_for(), Timeout(), departure)
        with pytest.raises(ConnectionLost) as second:
            await refused.send(request_for(), Timeout(), departure)
        assert second.value.sent is Sent.MAYBE
        await refused.aclose()


@pytest.mark.parametrize("count", [1, 3])
async def test_a_middleware_that_sends_twice(connect, count):
    """The first request is executed and its reply lost, the second one meets a closed port."""
    sent = []

    async def twice(request, send):
        sent.append(request)
        try:
            return await send(request)
        except ConnectionLost:
            server.stop()
            return await send(request)

    with RawServer(lambda _request: End.RST) as server:
        async with connect(server, middleware=[twice]) as client:
            report = await report_of(client, some_ids(count))
    assert len(sent) > 1
    assert report.counts[Status.UNKNOWN] == count
