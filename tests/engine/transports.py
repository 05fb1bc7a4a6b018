"""Both transports: the package's own connections, and an `httpx.AsyncClient` that the caller brings."""

from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

#: For tests of what must hold whoever makes the connections.
BOTH = pytest.mark.parametrize("transport", ["default", "http"])


@asynccontextmanager
async def over(transport, connect, where, **options):
    """A client over its own connections, or over a borrowed httpx client."""
    async with AsyncExitStack() as exits:
        if transport == "http":
            options["http"] = await exits.enter_async_context(httpx.AsyncClient(trust_env=False))
        yield await exits.enter_async_context(connect(where, **options))
