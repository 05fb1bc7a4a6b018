"""A second attempt to connect, for a request whose connection takes too long.

Behind one address there may be a node that hangs: it lets SYNs go unanswered, or accepts connections and
never answers a TLS handshake. The next connection often reaches another node. So a request that needs a new
connection and has not left after `SECOND_TRY` seconds gets a second one, opened beside the first. The request
is sent once, on the connection that is ready first; the other one is cut and closed.

Not here: connections that are kept (see `slots`), what is sent and read (see `transport`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from koodrive_async.shell.cancellation import is_asked_for, unexpected
from koodrive_async.shell.departure import Sending, is_head
from koodrive_async.shell.slots import Slot

T = TypeVar("T")

#: How long the first connection may take before a second one is opened beside it, in seconds. Longer than the
#: second after which kernels repeat a lost SYN, so that one lost packet opens nothing.
SECOND_TRY = 2.0

#: The event by which httpcore hands out a connection before TLS or HTTP is spoken over it.
_OPENED = "connect_tcp.complete"


class Opening:
    """A connection that is opened for a request, and that sends it if it is ready before the other one.

    Attributes:
        slot: The place of the connection; None until it is begun.
        stream: The connection while it may be in its TLS handshake, else None: httpcore does not close it if
            the handshake is cut off.
        scope: Cancelled when the other connection is ready first.
    """

    __slots__ = ("_race", "scope", "slot", "stream")

    def __init__(self, race: Race[Any]) -> None:
        self._race = race
        self.slot: Slot | None = None
        self.stream: Any = None
        self.scope = anyio.CancelScope()

    async def watch(self, name: str, info: dict[str, Any]) -> None:
        """Note an event of httpcore's ``trace`` extension.

        The head of the request is written only after this has returned, and not before it was called.
        """
        if name.endswith(_OPENED):
            self.stream = info["return_value"]
        elif is_head(name, info):
            if not self._race.claim(self):
                await anyio.sleep_forever()  # which `scope` ends: it was cancelled when the other one won
            self.stream = None  # part of an HTTP connection by now, which closes it


class Race(Generic[T]):
    """The one or two connections that are opened for one send.

    If the first one fails before the second one is begun, that is the end. If one of two fails, the other one
    goes on. `run` it once.

    Args:
        sending: Where to note that the request leaves, and from which slot.
        send: Sends the request on the slot of an opening and returns the response. It passes httpcore's
            events to `Opening.watch`, and closes the slot and `Opening.stream` if it fails or is cancelled.
    """

    def __init__(self, sending: Sending, send: Callable[[Opening], Awaitable[T]]) -> None:
        self._sending = sending
        self._send = send
        self._first, self._second = Opening(self), Opening(self)
        self._winner: Opening | None = None
        self._settled = anyio.Event()  # too late to begin a second one
        self._responses: list[T] = []
        self._failures: list[Exception] = []

    async def run(self, make: Callable[[], Slot]) -> T:
        """Open a connection, or two, and send the request on the one that is ready first.

        Args:
            make: Returns a slot without a connection.

        Raises:
            Exception: What `send` raised on the connection that was ready first; if none was ready, the
                failure that came first.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._open_second, make)
            with self._first.scope:
                await self._open(self._first, make)
            self._settled.set()
        if self._responses:
            return self._responses[0]
        if self._failures:
            raise self._failures[0]
        await checkpoint()  # cut from outside while one was being closed
        raise unexpected("the HTTP client")

    def claim(self, opening: Opening) -> bool:
        """Ask to send the request on a connection that is ready; return whether it is the one that may.

        The other one is cut.
        """
        if self._winner is None:
            self._winner = opening
            self._settled.set()
            (self._second if opening is self._first else self._first).scope.cancel()
            self._failures.clear()
        if self._winner is not opening:
            return False
        assert opening.slot is not None
        self._sending.leave(opening.slot)
        return True

    async def _open_second(self, make: Callable[[], Slot]) -> None:
        with anyio.move_on_after(SECOND_TRY):
            await self._settled.wait()
        if self._settled.is_set():
            return
        with self._second.scope:
            try:
                await self._open(self._second, make)
            except anyio.get_cancelled_exc_class():
                if is_asked_for():
                    raise
                self._failures.append(unexpected("the HTTP client"))  # the task group would keep it quiet

    async def _open(self, opening: Opening, make: Callable[[], Slot]) -> None:
        try:
            opening.slot = make()
            self._responses.append(await self._send(opening))
        except Exception as error:  # noqa: BLE001 - raised by `run`, in no group
            if self._winner in (None, opening):
                self._failures.append(error)
