"""A server on 127.0.0.1 in a thread and an event loop of its own.

Use it with `with` or `async with`, from asyncio, trio or no event loop at all. A failure inside the server
fails the test at the end of the block; `stop()` and `start()` in between play an outage on the same port.
"""

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Any, Self

import anyio

HOST = "127.0.0.1"
JOIN_TIMEOUT = 10.0


class End(Enum):
    """How a side ends a connection."""

    KEEP = "keep"  # not at all: on to the next request
    FIN = "fin"  # in order: half-close, then read on until the peer closes. The peer always sees plain EOF
    CLOSE = "close"  # as a dying process does: close(). FIN, and an RST in answer to whatever still arrives
    RST = "rst"  # abort: RST at once


def reset(transport: asyncio.BaseTransport) -> None:
    """Aborts with an RST instead of a FIN."""
    assert isinstance(transport, asyncio.WriteTransport)
    if not transport.is_closing():
        linger_zero = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
    transport.abort()


class Peer(asyncio.Protocol):
    """What the server keeps of one connection: its transport, its number, and when it is closed."""

    transport: asyncio.Transport

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


class ThreadedServer:
    """Accepts, counts and cleans up; a subclass says in `protocol` (and `serve`) what a connection does."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.ssl_context = ssl_context
        self.port = port
        self.connections = 0  # ever accepted
        self.open_connections = 0
        self.handshake_failures: list[OSError] = []
        self.errors: list[
            Exception
        ] = []  # what a handler raised; the first is raised again at the end of the block
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self.ssl_context else 'http'}://{HOST}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    def protocol(self, number: int) -> asyncio.Protocol:
        """The protocol of the connection of that number, counted from 1."""
        raise NotImplementedError

    async def serve(self, transport: asyncio.Transport, protocol: Any) -> None:
        """Lasts as long as the connection."""
        del transport
        await protocol.closed

    def start(self, listener: socket.socket | None = None) -> Self:
        """Listens on its port, or where `listener` does, which is the server's from then on."""
        assert self._thread is None, "runs already"
        if listener is None:
            listener = socket.create_server((HOST, self.port))
        listener.listen(1024)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._loop, self._stopping = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name=type(self).__name__, daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stops listening and aborts every connection. Harmless if stopped already."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join(JOIN_TIMEOUT)
            assert not thread.is_alive(), f"{thread.name} does not stop: does its handler block?"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.errors and error is None:
            raise AssertionError(f"failure inside {type(self).__name__}") from self.errors[0]
        if self.errors and error is not None:
            error.add_note(f"Failure inside {type(self).__name__}: {self.errors[0]!r}")

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)  # a matter of milliseconds; the thread never waits for the caller

    def _run(self, listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main(listener))

    async def _main(self, listener: socket.socket) -> None:
        self._loop.add_reader(listener, self._accept, listener)
        await self._stopping.wait()
        self._loop.remove_reader(listener)
        listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(
            4
        ):  # aborted transports close their sockets some turns of the loop later, TLS ones last
            await asyncio.sleep(0)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:  # the client has gone already, or no file descriptor is free
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is written is on its way
        self.connections += 1
        self.open_connections += 1
        task = self._loop.create_task(self._admit(sock, self.connections))
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self.open_connections -= 1
            sock.close()  # for the task that was cancelled before its first step

        task.add_done_callback(done)

    async def _admit(self, sock: socket.socket, number: int) -> None:
        tls = {"ssl_handshake_timeout": 10.0, "ssl_shutdown_timeout": 0.5} if self.ssl_context else {}
        try:
            transport, protocol = await self._loop.connect_accepted_socket(
                lambda: self.protocol(number), sock, ssl=self.ssl_context, **tls
            )
        except OSError as error:  # ssl.SSLError is one
            self.handshake_failures.append(error)
            return
        try:
            await self.serve(transport, protocol)
        except (OSError, EOFError):  # the other side has gone
            reset(transport)
        except Exception as error:  # noqa: BLE001 - raised again at the end of the block
            self.errors.append(error)
        finally:
            transport.abort()


async def until(condition: Callable[[], bool], *, within: float = 5.0) -> None:
    """Waits, under asyncio or trio, until a condition about another thread holds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "the awaited condition never held"
        await anyio.sleep(0.002)
