"""A connection that takes too long to open: a second one beside it, and one request."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import attrs
import pytest

from koodrive_async import RetryPolicy, Status
from koodrive_async.core.errors import (
    AttemptTimeout,
    ConnectFailed,
    ConnectionLost,
    Sent,
)
from koodrive_async.core.settings import Timeout
from koodrive_async.shell import racing, transport
from koodrive_async.shell.departure import Departure, Sending
from koodrive_async.shell.slots import Slot
from tests.client.sending import network, report_of, request_for, wire_to
from tests.client.wire import all_well, some_ids, well
from tests.engine.cancelling import WAYS, cancelled_after
from tests.support.blackhole import full_backlog, full_listener
from tests.support.chaos import AtAccept, Behaviour, BlackHole, ChaosProxy, Delay, PassThrough
from tests.support.connectproxy import ConnectProxy
from tests.support.h2server import H2Server
from tests.support.rawserver import Pause, RawServer
from tests.support.threaded import HOST, End, ThreadedServer, until
from tests.support.tls import server_context

pytestmark = pytest.mark.usefixtures("leaks")

DELAY = 0.2  # what `SECOND_TRY` is here
KINDS = ["plain", "tls", "proxy", "http2"]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(racing, "SECOND_TRY", DELAY)


@attrs.define
class Line:
    """A service, and what stands before it and lets connections hang."""

    url: str
    server: ThreadedServer
    front: ThreadedServer
    options: dict[str, Any] = attrs.Factory(dict)
    listener: Any = None
    empty: Any = None

    @property
    def requests(self) -> int:
        return len(self.server.processed if isinstance(self.server, H2Server) else self.server.requests)

    async def recover(self) -> None:
        """Where connections hang in the kernel: from now on they do not."""
        if self.listener is not None:
            await anyio.sleep(DELAY / 2)
            self.empty()
            self.server.start(self.listener.dup())

    async def send(self, wire, departure=None, **limits) -> Any:
        """One request, and the recovery meanwhile."""
        got = []

        async def run() -> None:
            got.append(await wire.send(request_for(), Timeout(**limits), departure or Departure()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.recover)
            tasks.start_soon(run)
        return got[0]


@contextmanager
def line_of(kind: str, *script: Behaviour, handler=well) -> Iterator[Line]:
    """The first connections take the script, the others are served; with "plain" the first one just hangs."""
    if kind == "plain":
        with full_listener() as (listener, empty):
            server = RawServer(handler)
            url = f"http://{HOST}:{listener.getsockname()[1]}"
            try:
                yield Line(url, server, server, listener=listener, empty=empty)
            finally:
                server.stop()
    elif kind == "http2":
        with H2Server(_well2) as h2server, ChaosProxy(h2server.address) as front:
            front.script(*script)
            yield Line(f"https://{HOST}:{front.port}", h2server, front, {"http2": True})
    else:
        front = ConnectProxy() if kind == "proxy" else ChaosProxy()
        with RawServer(handler, ssl_context=server_context()) as server, front.script(*script):
            front.upstream = server.address
            options = {"proxy": front.url} if kind == "proxy" else {}
            yield Line(
                server.url if kind == "proxy" else f"https://{HOST}:{front.port}", server, front, options
            )


def _well2(_method, _path, _headers, body) -> Any:
    return 200, [("content-type", "application/json")], json.dumps(all_well(body) if body else {}).encode()


def tls(*script: Behaviour, handler=well) -> Any:
    return line_of("tls", *script, handler=handler)


# -- who sends ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_hangs_is_overtaken(kind):
    with line_of(kind, BlackHole()) as line:
        wire, departure = wire_to(line.url, **line.options), Departure()
        began = time.monotonic()
        got = await line.send(wire, departure, connect=0.9)
        assert DELAY <= time.monotonic() - began < 0.9
        assert got.status == 200
        assert line.requests == 1
        assert departure.left
        assert not departure.reused
        await until(lambda: line.front.open_connections == 1)  # the other one has ended
        again = Departure()
        await wire.send(request_for(), Timeout(), again)
        assert again.reused
        assert line.requests == 2
        assert line.front.connections == (1 if kind == "plain" else 2)
        await wire.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_call_of_a_client(connect, kind):
    """As long as `SECOND_TRY`, not as long as `Timeout.connect`."""
    with line_of(kind, BlackHole()) as line:
        began = time.monotonic()
        options = attrs.evolve(network(), **line.options)
        client = connect(line.url, network=options, timeout=Timeout(connect=0.9))
        async with client, anyio.create_task_group() as tasks:
            tasks.start_soon(line.recover)
            report = await client.cancel(some_ids(300))
        assert time.monotonic() - began < 0.9
    assert report.counts[Status.CANCELLED] == 300
    assert report.requests == line.requests == 3


async def test_a_first_connection_that_is_slow_may_still_win():
    with tls(Delay(DELAY * 2), BlackHole()) as line:
        wire = wire_to(line.url)
        assert (await line.send(wire)).status == 200
        assert line.requests == 1
        assert line.front.connections == 2
        await until(lambda: line.front.open_connections == 1)
        await wire.aclose()


async def test_a_connection_that_opens_in_time_is_the_only_one(connect):
    """A slow reply is no slow connection."""
    with RawServer(lambda request: (Pause(DELAY * 2), well(request))) as server:
        async with connect(server) as client:
            assert (await client.get_share_info("x")).share_id == "1"
    assert server.connections == len(server.requests) == 1


async def test_a_kept_connection_needs_no_race(connect, monkeypatch):
    with RawServer(well) as server:
        async with connect(server) as client:
            await client.get_share_info("x")
            monkeypatch.setattr(transport, "Race", None)
            await client.get_share_info("x")
    assert server.connections == 1


@attrs.frozen
class Together(Behaviour):
    """Lets two connections open in the same moment."""

    async def run(self, link) -> None:
        while link.proxy.connections % 2:  # noqa: ASYNC110 - an event would need the loop of the server
            await asyncio.sleep(0.001)
        await PassThrough().run(link)


async def test_two_connections_that_open_together(monkeypatch):
    monkeypatch.setattr(racing, "SECOND_TRY", 0.02)
    with tls() as line:
        line.front.default = Together()
        for done in range(1, 16):
            wire = wire_to(line.url)
            assert (await line.send(wire)).status == 200
            assert line.requests == done
            assert line.front.connections == 2 * done
            await until(lambda: line.front.open_connections == 1)
            await wire.aclose()
            await until(lambda: line.front.open_connections == 0)


async def test_spoiling_a_connection_that_is_not_open_yet():
    with tls(BlackHole()) as line:
        wire, departure = wire_to(line.url), Departure()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(line.send, wire, departure)
            await until(lambda: line.front.connections == 1)
            departure.spoil()
        await until(lambda: line.front.open_connections == 0)
        await wire.aclose()


async def test_spoiling_the_connection_that_won():
    with tls(BlackHole()) as line:
        wire, departure = wire_to(line.url), Departure()
        await line.send(wire, departure)
        departure.spoil()
        await wire.send(request_for(), Timeout(), Departure())
        assert line.front.connections == 3
        await wire.aclose()


# -- failures -------------------------------------------------------------------------------------


async def test_both_hang_in_the_kernel():
    with full_backlog() as port:
        await _both_hang(f"http://{HOST}:{port}")


async def test_both_hang_in_the_handshake():
    with ChaosProxy(default=BlackHole()) as front:
        await _both_hang(f"https://{HOST}:{front.port}")
        assert front.connections == 2
        await until(lambda: front.open_connections == 0)


async def _both_hang(url: str) -> None:
    wire, departure = wire_to(url), Departure()
    began = time.monotonic()
    with pytest.raises(AttemptTimeout, match="ConnectTimeout") as late:
        await wire.send(request_for(), Timeout(connect=0.4), departure)
    assert time.monotonic() - began >= DELAY + 0.4  # the second one has its time as well
    assert late.value.sent is Sent.NO
    assert not departure.left
    await wire.aclose()


async def test_a_failure_before_the_second_try_is_the_end():
    with tls(AtAccept(End.RST)) as line:
        wire = wire_to(line.url)
        with pytest.raises(ConnectFailed) as failed:
            await wire.send(request_for(), Timeout(), Departure())
        assert failed.value.sent is Sent.NO
        await anyio.sleep(DELAY * 1.5)
        assert line.front.connections == 1
        await wire.aclose()


FAILING = AtAccept(End.RST, wait=DELAY * 1.5)


@pytest.mark.parametrize(
    "script",
    [(FAILING, Delay(DELAY)), (Delay(DELAY * 2), AtAccept(End.RST))],
    ids=["the first", "the second"],
)
async def test_one_fails_after_both_have_begun(script):
    with tls(*script) as line:
        wire, departure = wire_to(line.url), Departure()
        assert (await line.send(wire, departure)).status == 200
        assert line.requests == 1
        assert line.front.connections == 2
        assert departure.left
        await until(lambda: line.front.open_connections == 1)
        await wire.aclose()


@pytest.mark.parametrize(
    "script", [(FAILING, BlackHole()), (BlackHole(), AtAccept(End.RST))], ids=["the first", "the second"]
)
async def test_both_fail_one_by_time(script):
    """The failure that came first is told, here the one that says more."""
    with tls(*script) as line:
        wire, departure = wire_to(line.url), Departure()
        with pytest.raises(ConnectFailed) as failed:
            await wire.send(request_for(), Timeout(connect=0.4), departure)
        assert failed.value.sent is Sent.NO
        assert not departure.left
        assert line.front.connections == 2
        await until(lambda: line.front.open_connections == 0)
        await wire.aclose()


async def test_a_request_that_was_sent_fails_for_itself():
    """What became of the other connection is forgotten."""
    with tls(FAILING, Delay(DELAY), handler=lambda _: End.RST) as line:
        wire, departure = wire_to(line.url), Departure()
        with pytest.raises(ConnectionLost) as lost:
            await wire.send(request_for(), Timeout(), departure)
        assert lost.value.sent is Sent.MAYBE
        assert line.requests == 1
        await until(lambda: line.front.open_connections == 0)
        await wire.aclose()


# -- cuts -----------------------------------------------------------------------------------------


class Cuts:
    """Requests that are cut, each with a path of its own and a connection of its own."""

    def __init__(self, line) -> None:
        self.line = line
        self.wire = wire_to(line.url, keepalive_expiry=0.0)
        self.left: list[bool] = []

    async def cut(self, after: float, backend: str) -> None:
        departure, request = Departure(), request_for(f"/{len(self.left)}")
        await cancelled_after(
            after, lambda: self.wire.send(request, Timeout(), departure), way="anyio", backend=backend
        )
        self.left.append(departure.left)

    async def check(self) -> None:
        """What arrived has left, and arrived once; the next request is served."""
        await self.wire.send(request_for("/0"), Timeout(), Departure())
        await self.wire.aclose()
        await until(lambda: self.line.front.open_connections == 0)
        arrived = Counter(int(request.target[1:]) for request in self.line.server.requests)
        assert arrived.pop(0) == 2
        assert all(count == 1 and self.left[number] for number, count in arrived.items())
        assert set(self.left) == {False, True}


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_cut_after_any_number_of_ticks(monkeypatch, anyio_backend_name, secure):
    monkeypatch.setattr(racing, "SECOND_TRY", 0.0)
    with RawServer(well, ssl_context=server_context() if secure else None) as server:
        cuts = Cuts(Line(server.url, server, server))
        await cuts.cut(0.5, anyio_backend_name)  # a whole one, which prepares the others
        for ticks in range(120):
            await cuts.cut(ticks, anyio_backend_name)
        await cuts.check()


@pytest.mark.parametrize(
    "script", [(Delay(0.05), Delay(0.01)), (Delay(0.03), Delay(0.01)), (BlackHole(),) * 2]
)
async def test_cut_at_any_time(monkeypatch, anyio_backend_name, script):
    monkeypatch.setattr(racing, "SECOND_TRY", 0.02)
    with tls(handler=lambda request: (Pause(0.01), well(request))) as line:
        cuts = Cuts(line)
        await cuts.cut(0.5, anyio_backend_name)
        for milliseconds in range(0, 70, 2):
            line.front.script(*script)
            await cuts.cut(milliseconds / 1000, anyio_backend_name)
            await until(lambda: line.front.open_connections <= 1)
            line.front._script.clear()
        await cuts.check()


@pytest.mark.parametrize("way", WAYS)
async def test_a_cut_call_of_a_client(monkeypatch, connect, anyio_backend_name, way):
    monkeypatch.setattr(racing, "SECOND_TRY", 0.02)
    with tls(handler=lambda request: (Pause(0.01), well(request))) as line:
        for milliseconds in range(0, 70, 3):
            line.front._script.clear()
            line.front.script(Delay(0.05), Delay(0.01))
            async with connect(line.url, network=network()) as client:

                async def call(client=client) -> None:
                    await client.cancel(some_ids(3), grace=0)

                await cancelled_after(milliseconds / 1000, call, way=way, backend=anyio_backend_name)
            await until(lambda: line.front.open_connections == 0)


@pytest.mark.parametrize(
    ("script", "status"),
    [((BlackHole(), BlackHole()), Status.NOT_SENT), ((BlackHole(),), Status.UNKNOWN)],
    ids=["both hang", "the reply hangs"],
)
async def test_what_a_deadline_leaves(connect, script, status):
    with tls(*script, handler=lambda _: (Pause(5), b"")) as line:
        async with connect(line.url, network=network()) as client:
            with anyio.fail_after(3):
                report = await client.cancel(some_ids(3), deadline=DELAY * 2, grace=0.05)
        assert line.front.connections == 2
        await until(lambda: line.front.open_connections == 0)
        assert line.requests == (1 if status is Status.UNKNOWN else 0)
    assert report.counts[status] == 3


async def test_both_hang_for_a_client(connect):
    with ChaosProxy(default=BlackHole()) as front:
        options = {"timeout": Timeout(connect=0.3), "retry": RetryPolicy(attempts=2, base=0.01)}
        async with connect(f"https://{HOST}:{front.port}", network=network(), **options) as client:
            report = await report_of(client, some_ids(3))
        assert report.counts[Status.NOT_SENT] == 3
        assert front.connections == 2 * report.requests


# -- the race itself ------------------------------------------------------------------------------

HEAD = ("http11.send_request_headers.started", {"request": SimpleNamespace(method=b"GET")})


def make() -> Slot:
    return Slot(None)


async def test_two_that_are_ready_in_the_same_moment():
    """Both tasks run on before one of them can be cut."""
    ready, sent = anyio.Event(), []

    async def send(opening) -> str:
        await ready.wait()
        await opening.watch(*HEAD)
        sent.append(opening.slot)
        return "response"

    sending = Sending(exclusive=True)
    race = racing.Race(sending, send)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(race.run, make)
        await anyio.sleep(DELAY * 1.5)
        assert not sending.left
        ready.set()
    assert sent == [sending.slot]
    assert sending.heads == 1


async def test_cut_while_the_other_connection_is_being_closed():
    async def send(opening) -> None:
        if opening is race._first:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(DELAY)
        await opening.watch(*HEAD)
        await anyio.sleep_forever()

    race = racing.Race(Sending(exclusive=True), send)
    with anyio.move_on_after(DELAY * 1.5) as scope:
        await race.run(make)
    assert scope.cancelled_caught


@pytest.mark.parametrize("stray", ["first", "second"])
async def test_a_cancellation_that_nobody_asked_for(anyio_backend_name, stray):
    if anyio_backend_name == "trio":
        pytest.skip("trio knows no cancellation that nobody asked for")

    async def send(opening) -> str:
        await anyio.sleep(DELAY * 1.5)
        if stray == ("first" if opening is race._first else "second"):
            raise asyncio.CancelledError
        await opening.watch(*HEAD)
        return "response"

    race = racing.Race(Sending(exclusive=True), send)
    if stray == "second":
        assert await race.run(make) == "response"
    else:  # ... the first one ends as it does without a second one
        with pytest.raises(asyncio.CancelledError):
            await race.run(make)
