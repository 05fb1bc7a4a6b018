"""One request through a transport alone: no retries, no signature."""

import attrs

from koodrive_async import AsyncShareClient, CancelReport, KooDriveError, Network
from koodrive_async.core.endpoint import Endpoint
from koodrive_async.core.wire import Request
from koodrive_async.shell.transport import HttpxWire
from tests.support.blackhole import closed_port
from tests.support.threaded import HOST, ThreadedServer
from tests.support.tls import client_context

CLOSED = f"http://{HOST}:{closed_port()}"


def network() -> Network:
    return Network(tls=client_context())


def request_for(target: str = "/") -> Request:
    return Request(method="GET", path=target)


def wire_to(server: ThreadedServer | str, **options) -> HttpxWire:
    url = server if isinstance(server, str) else server.url
    return HttpxWire(Endpoint.parse(url), attrs.evolve(network(), **options))


async def report_of(client: AsyncShareClient, ids: list[str]) -> CancelReport:
    """The report of a call, whether it is returned or comes with an error."""
    try:
        report = await client.cancel(ids)
    except KooDriveError as error:
        report = error.report
    assert isinstance(report, CancelReport)
    return report
