import httpx
import pytest

from tests.support.chaos import Behaviour
from tests.support.connectproxy import AskAuth, ConnectProxy, DieMidConnect, RefuseConnect
from tests.support.http1 import json_reply
from tests.support.rawserver import RawServer
from tests.support.threaded import End, until
from tests.support.tls import client_context, tls_server

SECRET = {"Authorization": "Bearer+topsecret"}


def client_of(proxy: ConnectProxy, user: str = "") -> httpx.AsyncClient:
    url = proxy.url.replace("://", f"://{user}@") if user else proxy.url
    return httpx.AsyncClient(proxy=url, verify=client_context(), headers=SECRET, trust_env=False)


async def test_a_tunnel_hides_what_a_plain_request_shows() -> None:
    async with (
        tls_server(json_reply({"tls": True})) as tls,
        RawServer(lambda r: json_reply({"target": r.target.decode()})) as plain,
        ConnectProxy() as proxy,
        client_of(proxy) as client,
    ):
        assert (await client.get(f"{tls.url}/a")).json() == {"tls": True}
        assert (proxy.seen[0].method, proxy.seen[0].target) == ("CONNECT", f"127.0.0.1:{tls.port}".encode())
        assert not proxy.saw("topsecret")
        assert (await client.get(f"{plain.url}/a?b=c")).json() == {"target": "/a?b=c"}
        assert proxy.seen[1].target == f"{plain.url}/a?b=c".encode()
        assert proxy.saw("topsecret")
    await until(lambda: tls.open_connections == proxy.open_connections == 0)


async def test_names_need_no_dns_with_a_fixed_upstream() -> None:
    async with (
        tls_server(json_reply({"tls": True})) as tls,
        ConnectProxy(tls.address) as proxy,
        client_of(proxy) as client,
    ):
        assert (await client.get("https://localhost:1/")).json() == {"tls": True}


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (AskAuth(), httpx.ProxyError),
        (AskAuth("joe:other"), httpx.ProxyError),
        (RefuseConnect(), httpx.ProxyError),
        (DieMidConnect(), httpx.ReadError),
        (DieMidConnect(12, End.FIN), httpx.RemoteProtocolError),
    ],
)
async def test_proxies_that_fail(behaviour: Behaviour, error: type[Exception]) -> None:
    async with (
        tls_server(json_reply({})) as tls,
        ConnectProxy() as proxy,
        client_of(proxy, "joe:pw") as client,
    ):
        proxy.script(behaviour)
        with pytest.raises(error):
            await client.get(tls.url)
        assert tls.connections == 0
        assert (await client.get(tls.url)).status_code == 200
        assert len(proxy.seen) == 2


async def test_credentials_are_accepted() -> None:
    async with (
        tls_server(json_reply({})) as tls,
        ConnectProxy(default=AskAuth("joe:pw")) as proxy,
        client_of(proxy, "joe:pw") as client,
    ):
        assert (await client.get(tls.url)).status_code == 200
