"""Whether the requests of an attempt have left this machine: what tells NOT_SENT from UNKNOWN.

Not here: what an error of a send means (see `transport`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from koodrive_async.shell.slots import Slot

#: The events by which httpcore announces that it opens a connection. Only these prove that a transport traces
#: what it does, since a transport may send events of its own.
_OPENING = ("connect_tcp.started", "connect_unix_socket.started")


def is_head(name: str, info: Mapping[str, Any]) -> bool:
    """Return whether an event of httpcore's ``trace`` extension says that a request is about to leave.

    A request leaves when its head is sent, not while its connection is opened, be it through a proxy.
    """
    return name.endswith("send_request_headers.started") and info["request"].method != b"CONNECT"


class Sending:
    """One send of an attempt.

    Attributes:
        exclusive: Whether only this package uses the connection; False for a borrowed client.
        reused: Whether the connection served before. Always False for a borrowed client.
        heads: How often the transport began to send the head of the request, as far as that is traced.
        slot: Where the connection is kept that the request left on, or None. Always None for a borrowed
            client.
    """

    __slots__ = ("_assumed", "_spoilt", "exclusive", "heads", "reused", "slot")

    def __init__(self, *, exclusive: bool) -> None:
        self.exclusive = exclusive
        self.reused = False
        self.heads = 0
        self.slot: Slot | None = None
        self._spoilt = False
        self._assumed = not exclusive  # a borrowed client may do anything, until its trace says what

    def take(self, slot: Slot) -> None:
        """Note the slot of a connection that served before: it takes the request immediately."""
        self.slot = slot
        self.reused = self._assumed = True

    def leave(self, slot: Slot) -> None:
        """Note that the head of the request is about to leave on a new connection."""
        self.heads += 1
        self.slot = slot
        slot.spoilt = slot.spoilt or self._spoilt

    def spoil(self) -> None:
        """Have the connection thrown away after this send, also if it is not open yet."""
        self._spoilt = True
        if self.slot is not None:
            self.slot.spoilt = True

    @property
    def left(self) -> bool:
        """Whether bytes of the request may be under way."""
        return self._assumed or self.heads > 0

    async def watch(self, name: str, info: dict[str, Any]) -> None:
        """Note an event of a borrowed client's ``trace`` extension.

        A client that announces that it opens a connection has a transport that traces: from then on the
        request has left only if its head was begun, in this try or in another one.
        """
        if is_head(name, info):
            self.heads += 1
        elif name.endswith(_OPENING):
            self._assumed = False


class Departure:
    """What is known of the sends of one attempt.

    `begin` adds a send, and the transport notes in it what happens; a middleware may send any number of
    times, also in parallel. Once a request has left, `left` stays True, whatever a later send does.
    """

    __slots__ = ("_sendings",)

    def __init__(self) -> None:
        self._sendings: list[Sending] = []

    def begin(self, *, exclusive: bool) -> Sending:
        """Add a send.

        Args:
            exclusive: Whether it goes over a connection that only this package uses.
        """
        sending = Sending(exclusive=exclusive)
        self._sendings.append(sending)
        return sending

    @property
    def left(self) -> bool:
        """Whether a request of any send may be under way."""
        return any(sending.left for sending in self._sendings)

    @property
    def reused(self) -> bool:
        """Whether the latest send went over a connection that served before."""
        return bool(self._sendings) and self._sendings[-1].reused

    @property
    def repeated(self) -> bool:
        """Whether a borrowed client repeated a request by itself; it returns only the last reply."""
        return any(sending.heads > 1 and not sending.exclusive for sending in self._sendings)

    def left_besides(self, one: Sending) -> bool:
        """Return whether a request of any other send, earlier or in parallel, may be under way."""
        return any(sending.left for sending in self._sendings if sending is not one)

    def spoil(self) -> None:
        """Have the connections of this attempt thrown away, so that none of them serves a further request.

        Nothing is closed immediately. A connection that serves another request by now is closed when that
        has ended; an idle one when it would be used next, when it is too old, or together with the client.
        Connections of a borrowed client are left alone: they belong to its owner.
        """
        for sending in self._sendings:
            sending.spoil()
