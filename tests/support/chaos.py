"""A TCP proxy that does, connection by connection, what a test's script says.

A behaviour is a frozen value with a coroutine `run(link)`; a test may bring its own. Where it takes
`reply` and `forward`: without `reply` the request is forwarded (the server acts) and its true reply is used;
with `reply` that is sent instead, and the server acts only if `forward`.
"""

import asyncio
import ssl
from collections import deque
from typing import Any, Literal, Self

import attrs

from tests.support.http1 import HEAD_END, MAX_HEAD, RequestParser, SeenRequest, json_reply, read_reply
from tests.support.threaded import End, ThreadedServer, reset

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
READ_SIZE = 65536
CONNECT_TIME = 0.02  # seconds; an RST sooner than that may fail the client's connect() instead of its read
WELL = json_reply({"code": 0, "msg": "success"})  # the reply of a proxy without upstream

# Replies for `Canned` and `EarlyReply`.
TRUNCATED_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"  # and then End.FIN
ILLEGAL_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
CONFLICTING_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "
TRAILING_BYTES = WELL + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def oversized_header(size: int = 200_000) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * size + b"\r\nContent-Length: 2\r\n\r\n{}"


class Behaviour:
    """What happens on one connection, until it ends."""

    async def run(self, link: "Link") -> None:
        raise NotImplementedError


@attrs.frozen
class PassThrough(Behaviour):
    """Every byte as it is, both ways; whatever protocol it is."""

    async def run(self, link: "Link") -> None:
        if link.proxy.upstream:
            await link.pump()
        while not link.proxy.upstream:
            await link.answer()


@attrs.frozen
class AtAccept(Behaviour):
    """Ends the connection before a byte was read.

    `wait`, in seconds, lets the client's connect() return first: with 0 an RST may fail that, not the read.
    """

    end: End = End.RST
    wait: float = CONNECT_TIME

    async def run(self, link: "Link") -> None:
        await asyncio.sleep(self.wait)
        await link.end(self.end)


@attrs.frozen
class MidRequest(Behaviour):
    """Ends the connection when it has read that many bytes of the request; nothing is forwarded."""

    after: int = 64
    end: End = End.RST

    async def run(self, link: "Link") -> None:
        end = link.bytes_in + self.after
        while link.bytes_in < end:
            await link.receive(end - link.bytes_in)
        await link.end(self.end)


@attrs.frozen
class AfterRequest(Behaviour):
    """Ends the connection when it has read the whole request; with `forward` the server has acted on it."""

    end: End = End.RST
    forward: bool = False

    async def run(self, link: "Link") -> None:
        await link.reply(b"", forward=self.forward)
        await link.end(self.end)


@attrs.frozen
class CutReply(Behaviour):
    """Sends so many bytes of the reply, or its head and so many bytes of its body, then ends the connection.

    `CutReply(8)` is half a status line, `CutReply(0, of="body")` the head alone.
    """

    after: int
    end: End = End.FIN
    of: Literal["reply", "body"] = "reply"
    reply: bytes | None = None
    forward: bool = False

    async def run(self, link: "Link") -> None:
        data = await link.reply(self.reply, forward=self.forward)
        await link.send(data[: _offset(data, self.of) + self.after])
        await link.end(self.end)


@attrs.frozen
class Canned(Behaviour):
    """Answers each request with these very bytes; `end` says what follows each."""

    reply: bytes
    end: End = End.KEEP
    forward: bool = False

    async def run(self, link: "Link") -> None:
        while True:
            await link.send(await link.reply(self.reply, forward=self.forward))
            if self.end is not End.KEEP:
                return await link.end(self.end)


@attrs.frozen
class EarlyReply(Behaviour):
    """Answers when the head is in and reads no body, then ends the connection: an early 413."""

    reply: bytes = TOO_LARGE
    end: End = End.FIN

    async def run(self, link: "Link") -> None:
        await link.request_head()
        await link.send(self.reply)
        await link.end(self.end)


@attrs.frozen
class Delay(Behaviour):
    """Waits, in seconds, at the start of the connection and before each reply; otherwise as `then`."""

    connect: float = 0.0
    reply: float = 0.0
    then: Behaviour = PassThrough()

    async def run(self, link: "Link") -> None:
        await asyncio.sleep(self.connect)
        link.reply_delay = self.reply
        await self.then.run(link)


