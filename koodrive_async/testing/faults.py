"""The fault vocabulary: small frozen values, each usable on any operation.

`Emulator.script(...)` plays them in order, one per request; `Emulator.inject(...)` asks a rule at each
request. "Act" means that the service carries the request out (or refuses it properly); most faults
that stand for a gateway or a broken line don't act, unless `act=True` says so.

A fault of your own: subclass `Fault`, write `play`. The usual ones ready-made: `recipes`.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, Literal

import attrs

from koodrive_async.testing import codings
from koodrive_async.testing.answers import JSON, Answer, dump, gateway_body
from koodrive_async.testing.exchange import Cut, Exchange, NeedsSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from koodrive_async.testing.seen import RequestSeen

    Rule = Callable[[RequestSeen], "Fault | None"]


def _header_pairs(value: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    pairs = value.items() if hasattr(value, "items") else value
    return tuple((str(name), item) for name, item in pairs)


@attrs.frozen
class Fault:
    """Something that goes wrong with one request. The plain `Fault()` is no fault at all."""

    async def play(self, exchange: Exchange) -> None:
        """Carry it out."""
        await exchange.reply(exchange.act())


@attrs.frozen
class Status(Fault):
    """Another HTTP status, headers and body than the service would give."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, Any], ...] = attrs.field(default=(), converter=_header_pairs)
    act: bool = False

    async def play(self, exchange: Exchange) -> None:
        """Answer with this."""
        if self.act:
            exchange.act()
        await exchange.reply(Answer(self.status, self.body, ()).with_headers(self.headers))


@attrs.frozen
class Delay(Fault):
    """Wait, then behave - or play another fault."""

    seconds: float
    then: Fault = attrs.field(factory=Fault)

    async def play(self, exchange: Exchange) -> None:
        """Sleep first."""
        await exchange.sleep(self.seconds)
        await self.then.play(exchange)


@attrs.frozen
class Drop(Fault):
    """Cut the connection without a reply: before acting, or (`act=True`) after: a lost reply."""

    act: bool = False
    how: Cut = "rst"
    after: float = 0.0
    """Seconds to wait before the cut."""

    async def play(self, exchange: Exchange) -> None:
        """Act or not, then cut."""
        if self.act:
            exchange.act()
        if self.after:
            await exchange.sleep(self.after)
        await exchange.cut(self.how)


@attrs.frozen
class BlackHole(Fault):
    """Never answer; the connection stays open until the client leaves."""

    act: bool = False

    async def play(self, exchange: Exchange) -> None:
        """Act or not, then stay silent."""
        if self.act:
            exchange.act()
        await exchange.silence()


@attrs.frozen
class LateEffect(Fault):
    """Refuse now, act later: a gateway's time-out while the service still works on it."""

    after: float = 0.5
    status: int = 504

    async def play(self, exchange: Exchange) -> None:
        """Answer at once; the effect shows `after` seconds later."""
        exchange.act_later(self.after)
        body = gateway_body("APIG.0203", "Backend timeout.")
        await exchange.reply(Answer(self.status, body))


@attrs.frozen
class Body(Fault):
    """Act, then send these bytes instead of the reply's body."""

    body: bytes
    status: int = 200
    content_type: str = JSON[0][1]
    act: bool = True

    async def play(self, exchange: Exchange) -> None:
        """Act or not, then lie."""
        if self.act:
            exchange.act()
        await exchange.reply(Answer(self.status, self.body, (("content-type", self.content_type),)))


@attrs.frozen
class TruncatedJson(Fault):
    """Act, then send only a part of the JSON, with a content-length that fits the part."""

    keep: float = 0.5

    async def play(self, exchange: Exchange) -> None:
        """Shorten the body."""
        answer = exchange.act()
        await exchange.reply(attrs.evolve(answer, body=answer.body[: int(len(answer.body) * self.keep)]))


@attrs.frozen
class TruncatedBody(Fault):
    """Act, promise the whole body, send a part, cut."""

    keep: float = 0.5
    how: Cut = "fin"

    async def play(self, exchange: Exchange) -> None:
        """Write head and part, then cut."""
        answer = exchange.act()
        missing = len(answer.body) - int(len(answer.body) * self.keep)
        wire = answer.wire(exchange.world.date())
        await exchange.raw([wire[: len(wire) - missing]], status=answer.status)
        await exchange.cut(self.how)


