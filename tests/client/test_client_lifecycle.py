"""Made from the environment, viewed with other options, used after closing or from the wrong place."""

import threading
from collections.abc import Callable

import anyio
import httpx
import pytest

from koodrive_async import (
    AppCredentials,
    AsyncShareClient,
    AuthFailed,
    ClientClosed,
    ConfigurationError,
    Pace,
    RetryPolicy,
    ServerFault,
    Timeout,
    TokenCredentials,
    UsageError,
    WrongEventLoop,
)
from koodrive_async.testing import BlackHole, Emulator, unavailable
from tests.client.wire import some_ids, well, well_and_closing
from tests.conftest import APP_ID, APP_SECRET, TOKEN, USER
from tests.support.rawserver import RawServer

with_leaks = pytest.mark.usefixtures("leaks")


async def _stream(client):
    async with client.open_cancel(["1"]):
        raise AssertionError("the block must not be entered")


async def _enter(client):
    async with client:
        raise AssertionError("the block must not be entered")


USES: dict[str, Callable] = {
    "cancel": lambda client: client.cancel(["1"]),
    "cancel nothing": lambda client: client.cancel([]),
    "cancel_batch": lambda client: client.cancel_batch(["1"]),
    "get_share_info": lambda client: client.get_share_info("abc"),
    "open_cancel": _stream,
    "async with": _enter,
    "a view": lambda client: client.with_options(timeout=Timeout(total=1)).cancel(["1"]),
}

# -- after closing --------------------------------------------------------------------------------


@with_leaks
@pytest.mark.parametrize("use", USES)
async def test_a_closed_client_says_so(koodrive, connect, use):
    async with connect(koodrive) as client:
        await client.cancel(koodrive.share_ids[:1])
    before = koodrive.connections_opened
    with pytest.raises(ClientClosed) as caught:
        await USES[use](client)
    assert isinstance(caught.value, UsageError)
    assert koodrive.requests == 1
    assert koodrive.connections_opened == before


@with_leaks
async def test_a_view_made_before_is_closed_with_its_client(koodrive, connect):
    async with connect(koodrive) as client:
        view = client.with_options(timeout=Timeout(total=1))
    with pytest.raises(ClientClosed):
        await view.cancel(["1"])
    assert koodrive.connections_opened == 0


@with_leaks
async def test_closing_twice_or_unused_is_harmless(koodrive, connect):
    client = connect(koodrive)
    await client.aclose()
    await client.aclose()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(client.aclose)


# -- from the wrong place -------------------------------------------------------------------------

WHERE = ("asyncio", "trio")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(("first", "second"), [("asyncio", "asyncio"), ("trio", "trio"), ("asyncio", "trio")])
def test_a_second_event_loop(connect, first, second, use):
    with RawServer(well_and_closing) as server:  # so that the first loop leaves no socket behind
        client = connect(server)
        anyio.run(client.cancel, ["1"], backend=first)
        with pytest.raises(WrongEventLoop, match="async with") as caught:
            anyio.run(USES[use], client, backend=second)
    assert isinstance(caught.value, UsageError)
    assert (len(server.requests), server.connections) == (1, 1)


@with_leaks
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("backend", WHERE)
async def test_another_thread(koodrive, connect, use, backend):
    raised = []

    def elsewhere():
        try:
            anyio.run(USES[use], client, backend=backend)
        except WrongEventLoop as error:
            raised.append(error)

    async with connect(koodrive) as client:
        await client.cancel(koodrive.share_ids[:1])
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(5)
        assert len(raised) == 1
        assert koodrive.requests == 1
        assert await client.cancel(koodrive.share_ids)  # and here it still works


@pytest.mark.parametrize("use", USES)
def test_outside_any_event_loop(koodrive, connect, use):
    client = connect(koodrive)
    coroutine = USES[use](client)
    with pytest.raises(WrongEventLoop, match="event loop"):
        coroutine.send(None)
    assert koodrive.connections_opened == 0


@pytest.mark.parametrize("backend", WHERE)
def test_a_client_may_be_made_before_there_is_a_loop(koodrive, connect, backend):
    client = connect(koodrive)

    async def main():
        async with client:
            return await client.cancel(koodrive.share_ids)

    assert anyio.run(main, backend=backend)
    assert koodrive.settled()


# -- from the environment -------------------------------------------------------------------------

NAMES = [
    f"KOODRIVE_{name}"
    for name in ("ENDPOINT", "ACCESS_TOKEN", "APP_ID", "APP_SECRET", "USER_ID", "AGENT_NAME")
]


