"""Rows 38-44: the service does not like who asks, or when. The tables are in tests/core and tests/client."""

import time

import anyio
import pytest

from koodrive_async import (
    AppCredentials,
    AuthFailed,
    ClockCorrected,
    ClockSkewed,
    Forbidden,
    Pace,
    RetryPolicy,
    Status,
    TokenCredentials,
)
from koodrive_async.testing import forbidden, unauthorized
from tests.conftest import APP_ID, APP_SECRET, TOKEN, USER
from tests.faults.line import LONG, always, statuses

pytestmark = pytest.mark.usefixtures("leaks")

#: For failures of a provider, which is asked again for the patience once it has worked.
IMPATIENT = RetryPolicy(base=0.002, cap=0.01, patience=0.01)

AT_ONCE = Pace(concurrency=100, adaptive=False)
BY_APP = AppCredentials(APP_ID, APP_SECRET, USER)


class Provider:
    """Hands out tokens that the emulator then knows; `then` may say otherwise from the second time on."""

    def __init__(self, emulator, then=None):
        self.emulator, self.then, self.stale = emulator, then, []

    async def __call__(self, stale):
        self.stale.append(stale)
        if self.then is not None and stale is not None:
            return await self.then(stale)
        await anyio.sleep(0.01)
        token = f"token-{len(self.stale)}"
        self.emulator.tokens.add(token)
        return token


async def all_at_once(client, ids):
    """One call per id, all at the same time: the outcomes, and the errors."""
    reports, errors = [], []

    async def ask(share_id):
        try:
            reports.append(await client.cancel([share_id]))
        except AuthFailed as error:
            errors.append(error)

    with anyio.fail_after(LONG):
        async with anyio.create_task_group() as tasks:
            for share_id in ids:
                tasks.start_soon(ask, share_id)
    return reports, errors


async def test_38_token_expires_with_100_in_flight(make_koodrive, made):
    emulator = make_koodrive(shares=102, latency=0.1)
    provider = Provider(emulator)
    async with made.client(emulator, TokenCredentials(provider, USER), pace=AT_ONCE) as client:
        await client.cancel(emulator.share_ids[:1])
        emulator.expire_tokens()
        reports, errors = await all_at_once(client, emulator.share_ids[1:101])
        assert await client.cancel(emulator.share_ids[101:])
    assert errors == []
    assert provider.stale == [None, "token-1"]  # one renewal
    assert {report.outcomes[0].attempts for report in reports} <= {1, 2}  # each was repeated once, if at all
    assert emulator.statuses[401] == len(made.failures) <= 100
    assert emulator.cancelled == set(emulator.share_ids)
    assert len({seen.trace_id for seen in emulator.log}) == emulator.requests


async def slow(_stale):
    await anyio.sleep_forever()


async def broken(_stale):
    await anyio.sleep(0.1)
    raise OSError("HTTP 500 from the identity service")


async def the_same(stale):
    await anyio.sleep(0.1)
    return stale


@pytest.mark.parametrize("how", [slow, broken, the_same])
async def test_39_token_refresh_fails(make_koodrive, made, monkeypatch, how):
    """The waiters wait no longer than the provider may take, and all get one and the same error; no loop."""
    monkeypatch.setattr("koodrive_async.shell.auth.PROVIDER_LIMIT", 0.1)
    emulator = make_koodrive(shares=22, latency=0.02)
    provider = Provider(emulator, how)
    async with made.client(
        emulator, TokenCredentials(provider, USER), pace=AT_ONCE, retry=IMPATIENT
    ) as client:
        await client.cancel(emulator.share_ids[:1])
        emulator.expire_tokens()
        reports, errors = await all_at_once(client, emulator.share_ids[1:21])
        assert reports == []
        assert len(errors) == 20
        assert len({error.args for error in errors}) == 1
        assert len(set(map(id, errors))) == 20  # each its own object: shared ones would grow tracebacks
        assert 2 <= len(provider.stale) <= 3  # those who were in flight share one; a straggler may ask again
        for error in errors:
            assert error.report.outcomes[0].status in (Status.REJECTED, Status.NOT_SENT)
            assert TOKEN not in str(error)
        provider.then = None
        assert await client.cancel(emulator.share_ids[21:])
    assert emulator.cancelled_count == 2


async def test_39_token_refresh_fails_for_whoever_was_in_flight(make_koodrive, made):
    """It fails at once, and the 401s of the same token come in one by one: it is not asked for each."""

    async def at_once(_stale):
        raise OSError("HTTP 500 from the identity service")

    waits = [0.0, *(0.05 * number for number in range(1, 6))]
    emulator = make_koodrive(shares=6, latency=lambda: waits.pop(0))
    provider = Provider(emulator, at_once)
    async with made.client(
        emulator, TokenCredentials(provider, USER), pace=AT_ONCE, retry=IMPATIENT
    ) as client:
        await client.cancel(emulator.share_ids[:1])
        emulator.expire_tokens()
        _, errors = await all_at_once(client, emulator.share_ids[1:])
    assert len(errors) == 5
    assert emulator.requests == 6
    assert provider.stale == [None, "token-1"]


