"""The server: one thread, one event loop, and a desk (a port of its own) for each history under way.

A port of its own is what makes the books exact: when the client is closed, `Desk.quiet` accepts whatever is
still in the kernel's queue and reads every connection to its end, so nothing that came in is missed.
"""

import asyncio
import json
import socket
import threading
from typing import Any, Self

import anyio

from tests.checker.books import Books, Entry
from tests.checker.replies import Answer, Weather
from tests.support.threaded import HOST, JOIN_TIMEOUT, reset

_HEAD_END = b"\r\n\r\n"


class Service:
    """Lends desks; those given back are lent again."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name="books", daemon=True)
        self._free: list[Desk] = []
        self._desks: list[Desk] = []

    def __enter__(self) -> Self:
        self.loop.set_exception_handler(
            lambda _, context: self.errors.append(context.get("exception") or RuntimeError(str(context)))
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for desk in self._desks:
            self.loop.call_soon_threadsafe(desk.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(JOIN_TIMEOUT)
        self.loop.close()

    def desk(self, books: Books, weather: Weather) -> "Desk":
        desk = self._free.pop() if self._free else Desk(self)
        if desk not in self._desks:
            self._desks.append(desk)
            self.loop.call_soon_threadsafe(desk.open_door)
        desk.books, desk.weather, desk.connections, desk.strays = books, weather, 0, 0
        return desk

    def give_back(self, desk: "Desk") -> None:
        self._free.append(desk)


class Desk:
    """A listener, and the books of the history that it serves."""

    books: Books
    weather: Weather

    def __init__(self, service: Service) -> None:
        self.service = service
        self.loop = service.loop
        self.connections = 0  # of this history
        self.strays = 0  # replies that nobody asked for, still to come
        self.busy = 0  # open connections, and timers that will still change the books
        self.accepting = False
        self._listener = _bound()
        self._listener.listen(256)  # here, so that the port is open when the first client comes
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"

    # -- from the history's thread ----------------------------------------------------------------

    async def quiet(self) -> bool:
        """Wait until everything that was sent here is in the books; False if a connection stays open."""
        for _ in range(2_500):
            drained = threading.Event()
            self.loop.call_soon_threadsafe(self._drained, drained)
            while not drained.is_set():  # noqa: ASYNC110 - another thread's event
                await anyio.sleep(0.0005)
            if not self.busy:
                return True
            await anyio.sleep(0.002)
        return False

    async def strays_have_come(self) -> None:
        """Wait until every reply that nobody asked for lies in the client's sockets."""
        while self.strays:  # noqa: ASYNC110 - likewise
            await anyio.sleep(0.001)

    # -- in the server's thread -------------------------------------------------------------------

    def open_door(self) -> None:
        if not self.accepting:
            self.accepting = True
            self._listener.listen(256)
            self.loop.add_reader(self._listener, self._accept)

    def shut_door(self, seconds: float) -> None:
        """Refuse connections for a while. The port stays bound, so nobody else gets it."""
        if self.accepting:
            self.accepting = False
            self.books.lossy = True
            self.loop.remove_reader(self._listener)
            self._listener.shutdown(socket.SHUT_RD)
            self.after(seconds, self.open_door)

    def after(self, seconds: float, what: Any, *args: Any) -> None:
        """Do something later, and don't be quiet before."""
        self.busy += 1

        def then() -> None:
            self.busy -= 1
            what(*args)

        self.loop.call_later(seconds, then)

    def close(self) -> None:
        self.loop.remove_reader(self._listener)
        self._listener.close()

    def _drained(self, done: threading.Event) -> None:
        while self.accepting and self._accept():
            pass
        done.set()

    def _accept(self) -> bool:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return False
        sock.setblocking(False)
        self.busy += 1
        self.connections += 1
        conversation = _Conversation(self, self.connections)
        self.loop.create_task(self._admit(sock, conversation)).add_done_callback(lambda _: None)
        return True

    async def _admit(self, sock: socket.socket, conversation: "_Conversation") -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: conversation, sock)
        except OSError:
            sock.close()
            self.busy -= 1


def _bound() -> socket.socket:
    """Bound to a port by number: one that the kernel chose is lost when the socket stops listening."""
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind((HOST, 0))
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(first.getsockname())
    listener.setblocking(False)
    return listener


