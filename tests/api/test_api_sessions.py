"""Credentials that live: renewed before they end and when refused, once for all, with nothing lost."""

import logging

import anyio
import pytest

from koodrive_async import (
    AccessToken,
    AuthFailed,
    CarrierLogin,
    ConfigurationError,
    EnterpriseSession,
    NotFound,
    Pace,
    RetryPolicy,
    TokenCredentials,
)
from koodrive_async.testing import Body, Drop, Rewrite, Status
from tests.api.conftest import AGENT, client_of
from tests.conftest import USER

pytestmark = pytest.mark.usefixtures("leaks")

AT_ONCE = Pace(concurrency=100, adaptive=False)
LIFE = 1_000.0


class Issuer:
    """A provider whose tokens the emulator knows."""

    def __init__(self, emulator, expires_in=LIFE, *, sliding=False):
        self.emulator, self.expires_in, self.sliding = emulator, expires_in, sliding
        self.stale = []
        self.fails = False

    async def __call__(self, stale):
        self.stale.append(stale)
        await anyio.sleep(0.01)
        if self.fails:
            raise OSError("no luck")
        token = f"issued-{len(self.stale)}"
        with self.emulator.lock:
            self.emulator.tokens.add(token)
        return AccessToken(token, self.expires_in, sliding=self.sliding)


@pytest.fixture
def emulator(make_koodrive):
    return make_koodrive(shares=500)


@pytest.fixture
def issuer(emulator):
    return Issuer(emulator)


def by(emulator, provider, **options):
    agent = AGENT if emulator.edition == "carrier" else None
    return client_of(emulator, credentials=TokenCredentials(provider, USER, agent), **options)


def later(emulator, clock, seconds):
    """Time passes, here and there."""
    emulator.clock_offset += seconds
    clock.advance(seconds)


async def ask(client):
    with pytest.raises(NotFound):
        await client.get_share_info("nowhere")


# -- lifetimes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["refused", "ended"])
async def test_100_parallel_calls_over_an_expired_token(emulator, issuer, clock, why):
    async with by(emulator, issuer, pace=AT_ONCE) as client:
        await client.cancel(emulator.share_ids[:1])
        emulator.expire_tokens()
        if why == "ended":
            later(emulator, clock, LIFE + 1)
        emulator.latency = 0.02
        reports = []

        async def one(share_id):
            reports.append(await client.cancel([share_id]))

        async with anyio.create_task_group() as tasks:
            for share_id in emulator.share_ids[1:101]:
                tasks.start_soon(one, share_id)
    assert issuer.stale == [None, "issued-1"]
    assert emulator.cancelled_count == 101
    assert all(reports)
    assert (emulator.statuses[401] == 0) is (why == "ended")


async def test_a_token_is_renewed_shortly_before_it_ends(emulator, issuer, clock):
    async with by(emulator, issuer) as client:
        await ask(client)
        later(emulator, clock, LIFE - 61)
        await ask(client)
        assert len(issuer.stale) == 1
        later(emulator, clock, 2)
        await ask(client)
        assert issuer.stale == [None, "issued-1"]
        await ask(client)
        assert len(issuer.stale) == 2
    assert emulator.statuses[401] == 0


async def test_each_use_prolongs_a_sliding_one(emulator, clock):
    issuer = Issuer(emulator, 100.0, sliding=True)
    async with by(emulator, issuer) as client:
        for _ in range(5):
            await ask(client)
            later(emulator, clock, 80)
        assert len(issuer.stale) == 1
        later(emulator, clock, 15)  # 95 s since the last use, of 100
        await ask(client)
        assert len(issuer.stale) == 2


async def test_an_early_renewal_that_fails_costs_nothing_yet(emulator, issuer, clock, caplog):
    async with by(emulator, issuer) as client:
        await ask(client)
        issuer.fails = True
        later(emulator, clock, LIFE - 30)
        with caplog.at_level(logging.WARNING, logger="koodrive_async"):
            await ask(client)
            await ask(client)
        assert len(issuer.stale) == 2  # tried once
        assert len([text for text in caplog.messages if "before its end" in text]) == 1
        later(emulator, clock, 31)
        with pytest.raises(AuthFailed, match="no luck"):
            await client.get_share_info("nowhere")
        issuer.fails = False
        await ask(client)