@attrs.frozen
class Drip(Fault):
    """Act, then send the body (or, with `head=True`, the whole reply) `size` bytes at a time."""

    interval: float = 0.05
    size: int = 1
    head: bool = False

    async def play(self, exchange: Exchange) -> None:
        """Send slowly."""
        answer = exchange.act()
        if self.head:
            answer = answer.with_headers([("connection", "close")])
            await exchange.raw(
                _cut_up(answer.wire(exchange.world.date()), self.size),
                pause=self.interval,
                status=answer.status,
            )
            await exchange.cut("fin")
        else:
            await exchange.stream(
                answer, _cut_up(answer.body, self.size), length=len(answer.body), pause=self.interval
            )


@attrs.frozen
class HugeBody(Fault):
    """Act, then send a valid JSON reply blown up to about `size` bytes by a padding field."""

    size: int = 10_000_000
    announce: bool = True
    """Whether to send its content-length; otherwise chunked."""

    async def play(self, exchange: Exchange) -> None:
        """Stream it."""
        answer = exchange.act()
        head, tail = _opened(answer.body)
        fill = max(0, self.size - len(answer.body))
        chunks = itertools.chain([head], _filling(fill), [tail])
        length = len(head) + fill + len(tail) if self.announce else None
        await exchange.stream(answer, chunks, length=length)


@attrs.frozen
class EndlessBody(Fault):
    """Act, then send blanks for ever, chunked, until the client leaves."""

    pause: float = 0.0

    async def play(self, exchange: Exchange) -> None:
        """Stream without end."""
        if exchange.wire is None:
            raise NeedsSocket("an endless body")
        await exchange.stream(exchange.act(), itertools.repeat(b" " * 65_536), length=None, pause=self.pause)


@attrs.frozen
class Encoded(Fault):
    """Act, then send the reply under a content coding, asked for or not; `bomb` adds so many bytes."""

    coding: codings.Coding = "gzip"
    layers: int = 1
    bomb: int = 0
    broken: bool = False
    """Damage the encoded bytes."""
    label: str | None = None
    """What content-encoding says; None: the truth."""

    async def play(self, exchange: Exchange) -> None:
        """Encode the body."""
        answer = exchange.act()
        head, tail = _opened(answer.body) if self.bomb else (answer.body, b"")
        data = codings.encode(self.coding, head, self.bomb, tail)
        for _ in range(self.layers - 1):
            data = codings.encode(self.coding, data, 0, b"")
        if self.broken:
            data = data[:12] + bytes(byte ^ 0xFF for byte in data[12:])
        label = self.label if self.label is not None else ", ".join([self.coding] * self.layers)
        encoded = attrs.evolve(answer, body=data)
        await exchange.reply(encoded.with_headers([("content-encoding", label)]))


@attrs.frozen
class Headers(Fault):
    """Act, reply, but with these headers set, or (None) left out: `Headers({"date": None})`."""

    changes: tuple[tuple[str, str | None], ...] = attrs.field(converter=_header_pairs)

    async def play(self, exchange: Exchange) -> None:
        """Change the head."""
        await exchange.reply(exchange.act().with_headers(self.changes))


@attrs.frozen
class Raw(Fault):
    """Write these bytes instead of a reply, `repeat` times, then cut: broken HTTP of any kind."""

    data: bytes
    repeat: int = 1
    pause: float = 0.0
    act: bool = False
    how: Cut | Literal["keep"] = "fin"
    """`"keep"`: leave the connection open and stay silent."""

    async def play(self, exchange: Exchange) -> None:
        """Write, then cut."""
        if self.act:
            exchange.act()
        await exchange.raw(itertools.repeat(self.data, self.repeat), pause=self.pause)
        if self.how == "keep":
            await exchange.silence()
        else:
            await exchange.cut(self.how)


@attrs.frozen
class Rewrite(Fault):
    """Act, then pass the parsed reply through a function: see `koodrive_async.testing.rewrites`."""

    change: Callable[[Any], Any]

    async def play(self, exchange: Exchange) -> None:
        """Change the JSON."""
        answer = exchange.act()
        await exchange.reply(attrs.evolve(answer, body=dump(self.change(json.loads(answer.body)))))


def _cut_up(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _opened(body: bytes) -> tuple[bytes, bytes]:
    """Two pieces of a JSON object between which any number of letters may stand."""
    return (body[:-1] + b',"padding":"', b'"}') if body[-1:] == b"}" else (body, b"")


def _filling(size: int) -> Iterator[bytes]:
    whole, rest = divmod(size, 65_536)
    return itertools.chain(itertools.repeat(b"a" * 65_536, whole), [b"a" * rest])
