"""The facade: the service, and a server around it."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self, Unpack

from koodrive_async.testing.server import Connections, ServerThread
from koodrive_async.testing.service import application
from koodrive_async.testing.world import World

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from starlette.applications import Starlette

    from koodrive_async.testing.settings import Settings


class Emulator(World):
    """The share service in a box: its rules, its state, its bad days.

    As a context manager (plain or async) it serves on a free loopback port, from a thread of its own:
    it works under asyncio and trio and for synchronous code. Without being started, `app` can be used
    in process. Leaving the block raises what went wrong inside the emulator (a rule of yours that
    raised, say).

    Args:
        keep_alive: Seconds after which an idle connection is closed.
        port: The port to listen on; 0: a free one.
        tls: Serve https with this context.
        **settings: See `koodrive_async.testing.settings.Settings`.
    """

    def __init__(
        self,
        *,
        keep_alive: float = 75.0,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(**settings)
        self._connections = Connections(keep_alive)
        self._port, self._tls = port, tls
        self._server: ServerThread | None = None

    @cached_property
    def app(self) -> Starlette:
        """The ASGI application, for use in process: `httpx.ASGITransport(app=emulator.app)`."""
        return application(self)

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:PORT`; kept after stopping."""
        if not self._port:
            raise RuntimeError("the emulator was not started: use `with Emulator(...) as emulator:`")
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen. A second start after `stop` takes the same port, with the state kept."""
        if self._server is not None:
            raise RuntimeError("the emulator is running already")
        self._server = ServerThread(self.app, self._connections, port=self._port, tls=self._tls)
        self._port = self._server.port

    def stop(self) -> None:
        """Cut all connections and stop listening; the state stays readable."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def connections_opened(self) -> int:
        """How many connections were accepted so far."""
        return self._connections.opened

    @property
    def open_connections(self) -> int:
        """How many connections are open now; a client's closing takes a moment to arrive: see `settled`."""
        return self._connections.open

    def settled(self, timeout: float = 5.0) -> bool:
        """Wait until no connection is open; False if some still are after `timeout` seconds."""
        end = time.monotonic() + timeout
        while self._connections.open and time.monotonic() < end:
            time.sleep(0.002)
        return not self._connections.open

    def environ(self, credentials: Literal["token", "app"] = "token") -> dict[str, str]:
        """Environment variables with which a client finds and enters this emulator."""
        found = {"KOODRIVE_ENDPOINT": self.url, "KOODRIVE_USER_ID": self.user_id}
        if self.edition == "carrier":
            found["KOODRIVE_AGENT_NAME"] = self.agent_name
        if credentials == "token":
            return {**found, "KOODRIVE_ACCESS_TOKEN": next(iter(self.tokens))}
        app_id, app_secret = next(iter(self.apps.items()))
        return {**found, "KOODRIVE_APP_ID": app_id, "KOODRIVE_APP_SECRET": app_secret}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None and self.errors:
            raise ExceptionGroup("errors inside the emulator", list(self.errors))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
