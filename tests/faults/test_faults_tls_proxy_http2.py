"""Rows 53-58: TLS, proxies, HTTP/2: what lies between the client and the service's HTTP."""

import json

import anyio
import pytest

from koodrive_async import (
    AsyncShareClient,
    AttemptTimeout,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    Network,
    Pace,
    Sent,
    Timeout,
)
from tests.client.wire import all_well, some_ids, well
from tests.conftest import TOKEN
from tests.engine.kit import unanswered
from tests.faults.line import FEW, LONG, statuses
from tests.support.blackhole import closed_port
from tests.support.chaos import ChaosProxy, CutReply
from tests.support.connectproxy import AskAuth, ConnectProxy, DieMidConnect, RefuseConnect, Tunnel
from tests.support.h2server import H2Server
from tests.support.rawserver import RawServer
from tests.support.threaded import End
from tests.support.tls import client_context, tls_server

pytestmark = pytest.mark.usefixtures("leaks")

NOBODY = f"http://127.0.0.1:{closed_port()}"

IDS = some_ids(250)


def nothing_was_sent(error, *words):
    """A failure for good that everybody would meet: raised at once, with a complete report."""
    assert type(error) is ConnectFailed
    assert (error.sent, error.permanent, error.ambiguous) == (Sent.NO, True, False)
    for word in words:
        assert word in str(error).lower()
    assert statuses(error.report) == {"not_sent": 250}
    assert error.attempts == 1


REASONS = {
    "expired": ("certificate", "expired"),
    "wrong-host": ("certificate", "127.0.0.1"),
    "untrusted": ("certificate", "issuer"),
}


@pytest.mark.parametrize("cert", REASONS)
async def test_53_certificate_that_does_not_verify(made, cert):
    with tls_server(well, cert) as server:
        async with made.client(server, network=Network(tls=client_context())) as client:
            for _ in range(2):
                with anyio.fail_after(LONG), pytest.raises(ConnectFailed) as caught:
                    await client.cancel(IDS)
                nothing_was_sent(caught.value, "tls", *REASONS[cert])
        assert server.requests == []
        assert server.connections == 2


async def test_53_certificate_that_verifies(made):
    with tls_server(well) as server:
        async with made.client(server, network=Network(tls=client_context())) as client:
            assert await client.cancel(IDS)
    assert made.failures == []


async def test_53_certificate_that_the_default_does_not_trust(made):
    """Without a context of one's own: the usual authorities, nobody's own one."""
    with tls_server(well) as server:
        async with made.client(server) as client:
            with anyio.fail_after(LONG), pytest.raises(ConnectFailed) as caught:
                await client.cancel(IDS)
        nothing_was_sent(caught.value, "tls", "certificate")
        assert server.requests == []


async def test_53_handshake_cut_short_is_no_such_thing(made):
    """A server that dies in mid-handshake may be back for the next attempt."""
    with tls_server(well) as server, ChaosProxy(server.address).script(*[_dies()] * 2) as proxy:
        url = f"https://127.0.0.1:{proxy.port}"
        async with made.client(url, network=Network(tls=client_context())) as client:
            with anyio.fail_after(LONG):
                report = await client.cancel(IDS)
    assert statuses(report) == {"cancelled": 250}
    assert len(made.failures) == 2
    for failure in made.failures:
        assert type(failure) is ConnectFailed
        assert (failure.sent, failure.permanent) == (Sent.NO, False)


class _dies(CutReply):  # noqa: N801 - a behaviour, used like the others
    def __init__(self):
        super().__init__(0)

    async def run(self, link):
        await link.receive(16)
        await link.end(End.RST)


async def test_54_tls_to_a_plain_port(koodrive, made):
    url = koodrive.url.replace("http://", "https://")
    async with made.client(url, network=Network(tls=client_context())) as client:
        with anyio.fail_after(LONG), pytest.raises(ConnectFailed) as caught:
            await client.cancel(IDS)
    nothing_was_sent(caught.value, "tls")
    assert koodrive.requests == 0
    assert koodrive.settled()