async def test_a_renewal_that_fails_is_one_error_for_all(emulator, issuer, clock):
    async with by(emulator, issuer, pace=AT_ONCE) as client:
        await ask(client)
        issuer.fails = True
        later(emulator, clock, LIFE)
        errors = []

        async def one():
            try:
                await client.get_share_info("nowhere")
            except AuthFailed as error:
                errors.append(str(error))

        requests = emulator.requests
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(one)
    assert len(errors) == 50
    assert len(issuer.stale) == 2
    assert emulator.requests == requests


@pytest.mark.parametrize("life", [0, -1, "1", True, float("nan")])
def test_a_lifetime_that_is_none(life):
    with pytest.raises(ConfigurationError, match="expires_in"):
        AccessToken("t", life)


def test_tokens_do_not_print():
    assert "s3cret" not in repr(AccessToken("s3cret", 5))


# -- the enterprise session -----------------------------------------------------------------------


@pytest.mark.parametrize("awaited", [True, False])
async def test_an_enterprise_session(emulator, clock, awaited):
    async def told():
        return "demo-session"

    provider = EnterpriseSession(emulator.url, told if awaited else lambda: "demo-session")
    async with by(emulator, provider) as client:
        assert await client.cancel(emulator.share_ids[:150])
        later(emulator, clock, 1_200)
        assert await client.cancel(emulator.share_ids[150:])
        emulator.expire_tokens()
        await ask(client)
    assert emulator.counts["refreshSession"] == 3
    first, *others = [seen for seen in emulator.log if seen.operation == "refreshSession"]
    assert (first.method, first.target) == ("POST", "/koodrive/ose/v1/session/refresh")
    assert first.header("x-session-id") == "demo-session"
    assert first.authorization is None
    assert first.user_id is None
    assert all(seen.authorization.startswith("Bearer+") for seen in others)
    assert emulator.settled()


async def test_a_session_that_is_over(emulator, caplog):
    provider = EnterpriseSession(emulator.url, lambda: "s3cret-session")
    with caplog.at_level(logging.DEBUG):
        async with by(emulator, provider) as client:
            with pytest.raises(AuthFailed, match=r"the token provider failed: .*APIG\.0305") as caught:
                await client.cancel(emulator.share_ids)
    assert emulator.counts == {"refreshSession": 1}
    assert "s3cret" not in caplog.text + str(caught.value) + repr(provider) + repr(caught.value.report)


@pytest.mark.parametrize("fault", [Drop(), Status(503), Body(b"{}"), Status(429)], ids=repr)
async def test_a_bad_moment_of_the_session_service(emulator, fault):
    emulator.script(fault)
    async with by(emulator, EnterpriseSession(emulator.url, lambda: "demo-session")) as client:
        await ask(client)
    assert emulator.counts["refreshSession"] == 2


async def test_a_cancelled_call_leaves_no_renewal_behind(emulator):
    emulator.latency = 0.3
    async with by(emulator, EnterpriseSession(emulator.url, lambda: "demo-session")) as client:
        with anyio.move_on_after(0.05) as scope:
            await client.get_share_info("nowhere")
        assert scope.cancelled_caught
        emulator.latency = 0
        await ask(client)


# -- the carrier ----------------------------------------------------------------------------------


@pytest.fixture
def carrier(make_koodrive):
    return make_koodrive(edition="carrier", shares=300)