class _Conversation(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, desk: Desk, number: int) -> None:
        self.desk, self.books, self.weather = desk, desk.books, desk.weather
        self.number = number
        self.buffer = b""
        self.answering: Entry | None = None
        self.requests = 0
        self.cut = ""
        self.lost = False
        self.run = desk.books.run
        self.crossing = b""  # goes out when the next request comes in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        rng = self.weather.draw("connection", self.number)
        if not self.books.calm and rng.random() < self.weather.connections:
            self.cut = rng.choice(
                ("RST at accept", "FIN at accept", "RST in the request", "FIN in the request")
            )
            if "accept" in self.cut:
                self._cut_off()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._remains()
        self.desk.busy -= 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.cut:
            self.desk.loop.call_later(0.001, self._cut_off)
        elif self.answering is None:
            self._next()

    def eof_received(self) -> bool:
        return False

    def _next(self) -> None:
        parsed = _request(self.buffer)
        if parsed is None:
            return
        ids, self.buffer = parsed
        self.requests += 1
        if self.crossing:
            self.books.tell(f"connection {self.number} gets {self.crossing[9:12].decode()} before its answer")
            self.transport.write(self.crossing)
            self.crossing = b""
        entry = self.answering = self.books.arrived(ids)
        self.run = entry.run
        answer = self.weather.answer(self.books, entry)
        self.books.tell(
            f"request {entry.number} (call {entry.run}, connection {self.number}) asks for"
            f" {self.books.short(ids)}: carries out {self.books.short(entry.acted)}"
            f"{f'; {entry.fault}' if entry.fault else ''}; {_shown(answer, entry)}"
        )
        if answer.act_in:
            self.desk.after(answer.act_in, self._act_late, entry)
        if answer.door:
            self.desk.shut_door(answer.door)
        if answer.hang or answer.delay:
            self.desk.loop.call_later(answer.hang or answer.delay, self._send, entry, answer)
        else:
            self._send(entry, answer)

    def _act_late(self, entry: Entry) -> None:
        for share_id in entry.ids:
            if self.books.shares[share_id].kind in ("live", "busy"):
                self.books.execute(entry, share_id)
        self.books.tell(f"request {entry.number} is carried out at last: {self.books.short(entry.acted)}")

    def _send(self, entry: Entry, answer: Answer) -> None:
        if self.lost or self.transport.is_closing():
            return
        if answer.data:
            entry.sent = True
            if answer.whole:
                entry.finished = True
                self.books.answered.add(entry.run)
            self.transport.write(answer.data + answer.behind)
        if answer.end:
            self.books.lossy = True
            self._end(answer.end)
            return
        self.answering = None
        if answer.later and not answer.later_by:
            self.crossing = answer.later
        elif answer.later:
            self.desk.strays += 1
            self.desk.loop.call_later(answer.later_by, self._stray, answer.later)
        rng = self.weather.draw("idle", self.number, self.requests)
        if not self.books.calm and rng.random() < self.weather.idle_close:
            self.desk.loop.call_later(rng.choice((0.0, 0.001, 0.003)), self._idle_close)
        if self.buffer:
            self._next()

    def _stray(self, data: bytes) -> None:
        self.desk.strays -= 1
        if not self.lost and not self.transport.is_closing():
            self.books.tell(f"connection {self.number} gets {data[9:12].decode()} unasked")
            self.books.answered.add(self.run)
            self.transport.write(data)
            if b"408" in data[:16]:
                self.books.lossy = True
                self.transport.close()

    def _idle_close(self) -> None:
        if not self.lost:
            self.books.lossy = True
            self._remains()
            self._end("FIN")

    def _cut_off(self) -> None:
        if not self.lost:
            self._remains()
            self.books.lossy = True
            self.books.tell(f"connection {self.number}: {self.cut}")
            self._end(self.cut[:3])

    def _end(self, how: str) -> None:
        if how == "RST":
            reset(self.transport)
        else:
            self.transport.close()

    def _remains(self) -> None:
        """What came in and was never looked at, is in the books too."""
        parsed = _request(self.buffer)
        while parsed is not None:
            ids, self.buffer = parsed
            entry = self.books.arrived(ids, "never looked at")
            self.books.tell(f"request {entry.number} came in and was not looked at: {self.books.short(ids)}")
            parsed = _request(self.buffer)
        self.buffer = b""


def _request(buffer: bytes) -> tuple[tuple[str, ...], bytes] | None:
    """The ids of the first request, and what is behind it."""
    head, found, rest = buffer.partition(_HEAD_END)
    if not found:
        return None
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    if len(rest) < length:
        return None
    return tuple(json.loads(rest[:length])["shareIds"]), rest[length:]


def _shown(answer: Answer, entry: Entry) -> str:
    if not answer.whole:
        return f"reply lost ({answer.end})"
    line, _, body = answer.data.partition(b"\r\n")
    text = body.partition(_HEAD_END)[2]
    shown = text if len(text) <= 200 else text[:100] + b" ... " + text[-60:]
    follows = f", then {answer.later[9:12].decode()} unasked" if answer.later else ""
    status = line.split(b" ")[1].decode()
    return f"{status} {shown.decode(errors='replace')}{follows}{', twice' if answer.behind else ''}"
