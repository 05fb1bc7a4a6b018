"""Serves an ASGI application with uvicorn in a thread of its own, on a free loopback port.

uvicorn's h11 protocol is kept, with three additions: each request's scope carries its connection (so
that faults can get at the socket), connections are counted, and stopping takes milliseconds. Nothing
global is touched: no logging set-up, no signal handlers.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from koodrive_async.testing.service import WIRE

if TYPE_CHECKING:
    import ssl

    from starlette.applications import Starlette

    from koodrive_async.testing.exchange import Cut

_RESET = struct.pack("ii", 1, 0)
_PATIENCE = 10.0


class Connections:
    """How many connections there were and are. Written by the server's thread only."""

    def __init__(self, idle_limit: float) -> None:
        self.opened = 0
        self.open = 0
        self.idle_limit = idle_limit


class _Corked:
    """A transport that sends what is written within one turn of the loop in one piece.

    uvicorn writes head and body separately; one system call fewer makes a cheap service cheaper.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._pieces: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Keep it until the turn ends."""
        if data:
            if not self._pieces:
                self._loop.call_soon(self.flush)
            self._pieces.append(data)

    def flush(self) -> None:
        """Send what was kept."""
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            if not self._transport.is_closing():
                self._transport.write(data)

    def get_write_buffer_size(self) -> int:
        """Bytes kept here and below."""
        return sum(map(len, self._pieces)) + self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Send, then close in good order."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Drop everything and close."""
        self._pieces.clear()
        self._transport.abort()


class ConnectionWire:
    """The way past HTTP to a connection's socket."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.gone = False
        self.stopping = False

    def write(self, data: bytes) -> None:
        """Put bytes on it, past HTTP."""
        self._transport.write(data)

    def unsent(self) -> int:
        """How many bytes the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def cut(self, how: Cut) -> None:
        """Reset it, or close it in good order once what was written is out."""
        if how == "fin":
            self._transport.close()
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and not self.gone:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()


class _Protocol(H11Protocol):
    connection_count: ClassVar[Connections]
    wire: ConnectionWire

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport = cast("asyncio.Transport", _Corked(transport))
        super().connection_made(transport)
        self.access_log = False
        self.timeout_keep_alive = self.connection_count.idle_limit  # type: ignore[assignment]
        sock = transport.get_extra_info("socket")
        if sock is not None:  # asyncio sets it only where the socket names its protocol
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = ConnectionWire(transport)
        self.app_state = {WIRE: self.wire}
        self.connection_count.opened += 1
        self.connection_count.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.wire.gone = True
        self.connection_count.open -= 1
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """uvicorn's server, waiting for an event instead of looking at the clock ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def stop(self) -> None:
        """Ask it to end; from any thread."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        assert self._stop is not None
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - theirs
        # A server of asyncio that is closed loses what it accepted just now (its socket stays open): so
        # first nothing more is accepted, then those arrive, and only then it is closed.
        with suppress(NotImplementedError):  # Windows accepts without a selector
            for listening in (sock for server in self.servers for sock in server.sockets):
                asyncio.get_running_loop().remove_reader(listening.fileno())
        tasks = set(self.server_state.tasks)
        arriving = asyncio.all_tasks() - tasks - {asyncio.current_task()}
        if arriving:
            await asyncio.wait(arriving, timeout=_PATIENCE)
        for server in self.servers:
            server.close()
        for protocol in list(self.server_state.connections):
            protocol.wire.stopping = True  # type: ignore[union-attr]
            protocol.transport.abort()
        for _ in range(1000):
            if not self.server_state.connections:
                break
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE)


class ServerThread:
    """One running server: made by starting it, gone after `stop`."""

    def __init__(
        self, app: Starlette, connections: Connections, *, port: int, tls: ssl.SSLContext | None
    ) -> None:
        self._socket = socket.create_server(("127.0.0.1", port), backlog=2048)
        self.port: int = self._socket.getsockname()[1]
        protocol = type("_Protocol", (_Protocol,), {"connection_count": connections})
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            interface="asgi3",
            log_config=None,
            access_log=True,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=2048,
        )
        config.load()
        config.ssl = tls
        self._server = _Server(config)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="koodrive-emulator", daemon=True)
        self._thread.start()
        self._server.ready.wait(_PATIENCE)
        if not self._server.started:
            self._socket.close()
            raise RuntimeError("the emulator's server did not start") from self._failed()

    def stop(self) -> None:
        """End it: cut all connections, wait for the thread."""
        self._server.stop()
        self._thread.join(_PATIENCE)
        self._socket.close()
        if self._thread.is_alive():
            raise RuntimeError("the emulator's server did not stop")
        failure = self._failed()
        if failure is not None:
            raise RuntimeError("the emulator's server failed") from failure

    def _failed(self) -> BaseException | None:
        return self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve([self._socket]))
        except BaseException as error:  # noqa: BLE001 - reported to the thread that stops the server
            self._failure = error
        finally:
            self._server.ready.set()
