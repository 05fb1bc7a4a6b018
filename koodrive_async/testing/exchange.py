"""One request under way: what a fault may do with it - act, answer, stream, write raw bytes, cut."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Send

    from koodrive_async.testing.answers import Answer
    from koodrive_async.testing.routing import Operation
    from koodrive_async.testing.seen import RequestSeen
    from koodrive_async.testing.world import World

Cut = Literal["rst", "fin"]


class NeedsSocket(RuntimeError):
    """This fault works on a real connection only: serve the emulator with `with Emulator(...)`."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs a real connection: serve the emulator with `with Emulator(...)`")


class Wire(Protocol):
    """The connection a request came over, as far as faults need it."""

    @property
    def gone(self) -> bool:
        """Whether it has been lost."""

    def write(self, data: bytes) -> None:
        """Put bytes on it, past HTTP."""

    def unsent(self) -> int:
        """How many bytes the kernel has not taken yet."""

    def cut(self, how: Cut) -> None:
        """Reset it, or close it in good order."""


class Exchange:
    """A request, its fault's hands on it, and its answer."""

    def __init__(
        self,
        *,
        world: World,
        operation: Operation,
        seen: RequestSeen,
        params: dict[str, str],
        receive: Receive,
        send: Send,
        wire: Wire | None,
    ) -> None:
        self.world, self.operation, self.seen, self.params = world, operation, seen, params
        self.wire = wire
        self._receive, self._send = receive, send
        self._answer: Answer | None = None

    @property
    def gone(self) -> bool:
        """Whether the client has left (always False in process)."""
        return self.wire is not None and self.wire.gone

    def act(self) -> Answer:
        """Let the service check and carry out the request, once; the answer it would give."""
        if self._answer is None:
            with self.world.lock:
                self._answer = self.world.handle(self.operation, self.seen, self.params)
                self.seen.acted = True
        return self._answer

    def act_later(self, seconds: float) -> None:
        """Carry the request out after so many seconds, unless it was already."""
        self.world.later(time.monotonic() + seconds, self.act)

    async def sleep(self, seconds: float) -> None:
        """Wait, on asyncio or trio."""
        await anyio.sleep(seconds)

    async def reply(self, answer: Answer) -> None:
        """Send an answer in good order."""
        self.seen.status = answer.status
        await self._send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": answer.head(self.world.date()),
            }
        )
        await self._send({"type": "http.response.body", "body": answer.body})

    async def stream(
        self, answer: Answer, chunks: Iterable[bytes], *, length: int | None, pause: float = 0.0
    ) -> None:
        """Send an answer's head, then chunks as its body; chunked if the length is None."""
        self.seen.status = answer.status
        if length is None:
            answer = answer.with_headers([("transfer-encoding", "chunked")])
        head = answer.head(self.world.date(), length=length)
        await self._send({"type": "http.response.start", "status": answer.status, "headers": head})
        for chunk in chunks:
            if self.gone:
                return
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
            await anyio.sleep(pause)
        await self._send({"type": "http.response.body", "body": b""})

    async def raw(self, chunks: Iterable[bytes], *, pause: float = 0.0, status: int = 0) -> None:
        """Write bytes to the connection, past HTTP, and wait until they are on their way."""
        if self.wire is None:
            raise NeedsSocket("writing raw bytes")
        self.seen.status = status
        for chunk in chunks:
            if self.wire.gone:
                return
            self.wire.write(chunk)
            await anyio.sleep(pause)
            while self.wire.unsent() and not self.wire.gone:  # noqa: ASYNC110 - the kernel sends no event
                await anyio.sleep(0.001)

    async def cut(self, how: Cut) -> None:
        """End the connection now; in process, where there is none, raise what the client would see."""
        if self.wire is None:
            raise ConnectionResetError(f"the emulator cut the connection ({how})")
        self.wire.cut(how)
        await self.silence()

    async def silence(self) -> None:
        """Do nothing until the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