@attrs.frozen
class Drip(Behaviour):
    """Sends each reply `size` bytes at a time, `every` so many seconds."""

    every: float = 0.05
    size: int = 1
    reply: bytes | None = None
    forward: bool = False

    async def run(self, link: "Link") -> None:
        while True:
            data = await link.reply(self.reply, forward=self.forward)
            for start in range(0, len(data), self.size):
                await link.send(data[start : start + self.size])
                await asyncio.sleep(self.every)


@attrs.frozen
class Endless1xx(Behaviour):
    """Answers with interim replies, `every` so many seconds, and never with a final one."""

    every: float = 0.01
    status: int = 102
    forward: bool = False

    async def run(self, link: "Link") -> None:
        await link.reply(b"", forward=self.forward)
        while True:
            await link.send(b"HTTP/1.1 %d Interim\r\n\r\n" % self.status)
            await asyncio.sleep(self.every)


@attrs.frozen
class BlackHole(Behaviour):
    """Reads everything and says nothing; with `forward` the server has acted on the first request."""

    forward: bool = False

    async def run(self, link: "Link") -> None:
        if self.forward:
            await link.reply(b"", forward=True)
        while True:
            await link.receive()


@attrs.frozen
class Corrupt(Behaviour):
    """Flips bits (`mask`) in `count` bytes of each reply, `at` so many bytes into it or into its body."""

    at: int = 0
    count: int = 1
    of: Literal["reply", "body"] = "body"
    mask: int = 0xFF
    reply: bytes | None = None
    forward: bool = False

    async def run(self, link: "Link") -> None:
        while True:
            data = bytearray(await link.reply(self.reply, forward=self.forward))
            start = _offset(bytes(data), self.of) + self.at
            for index in range(start, min(start + self.count, len(data))):
                data[index] ^= self.mask
            await link.send(bytes(data))


@attrs.frozen
class IdleClose(Behaviour):
    """Answers well, and ends the connection when after a reply it was idle for so many seconds."""

    after: float = 0.05
    end: End = End.CLOSE

    async def run(self, link: "Link") -> None:
        while True:
            await link.answer()
            try:
                async with asyncio.timeout(self.after):
                    await link.receive()
            except TimeoutError:
                return await link.end(self.end)


@attrs.frozen
class After(Behaviour):
    """Serves so many requests of the connection well; the next meets `then`."""

    requests: int
    then: Behaviour

    async def run(self, link: "Link") -> None:
        for _ in range(self.requests):
            await link.answer()
        await self.then.run(link)


