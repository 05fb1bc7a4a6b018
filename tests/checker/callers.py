"""Code of the caller's own, good and bad: sources, middleware, hooks, token providers, HTTP clients."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import anyio
import attrs
import httpx

from koodrive_async import ConnectionLost, Reply, TransportFailure
from tests.checker.books import INVALID, REFUSED, Books
from tests.checker.histories import History
from tests.checker.topics import Call

#: Never used for TLS, but building one for each client would cost more than the history.
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

#: What a middleware says that answers by itself.
OWN_ANSWERS = ((503, "503"), (429, "APIG.0308"), (400, INVALID), (200, REFUSED))


class Broken(Exception):
    """What bad code of the caller raises."""


async def stray() -> None:
    """Await something that somebody else cancelled: ends by CancelledError, and nobody cancelled us."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def misbehave(how: str) -> None:
    if how.startswith("cancelled"):
        await stray()
    elif how == "stalls":
        await anyio.sleep(60)
    elif how == "raises":
        raise Broken("the caller's own code failed")


@attrs.define
class Source:
    """Where a call's ids come from; knows how far it was read."""

    ids: Sequence[str]
    call: Call
    read: list[str] = attrs.field(factory=list)
    over: bool = False  # read to its end

    @property
    def _lingers(self) -> bool:
        """Whether it is so slow that a stream sends what it has: several requests for few ids."""
        return self.call.how == "open_cancel" and len(self.ids) <= 8

    def given(self) -> Any:
        match self.call.source:
            case "list":
                return list(self.ids)
            case "generator":
                return self._generator()
        return self._lazily()

    def _generator(self) -> Iterator[str]:
        for share_id in self.ids:
            self.read.append(share_id)
            yield share_id
        self.over = True

    async def _lazily(self) -> AsyncIterator[str]:
        slow = self.call.source == "slow"
        for place, share_id in enumerate(self.ids):
            if place == self.call.source_end_at and self.call.source_end:
                await misbehave(self.call.source_end)
            if slow and place % 2 == 0:
                await anyio.sleep(0.12 if self._lingers and place else 0.0005)
            self.read.append(share_id)
            yield share_id
        if self.call.source_end:
            await misbehave(self.call.source_end)
        self.over = True


class Meddler:
    """A middleware that does one thing wrong, and writes down what only it can know."""

    def __init__(self, history: History, books: Books) -> None:
        self.history, self.books = history, books
        self.calls = 0

    async def __call__(self, request: Any, send: Any) -> Any:
        self.calls += 1
        how = self.history.middleware
        due = self.calls == self.history.middleware_at and not self.books.calm
        if how == "twice" and not self.books.calm:
            return await self._twice(request, send)
        if how == "loses" and due:
            return await self._lose(request, send)
        if how == "answers" and self.calls - self.history.middleware_at in (0, 1) and not self.books.calm:
            return self._answer(request)
        if how == "cancelled after" and due:
            await send(request)
        if due and how in ("raises", "cancelled", "cancelled after"):
            self.books.tell(f"the middleware: {how}")
            self.books.broke.add(self.books.run)
            await misbehave(how)
        return await send(request)

    async def _twice(self, request: Any, send: Any) -> Any:
        try:
            reply = await send(request)
        except TransportFailure:
            return await send(request)
        return reply if reply.status < 500 else await send(request)

    def _answer(self, request: Any) -> Reply:
        """Answer without sending, as one does that keeps a limit of its own."""
        ids = json.loads(request.body)["shareIds"]
        status, code = self.history.weather.draw("middleware", *ids).choice(OWN_ANSWERS)
        self.books.tell(f"the middleware answers for {self.books.short(ids)}: {status} {code}")
        self.books.refused_inside.append((ids, code))
        now = time.monotonic()
        return Reply(
            status=status, headers=(), body=json.dumps({"code": code}).encode(), sent_at=now, received_at=now
        )

    async def _lose(self, request: Any, send: Any) -> Any:
        reply = await send(request)
        self.books.tell("the middleware loses the reply")
        del reply
        raise ConnectionLost("lost by a middleware")


class Retrying(httpx.AsyncHTTPTransport):
    """A transport that sends again what was lost, as some people's do."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError:
            return await super().handle_async_request(request)


class Switching(httpx.AsyncHTTPTransport):
    """A transport that hands on a status below 200 as a final one, which h11 never does."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if 200 < response.status_code < 300:
            response.status_code = 101
        return response


TRANSPORTS = {"pool": httpx.AsyncHTTPTransport, "retries": Retrying, "switches": Switching}


def http_client(kind: str) -> httpx.AsyncClient | None:
    return httpx.AsyncClient(transport=TRANSPORTS[kind](verify=TLS)) if kind else None


class Hook:
    """A hook, or an `on_progress`, that fails every time, or the second time by a cancellation."""

    def __init__(self, how: str, books: Books) -> None:
        self.how, self.books, self.calls = how, books, 0

    def __call__(self, _: object) -> None:
        self.calls += 1
        if self.how == "cancelled" and self.calls == 2:
            self.books.tell("a hook raises CancelledError")
            raise asyncio.CancelledError
        if self.how == "raises":
            raise Broken("a hook failed")


class Provider:
    """A token provider: a new token each time, and one stray cancellation where that is drawn."""

    def __init__(self, how: str, books: Books) -> None:
        self.how, self.books, self.calls = how, books, 0

    async def __call__(self, stale: str | None) -> str:
        self.calls += 1
        if self.how == "cancelled" and not self.books.calm:
            self.books.broke.add(self.books.run)
            await stray()
        return f"token-{self.calls}"
