import socket
import threading
import time
from collections.abc import Iterator

import anyio
import httpx
import pytest

from tests.support.chaos import (
    CONFLICTING_LENGTHS,
    ILLEGAL_CHUNKS,
    TOO_LARGE,
    TRAILING_BYTES,
    TRUNCATED_CHUNKS,
    WELL,
    After,
    AfterRequest,
    AtAccept,
    Behaviour,
    BlackHole,
    Canned,
    ChaosProxy,
    Corrupt,
    CutReply,
    Delay,
    Drip,
    EarlyReply,
    Endless1xx,
    IdleClose,
    MidRequest,
    PassThrough,
    oversized_header,
)
from tests.support.http1 import SeenRequest, json_reply
from tests.support.rawserver import RawServer
from tests.support.threaded import End, until
from tests.support.tls import client_context, server_context, tls_server

BODY = b'{"shareIdList":["1"]}' * 10
POST = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def echo(request: SeenRequest) -> bytes:
    return json_reply({"size": len(request.body)})


REPLY = json_reply({"size": len(BODY)})
HEAD = REPLY[: REPLY.index(b"\r\n\r\n") + 4]


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer(echo) as running:
        yield running


@pytest.fixture
def proxy(server: RawServer) -> Iterator[ChaosProxy]:
    with ChaosProxy(server.address) as running:
        yield running


def talk(proxy: ChaosProxy) -> tuple[bytes, type[OSError] | None]:
    """Says POST, and gives what came back until the end, and the error that was the end if it was not EOF."""
    got = b""
    with socket.create_connection(proxy.address, timeout=2) as client:
        try:
            client.sendall(POST)
            while data := client.recv(65536):
                got += data
        except OSError as error:
            return got, type(error)
    return got, None


@pytest.mark.parametrize(
    ("behaviour", "received", "end", "acts"),
    [
        (AtAccept(End.FIN), b"", None, 0),
        (MidRequest(64, End.RST), b"", ConnectionResetError, 0),
        (MidRequest(64, End.FIN), b"", None, 0),
        (AfterRequest(End.RST), b"", ConnectionResetError, 0),
        (AfterRequest(End.FIN), b"", None, 0),
        (AfterRequest(End.CLOSE), b"", None, 0),
        (AfterRequest(End.RST, forward=True), b"", ConnectionResetError, 1),
        (AfterRequest(End.FIN, forward=True), b"", None, 1),
        (CutReply(8), REPLY[:8], None, 1),
        (CutReply(8, reply=WELL), WELL[:8], None, 0),
        (CutReply(8, reply=WELL, forward=True), WELL[:8], None, 1),
        (CutReply(0, of="body"), HEAD, None, 1),
        (CutReply(0, End.RST, of="body"), HEAD, ConnectionResetError, 1),
        (CutReply(5, of="body"), HEAD + REPLY[len(HEAD) :][:5], None, 1),
        (CutReply(5, End.RST, of="body"), HEAD + REPLY[len(HEAD) :][:5], ConnectionResetError, 1),
        (Canned(TRUNCATED_CHUNKS, End.FIN), TRUNCATED_CHUNKS, None, 0),
        (Canned(ILLEGAL_CHUNKS, End.CLOSE, forward=True), ILLEGAL_CHUNKS, None, 1),
        (EarlyReply(), TOO_LARGE, None, 0),
        (IdleClose(0.05), REPLY, None, 1),
        (IdleClose(0.05, End.RST), REPLY, ConnectionResetError, 1),
    ],
)
def test_bytes_and_ends(
    proxy: ChaosProxy,
    server: RawServer,
    *,
    behaviour: Behaviour,
    received: bytes,
    end: type | None,
    acts: int,
) -> None:
    proxy.script(behaviour)
    assert proxy.scripted == 1
    assert talk(proxy) == (received, end)
    assert proxy.scripted == 0
    assert len(server.requests) == acts
    assert httpx.post(proxy.url, content=BODY, trust_env=False).json() == {
        "size": len(BODY)
    }  # script used up


def test_reset_at_accept(proxy: ChaosProxy) -> None:
    proxy.script(AtAccept(End.RST), AtAccept(End.RST))
    assert talk(proxy) == (b"", ConnectionResetError)
    with pytest.raises(httpx.ReadError):
        httpx.get(proxy.url, trust_env=False)


@pytest.mark.parametrize(
    ("reply", "well"),
    [
        (CONFLICTING_LENGTHS, False),
        (oversized_header(), False),
        (ILLEGAL_CHUNKS, False),
        (TRUNCATED_CHUNKS, False),
        (TRAILING_BYTES, True),
        (TOO_LARGE, True),
    ],
)
def test_what_httpx_makes_of_canned_replies(proxy: ChaosProxy, reply: bytes, well: bool) -> None:
    proxy.script(Canned(reply, End.FIN))
    if well:
        assert httpx.get(proxy.url, trust_env=False).status_code in (200, 413)
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(proxy.url, trust_env=False)