async def test_54_tls_to_a_plain_port_that_says_nothing(made):
    """Nobody can tell what is wrong there: a time-out, so it is tried again."""
    with RawServer(well) as server:
        url = f"https://127.0.0.1:{server.port}"
        options = {"retry": FEW, "timeout": Timeout(connect=0.15)}
        async with made.client(url, network=Network(tls=client_context()), **options) as client:
            with anyio.fail_after(LONG):
                report = await unanswered(client.cancel(IDS[:100]), AttemptTimeout)
        assert statuses(report) == {"not_sent": 100}
        assert server.requests == []


# -- proxies --------------------------------------------------------------------------------------


@pytest.fixture
def behind(made):
    """Makes clients of a TLS server behind a proxy."""

    def make(server, proxy, user="", **options):
        url = proxy if isinstance(proxy, str) else f"http://{user}127.0.0.1:{proxy.port}"
        return made.client(server, network=Network(tls=client_context(), proxy=url), **options)

    return make


async def test_55_proxy_well(made, behind):
    with tls_server(well) as server, ConnectProxy(server.address) as proxy:
        async with behind(server, proxy) as client:
            assert await client.cancel(IDS)
        assert [request.method for request in proxy.seen] == ["CONNECT"] * proxy.connections
        assert not proxy.saw(TOKEN)
        assert not proxy.saw("X-User-Id")
    assert made.failures == []


async def test_55_proxy_refused_connection(made, behind):
    """Nobody listens where the proxy should be."""
    with tls_server(well) as server:
        async with behind(server, NOBODY, retry=FEW) as client:
            with anyio.fail_after(LONG):
                report = await unanswered(client.cancel(IDS[:100]), ConnectFailed)
        assert server.connections == 0
    assert statuses(report) == {"not_sent": 100}
    assert {type(failure) for failure in made.failures} == {ConnectFailed}
    assert len(made.failures) == 4


PASSING = {
    "502 to CONNECT": RefuseConnect(502),
    "503 to CONNECT": RefuseConnect(503),
    "RST at CONNECT": DieMidConnect(0, End.RST),
    "FIN at CONNECT": DieMidConnect(0, End.FIN),
    "RST in mid-reply": DieMidConnect(10, End.RST),
    "FIN in mid-reply": DieMidConnect(10, End.FIN),
}


@pytest.mark.parametrize("fault", PASSING)
async def test_55_proxy_that_fails(made, behind, fault):
    """Before the tunnel stands nothing was sent, whatever happens to the CONNECT."""
    with tls_server(well) as server, ConnectProxy(server.address).script(PASSING[fault]) as proxy:
        async with behind(server, proxy) as client:
            with anyio.fail_after(LONG):
                report = await client.cancel(IDS)
        assert statuses(report) == {"cancelled": 250}
        (failure,) = made.failures
        assert failure.sent is Sent.NO
        assert not failure.permanent

        proxy.default = PASSING[fault]
        async with behind(server, proxy, retry=FEW) as client:
            with anyio.fail_after(LONG):
                report = await unanswered(client.cancel(IDS[:100]), type(failure))
            assert statuses(report) == {"not_sent": 100}
            assert not any(outcome.error.ambiguous for outcome in report.outcomes)
            proxy.default = Tunnel()
            assert await client.cancel(IDS[:100])
        assert not proxy.saw(TOKEN)
        assert len(server.requests) == 4


async def test_55_proxy_that_asks_for_a_login(made, behind):
    with tls_server(well) as server, ConnectProxy(server.address, AskAuth("joe:sesame")) as proxy:
        for user in ("", "joe:wrong@"):
            async with behind(server, proxy, user) as client:
                with anyio.fail_after(LONG), pytest.raises(ConnectFailed) as caught:
                    await client.cancel(IDS)
            nothing_was_sent(caught.value, "407")
            assert "joe" not in str(caught.value)
        assert proxy.connections == 2
        assert server.connections == 0
        async with behind(server, proxy, "joe:sesame@") as client:
            assert await client.cancel(IDS)
            assert "sesame" not in repr(client)
        assert not proxy.saw(TOKEN)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_56_environment_proxy_with_an_http_endpoint(koodrive, by_token, monkeypatch, name):
    """It would read the token. No client at all is better than one that tells."""
    with ConnectProxy() as proxy:
        monkeypatch.setenv(name, f"http://user:sesame@127.0.0.1:{proxy.port}")
        with pytest.raises(ConfigurationError) as caught:
            AsyncShareClient(koodrive.url, by_token, network=Network(trust_env=True))
        assert "sesame" not in str(caught.value)
        async with AsyncShareClient(koodrive.url, by_token) as client:  # the environment is not asked
            assert await client.cancel(koodrive.share_ids)
        assert proxy.connections == 0
        assert proxy.transcript == b""