@pytest.mark.parametrize("ahead", [3_600, -3_600, -2])
async def test_40_signature_expired_and_the_servers_time_with_it(make_koodrive, made, ahead):
    """Learnt from the first refusal, by one request; the hundred after it are right at once."""
    emulator = make_koodrive(shares=102, clock_offset=ahead)
    corrected = []
    hooks = [lambda event: corrected.append(event) if isinstance(event, ClockCorrected) else None]
    options = {"retry": RetryPolicy(attempts=1), "pace": AT_ONCE, "hooks": hooks}
    async with made.client(emulator, BY_APP, **options) as client:
        report = await client.cancel(emulator.share_ids[:1])
        assert statuses(report) == {"cancelled": 1}
        first = emulator.statuses[401]
        assert first <= 1
        reports, errors = await all_at_once(client, emulator.share_ids[1:101])
        assert errors == []
        assert all(reports)
        assert await client.cancel(emulator.share_ids[101:])
    assert emulator.statuses[401] == first == (abs(ahead) > 900)
    assert emulator.requests == 102 + first
    assert len(corrected) == (abs(ahead) > 900)
    if first:
        (failure,) = made.failures
        assert type(failure) is ClockSkewed
        assert (failure.status, failure.code) == (401, "APIG.0303")


async def test_40_signature_expired_whatever_the_time(koodrive, made):
    """A gateway that always says so, with a `Date` that agrees with ours: that is about the secret."""
    koodrive.inject(always(unauthorized("APIG.0303")))
    async with made.client(koodrive, BY_APP) as client:
        with anyio.fail_after(LONG), pytest.raises(AuthFailed):
            await client.cancel(koodrive.share_ids)
    assert koodrive.requests <= 3


WRONG = {
    "signature": AppCredentials(APP_ID, "wrong-secret", USER),
    "app": AppCredentials("wrong-id", APP_SECRET, USER),
    "token": TokenCredentials("wrong-token", USER),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_41_wrong_credentials(make_koodrive, made, wrong):
    """A hundred batches, and at most three requests: more than five refusals may lock an account."""
    emulator = make_koodrive(shares=10_000)
    async with made.client(emulator, WRONG[wrong]) as client:
        with anyio.fail_after(LONG), pytest.raises(AuthFailed) as caught:
            await client.cancel(emulator.share_ids)
    error = caught.value
    assert emulator.requests <= 3
    assert (error.status, error.ambiguous) == (401, False)
    assert len(error.report.outcomes) == 10_000
    assert set(statuses(error.report)) <= {"rejected", "not_sent"}
    shown = f"{error} {error!r} {error.report!r}"
    for secret in ("wrong-secret", "wrong-token", "wrong-id", APP_ID, APP_SECRET):
        assert secret not in shown


async def test_42_clock_is_a_second_ahead(make_koodrive, made):
    """The emulator is strict: not one second of the future. The margin makes it pass at the first try."""
    for ahead in (1.0, 2.5, 4.0):
        emulator = make_koodrive(shares=2, clock_offset=-ahead)
        async with made.client(emulator, BY_APP) as client:
            for share_id in emulator.share_ids:
                assert await client.cancel([share_id])
        assert emulator.requests == 2
    assert made.failures == []


class Wall:
    """The true monotonic clock, and a wall clock that somebody sets."""

    def __init__(self):
        self.shift = 0.0
        self.monotonic, self.perf_counter = time.monotonic, time.perf_counter

    def time(self):
        return time.time() + self.shift


@pytest.mark.parametrize("jump", [1_200, -1_200])
@pytest.mark.parametrize("who", ["app", "token"])
async def test_43_wall_clock_jumps(make_koodrive, made, monkeypatch, by_token, who, jump):
    """What was learnt is counted on the monotonic clock: the very next signature is right."""
    wall = Wall()
    monkeypatch.setattr("koodrive_async.shell.clock.time", wall)
    emulator = make_koodrive(shares=1_000)

    def tick(seen):
        if seen.number == 4:
            wall.shift = jump

    emulator.inject(tick)
    async with made.client(emulator, BY_APP if who == "app" else by_token) as client:
        assert await client.cancel(emulator.share_ids)
    assert wall.shift == jump
    assert emulator.requests == 10
    assert made.failures == []


async def test_43_the_servers_clock_jumps(make_koodrive, made):
    """Or this machine slept, and its monotonic clock with it: refused, learnt, signed again, for free."""
    emulator = make_koodrive(shares=1_000, latency=0.005)

    def tick(seen):
        if seen.number == 4:
            emulator.clock_offset = 1_200

    emulator.inject(tick)
    async with made.client(emulator, BY_APP, retry=RetryPolicy(attempts=1)) as client:
        with anyio.fail_after(LONG):
            assert await client.cancel(emulator.share_ids)
    assert emulator.requests == 10 + emulator.statuses[401]
    assert 1 <= emulator.statuses[401] <= 10
    assert {type(failure) for failure in made.failures} == {ClockSkewed}


async def test_44_forbidden(make_koodrive, made):
    emulator = make_koodrive(shares=10_000)
    emulator.inject(always(forbidden()))
    async with made.client(emulator) as client:
        with anyio.fail_after(LONG), pytest.raises(Forbidden) as caught:
            await client.cancel(emulator.share_ids)
        assert emulator.requests == 1
        report = caught.value.report
        assert statuses(report) == {"rejected": 100, "not_sent": 9_900}
        assert (caught.value.status, caught.value.code) == (403, "APIG.0304")
        assert not caught.value.ambiguous
        emulator.behave()
        assert await client.cancel(emulator.share_ids[:100])
