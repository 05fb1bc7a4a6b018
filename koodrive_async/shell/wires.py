"""Which transport carries a client's requests, and what each of them offers."""

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

Transport = Literal["default", "fast"]


class Wire(Protocol):
    """The way to the service; one per client, shared by all its calls.

    Attributes:
        endpoint: Where the service is.
        odd_kinds: Whether a content type that is not JSON's was mentioned.
    """

    endpoint: Endpoint
    odd_kinds: bool

    async def send(self, request: Request, timeout: Timeout, departure: Departure) -> Reply:  # noqa: ASYNC109 - httpx's
        """Send a request and read the whole reply; `transport.HttpxWire.send` says what it raises."""
        ...

    async def aclose(self) -> None:
        """Close what is ours."""
        ...


def wire_to(endpoint: Endpoint, kind: Transport, network: Network, http: httpx.AsyncClient | None) -> Wire:
    """The transport asked for.

    Raises:
        ConfigurationError: There is no such transport, its extra is missing, or it can't do what is asked.
    """
    if kind == "default":
        return transport.HttpxWire(endpoint, network, http)
    if kind != "fast":
        raise ConfigurationError(f"there is no transport {kind!r}; there are 'default' and 'fast'")
    if http is not None:
        raise ConfigurationError("transport='fast' takes the place of httpx: it can't use your http client")
    try:
        from koodrive_async.shell.fast import FastWire  # an extra, and a large one
    except ImportError as error:
        raise ConfigurationError(
            f"transport='fast' needs the extra: pip install 'koodrive-async[fast]' ({error})"
        ) from None
    return FastWire(endpoint, network)
