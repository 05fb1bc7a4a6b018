"""The ASGI application: Starlette routes, one endpoint for each operation."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from koodrive_async.testing import operations
from koodrive_async.testing.answers import Answer, gateway_body, gateway_refusal
from koodrive_async.testing.exchange import Exchange, Wire
from koodrive_async.testing.routing import Call, Operation
from koodrive_async.testing.seen import RequestSeen

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from koodrive_async.testing.world import World

WIRE = "koodrive_emulator_wire"
_MAX_BODY = 12 * 1024 * 1024
_UNKNOWN = "The API does not exist or has not been published in the environment."


def _nothing_here(_world: World, _call: Call) -> Answer:
    raise gateway_refusal(404, "APIG.0101", _UNKNOWN)


def _anybody(_world: World, _seen: RequestSeen) -> str:
    return ""


class Endpoint:
    """Takes one operation's requests off the wire and sees them through."""

    def __init__(self, world: World, operation: Operation) -> None:
        self._world, self._operation = world, operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read everything, ask what shall happen, let it happen."""
        wire = scope.get("state", {}).get(WIRE)
        try:
            body = await _read(receive)
            if body is not None:
                await self._serve(self._exchange(scope, body, receive, send, wire))
        except asyncio.CancelledError:
            if wire is None or not wire.stopping:
                raise

    def _exchange(
        self, scope: Scope, body: bytes, receive: Receive, send: Send, wire: Wire | None
    ) -> Exchange:
        path, query = scope.get("raw_path") or scope["path"].encode("utf-8"), scope["query_string"]
        client = scope.get("client")
        seen = RequestSeen(
            number=0,
            operation=self._operation.name,
            method=scope["method"],
            target=(path + b"?" + query if query else path).decode("latin-1"),
            raw_headers=scope["headers"],
            body=body,
            at=self._world.now(),
            monotonic=time.monotonic(),
            connection=tuple(client) if client else None,
        )
        return Exchange(
            world=self._world,
            operation=self._operation,
            seen=seen,
            params=scope["path_params"],
            receive=receive,
            send=send,
            wire=wire,
        )

    async def _serve(self, exchange: Exchange) -> None:
        world, seen = self._world, exchange.seen
        try:
            verdict = world.arrive(seen)
            latency = world.latency() if callable(world.latency) else world.latency
            if latency > 0:
                await exchange.sleep(latency)
            if isinstance(verdict, Answer):
                await exchange.reply(verdict)
            elif len(seen.body) > _MAX_BODY:
                text = "Bad request: the request body exceeds 12 MB"
                await exchange.reply(Answer(413, gateway_body("APIG.0201", text)))
            elif verdict is None:
                await exchange.reply(exchange.act())
            else:
                await verdict.play(exchange)
        except Exception as error:
            if exchange.wire is None:
                raise
            world.errors.append(error)
            raise
        finally:
            world.leave(seen)


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None if the client left before its end."""
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def application(world: World) -> Starlette:
    """All routes of the world's edition, and one for whatever else is asked."""
    routes = [
        Route(operation.path, Endpoint(world, operation), methods=[operation.method])
        for operation in operations.ALL
        if world.edition in operation.editions
    ]
    unknown = Operation("", "*", "/{rest:path}", _nothing_here, _anybody)
    routes.append(Route(unknown.path, Endpoint(world, unknown), methods=None))
    return Starlette(routes=routes)
