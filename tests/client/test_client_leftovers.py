"""Bytes that nobody asked for, on an idle connection: it is thrown away before the next request."""

import itertools
import logging
import time
from types import SimpleNamespace

import anyio
import attrs
import pytest

from koodrive_async import Status
from koodrive_async.core.settings import Timeout
from koodrive_async.shell import slots
from koodrive_async.shell.departure import Departure
from koodrive_async.shell.transport import HttpxWire
from tests.client.sending import network, request_for, wire_to
from tests.client.wire import dated, some_ids, well
from tests.support.connectproxy import ConnectProxy
from tests.support.h2server import H2Server
from tests.support.http1 import SeenRequest, json_reply, reply
from tests.support.rawserver import Pause, RawServer
from tests.support.threaded import End, until
from tests.support.tls import server_context

pytestmark = pytest.mark.usefixtures("leaks")

COPY = dated({"code": 0, "link": {"shareId": "wrong"}})
TIMEOUT_408 = reply(status=408, headers=(("Connection", "close"),))
RECORD = 16_384  # bytes in the largest TLS record
CHUNK = 65_536  # bytes that httpcore reads together


@pytest.fixture(params=["plain", "tls"])
def secure(request) -> bool:
    return request.param == "tls"


def serve(handler, secure) -> RawServer:
    return RawServer(handler, ssl_context=server_context() if secure else None)