async def test_56_a_proxy_with_an_http_endpoint(koodrive, by_token):
    with ConnectProxy() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        with pytest.raises(ConfigurationError):
            AsyncShareClient(koodrive.url, by_token, network=Network(proxy=url))
        assert proxy.connections == 0


async def test_56_environment_proxy_on_request(made, monkeypatch):
    """With https the proxy sees where to, and no more."""
    with tls_server(well) as server, ConnectProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        network = Network(tls=client_context(), trust_env=True)
        async with made.client(server, network=network) as client:
            assert await client.cancel(IDS)
        assert proxy.connections > 0
        assert not proxy.saw(TOKEN)


# -- HTTP/2 ---------------------------------------------------------------------------------------


def h2_well(method, path, headers, body):
    return 200, [("content-type", "application/json")], json.dumps(all_well(body)).encode()


def http2():
    return Network(http2=True, tls=client_context())


def ids_of(request):
    return json.loads(request.body)["shareIds"]


async def test_57_http2_goaway_under_load(made):
    """Each connection serves four requests and sends the fifth away: not processed, it is sent again."""
    with H2Server(h2_well, goaway_after=4, delay=0.005) as server:
        async with made.client(server, network=http2(), pace=Pace(concurrency=8)) as client:
            with anyio.fail_after(LONG):
                report = await client.cancel(ids := some_ids(4_000))
            assert statuses(report) == {"cancelled": 4_000}
            assert await client.cancel(some_ids(1))
        processed = [share_id for request in server.processed for share_id in ids_of(request)]
        assert sorted(processed) == sorted([*ids, *some_ids(1)])  # each exactly once
        assert server.goaways > 0
        assert report.requests <= 40 + server.goaways
    assert {type(failure) for failure in made.failures} <= {ConnectionLost}


async def test_57_http2_goaway_at_once(made):
    """A server that takes nothing at all: every attempt is lost, and honestly so."""
    with H2Server(h2_well, goaway_after=0) as server:
        async with made.client(server, network=http2(), retry=FEW) as client:
            with anyio.fail_after(LONG):
                report = await unanswered(client.cancel(IDS[:100]), ConnectionLost)
        assert set(statuses(report)) <= {"unknown", "not_sent"}
        assert server.processed == []


async def test_58_http2_refused_stream(made):
    """Refused before any processing (RFC 9113, 8.7): certainly not sent, and sent again."""
    with H2Server(h2_well, refuse=lambda connection, stream: connection == 1) as server:
        async with made.client(server, network=http2()) as client:
            with anyio.fail_after(LONG):
                report = await client.cancel(IDS)
            assert statuses(report) == {"cancelled": 250}
            assert await client.cancel(some_ids(1))
        assert server.refused >= 1
        assert len(server.processed) == 4
    assert {type(failure) for failure in made.failures} == {ConnectionLost}
    assert {failure.sent for failure in made.failures} == {Sent.NO}


async def test_58_http2_refused_stream_for_good(made):
    with H2Server(h2_well, refuse=lambda _connection, _stream: True) as server:
        async with made.client(server, network=http2(), retry=FEW) as client:
            with anyio.fail_after(LONG):
                report = await unanswered(client.cancel(IDS[:100]), ConnectionLost)
        assert statuses(report) == {"not_sent": 100}
        assert server.processed == []
        for outcome in report.outcomes:
            assert (outcome.error.sent, outcome.error.ambiguous) == (Sent.NO, False)
