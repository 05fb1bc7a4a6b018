import socket
import threading
from collections.abc import Iterator

import anyio
import httpx
import pytest

from tests.support.http1 import SeenRequest, json_reply, reply
from tests.support.rawserver import Pause, RawServer, Step
from tests.support.threaded import End, until


def echo(request: SeenRequest) -> bytes:
    return json_reply(
        {"method": request.method, "target": request.target.decode(), "size": len(request.body)}
    )


def test_keep_alive_and_what_is_recorded() -> None:
    with RawServer(echo) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        for size in (0, 5, 300_000):
            seen = client.post("/a?b=c", content=b"x" * size, headers={"X-Date": "now"}).json()
            assert seen == {"method": "POST", "target": "/a?b=c", "size": size}
        first, _, third = server.requests
        assert (first.connection, first.number, third.connection, third.number) == (1, 1, 1, 3)
        assert first.header("x-date") == "now"
        assert first.received_at < third.received_at
        assert (server.connections, server.open_connections) == (1, 1)


async def test_stops_and_starts_under_either_event_loop() -> None:
    before = threading.active_count()
    async with RawServer(echo) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        assert (await client.get("/")).status_code == 200
        server.stop()
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
        server.start()
        assert (await client.get("/")).status_code == 200
    await until(lambda: server.open_connections == 0)
    assert server.connections == 2
    # anyio and the servers may keep no thread; trio keeps idle workers of its own for a while.
    assert [t for t in threading.enumerate() if "RawServer" in t.name] == [], before


def steps(request: SeenRequest) -> Iterator[Step]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok"
    yield Pause(0.05)
    yield b"ok"


async def test_pauses_overlap_and_are_counted_as_in_flight() -> None:
    async with (
        RawServer(steps) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        anyio.create_task_group() as tasks,
    ):
        with anyio.fail_after(2):
            for _ in range(10):
                tasks.start_soon(client.get, "/")
            await until(lambda: len(server.requests) == 10 and server.in_flight == 0)
        assert server.max_in_flight > 5


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (End.RST, ConnectionResetError),
        (End.CLOSE, b""),
        (End.FIN, b""),
        ([b"HTTP/1.1", End.FIN], b"HTTP/1.1"),
        ([b"HTTP/1.1", End.CLOSE], b"HTTP/1.1"),
        ([reply(b"x"), End.KEEP, End.CLOSE], reply(b"x")),
    ],
)
def test_endings(answer: bytes | End | list[Step], read: bytes | type[Exception]) -> None:
    with RawServer(lambda _: answer) as server, socket.create_connection(server.address) as client:
        client.settimeout(2)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        if isinstance(read, bytes):
            assert b"".join(iter(lambda: client.recv(1000), b"")) == read
        else:
            with pytest.raises(read):
                client.recv(1000)


def endless(request: SeenRequest) -> Iterator[Step]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    try:
        while True:
            yield b"x" * 10_000
            sent.append(10_000)
    finally:
        sent.append(-1)


sent: list[int] = []


async def test_an_endless_body_waits_for_its_reader_and_is_closed_with_the_connection() -> None:
    sent.clear()
    async with RawServer(endless) as server:
        with socket.create_connection(server.address) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: len(sent) > 1)
            await anyio.sleep(0.1)
            assert sum(sent) < 20_000_000  # what the kernel's buffers take
        await until(lambda: server.open_connections == 0)
        assert sent[-1] == -1
        assert server.in_flight == 0


def test_a_failing_handler_fails_the_test() -> None:
    def fail(request: SeenRequest) -> bytes:
        raise LookupError("no such row")

    server = RawServer(fail).start()
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(server.url, trust_env=False)
    with pytest.raises(AssertionError) as caught:
        server.__exit__(None, None, None)
    assert isinstance(caught.value.__cause__, LookupError)


def test_connection_close_is_honoured() -> None:
    with RawServer(echo) as server:
        httpx.get(server.url, headers={"Connection": "close"}, trust_env=False)
        httpx.get(server.url, headers={"Connection": "close"}, trust_env=False)
        assert [r.connection for r in server.requests] == [1, 2]
