"""An HTTP forward proxy, well-behaved or not, that remembers everything it was shown."""

import base64
from urllib.parse import urlsplit

import attrs

from tests.support.chaos import Behaviour, ChaosProxy, Link
from tests.support.http1 import SeenRequest, read_reply, reply
from tests.support.threaded import End

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@attrs.frozen
class Tunnel(Behaviour):
    """Does its job: CONNECT opens a tunnel; a request for an absolute URL, readable to it, is forwarded."""

    async def run(self, link: Link) -> None:
        await _relay(link, await _next(link))


@attrs.frozen
class AskAuth(Behaviour):
    """407, unless the request brings these credentials ("user:password")."""

    credentials: str = ""

    async def run(self, link: Link) -> None:
        expected = f"Basic {base64.b64encode(self.credentials.encode()).decode()}"
        request = await _next(link)
        while not self.credentials or request.header("proxy-authorization") != expected:
            await link.send(reply(status=407, headers=(("Proxy-Authenticate", 'Basic realm="proxy"'),)))
            request = await _next(link)
        await _relay(link, request)


@attrs.frozen
class RefuseConnect(Behaviour):
    """Answers with an error of its own and closes."""

    status: int = 502
    body: bytes = b"<html>no route</html>"

    async def run(self, link: Link) -> None:
        await _next(link)
        await link.send(reply(self.body, self.status, (("Content-Type", "text/html"),)))
        await link.end(End.FIN)


@attrs.frozen
class DieMidConnect(Behaviour):
    """Ends the connection after so many bytes of its answer to CONNECT."""

    after: int = 0
    end: End = End.RST

    async def run(self, link: Link) -> None:
        await _next(link)
        await link.send(ESTABLISHED[: self.after])
        await link.end(self.end)


class ConnectProxy(ChaosProxy):
    """A `ChaosProxy` that is spoken to as a proxy: connects to what is asked for, or always to `upstream`."""

    def __init__(
        self, upstream: tuple[str, int] | None = None, default: Behaviour = Tunnel(), *, port: int = 0
    ) -> None:
        super().__init__(upstream, default, port=port)
        self.seen: list[SeenRequest] = []  # requests to the proxy itself: CONNECTs and readable ones
        self.transcript = bytearray()

    def saw(self, secret: str | bytes) -> bool:
        """Whether those bytes came by, in clear."""
        assert self.transcript is not None
        return (secret.encode() if isinstance(secret, str) else secret) in self.transcript


async def _next(link: Link) -> SeenRequest:
    request = await link.request()
    assert isinstance(link.proxy, ConnectProxy)
    link.proxy.seen.append(request)
    return request


async def _relay(link: Link, request: SeenRequest) -> None:
    if request.method == "CONNECT":
        host, _, port = request.target.decode().rpartition(":")
        await link.dial(link.proxy.upstream or (host, int(port)))
        await link.send(ESTABLISHED)
        return await link.pump()
    while True:
        url = urlsplit(request.target.decode())
        reader, writer = await link.dial(link.proxy.upstream or (url.hostname or "", url.port or 80))
        origin_form = url._replace(scheme="", netloc="").geturl().encode() or b"/"
        writer.write(request.raw.replace(request.target, origin_form, 1))
        await writer.drain()
        await link.send(await read_reply(reader, request.method))
        request = await _next(link)
