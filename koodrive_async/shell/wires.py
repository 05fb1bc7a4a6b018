"""Which transport carries a client's requests, and what it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from koodrive_async.core.endpoint import Endpoint
from koodrive_async.core.errors import ConfigurationError
from koodrive_async.core.settings import Network, Timeout
from koodrive_async.core.wire import Reply, Request
from koodrive_async.shell import transport
from koodrive_async.shell.departure import Departure

if TYPE_CHECKING:
    import httpx

Transport = Literal["default"]


class Wire(Protocol):
    """The way to the service; one per client, shared by all its calls.

    Attributes:
        endpoint: Where the service is.
        exclusive: Whether only this package uses the connections, so that a reply without an id answers the
            request that was sent last; False for a borrowed client.
    """

    endpoint: Endpoint
    exclusive: bool

    async def send(self, request: Request, timeout: Timeout, departure: Departure) -> Reply:  # noqa: ASYNC109 - httpx's
        """Send a request and read the whole reply; `transport.HttpxWire.send` says what it raises."""
        ...

    async def aclose(self) -> None:
        """Close what is ours."""
        ...


def wire_to(endpoint: Endpoint, kind: Transport, network: Network, http: httpx.AsyncClient | None) -> Wire:
    """The transport asked for.

    Raises:
        ConfigurationError: If there is no such transport.
    """
    if kind != "default":
        raise ConfigurationError(f"there is no transport {kind!r}; 'default' is the only one")
    return transport.HttpxWire(endpoint, network, http)
