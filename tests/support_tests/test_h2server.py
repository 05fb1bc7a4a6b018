import socket

import anyio
import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import DataFrame, Frame, GoAwayFrame

from tests.support.h2server import H2Server, Headers
from tests.support.threaded import until
from tests.support.tls import client_context


def handler(method: str, path: str, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
    return 200, [("content-type", "text/plain")], f"{method} {path} ".encode() + body


def client_of(server: H2Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, verify=client_context(), http2=True, trust_env=False)


async def test_plain_with_bodies_beyond_the_window() -> None:
    async with H2Server(handler) as server, client_of(server) as client:
        body = b"x" * 300_000
        for _ in range(2):
            response = await client.post("/a?b=c", content=body)
            assert (response.http_version, response.content) == ("HTTP/2", b"POST /a?b=c " + body)
        assert [(r.connection, r.stream) for r in server.processed] == [(1, 1), (1, 3)]


def read_to_the_end(server: H2Server, paths: list[str]) -> list[Frame]:
    """Opens a stream for each path at once. (httpx is no witness: it fails answered streams upon GOAWAY.)"""
    context = client_context()
    context.set_alpn_protocols(["h2"])
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    for number, path in enumerate(paths):
        head = [(":method", "GET"), (":path", path), (":scheme", "https"), (":authority", "h")]
        client.send_headers(2 * number + 1, head, end_stream=True)
    frames = []
    with (
        socket.create_connection(server.address, timeout=5) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall(client.data_to_send())
        rest = b"".join(iter(lambda: tls.recv(65536), b""))
    # Past h2's back as well: once it has seen GOAWAY it refuses to read the answers that follow.
    while rest:
        frame, length = Frame.parse_frame_header(memoryview(rest[:9]))
        frame.parse_body(memoryview(rest[9 : 9 + length]))
        frames.append(frame)
        rest = rest[9 + length :]
    return frames


def test_goaway_leaves_the_later_streams_unprocessed() -> None:
    with H2Server(handler, goaway_after=3, delay=0.05) as server:
        frames = read_to_the_end(server, [f"/{number}" for number in range(5)])
        (goaway,) = (frame for frame in frames if isinstance(frame, GoAwayFrame))
        assert goaway.last_stream_id == 5
        ended = [f.stream_id for f in frames if isinstance(f, DataFrame) and "END_STREAM" in f.flags]
        assert ended == [1, 3, 5]
        assert [r.path for r in server.processed] == ["/0", "/1", "/2"]
        assert server.goaways == 1


async def test_goaway_with_httpx() -> None:
    async def get(path: str) -> None:
        try:
            results[path] = (await client.get(path)).status_code
        except httpx.TransportError:
            results[path] = 0

    results: dict[str, int] = {}
    async with H2Server(handler, goaway_after=3, delay=0.05) as server, client_of(server) as client:
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(get, f"/{number}")
        assert len(results) == 10
        assert server.goaways >= 1
        processed = [r.path for r in server.processed]
        assert len(processed) == len(set(processed))
        assert {path for path, status in results.items() if status == 200} <= set(processed)
        await until(lambda: server.open_connections <= 1)


async def test_refused_stream() -> None:
    refuse_second = lambda connection, stream: stream == 3  # noqa: E731
    async with H2Server(handler, refuse=refuse_second) as server, client_of(server) as client:
        assert (await client.get("/1")).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match=r"StreamReset|REFUSED|7"):
            await client.get("/2")
        assert (await client.get("/3")).status_code == 200
        assert [r.path for r in server.processed] == ["/1", "/3"]
        assert server.refused == 1