def filled(answer: bytes, size: int) -> bytes:
    """The same answer, of exactly that size: JSON may be followed by blanks."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    body += b" " * (size - len(b"\r\n".join(lines)) - len(b"\r\nContent-Length: 00000\r\n\r\n") - len(body))
    whole = b"\r\n".join([*lines, b"Content-Length: %05d" % len(body)]) + b"\r\n\r\n" + body
    assert len(whole) == size
    return whole


class Follower:
    """A handler that sends more than it was asked for; `sent` counts the times it has sent everything."""

    def __init__(self, follow) -> None:
        self.follow = follow
        self.sent = 0

    def __call__(self, request: SeenRequest):
        yield from self.follow(well(request))
        self.sent += 1


FOLLOWED = {
    "a copy in the same segment": lambda answer: (answer + COPY,),
    "two copies": lambda answer: (answer + COPY + COPY,),
    "a copy in the next TLS record": lambda answer: (filled(answer, RECORD) + COPY,),
    "half a copy in the next TLS record": lambda answer: (filled(answer, RECORD) + COPY[:30],),
    "a copy in a segment of its own": lambda answer: (answer, COPY),
    "a copy some milliseconds later": lambda answer: (answer, Pause(0.01), COPY),
    "a copy in many segments": lambda answer: (answer + COPY[:9], Pause(0.01), COPY[9:40], COPY[40:]),
    "half a copy": lambda answer: (answer, COPY[: len(COPY) // 2]),
    "no HTTP": lambda answer: (answer, b"\x00\x01\x02 hello"),
    "an empty line": lambda answer: (answer, b"\r\n"),
    "an interim reply": lambda answer: (answer, b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "408": lambda answer: (answer, Pause(0.01), TIMEOUT_408),
    "408 and the end": lambda answer: (answer, Pause(0.01), TIMEOUT_408, End.CLOSE),
    "408 and a reset": lambda answer: (answer, Pause(0.01), TIMEOUT_408, Pause(0.01), End.RST),
    "the end": lambda answer: (answer, End.CLOSE),
    "the end, later": lambda answer: (answer, Pause(0.01), End.CLOSE),
}


@pytest.mark.parametrize("followed", FOLLOWED)
async def test_what_follows_a_reply_answers_nothing(connect, secure, followed):
    handler = Follower(FOLLOWED[followed])
    with serve(handler, secure) as server:
        async with connect(server, network=network()) as client:
            for asked in range(1, 4):
                assert (await client.get_share_info("x")).share_id == "1"
                if "reset" not in followed and "the end" not in followed:
                    await until(lambda asked=asked: handler.sent == asked)
                else:
                    await anyio.sleep(0.04)
    assert server.connections == len(server.requests) == 3


async def test_what_the_event_loop_read_in_advance_answers_nothing(connect):
    """Large replies: the event loop hands over 256 KiB at a time, of which httpcore takes 64."""
    large = dated({"code": 0, "link": {"shareId": "1"}})
    answers = [filled(large, 90_000), filled(large, CHUNK) + COPY, large]
    written = False

    def handler(request):
        nonlocal written
        yield answers[len(server.requests) - 1]
        written = len(server.requests) == 2

    with RawServer(handler) as server:
        async with connect(server) as client, anyio.create_task_group() as tasks:

            async def hold_up() -> None:
                await until(lambda: len(server.requests) == 2)
                while not written:
                    time.sleep(0.001)  # noqa: ASYNC251 - on purpose: all of it shall be there at the next read
                time.sleep(0.02)  # noqa: ASYNC251

            assert (await client.get_share_info("x")).share_id == "1"
            tasks.start_soon(hold_up)
            for _ in range(2):
                assert (await client.get_share_info("x")).share_id == "1"
    assert server.connections == 2


@pytest.mark.parametrize("code", [0, 13000309])
async def test_a_copied_list_without_ids_settles_nothing(connect, secure, code):
    """Each reply is followed by one that fits any request of a hundred."""
    lists = json_reply({"code": 0, "subResponseList": [{"code": code}] * 100})
    asked = itertools.count()

    def handler(request):
        mine = json_reply({"code": 0, "subResponseList": [{"code": 410, "msg": "not yours"}] * 100})
        return (filled(mine, RECORD) + lists,) if next(asked) < 5 else (mine,)

    with serve(handler, secure) as server:
        async with connect(server, network=network()) as client:
            for start in range(0, 600, 100):
                report = await client.cancel(some_ids(100, start))
                assert report.counts[Status.CANCELLED] == report.counts[Status.ALREADY_GONE] == 0


async def test_a_connection_that_stays_silent_is_kept(connect, secure):
    with serve(well, secure) as server:
        async with connect(server, network=network()) as client:
            for _ in range(10):
                assert (await client.get_share_info("x")).share_id == "1"
                await anyio.sleep(0.002)  # session tickets of TLS 1.3, if they come late
    assert server.connections == 1


async def test_a_connection_through_a_proxy_is_searched_and_kept(connect):
    handler = Follower(lambda answer: (answer,))
    with RawServer(handler, ssl_context=server_context()) as server, ConnectProxy() as proxy:
        through = attrs.evolve(network(), proxy=proxy.url)
        async with connect(server, network=through) as client:
            for _ in range(3):
                assert (await client.get_share_info("x")).share_id == "1"
            assert server.connections == 1
            handler.follow = FOLLOWED["a copy in the next TLS record"]
            for _ in range(3):
                assert (await client.get_share_info("x")).share_id == "1"
    assert server.connections == 3


async def test_a_closed_http2_connection_is_not_used_again(connect):
    """While it is open it is kept, whatever frames come in."""
    body = well(SimpleNamespace(method="GET")).partition(b"\r\n\r\n")[2]
    json = [("content-type", "application/json")]
    with H2Server(lambda *_request: (200, json, body)) as server:
        over = attrs.evolve(network(), http2=True)
        async with connect(server, network=over) as client:
            for _ in range(3):
                assert (await client.get_share_info("x")).share_id == "1"
            assert server.connections == 1
            server.stop()
            server.start()
            assert (await client.get_share_info("x")).share_id == "1"
            assert server.connections == 2
    assert len(server.processed) == 4


# -- the search itself ----------------------------------------------------------------------------


def the_slot(wire: HttpxWire) -> slots.Slot:
    (slot,) = wire._way._slots._idle
    return slot


EXPECTED = {
    ("asyncio", False): {"descriptor", "kernel", "closing", "event loop", "h11"},
    ("asyncio", True): {"descriptor", "kernel", "closing", "event loop", "h11", "tls0", "decrypted0"},
    ("trio", False): {"descriptor", "kernel", "h11"},
    ("trio", True): {"descriptor", "kernel", "h11", "tls0", "decrypted0"},
}


@pytest.fixture
def seen(monkeypatch) -> list[dict[str, slots.Check]]:
    """What `checks_of` returned, connection by connection."""
    found = []
    look = slots.checks_of

    def checks_of(*args):
        found.append(look(*args))
        return found[-1]

    monkeypatch.setattr(slots, "checks_of", checks_of)
    return found


async def test_checks_of(seen, secure, anyio_backend_name):
    """Fails when httpx, httpcore, h11, anyio or trio look different inside."""
    with serve(well, secure) as server:
        wire = wire_to(server)
        await wire.send(request_for(), Timeout(), Departure())
        (checks,) = seen
        assert set(checks) == EXPECTED[anyio_backend_name, secure]
        assert [name for name, check in checks.items() if check()] == []
        # Each place, filled by hand, is noticed by the check named after it.
        slot = the_slot(wire)
        (connection,) = slot.transport._pool.connections
        stream, h11 = connection._connection._network_stream, connection._connection._h11_state
        h11.receive_data(b"x")
        assert checks["h11"]()
        assert not slot.is_silent()
        del h11._receive_buffer._data[:]
        assert slot.is_silent()
        layer = stream._stream
        if secure:
            received = layer._read_bio if anyio_backend_name == "asyncio" else layer._incoming
            received.write(b"x")
            assert checks["tls0"]()
            received.read()
            assert slot.is_silent()
            layer = layer.transport_stream
        if anyio_backend_name == "asyncio":
            assert layer._transport.get_protocol() is layer._protocol
            layer._transport.get_protocol().data_received(b"x")
            assert checks["event loop"]()
            await layer.receive(1)
            assert slot.is_silent()
        server.stop()  # resets the connection
        await until(lambda: bool(checks["kernel"]()))
        assert not slot.is_silent()
        await slot.aclose()
        assert checks["descriptor"]() or checks["closing"]()
        await wire.aclose()


async def test_checks_of_decrypted_bytes(seen, anyio_backend_name):
    with serve(lambda request: (well(request), b"abc"), secure=True) as server:
        wire = wire_to(server)
        await wire.send(request_for(), Timeout(), Departure())
        (checks,) = seen
        slot = the_slot(wire)
        (connection,) = slot.transport._pool.connections
        await until(lambda: not slot.is_silent())
        await connection._connection._network_stream.read(1)
        assert checks["decrypted0"]()
        await wire.aclose()


async def test_checks_of_a_connection_of_http2(seen, anyio_backend_name):
    with H2Server(lambda *_request: (200, (), b"{}")) as server:
        wire = wire_to(server, http2=True)
        await wire.send(request_for(), Timeout(), Departure())
        expected = {"descriptor", "kernel"} | ({"closing"} if anyio_backend_name == "asyncio" else set())
        assert set(seen[0]) == expected
        await wire.aclose()


async def test_without_poll_the_kernel_is_asked_through_httpcore(connect, monkeypatch):
    monkeypatch.setattr(slots, "select", None)  # as on Windows
    handler = Follower(FOLLOWED["a copy in a segment of its own"])
    with RawServer(handler) as server:
        async with connect(server) as client:
            for asked in range(1, 4):
                assert (await client.get_share_info("x")).share_id == "1"
                await until(lambda asked=asked: handler.sent == asked)
            handler.follow = lambda answer: (answer,)
            for _ in range(3):
                await client.get_share_info("x")
    assert server.connections == 4


async def test_a_connection_that_cannot_be_searched_is_not_kept(connect, monkeypatch, caplog):
    """A new version of a library that hides its buffers: slower, never wrong; said once."""
    monkeypatch.setattr(slots, "checks_of", lambda *_args: object().gone)
    with RawServer(well) as server, caplog.at_level(logging.WARNING, "koodrive_async"):
        async with connect(server) as client:
            for _ in range(3):
                assert (await client.get_share_info("x")).share_id == "1"
            await until(lambda: server.open_connections == 0)
    assert server.connections == 3
    assert [record.message.count("searched") for record in caplog.records] == [1]


# -- what spoils a connection ---------------------------------------------------------------------


async def test_a_reply_that_closes_or_switches_ends_the_connection(secure):
    answers = {
        "/close": json_reply({}, 200, (("Connection", "close"),)),
        "/switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        "/old": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    }
    with serve(lambda request: answers.get(request.target.decode(), well(request)), secure) as server:
        wire = wire_to(server)
        for target in answers:
            await wire.send(request_for("/"), Timeout(), Departure())
            before = server.connections
            upgrade = (("Upgrade", "x"), ("Connection", "upgrade"))
            asked = attrs.evolve(request_for(target), headers=upgrade if target == "/switch" else ())
            got = await wire.send(asked, Timeout(), Departure())
            assert got.status == (101 if target == "/switch" else 200)
            assert server.connections == before
            await wire.send(request_for("/"), Timeout(), Departure())
            assert server.connections == before + 1
        await wire.aclose()


async def test_spoiling_an_idle_connection(secure):
    with serve(well, secure) as server:
        wire = wire_to(server)
        departure = Departure()
        await wire.send(request_for(), Timeout(), departure)
        departure.spoil()
        departure.spoil()
        await wire.send(request_for(), Timeout(), Departure())
        assert server.connections == 2
        await until(lambda: server.open_connections == 1)
        await wire.aclose()


async def test_spoiling_the_connections_of_two_sends_of_one_attempt():
    with RawServer(lambda request: (Pause(0.05), well(request))) as server:
        wire = wire_to(server)
        departure = Departure()
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(wire.send, request_for(), Timeout(), departure)
        departure.spoil()
        await wire.send(request_for(), Timeout(), Departure())
        assert server.connections == 3
        await until(lambda: server.open_connections == 1)
        await wire.aclose()


async def test_spoiling_a_connection_that_serves_somebody_else():
    """That request ends in peace; nothing follows it."""
    with RawServer(lambda request: (Pause(0.05), well(request))) as server:
        wire = wire_to(server)
        departure = Departure()
        await wire.send(request_for(), Timeout(), departure)
        got = []

        async def another() -> None:
            got.append(await wire.send(request_for(), Timeout(), Departure()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(another)
            await until(lambda: len(server.requests) == 2)
            departure.spoil()
        assert got[0].status == 200
        await until(lambda: server.open_connections == 0)
        await wire.send(request_for(), Timeout(), Departure())
        assert server.connections == 2
        await wire.aclose()
