"""Connections kept between requests, each in a slot of its own, and the search for unread bytes in them.

A kept connection must be silent: whatever came in after the last reply (a copy of it, an unsolicited 408,
the end of the connection) would be taken for the answer to the next request. So each connection is searched
before it is used again, and thrown away unless it is known to be silent.

Not here: making connections, sending requests (see `transport`).
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import anyio

from koodrive_async.shell.log import say

#: How long closing a connection properly may take, in seconds.
_CLOSING = 1.0

#: Event: the other side has closed, even if there is still something to read. Only Linux has it.
_CLOSED = getattr(select, "POLLRDHUP", 0)

Check = Callable[[], object]

# -- the search -----------------------------------------------------------------------------------


def checks_of(transport: Any, extensions: Mapping[str, Any]) -> dict[str, Check]:
    """List the places where unread bytes of a connection can wait, or where its end shows.

    This is the only function that reads private names of httpx, httpcore, anyio and trio; they have no public
    way to ask. Everything is looked up once per connection, so that a search costs microseconds.

    With HTTP/2 only the end of the connection counts: each frame names its stream, so nothing is mistaken
    for the answer to another request, and servers may send settings, window updates and pings at any time.

    Args:
        transport: An ``httpx.AsyncHTTPTransport`` with one connection.
        extensions: The extensions of a response that came over this connection.

    Returns:
        Functions by name. If one of them returns something true, the connection must be thrown away.

    Raises:
        Exception: If a library looks different inside.
    """
    stream = extensions["network_stream"]
    http2 = extensions["http_version"] == b"HTTP/2"
    connections = transport._pool.connections  # noqa: SLF001
    if not connections:  # "Connection: close"
        return {"closed": lambda: True}
    (connection,) = connections
    socket = stream.get_extra_info("socket")
    checks: dict[str, Check] = {"descriptor": _changed(socket.fileno)}
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(socket.fileno(), _CLOSED if http2 else _CLOSED | select.POLLIN)
        checks["kernel"] = partial(poll.poll, 0)
    elif not http2:
        checks["kernel"] = partial(stream.get_extra_info, "is_readable")
    layer = stream._stream  # noqa: SLF001
    depth = 0
    while hasattr(layer, "transport_stream"):  # TLS; twice through an https proxy
        # What anyio calls `_read_bio` is `_incoming` with trio: received and not yet decrypted.
        received = layer._read_bio if hasattr(layer, "_read_bio") else layer._incoming  # noqa: SLF001
        if not http2:
            checks[f"tls{depth}"] = partial(_pending, received)
            checks[f"decrypted{depth}"] = layer._ssl_object.pending  # noqa: SLF001
        depth += 1
        layer = layer.transport_stream
    if hasattr(layer, "_protocol"):  # asyncio: read by the event loop and not yet asked for
        checks["closing"] = layer._transport.is_closing  # noqa: SLF001
        if not http2:
            checks["event loop"] = layer._protocol.read_event.is_set  # noqa: SLF001
    elif layer.socket is not socket:  # trio keeps nothing back
        raise TypeError(f"unknown kind of stream: {type(layer).__qualname__}")
    if not http2:
        checks["h11"] = partial(_trailing, connection._connection._h11_state)  # noqa: SLF001
    return checks


def _changed(fileno: Callable[[], int]) -> Check:
    """Return a check of whether a socket was closed; another one may have its number by now."""
    number = fileno()
    return lambda: fileno() != number


def _pending(buffer: Any) -> int:
    return int(buffer.pending)


def _trailing(h11: Any) -> bool:
    data, closed = h11.trailing_data
    return bool(data) or closed


# -- slots ----------------------------------------------------------------------------------------


class Slot:
    """A place for one connection, used by one request at a time.

    Attributes:
        transport: An ``httpx.AsyncHTTPTransport`` limited to one connection.
        served: How many requests it was used for.
        spoilt: Whether it must not serve another request.
        idle_since: When it was given back, by `time.monotonic`.
    """

    __slots__ = ("_checks", "_stream", "idle_since", "served", "spoilt", "transport")

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.served = 0
        self.spoilt = False
        self.idle_since = 0.0
        self._stream: Any = None
        self._checks: tuple[Check, ...] = ()

    def note(self, extensions: Mapping[str, Any]) -> None:
        """Note the connection of a response that was read to its end.

        Args:
            extensions: Those of the response.

        Raises:
            Exception: If a library looks different inside.
        """
        if self._stream is None or extensions["network_stream"] is not self._stream:
            self._checks = tuple(checks_of(self.transport, extensions).values())
            self._stream = extensions["network_stream"]

    def is_silent(self) -> bool:
        """Return whether nothing came in since the last reply: no bytes, and no end of the connection."""
        return not any(check() for check in self._checks)

    async def aclose(self) -> None:
        """Close the connection."""
        with anyio.move_on_after(_CLOSING, shield=True):
            await self.transport.aclose()


class Slots:
    """The idle slots of a client, shared by all its calls; the one used last serves first.

    `take` a slot or make a new one, use it, and `release` it whatever happened. The gate decides how many are
    in use at a time.

    Args:
        keepalive_expiry: How long an idle connection is kept, in seconds.
    """

    def __init__(self, keepalive_expiry: float) -> None:
        self._expiry = keepalive_expiry
        self._idle: list[Slot] = []
        self._closed = False
        self._warned = False

    async def take(self) -> Slot | None:
        """Return a slot with a silent connection, or None; throw away those that are not silent."""
        while self._idle:
            slot = self._idle.pop()
            fresh = time.monotonic() - slot.idle_since <= self._expiry
            if fresh and not slot.spoilt and slot.is_silent():  # nothing is awaited between this and the send
                return slot
            await slot.aclose()
        return None

    def keep(self, slot: Slot, status: int, extensions: Mapping[str, Any]) -> None:
        """Allow a slot to serve again after a response that was read to its end.

        A connection that can't be searched is not kept, nor is one whose response had a status below 200,
        which does not end an exchange: after 101 the connection speaks another protocol.

        Args:
            slot: The slot that served.
            status: The status of the response.
            extensions: Those of the response.
        """
        try:
            slot.note(extensions)
        except Exception as error:  # noqa: BLE001 - whatever a library raises that looks different inside
            slot.spoilt = True
            if not self._warned:
                self._warned = True
                say(
                    logging.WARNING,
                    "connections can't be searched for unread bytes (%r), so each serves a single request;"
                    " is this version of httpx, httpcore, anyio or trio supported?",
                    error,
                )
        if status < 200:
            slot.spoilt = True

    async def release(self, slot: Slot, opening: Any = None) -> None:
        """Take a slot back, and close slots that were idle for too long.

        Args:
            slot: The slot that served.
            opening: A stream to close: httpcore leaves it open if a TLS handshake is cut off.
        """
        now = time.monotonic()
        if opening is not None:
            with anyio.move_on_after(_CLOSING, shield=True):
                await opening.aclose()
        if slot.spoilt or self._closed:
            await slot.aclose()
        else:
            slot.idle_since = now
            self._idle.append(slot)
        while self._idle and now - self._idle[0].idle_since > self._expiry:
            await self._idle.pop(0).aclose()

    async def aclose(self) -> None:
        """Close every idle slot; those in use are closed when they are released."""
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()