WAYS = {"password": lambda: "demo-password", "code": lambda: "123456"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize("rotates", [True, False])
async def test_a_carriers_login_and_refresh(carrier, clock, way, wraps, rotates):
    carrier.refresh_wraps_session, carrier.rotate_refresh_tokens = wraps, rotates
    provider = CarrierLogin(carrier.url, "demo-account", AGENT, **{way: WAYS[way]})
    async with by(carrier, provider) as client:
        assert await client.cancel(carrier.share_ids[:150])
        for _ in range(3):
            later(carrier, clock, 1_800)
            await ask(client)
        carrier.expire_tokens()
        assert await client.cancel(carrier.share_ids[150:])
    assert carrier.counts["login"] == 1
    assert carrier.counts["refreshToken"] == 4
    login = next(seen for seen in carrier.log if seen.operation == "login")
    assert (login.method, login.target) == ("POST", "/koodrive/ose/v1/auth/login")
    assert login.header("x-hw-agentname") == AGENT
    key, kind, secret = (
        ("password", "1", "demo-password") if way == "password" else ("captchaToken", "2", "123456")
    )
    assert login.body == f'{{"account":"demo-account","authType":"{kind}","{key}":"{secret}"}}'.encode()
    refresh = next(seen for seen in carrier.log if seen.operation == "refreshToken")
    assert refresh.authorization.startswith("AT ")
    assert refresh.body.startswith(b'{"refreshToken":"')
    assert {seen.authorization[:3] for seen in carrier.log if seen.operation == "batchCancel"} == {"AT "}


def without_refresh_token(reply):
    return {**reply, "data": {**reply["data"]["sessionInfo"], "refreshToken": None}}


async def test_where_a_refresh_is_refused_a_login_follows(carrier, clock):
    provider = CarrierLogin(carrier.url, "demo-account", AGENT, password=WAYS["password"])
    async with by(carrier, provider) as client:
        await ask(client)
        carrier.refresh_tokens.clear()
        later(carrier, clock, 1_800)
        await ask(client)
        assert (carrier.counts["login"], carrier.counts["refreshToken"]) == (2, 1)
        carrier.script(
            Rewrite(lambda reply: {**reply, "data": {**reply["data"]["sessionInfo"], "refreshToken": None}})
        )
        later(carrier, clock, 1_800)
        await ask(client)  # a reply that leaves the refresh token out: the old one is kept
        later(carrier, clock, 1_800)
        await ask(client)
    assert (carrier.counts["login"], carrier.counts["refreshToken"]) == (2, 3)


async def test_a_wrong_password_is_tried_once(carrier, caplog):
    provider = CarrierLogin(carrier.url, "demo-account", AGENT, password=lambda: "s3cret-pw")
    with caplog.at_level(logging.DEBUG):
        async with by(carrier, provider) as client:
            with pytest.raises(AuthFailed, match="account or password is wrong") as caught:
                await client.cancel(carrier.share_ids)
    assert carrier.counts == {"login": 1}
    assert "s3cret" not in caplog.text + str(caught.value) + repr(provider)


@pytest.mark.parametrize("fault", [Drop(act=True), Status(503), Body(b"<html>")], ids=["lost", "503", "odd"])
async def test_a_login_whose_reply_is_lost_is_not_sent_again(carrier, fault):
    carrier.script(fault)
    provider = CarrierLogin(carrier.url, "demo-account", AGENT, code=WAYS["code"])
    async with by(carrier, provider) as client:
        with pytest.raises(AuthFailed, match="the service may have acted"):
            await client.get_share_info("nowhere")
        assert carrier.counts["login"] == 1


async def test_a_refresh_whose_reply_is_lost(carrier, clock):
    """With rotation the refresh token is gone with it; the second one is refused, and a login follows."""
    carrier.rotate_refresh_tokens = True
    provider = CarrierLogin(carrier.url, "demo-account", AGENT, password=WAYS["password"])
    async with by(carrier, provider) as client:
        await ask(client)
        later(carrier, clock, 1_800)
        carrier.script(Drop(act=True))
        await ask(client)
    assert (carrier.counts["login"], carrier.counts["refreshToken"]) == (2, 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CarrierLogin("https://x.example", "a", AGENT),
        lambda: CarrierLogin("https://x.example", "a", AGENT, password=lambda: "p", code=lambda: "c"),
        lambda: CarrierLogin("https://x.example", "a", AGENT, password="p"),
        lambda: CarrierLogin("https://x.example", "a", "", password=lambda: "p"),
        lambda: CarrierLogin("http://x.example", "a", AGENT, password=lambda: "p"),
        lambda: EnterpriseSession("https://x.example", "s3cret"),
        lambda: EnterpriseSession("x.example", lambda: "s"),
    ],
)
def test_providers_that_cannot_work(make):
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("told", [None, 7, "", "a\r\nb", "ü"])
async def test_a_secret_that_cannot_be_sent(emulator, told):
    async with by(
        emulator, EnterpriseSession(emulator.url, lambda: told), retry=RetryPolicy(attempts=1)
    ) as client:
        with pytest.raises(AuthFailed, match="the session id must be"):
            await client.get_share_info("x")
    assert emulator.requests == 0
