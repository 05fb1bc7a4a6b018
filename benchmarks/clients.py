"""The candidates: each cancels batches of ids, ``concurrency`` at a time, and ends with a code for each id.

Ours signs every request; the others send a constant header, which is cheaper.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

from benchmarks.lab import BATCH

Run = Callable[[list[str]], Awaitable[None]]
Post = Callable[[list[str]], Awaitable[bytes | dict[str, Any]]]
PATH = "/koodrive/ose/v1/share/cancel"
HEADERS = {"Authorization": "Bearer+0123456789", "X-User-Id": "u", "Content-Type": "application/json"}


async def _pooled(ids: list[str], concurrency: int, post: Callable[[list[str]], Awaitable[Any]]) -> None:
    """The cheapest way to keep so many requests in flight: a fixed set of workers."""
    codes: dict[str, str] = {}
    batches: Iterator[list[str]] = (ids[at : at + BATCH] for at in range(0, len(ids), BATCH))

    async def work() -> None:
        for batch in batches:
            reply = await post(batch)
            for sub in reply["subResponseList"]:
                codes[sub["shareId"]] = sub["code"]

    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(work())
    assert len(codes) == len(ids)
    assert set(codes.values()) == {"0"}


@asynccontextmanager
async def ours(url: str, concurrency: int, **options: Any) -> AsyncIterator[Run]:
    from koodrive_async import AppCredentials, AsyncShareClient, Pace
    from koodrive_async.core import jsontext

    credentials, pace = AppCredentials("app", "secret", "u"), Pace(concurrency=concurrency)
    # The extra is installed here; the default install has no orjson.
    with mock.patch.object(jsontext, "_fast_loads", None):
        async with AsyncShareClient(url, credentials, pace=pace, **options) as client:

            async def run(ids: list[str]) -> None:
                report = await client.cancel(ids)
                assert report
                assert len(report) == len(ids)

            yield run


def _httpx(concurrency: int) -> Any:
    import httpx

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    return httpx.AsyncClient(headers=HEADERS, limits=limits, timeout=60)


@asynccontextmanager
async def bare_httpx(url: str, concurrency: int) -> AsyncIterator[Run]:
    async with _httpx(concurrency) as client:

        async def post(batch: list[str]) -> Any:
            response = await client.post(url + PATH, json={"shareIds": batch})
            response.raise_for_status()
            return response.json()

        yield lambda ids: _pooled(ids, concurrency, post)


@asynccontextmanager
async def usual(url: str, concurrency: int) -> AsyncIterator[Run]:
    """What one writes: httpx, a semaphore, a tenacity decorator, gather."""
    import httpx
    import tenacity

    async with _httpx(concurrency) as client:
        semaphore = asyncio.Semaphore(concurrency)

        @tenacity.retry(
            stop=tenacity.stop_after_attempt(6),
            wait=tenacity.wait_random_exponential(0.1, 5),
            retry=tenacity.retry_if_exception_type(httpx.HTTPError),
        )
        async def post(batch: list[str]) -> Any:
            async with semaphore:
                response = await client.post(url + PATH, json={"shareIds": batch})
            response.raise_for_status()
            return response.json()

        async def run(ids: list[str]) -> None:
            batches = [ids[at : at + BATCH] for at in range(0, len(ids), BATCH)]
            replies = await asyncio.gather(*map(post, batches))
            codes = {sub["shareId"]: sub["code"] for reply in replies for sub in reply["subResponseList"]}
            assert len(codes) == len(ids)

        yield run


@asynccontextmanager
async def bare_aiohttp(url: str, concurrency: int) -> AsyncIterator[Run]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector) as session:

        async def post(batch: list[str]) -> Any:
            async with session.post(url + PATH, json={"shareIds": batch}) as response:
                response.raise_for_status()
                return await response.json()

        yield lambda ids: _pooled(ids, concurrency, post)


class _Connection(asyncio.Protocol):
    """A hand-written HTTP/1.1 client that knows this one server: the floor in pure Python."""

    def __init__(self) -> None:
        self.buffer = b""
        self.end = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        if not self.end:
            head = self.buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            at = self.buffer.find(b"Content-Length:") + 15
            self.start = head + 4
            self.end = self.start + int(self.buffer[at : self.buffer.find(b"\r\n", at)])
        if len(self.buffer) >= self.end:
            body, self.buffer, self.end = self.buffer[self.start : self.end], b"", 0
            self.reply.set_result(body)

    async def post(self, head: bytes, body: bytes) -> bytes:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport.write(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
        return await self.reply


@asynccontextmanager
async def floor(url: str, concurrency: int, *, decode: bool = True) -> AsyncIterator[Run]:
    host, port = url.removeprefix("http://").split(":")
    head = f"POST {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    loop = asyncio.get_running_loop()
    idle = [(await loop.create_connection(_Connection, host, int(port)))[1] for _ in range(concurrency)]

    async def post(batch: Sequence[str]) -> Any:
        connection = idle.pop()
        reply = await connection.post(head.encode(), json.dumps({"shareIds": batch}).encode())
        idle.append(connection)
        return json.loads(reply)

    async def raw(ids: list[str]) -> None:
        """No JSON at all: what the server can do."""
        body = json.dumps({"shareIds": ids[:BATCH]}).encode()
        left = iter(range(len(ids) // BATCH))

        async def work() -> None:
            connection = idle.pop()
            for _ in left:
                await connection.post(head.encode(), body)
            idle.append(connection)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(work())

    yield (lambda ids: _pooled(list(ids), concurrency, post)) if decode else raw
    for connection in idle:
        connection.transport.close()


def raw(url: str, concurrency: int) -> Any:
    return floor(url, concurrency, decode=False)


CANDIDATES: dict[str, Callable[[str, int], Any]] = {
    "koodrive_async": ours,
    "httpx": bare_httpx,
    "httpx + semaphore + tenacity": usual,
    "aiohttp": bare_aiohttp,
    "floor: by hand": floor,
    "raw: no JSON": raw,
}
