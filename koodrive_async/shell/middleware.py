"""The chain that runs once per attempt, inside the retry loop; signing is its innermost link.

Refuses to retry: a middleware sees every attempt, every HTTP status, and calls `send` once.
"""

from __future__ import annotations

from collections.abc import Sequence

from koodrive_async.core.wire import Middleware, Reply, Request, Send


def chain(middlewares: Sequence[Middleware], innermost: Send) -> Send:
    """One `Send` that goes through all of them, the first one outermost."""
    send = innermost
    for middleware in reversed(middlewares):
        send = _link(middleware, send)
    return send


def _link(middleware: Middleware, send: Send) -> Send:
    async def linked(request: Request) -> Reply:
        return await middleware(request, send)

    return linked