class ChaosProxy(ThreadedServer):
    """Each new connection takes the next behaviour of the script; when that is used up, `default`.

    Without `upstream` it answers every request itself, 200 and `WELL`. `upstream` and `default` may be set at
    any time, for the connections to come.
    """

    def __init__(
        self,
        upstream: tuple[str, int] | None = None,
        default: Behaviour = PassThrough(),
        *,
        ssl_context: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(ssl_context=ssl_context, port=port)
        self.upstream = upstream
        self.default = default
        self.requests = 0  # heads seen complete
        self.bytes_in = 0  # from clients
        self.bytes_out = 0  # to clients
        self.transcript: bytearray | None = None  # set it, and all that clients say is kept here
        self._script: deque[Behaviour] = deque()

    def script(self, *behaviours: Behaviour) -> Self:
        """Queues behaviours for the connections to come, one each."""
        self._script.extend(behaviours)
        return self

    @property
    def scripted(self) -> int:
        """How many queued behaviours no connection has taken yet."""
        return len(self._script)

    def protocol(self, number: int) -> "_Streams":
        del number
        return _Streams()

    async def serve(self, transport: asyncio.Transport, protocol: Any) -> None:
        behaviour = self._script.popleft() if self._script else self.default
        link = Link(self, transport, protocol)
        try:
            await behaviour.run(link)
            await link.end(End.CLOSE)
        finally:
            link.drop_upstream()


class _Streams(asyncio.StreamReaderProtocol):
    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        super().__init__(self.reader)


class Link:
    """One connection through the proxy, as a behaviour sees it. EOFError: the client has left."""

    def __init__(self, proxy: ChaosProxy, transport: asyncio.Transport, protocol: _Streams) -> None:
        self.proxy = proxy
        self.reply_delay = 0.0
        self.bytes_in = 0
        self._reader = protocol.reader
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, asyncio.get_running_loop())
        # drain() then means: handed to the kernel, a reset can't swallow it. A limit of 0 would hang TLS.
        transport.set_write_buffer_limits(high=1, low=0)
        self._parser = RequestParser()
        self._is_http = True
        self._reply_due = False
        self._upstream: Streams | None = None

    async def receive(self, limit: int = READ_SIZE) -> bytes:
        """Some bytes from the client."""
        data = await self._reader.read(limit)
        if not data:
            raise EOFError("the client has closed")
        self.bytes_in += len(data)
        self.proxy.bytes_in += len(data)
        if self.proxy.transcript is not None:
            self.proxy.transcript += data
        if self._is_http:
            self._parser.feed(data)
            self._scan()
        return data

    async def request_head(self) -> None:
        """Waits until the head of the next request is in."""
        while not self._scan():
            await self.receive()

    async def request(self) -> SeenRequest:
        """The client's next request, complete."""
        while (request := self._parser.pop()) is None:
            await self.receive()
        self._scan()
        return request

    async def send(self, data: bytes) -> None:
        """Sends to the client, after the delay that may be set for replies."""
        if self._reply_due and self.reply_delay:
            await asyncio.sleep(self.reply_delay)
        self._reply_due = False
        self._writer.write(data)
        await self._writer.drain()
        self.proxy.bytes_out += len(data)

    async def end(self, how: End) -> None:
        """Ends the connection to the client; with FIN it first reads until the client closes as well."""
        if how is End.RST:
            reset(self._writer.transport)
        elif how is End.FIN and self._writer.can_write_eof():  # over TLS a close is all there is
            self._writer.write_eof()
            while await self._reader.read(READ_SIZE):
                pass
        self._writer.close()
        await self._writer.wait_closed()

    async def exchange(self, request: SeenRequest) -> bytes:
        """The true reply to a request; from `WELL` if there is no upstream."""
        if self.proxy.upstream is None:
            return WELL
        reader, writer = await self.dial()
        writer.write(request.raw)
        await writer.drain()
        return await read_reply(reader, request.method)

    async def reply(self, canned: bytes | None, *, forward: bool) -> bytes:
        """Reads a request and gives the reply to send: see the module."""
        request = await self.request()
        true = await self.exchange(request) if forward or canned is None else b""
        return true if canned is None else canned

    async def answer(self) -> None:
        """Reads a request and sends its true reply."""
        await self.send(await self.reply(None, forward=True))

    async def dial(self, address: tuple[str, int] | None = None) -> Streams:
        """The connection to the upstream, opened when first needed."""
        if self._upstream is None:
            host, port = address or self.proxy.upstream or ("", 0)
            try:
                self._upstream = await asyncio.open_connection(host, port, limit=MAX_HEAD)
            except OSError:
                await asyncio.sleep(CONNECT_TIME)
                raise  # the client gets an RST
        return self._upstream

    async def pump(self) -> None:
        """Passes bytes both ways until the upstream has closed; an RST is passed on as an RST."""
        reader, writer = await self.dial()

        async def up() -> None:
            try:
                while True:
                    writer.write(await self.receive())
                    await writer.drain()
                    while self._scan() and self._parser.pop():
                        pass
            except EOFError:
                writer.write_eof()

        async def down() -> None:
            while data := await reader.read(READ_SIZE):
                await self.send(data)

        upwards, downwards = asyncio.create_task(up()), asyncio.create_task(down())
        try:
            await asyncio.wait((upwards, downwards), return_when=asyncio.FIRST_COMPLETED)
            if not downwards.done() and upwards.exception() is None:
                await asyncio.wait((downwards,))
        finally:
            upwards.cancel()
            downwards.cancel()
            results = await asyncio.gather(upwards, downwards, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def drop_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream[1].transport.abort()

    def _scan(self) -> bool:
        """Counts request heads; gives up in silence on what is no HTTP."""
        if not self._is_http:
            return False
        before = self._parser.heads
        try:
            complete = self._parser.scan_head()
        except ValueError:
            self._is_http = False
            return False
        if self._parser.heads > before:
            self.proxy.requests += 1
            self._reply_due = True
        return complete


def _offset(reply: bytes, of: Literal["reply", "body"]) -> int:
    return 0 if of == "reply" else reply.index(HEAD_END) + len(HEAD_END)