@pytest.fixture
def env(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def put(values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


@with_leaks
@pytest.mark.parametrize("edition", ["enterprise", "carrier"])
@pytest.mark.parametrize("kind", ["token", "app"])
async def test_from_env(make_koodrive, env, kind, edition):
    emulator = make_koodrive(shares=3, edition=edition)
    env(emulator.environ(kind))
    async with AsyncShareClient.from_env() as client:
        assert await client.cancel(emulator.share_ids)
    agent = emulator.agent_name if edition == "carrier" else None
    assert emulator.log[0].header("x-hw-agentname") == agent
    assert emulator.log[0].authorization.startswith("HMAC" if kind == "app" else "Bearer")


@with_leaks
async def test_what_is_given_is_not_looked_up(koodrive, env, by_app):
    env({"KOODRIVE_ENDPOINT": "https://elsewhere.invalid", "KOODRIVE_ACCESS_TOKEN": "x"})
    async with AsyncShareClient.from_env(
        endpoint=koodrive.url, credentials=by_app, pace=Pace(concurrency=2)
    ) as client:
        assert await client.cancel(koodrive.share_ids)
    assert koodrive.log[0].authorization.startswith("HMAC")


FULL = {
    "KOODRIVE_ENDPOINT": "https://example.com",
    "KOODRIVE_USER_ID": USER,
    "KOODRIVE_APP_ID": APP_ID,
    "KOODRIVE_APP_SECRET": APP_SECRET,
}


@pytest.mark.parametrize("missing", FULL)
@pytest.mark.parametrize("how", ["unset", "empty"])
def test_a_variable_that_is_missing_is_named(env, missing, how):
    env({name: value for name, value in FULL.items() if name != missing})
    if how == "empty":
        env({missing: ""})
    with pytest.raises(ConfigurationError, match=missing):
        AsyncShareClient.from_env()


def test_both_kinds_of_credentials_are_one_too_many(env):
    env({**FULL, "KOODRIVE_ACCESS_TOKEN": TOKEN})
    with pytest.raises(ConfigurationError, match="both") as caught:
        AsyncShareClient.from_env()
    assert APP_SECRET not in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("name", ["ENDPOINT", "USER_ID", "APP_SECRET"])
def test_a_variable_that_cannot_work(env, name):
    env({**FULL, f"KOODRIVE_{name}": "no\x0bgood"})
    with pytest.raises(ConfigurationError):
        AsyncShareClient.from_env()


def test_an_override_that_is_none_is_no_default(env):
    env(FULL)
    for name in ("endpoint", "credentials"):
        with pytest.raises(ConfigurationError):
            AsyncShareClient.from_env(**{name: ""})
    with pytest.raises(TypeError):
        AsyncShareClient.from_env(nonsense=1)


# -- views ----------------------------------------------------------------------------------------


@with_leaks
async def test_a_view_shares_the_connections_and_closes_nothing(koodrive, connect):
    async with connect(koodrive) as client:
        await client.cancel(koodrive.share_ids[:1])
        async with client.with_options(timeout=Timeout(total=5)) as view:
            assert type(view) is AsyncShareClient
            await view.cancel(koodrive.share_ids[1:2])
        await view.aclose()
        await client.cancel(koodrive.share_ids[2:3])
        await view.cancel(koodrive.share_ids[3:4])
    assert koodrive.connections_opened == 1
    assert koodrive.cancelled_count == 4


@with_leaks
async def test_a_views_timeout_and_retries_are_its_own(koodrive, connect):
    async with connect(koodrive, timeout=Timeout(total=5)) as client:
        view = client.with_options(timeout=Timeout(total=0.1), retry=RetryPolicy(attempts=1))
        koodrive.script(BlackHole(), unavailable())
        report = await view.cancel(koodrive.share_ids[:1])
        assert report.outcomes[0].attempts == 2  # and its second chance
        koodrive.script(unavailable())
        with pytest.raises(ServerFault):
            await view.cancel_batch(koodrive.share_ids[:1])
        koodrive.script(unavailable())
        assert await client.cancel_batch(koodrive.share_ids[1:2])


@with_leaks
async def test_a_view_keeps_what_is_not_given(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.02)
    async with connect(emulator, pace=Pace(concurrency=2)) as client:
        view = client.with_options(timeout=Timeout(total=7))
        again = view.with_options(retry=RetryPolicy(attempts=1))
        assert await again.cancel(emulator.share_ids)
    assert emulator.max_in_flight == 2


@with_leaks
async def test_views_of_the_same_pace_share_a_gate(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.01)
    async with connect(emulator, pace=Pace(concurrency=2, adaptive=False)) as client:
        view = client.with_options(timeout=Timeout(total=7))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.cancel, emulator.share_ids[:500])
            tasks.start_soon(view.cancel, emulator.share_ids[500:])
    assert emulator.max_in_flight == 2
    assert emulator.cancelled_count == 1_000


@with_leaks
async def test_other_credentials_have_their_own_proof(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000, latency=0.02)
    async with connect(emulator, pace=Pace(concurrency=16, adaptive=False)) as client:
        await client.cancel(emulator.share_ids[:100])
        wrong = client.with_options(credentials=TokenCredentials("wrong", USER))
        before = emulator.requests
        with pytest.raises(AuthFailed):
            await wrong.cancel(emulator.share_ids)
        assert emulator.requests - before <= 5
        emulator.max_in_flight = 0
        assert await client.cancel(emulator.share_ids[:2_000])  # this one's proof is untouched
        assert emulator.max_in_flight > 2
        right = client.with_options(credentials=AppCredentials(APP_ID, APP_SECRET, USER))
        assert await right.cancel(emulator.share_ids[2_000:])
        assert "Token" in repr(client)
        assert "App" in repr(right)


@with_leaks
async def test_other_credentials_have_their_own_token(koodrive, connect):
    koodrive.tokens.add("other")
    given = []

    def provider(token):
        async def fetch(stale):
            given.append(token)
            return token

        return fetch

    async with connect(koodrive, TokenCredentials(provider(TOKEN), USER)) as client:
        view = client.with_options(credentials=TokenCredentials(provider("other"), USER))
        await client.cancel(koodrive.share_ids[:1])
        await view.cancel(koodrive.share_ids[1:2])
        await client.cancel(koodrive.share_ids[2:3])
    assert given == [TOKEN, "other"]
    assert [seen.authorization for seen in koodrive.log] == [
        "Bearer+demo-token",
        "Bearer+other",
        "Bearer+demo-token",
    ]


@pytest.mark.parametrize(
    "options",
    [{"credentials": None}, {"credentials": "token"}, {"timeout": None}, {"retry": None}, {"pace": None}],
)
def test_none_is_never_a_default(by_token, options):
    client = AsyncShareClient("https://example.com", by_token)
    with pytest.raises(ConfigurationError):
        client.with_options(**options)


# -- a client of one's own ------------------------------------------------------------------------


@with_leaks
async def test_a_borrowed_client_is_used_and_not_closed(koodrive, connect):
    async with httpx.AsyncClient() as http:
        async with connect(koodrive, http=http) as client:
            assert await client.cancel(koodrive.share_ids)
        assert not http.is_closed
        assert koodrive.open_connections > 0
        async with connect(koodrive, http=http) as client:
            await client.cancel(koodrive.share_ids[:1])
        assert koodrive.connections_opened == 1
    assert koodrive.settled()


@with_leaks
async def test_a_borrowed_transport_in_process(by_app):
    emulator = Emulator(shares=250)
    transport = httpx.ASGITransport(app=emulator.app)
    async with (
        httpx.AsyncClient(transport=transport) as http,
        AsyncShareClient("https://koodrive.example", by_app, http=http) as client,
    ):
        assert await client.cancel(emulator.share_ids)
    assert emulator.cancelled_count == 250


@with_leaks
async def test_settings_of_a_borrowed_client_do_not_leak_in(connect):
    options = {
        "auth": ("user", "password"),
        "cookies": {"session": "stolen"},
        "headers": {
            "X-Evil": "1",
            "Authorization": "Basic x",
            "User-Agent": "evil",
            "Content-Type": "text/evil",
        },
        "params": {"evil": "1"},
        "follow_redirects": True,
        "base_url": "https://elsewhere.invalid/base",
        "timeout": 0.0001,
    }
    with RawServer(well) as server:
        async with httpx.AsyncClient(**options) as http, connect(server, http=http) as client:
            assert await client.cancel(some_ids(3))
            await client.get_share_info("abc")
    post, get = server.requests
    for request in (post, get):
        assert b"evil" not in request.head.lower()
        assert request.header("cookie") is None
        assert request.header("authorization") == f"Bearer+{TOKEN}"
        assert sum(name.lower() == b"authorization" for name, _ in request.headers) == 1
    assert post.target == b"/koodrive/ose/v1/share/cancel"
    assert get.target == b"/koodrive/ose/v1/share/userInfo?shortUrl=abc"
    assert post.header("content-type") == "application/json"


@with_leaks
async def test_the_small_pool_of_a_borrowed_client_is_no_failure(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.01)
    limits = httpx.Limits(max_connections=2)
    async with httpx.AsyncClient(limits=limits) as http, connect(emulator, http=http) as client:
        assert await client.cancel(emulator.share_ids)
    assert emulator.max_in_flight <= 2


@with_leaks
async def test_a_closed_borrowed_client_is_a_clear_error(koodrive, connect):
    http = httpx.AsyncClient()
    await http.aclose()
    async with connect(koodrive, http=http) as client:
        with pytest.raises((UsageError, RuntimeError), match="closed"):
            await client.cancel(koodrive.share_ids)
