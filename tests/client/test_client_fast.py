"""`transport="fast"`: what it refuses, and that it works. `pytest --transport fast` tests the rest."""

import ssl
import sys

import anyio
import httpx
import pytest

from koodrive_async import (
    AsyncShareClient,
    ConfigurationError,
    ConnectFailed,
    Network,
    Pace,
    RetryPolicy,
    Sent,
    Timeout,
)
from koodrive_async.testing import BlackHole, lost_reply
from tests.support.blackhole import closed_port

pytestmark = pytest.mark.usefixtures("leaks")

CLOSED = closed_port()
ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@ON_ASYNCIO
async def test_it_cancels(make_koodrive, connect, anyio_backend):
    emulator = make_koodrive(shares=2_000, latency=0.01)
    emulator.script(None, None, lost_reply())
    async with connect(emulator, transport="fast", pace=Pace(concurrency=4)) as client:
        report = await client.cancel(emulator.share_ids)
        assert report
        assert client._shared.wire.__class__.__name__ == "FastWire"
    assert emulator.cancelled == set(emulator.share_ids)
    assert emulator.connections_opened <= 4 + 1  # one was lost
    assert emulator.settled()


@ON_ASYNCIO
@pytest.mark.parametrize("long", [90_000.0, 1e18])
async def test_time_limits_beyond_all_measure(make_koodrive, connect, anyio_backend, long):
    emulator = make_koodrive(shares=10)
    forever = Timeout(connect=long, read=long, write=long, pool=long, total=long)
    network = Network(keepalive_expiry=long)
    async with connect(emulator, transport="fast", timeout=forever, network=network) as client:
        assert await client.cancel(emulator.share_ids)


@ON_ASYNCIO
async def test_it_speaks_to_nobody_else(make_koodrive, connect, anyio_backend, monkeypatch):
    """No proxy of the environment sees the credentials."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{CLOSED}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{CLOSED}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    emulator = make_koodrive(shares=10)
    async with connect(emulator, transport="fast") as client:
        assert await client.cancel(emulator.share_ids)


@ON_ASYNCIO
async def test_where_nobody_listens_nothing_was_sent(connect, anyio_backend):
    retry = RetryPolicy(attempts=1, patience=0.5)
    async with connect(f"http://127.0.0.1:{CLOSED}", transport="fast", retry=retry) as client:
        with pytest.raises(ConnectFailed) as caught:
            await client.get_share_info("abc")
    assert caught.value.sent is Sent.NO
    assert not caught.value.permanent


@ON_ASYNCIO
async def test_where_tls_fails_nothing_was_sent(koodrive, connect, anyio_backend):
    """A service in the clear behind an https endpoint."""
    retry = RetryPolicy(attempts=1, patience=0.5)
    async with connect(koodrive.url.replace("http:", "https:"), transport="fast", retry=retry) as client:
        with pytest.raises(ConnectFailed) as caught:
            await client.get_share_info("abc")
    assert caught.value.sent is Sent.NO
    assert koodrive.requests == 0


@ON_ASYNCIO
async def test_a_cancelled_caller_ends_with_its_own_cancellation(make_koodrive, connect, anyio_backend):
    emulator = make_koodrive(shares=100)
    emulator.inject(lambda _seen: BlackHole())
    async with connect(emulator, transport="fast") as client:
        with anyio.move_on_after(0.2) as scope:
            await client.cancel(emulator.share_ids, grace=0.1)
        assert scope.cancelled_caught
        emulator.behave()
        assert await client.cancel(emulator.share_ids)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_not_on_trio(koodrive, connect, anyio_backend):
    async with connect(koodrive, transport="fast") as client:
        with pytest.raises(ConfigurationError, match="runs on asyncio only"):
            await client.get_share_info("abc")
        with pytest.raises(ConfigurationError, match="runs on asyncio only"):
            await client.cancel(koodrive.share_ids)
    assert koodrive.requests == 0


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (Network(tls=ssl.create_default_context()), "tls"),
        (Network(proxy="http://127.0.0.1:9"), "proxy"),
        (Network(trust_env=True), "trust_env"),
        (Network(http2=True), "http2"),
        (Network(http2=True, trust_env=True), "trust_env, http2"),
    ],
)
def test_what_it_can_not_do_is_refused(by_token, network, named):
    with pytest.raises(ConfigurationError, match=f"the fast transport has no {named};"):
        AsyncShareClient("https://koodrive.invalid", by_token, transport="fast", network=network)


def test_it_takes_the_place_of_a_client_of_ones_own(by_token):
    with pytest.raises(ConfigurationError, match="can't use your http client"):
        AsyncShareClient("https://koodrive.invalid", by_token, transport="fast", http=httpx.AsyncClient())


def test_without_the_extra_it_says_what_to_install(by_token, monkeypatch):
    monkeypatch.delitem(sys.modules, "koodrive_async.shell.fast", raising=False)
    monkeypatch.setitem(sys.modules, "pyreqwest.client", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'koodrive-async\[fast\]'"):
        AsyncShareClient("https://koodrive.invalid", by_token, transport="fast")


def test_there_are_two(by_token):
    with pytest.raises(ConfigurationError, match="there are 'default' and 'fast'"):
        AsyncShareClient("https://koodrive.invalid", by_token, transport="requests")
