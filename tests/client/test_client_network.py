"""TLS that is not as it should be, and proxies, good and bad."""

import json
import ssl

import anyio
import pytest

from koodrive_async import (
    AsyncShareClient,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    Network,
    RetryPolicy,
    Status,
)
from tests.client.wire import all_well, some_ids, well
from tests.conftest import TOKEN
from tests.engine.kit import unanswered
from tests.support.blackhole import closed_port
from tests.support.chaos import AtAccept, Behaviour, ChaosProxy
from tests.support.connectproxy import AskAuth, ConnectProxy, DieMidConnect, RefuseConnect
from tests.support.h2server import H2Server
from tests.support.http1 import reply
from tests.support.threaded import End
from tests.support.tls import client_context, server_context, tls_server

pytestmark = pytest.mark.usefixtures("leaks")

NOBODY = f"http://127.0.0.1:{closed_port()}"
FEW = RetryPolicy(attempts=2, base=0.002, cap=0.01)


def trusting(**more):
    return Network(tls=client_context(), **more)


# -- TLS ------------------------------------------------------------------------------------------


async def test_a_good_certificate(connect):
    with tls_server(well) as server:
        async with connect(server, network=trusting()) as client:
            assert await client.cancel(some_ids(300))
            assert await client.cancel(some_ids(3))
    assert server.connections <= 3


async def test_the_emulator_over_tls(make_koodrive, connect, by_app):
    emulator = make_koodrive(shares=250, tls=server_context("good"))
    async with connect(emulator, by_app, network=trusting()) as client:
        assert await client.cancel(emulator.share_ids)
    assert emulator.settled()


@pytest.mark.parametrize(
    ("cert", "words"),
    [
        ("expired", "expired"),
        ("wrong-host", "mismatch|not valid for"),
        ("untrusted", "verify failed|unable to get"),
    ],
)
async def test_a_certificate_that_does_not_verify(connect, cert, words):
    with tls_server(well, cert) as server:
        async with connect(server, network=trusting()) as client:
            with anyio.fail_after(5), pytest.raises(ConnectFailed, match=words) as caught:
                await client.cancel(some_ids(500))
            with pytest.raises(ConnectFailed, match="TLS"):
                await client.get_share_info("abc")
    error = caught.value
    assert error.permanent
    assert error.sent == "no"
    assert error.report.counts[Status.NOT_SENT] == 500
    assert server.connections == 2  # one for each call: no retry
    assert server.requests == []


async def test_without_a_context_of_ones_own_a_private_authority_is_not_trusted(connect):
    with tls_server(well) as server:
        async with connect(server) as client:
            with pytest.raises(ConnectFailed, match="TLS") as caught:
                await client.cancel(some_ids(1))
    assert caught.value.permanent
    assert server.requests == []


class PlainHttp(Behaviour):
    """A server that speaks no TLS, shown a ClientHello."""

    async def run(self, link):
        await link.receive()
        await link.send(reply(b"The plain HTTP request was sent to HTTPS port", 400))
        await link.end(End.CLOSE)


async def test_tls_to_a_plain_port(connect):
    with ChaosProxy(default=PlainHttp()) as server:
        async with connect(f"https://127.0.0.1:{server.port}", network=trusting()) as client:
            with anyio.fail_after(5), pytest.raises(ConnectFailed, match="TLS") as caught:
                await client.cancel(some_ids(300))
    assert caught.value.permanent
    assert caught.value.report.counts[Status.NOT_SENT] == 300
    assert server.connections == 1


async def test_a_handshake_that_is_cut_is_tried_again(connect):
    with (
        tls_server(well) as server,
        ChaosProxy(server.address).script(AtAccept(End.RST), AtAccept(End.CLOSE)) as chaos,
    ):
        async with connect(f"https://127.0.0.1:{chaos.port}", network=trusting()) as client:
            report = await client.cancel(some_ids(3))
    assert report.counts[Status.CANCELLED] == 3
    assert chaos.connections == 3


async def test_http2(connect):
    def handler(method, path, headers, body):
        return 200, [("content-type", "application/json")], json.dumps(all_well(body)).encode()

    with H2Server(handler, delay=0.01) as server:
        async with connect(server.url, network=trusting(http2=True)) as client:
            assert await client.cancel(some_ids(2_000))
    assert len(server.processed) == 20
    assert server.connections <= 16


async def test_an_odd_tls_setting_is_found_early(by_token):
    with pytest.raises(ConfigurationError):
        AsyncShareClient("https://example.com", by_token, network=Network(tls="cert.pem"))
    assert AsyncShareClient(
        "https://example.com", by_token, network=Network(tls=ssl.create_default_context())
    )


# -- proxies (rows 55 and 56) ---------------------------------------------------------------------


async def test_a_proxy_is_used_and_sees_no_secret(connect, by_token):
    with tls_server(well) as server, ConnectProxy() as proxy:
        async with connect(server, network=trusting(proxy=proxy.url)) as client:
            assert await client.cancel(some_ids(300))
    assert proxy.connections >= 1
    assert {request.method for request in proxy.seen} == {"CONNECT"}
    assert not proxy.saw(TOKEN)
    assert not proxy.saw("X-User-Id")