async def test_counters_and_keep_alive_under_either_event_loop() -> None:
    async with RawServer(echo) as server, ChaosProxy(server.address) as proxy:
        async with httpx.AsyncClient(base_url=proxy.url, trust_env=False) as client:
            for _ in range(3):
                await client.post("/", content=b"x" * 200_000)
            assert (proxy.connections, proxy.open_connections, proxy.requests) == (1, 1, 3)
            assert proxy.bytes_in > 600_000
            assert proxy.bytes_out > 3 * 50
        await until(lambda: proxy.open_connections == 0 and server.open_connections == 0)


async def test_an_upstream_that_dies_is_passed_on() -> None:
    async with RawServer(lambda _: End.RST) as server, ChaosProxy(server.address) as proxy:
        assert talk(proxy) == (b"", ConnectionResetError)
        server.handler = lambda _: End.CLOSE
        assert talk(proxy) == (b"", None)
        server.stop()
        assert talk(proxy)[1] is not None


async def test_after_and_idle_close_on_one_connection(server: RawServer, proxy: ChaosProxy) -> None:
    proxy.script(After(2, AfterRequest(End.RST)), After(1, PassThrough()))
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False) as client:
        assert [(await client.get("/")).status_code for _ in range(2)] == [200, 200]
        with pytest.raises(httpx.ReadError):
            await client.get("/")
        assert [(await client.get("/")).status_code for _ in range(3)] == [200, 200, 200]
    assert (proxy.connections, proxy.requests, len(server.requests)) == (2, 6, 5)


async def test_time(server: RawServer, proxy: ChaosProxy) -> None:
    async def seconds(behaviour: Behaviour) -> float:
        proxy.script(behaviour)
        begin = time.monotonic()
        async with httpx.AsyncClient(base_url=proxy.url, trust_env=False) as client:
            assert (await client.get("/")).status_code == 200
        return time.monotonic() - begin

    # No upper bounds: how late a busy machine is says nothing of the proxy.
    assert await seconds(Delay(connect=0.1, reply=0.1)) >= 0.2
    assert await seconds(Delay(connect=0.1, reply=0.1, then=Corrupt(at=0, count=0))) >= 0.2
    assert await seconds(Drip(every=0.02, size=8)) >= 0.15


@pytest.mark.parametrize(
    "behaviour", [BlackHole(), BlackHole(forward=True), Endless1xx(every=0), Drip(every=0.02), Delay(reply=9)]
)
async def test_endless_ones_end_with_the_block(behaviour: Behaviour, server: RawServer) -> None:
    async with (
        ChaosProxy(server.address, behaviour) as proxy,
        httpx.AsyncClient(base_url=proxy.url, trust_env=False) as client,
    ):
        with anyio.move_on_after(0.15) as scope:
            await client.get("/")
        assert scope.cancelled_caught
        assert proxy.requests == 1
        begin = time.monotonic()
    assert time.monotonic() - begin < 1
    assert not [t for t in threading.enumerate() if t.name.startswith("ChaosProxy")]


async def test_interim_replies_until_the_client_goes(proxy: ChaosProxy) -> None:
    proxy.script(Endless1xx(status=103))
    with socket.create_connection(proxy.address, timeout=2) as client:
        client.sendall(POST)
        got = b""
        while len(got) < 100:
            got += client.recv(100)
    assert got.startswith(b"HTTP/1.1 103 Interim\r\n\r\nHTTP/1.1 103")
    await until(lambda: proxy.open_connections == 0)


def test_corrupt(proxy: ChaosProxy) -> None:
    proxy.script(Corrupt(at=1, count=2, mask=1))
    body = httpx.post(proxy.url, content=BODY, trust_env=False).content
    assert body == REPLY[len(HEAD) :].replace(b'{"s', b"{#r")


def test_no_upstream() -> None:
    with ChaosProxy() as proxy, httpx.Client(base_url=proxy.url, trust_env=False) as client:
        assert [client.get("/").json()["code"] for _ in range(2)] == [0, 0]
        assert proxy.connections == 1


async def test_tls_passes_through_and_can_be_terminated() -> None:
    async with (
        tls_server(echo) as server,
        ChaosProxy(server.address) as through,
        RawServer(echo) as plain,
        ChaosProxy(plain.address, CutReply(4, of="body"), ssl_context=server_context()) as terminating,
        httpx.AsyncClient(verify=client_context(), trust_env=False) as client,
    ):
        response = await client.post(through.url.replace("http:", "https:"), content=BODY)
        assert response.json() == {"size": len(BODY)}
        assert through.requests == 0  # not its business
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(terminating.url)
        assert terminating.requests == 1