async def test_a_proxy_that_asks_who_one_is(connect):
    with tls_server(well) as server, ConnectProxy(default=AskAuth("u:p")) as proxy:
        url = proxy.url.replace("http://", "http://u:p@")
        network = trusting(proxy=url)
        assert "u:p" not in repr(network)
        async with connect(server, network=network) as client:
            assert await client.cancel(some_ids(3))
    assert len(server.requests) == 1


async def test_407_is_final(connect):
    with tls_server(well) as server, ConnectProxy(default=AskAuth("u:p")) as proxy:
        async with connect(server, network=trusting(proxy=proxy.url)) as client:
            with anyio.fail_after(5), pytest.raises(ConnectFailed, match="407") as caught:
                await client.cancel(some_ids(300))
    assert caught.value.permanent
    assert caught.value.report.counts[Status.NOT_SENT] == 300
    assert len(proxy.seen) == 1
    assert server.connections == 0


async def test_a_proxy_that_is_not_there(connect):
    with tls_server(well) as server:
        async with connect(server, network=trusting(proxy=NOBODY), retry=FEW) as client:
            with anyio.fail_after(5):
                report = await unanswered(client.cancel(some_ids(3)), ConnectFailed)
    assert report.counts[Status.NOT_SENT] == 3
    assert server.connections == 0


DEATHS = {
    "RST at once": DieMidConnect(0, End.RST),
    "FIN at once": DieMidConnect(0, End.FIN),
    "RST mid CONNECT": DieMidConnect(10, End.RST),
    "FIN mid CONNECT": DieMidConnect(10, End.FIN),
    "502": RefuseConnect(502),
    "503": RefuseConnect(503),
}


@pytest.mark.parametrize("death", DEATHS)
async def test_a_proxy_that_dies_mid_connect_has_sent_nothing(connect, death):
    with tls_server(well) as server, ConnectProxy(default=DEATHS[death]) as proxy:
        async with connect(server, network=trusting(proxy=proxy.url), retry=FEW) as client:
            with anyio.fail_after(5):
                error = ConnectFailed if death.isdigit() else ConnectionLost
                report = await unanswered(client.cancel(some_ids(3)), error)
    assert report.counts[Status.NOT_SENT] == 3
    assert {outcome.error.sent for outcome in report.outcomes} == {"no"}
    assert len(proxy.seen) == 4  # retried
    assert server.connections == 0


@pytest.mark.parametrize("death", DEATHS)
async def test_a_proxy_that_recovers(connect, death):
    with tls_server(well) as server, ConnectProxy() as proxy:
        proxy.script(DEATHS[death])
        async with connect(server, network=trusting(proxy=proxy.url)) as client:
            report = await client.cancel(some_ids(3))
    assert report.counts[Status.CANCELLED] == 3
    assert report.outcomes[0].attempts == 2


async def test_a_certificate_is_verified_behind_a_proxy_too(connect):
    with tls_server(well, "untrusted") as server, ConnectProxy() as proxy:
        async with connect(server, network=trusting(proxy=proxy.url)) as client:
            with anyio.fail_after(5), pytest.raises(ConnectFailed) as caught:
                await client.cancel(some_ids(300))
    assert caught.value.permanent
    assert server.requests == []


async def test_a_reply_lost_behind_a_proxy_is_ambiguous(connect):
    with tls_server(lambda _: End.RST) as server, ConnectProxy() as proxy:
        async with connect(server, network=trusting(proxy=proxy.url), retry=FEW) as client:
            report = await unanswered(client.cancel(some_ids(3)), ConnectionLost)
    assert report.counts[Status.UNKNOWN] == 3
    assert server.requests


def test_a_proxy_for_an_http_endpoint_would_see_the_secret(by_token):
    with pytest.raises(ConfigurationError, match="proxy"):
        AsyncShareClient("http://127.0.0.1:8000", by_token, network=Network(proxy="http://127.0.0.1:3128"))


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_so_would_one_from_the_environment(by_token, monkeypatch, name):
    if name == "HTTP_PROXY":
        monkeypatch.delenv("REQUEST_METHOD", raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:3128")
    with pytest.raises(ConfigurationError, match="proxy"):
        AsyncShareClient("http://127.0.0.1:8000", by_token, network=Network(trust_env=True))


async def test_the_environments_proxy_is_ignored_unless_asked_for(koodrive, connect, monkeypatch):
    with ConnectProxy() as proxy, tls_server(well) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with connect(koodrive) as client:
            assert await client.cancel(koodrive.share_ids)
        async with connect(server, network=trusting()) as client:
            assert await client.cancel(some_ids(1))
        assert proxy.connections == 0
        async with connect(server, network=trusting(trust_env=True)) as client:
            assert await client.cancel(some_ids(1))
        assert proxy.connections == 1
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with connect(server, network=trusting(trust_env=True)) as client:
            assert await client.cancel(some_ids(1))
        assert proxy.connections == 1


async def test_no_netrc_and_no_certificates_of_the_environment(koodrive, connect, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    async with connect(koodrive) as client:
        assert await client.cancel(koodrive.share_ids)
    assert koodrive.log[0].authorization == f"Bearer+{TOKEN}"
