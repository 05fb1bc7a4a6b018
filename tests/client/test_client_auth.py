"""Refused credentials cost a handful of requests; tokens are renewed once, by one, for all."""

from itertools import pairwise

import anyio
import attrs
import pytest

from koodrive_async import (
    AppCredentials,
    AuthFailed,
    Forbidden,
    Pace,
    RetryPolicy,
    Status,
    TokenCredentials,
)
from koodrive_async.testing import Drop, forbidden, unauthorized
from tests.client.wire import some_ids
from tests.conftest import APP_ID, APP_SECRET, TOKEN, USER
from tests.support.threaded import until

pytestmark = pytest.mark.usefixtures("leaks")

AT_ONCE = Pace(concurrency=100, adaptive=False)


class Provider:
    """Hands out tokens that an emulator then knows; remembers what it was given."""

    def __init__(self, emulator, *, wait=0.0, good=True):
        self.emulator, self.wait, self.good = emulator, wait, good
        self.stale: list[str | None] = []

    async def __call__(self, stale):
        self.stale.append(stale)
        await anyio.sleep(self.wait)
        token = f"token-{len(self.stale)}"
        if self.good:
            self.emulator.tokens.add(token)
        return token


WRONG = {
    "token": TokenCredentials("wrong-token", USER),
    "secret": AppCredentials(APP_ID, "wrong-secret", USER),
    "app id": AppCredentials("wrong-id", APP_SECRET, USER),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_credentials_end_after_a_handful_of_requests(make_koodrive, connect, wrong):
    emulator = make_koodrive(shares=5_000)
    async with connect(emulator, WRONG[wrong]) as client:
        with anyio.fail_after(5), pytest.raises(AuthFailed) as caught:
            await client.cancel(emulator.share_ids)
    error = caught.value
    assert emulator.requests <= 5
    assert emulator.cancelled_count == 0
    assert error.status == 401
    assert error.code.startswith("APIG.03")
    report = error.report
    assert [outcome.share_id for outcome in report.outcomes] == emulator.share_ids
    assert report.counts[Status.REJECTED] + report.counts[Status.NOT_SENT] == 5_000
    assert report.counts[Status.REJECTED] <= 500
    assert report.requests == emulator.requests
    assert len(report.retryable_ids) == 5_000  # with other credentials they may well go
    assert not report


async def test_a_403_for_everything_likewise(make_koodrive, connect, credentials):
    emulator = make_koodrive(shares=5_000)
    emulator.inject(lambda _seen: forbidden())
    async with connect(emulator, credentials) as client:
        with anyio.fail_after(5), pytest.raises(Forbidden) as caught:
            await client.cancel(emulator.share_ids)
    assert emulator.requests <= 5
    assert len(caught.value.report.outcomes) == 5_000
    assert (caught.value.status, caught.value.code) == (403, "APIG.0304")


async def test_an_unknown_user_likewise(make_koodrive, connect):
    """The service says it with 403 and a code of its own, 13000410."""
    emulator = make_koodrive(shares=5_000)
    async with connect(emulator, TokenCredentials(TOKEN, "nobody")) as client:
        with pytest.raises(Forbidden) as caught:
            await client.cancel(emulator.share_ids)
    assert emulator.requests <= 5
    assert len(caught.value.report.outcomes) == 5_000


@pytest.mark.parametrize("kind", ["wrong token", "forbidden"])
async def test_many_calls_at_once_with_wrong_credentials(koodrive, connect, kind):
    """Unproven credentials go one request at a time, whoever asks; each caller gets the error."""
    failures = []
    if kind == "forbidden":
        koodrive.inject(lambda _seen: forbidden())
    koodrive.latency = 0.002
    async with connect(koodrive, WRONG["token"] if kind == "wrong token" else None, pace=AT_ONCE) as client:

        async def ask(share_id):
            try:
                await client.cancel([share_id])
            except (AuthFailed, Forbidden) as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for share_id in koodrive.share_ids[:30]:
                tasks.start_soon(ask, share_id)
    assert len(failures) == 30
    assert len(set(map(id, failures))) == 30
    assert koodrive.max_in_flight == 1


async def test_credentials_that_are_revoked_while_running(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000, latency=0.005)

    def revoke(seen):
        if seen.number == 20:
            emulator.tokens.clear()

    emulator.inject(revoke)
    async with connect(emulator, pace=Pace(concurrency=8)) as client:
        with pytest.raises(AuthFailed) as caught:
            await client.cancel(emulator.share_ids)
        assert emulator.statuses[401] <= 8 + 4  # those that were in flight, and those that confirm them
        report = caught.value.report
        assert report.counts[Status.CANCELLED] == emulator.cancelled_count
        assert report.counts[Status.UNKNOWN] == 0
        assert len(report.outcomes) == 5_000

        emulator.behave()
        before = emulator.requests
        emulator.max_in_flight = 0
        with pytest.raises(AuthFailed):  # unproven again
            await client.cancel(some_ids(5_000))
        assert emulator.requests - before <= 5
        assert emulator.max_in_flight == 1


async def test_a_first_success_ends_the_caution(make_koodrive, connect):
    emulator = make_koodrive(shares=2_000, latency=0.02)
    async with connect(emulator) as client:
        await client.cancel(emulator.share_ids)
    seen = list(emulator.log)
    assert seen[1].monotonic >= seen[0].finished
    assert emulator.max_in_flight > 4


async def test_a_lost_first_reply_is_no_proof(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.01)
    emulator.script(Drop(), Drop())
    async with connect(emulator) as client:
        assert await client.cancel(emulator.share_ids)
    seen = list(emulator.log)
    for before, after in pairwise(seen[:4]):
        assert after.monotonic >= before.finished - 0.005


@pytest.mark.parametrize(
    ("token", "header"),
    [
        ("demo-token", "Bearer+demo-token"),
        ("Bearer+demo-token", "Bearer+demo-token"),
        ("Bearer demo-token", "Bearer demo-token"),
        ("AT demo-token", "AT demo-token"),
    ],
)
async def test_tokens_go_verbatim_when_they_have_a_scheme(koodrive, connect, token, header):
    async with connect(koodrive, TokenCredentials(token, USER)) as client:
        assert await client.cancel(koodrive.share_ids)
    assert koodrive.log[0].authorization == header


async def test_the_prefix_is_a_setting(koodrive, connect):
    async with connect(koodrive, TokenCredentials(TOKEN, USER, prefix="Bearer ")) as client:
        assert await client.cancel(koodrive.share_ids)
    assert koodrive.log[0].authorization == f"Bearer {TOKEN}"


# -- providers ------------------------------------------------------------------------------------


async def test_a_provider_is_asked_once_at_first(koodrive, connect):
    provider = Provider(koodrive, wait=0.02)
    who = TokenCredentials(provider, USER)
    async with connect(koodrive, who, pace=AT_ONCE) as client, anyio.create_task_group() as tasks:
        for share_id in koodrive.share_ids:
            tasks.start_soon(client.cancel, [share_id])
    assert provider.stale == [None]
    assert koodrive.cancelled_count == 100
    assert koodrive.statuses[401] == 0


async def test_one_renewal_for_a_hundred_parallel_401s(make_koodrive, connect):
    emulator = make_koodrive(shares=101, latency=0.1)
    provider = Provider(emulator, wait=0.02)
    reports = []
    async with connect(emulator, TokenCredentials(provider, USER), pace=AT_ONCE) as client:
        await client.cancel(emulator.share_ids[:1])
        emulator.expire_tokens()

        async def ask(share_id):
            reports.append(await client.cancel([share_id]))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for share_id in emulator.share_ids[1:]:
                    tasks.start_soon(ask, share_id)
    assert emulator.statuses[401] == 100
    assert provider.stale == [None, "token-1"]
    assert emulator.requests == 201  # each repeated once
    assert all(reports)
    assert {report.outcomes[0].attempts for report in reports} == {2}
    assert emulator.cancelled_count == 101


async def test_a_token_that_expires_while_a_call_runs(make_koodrive, connect):
    emulator = make_koodrive(shares=6_000, latency=0.002)
    provider = Provider(emulator)
    async with connect(emulator, TokenCredentials(provider, USER)) as client:
        for ids in (emulator.share_ids[:3_000], emulator.share_ids[3_000:]):
            doomed = emulator.requests + 10
            emulator.behave()
            emulator.inject(lambda seen, n=doomed: emulator.expire_tokens() if seen.number == n else None)
            report = await client.cancel(ids)
            assert report.counts[Status.CANCELLED] == 3_000
    assert provider.stale == [None, "token-1", "token-2"]
    assert emulator.requests == 60 + emulator.statuses[401]


async def test_renewal_costs_no_attempt(koodrive, connect):
    provider = Provider(koodrive)
    async with connect(koodrive, TokenCredentials(provider, USER), retry=RetryPolicy(attempts=1)) as client:
        await client.cancel(koodrive.share_ids[:1])
        koodrive.expire_tokens()
        assert await client.cancel(koodrive.share_ids[1:])
    assert koodrive.requests == 3


async def test_a_provider_whose_tokens_are_refused(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000)
    provider = Provider(emulator, good=False)
    async with connect(emulator, TokenCredentials(provider, USER)) as client:
        with anyio.fail_after(5), pytest.raises(AuthFailed) as caught:
            await client.cancel(emulator.share_ids)
    assert emulator.requests == 2
    assert provider.stale == [None, "token-1"]
    assert len(caught.value.report.outcomes) == 5_000


class Down(Exception):
    """The provider's own error."""


async def test_a_provider_that_fails(make_koodrive, connect):
    emulator = make_koodrive(shares=300)

    async def provider(stale):
        raise Down("identity service is down")

    async with connect(emulator, TokenCredentials(provider, USER)) as client:
        with pytest.raises(AuthFailed, match="identity service is down") as caught:
            await client.cancel(emulator.share_ids)
        with pytest.raises(AuthFailed):
            await client.get_share_info("abc")
    assert emulator.connections_opened == 0
    assert caught.value.report.counts[Status.NOT_SENT] == 300
    assert "Down" in str(caught.value)


async def test_a_failing_provider_is_asked_once_for_all_who_wait(koodrive, connect):
    calls, failures = [], []

    async def provider(stale):
        calls.append(stale)
        await anyio.sleep(0.02)
        raise Down("no")

    async with connect(koodrive, TokenCredentials(provider, USER), pace=AT_ONCE) as client:

        async def ask(share_id):
            try:
                await client.cancel([share_id])
            except AuthFailed as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for share_id in koodrive.share_ids:
                tasks.start_soon(ask, share_id)
    assert len(calls) == 1
    assert len(failures) == 100
    assert all(len(error.report.outcomes) == 1 for error in failures)
    assert koodrive.requests == 0


async def test_a_provider_that_fails_may_recover(koodrive, connect):
    good = Provider(koodrive)
    calls = []

    async def provider(stale):
        calls.append(stale)
        if len(calls) == 1:
            raise Down("no")
        return await good(stale)

    async with connect(koodrive, TokenCredentials(provider, USER)) as client:
        with pytest.raises(AuthFailed):
            await client.cancel(koodrive.share_ids)
        assert await client.cancel(koodrive.share_ids)
    assert len(calls) == 2


async def test_a_provider_that_fails_while_a_call_runs(make_koodrive, connect):
    emulator = make_koodrive(shares=3_000, latency=0.005)
    good = Provider(emulator)

    async def provider(stale):
        if stale is not None:
            raise Down("no more")
        return await good(stale)

    emulator.inject(lambda seen: emulator.expire_tokens() if seen.number == 10 else None)
    retry = RetryPolicy(base=0.002, cap=0.01, patience=0.3)  # as long as a provider is asked again
    async with connect(emulator, TokenCredentials(provider, USER), retry=retry) as client:
        with anyio.fail_after(5), pytest.raises(AuthFailed) as caught:
            await client.cancel(emulator.share_ids)
    report = caught.value.report
    assert report.counts[Status.CANCELLED] == emulator.cancelled_count
    assert report.counts[Status.UNKNOWN] == 0
    assert len(report.outcomes) == 3_000


async def test_a_provider_that_never_answers(koodrive, connect, monkeypatch):
    monkeypatch.setattr("koodrive_async.shell.auth.PROVIDER_LIMIT", 0.05)

    async def provider(stale):
        await anyio.sleep_forever()

    async with connect(koodrive, TokenCredentials(provider, USER)) as client:
        with anyio.fail_after(3), pytest.raises(AuthFailed):
            await client.cancel(koodrive.share_ids)
    assert koodrive.requests == 0


async def test_a_provider_that_returns_the_token_that_was_refused(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000)
    calls = []

    async def provider(stale):
        calls.append(stale)
        return "always-the-same"

    async with connect(emulator, TokenCredentials(provider, USER)) as client:
        with anyio.fail_after(3), pytest.raises(AuthFailed) as caught:
            await client.cancel(emulator.share_ids)
    assert calls == [None, "always-the-same"]
    assert emulator.requests == 1
    assert "always-the-same" not in str(caught.value)


@pytest.mark.parametrize("returned", [None, 5, b"token", "", "a\r\nX-Evil: 1", "tökén", " token"])
async def test_a_provider_that_returns_no_token(koodrive, connect, returned):
    async def provider(stale):
        return returned

    async with connect(koodrive, TokenCredentials(provider, USER)) as client:
        with pytest.raises(AuthFailed) as caught:
            await client.cancel(koodrive.share_ids)
    assert koodrive.requests == 0
    assert "Evil" not in str(caught.value)


async def test_a_waiter_takes_over_when_the_renewing_call_is_cancelled(koodrive, connect):
    calls, reports = [], []

    async def provider(stale):
        calls.append(stale)
        if len(calls) == 1:
            await anyio.sleep_forever()
        return TOKEN

    async with connect(koodrive, TokenCredentials(provider, USER)) as client:

        async def ask(ids, scope):
            with scope:
                reports.append(await client.cancel(ids))

        impatient, patient = anyio.CancelScope(), anyio.CancelScope()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, koodrive.share_ids[:1], impatient)
                await until(lambda: len(calls) == 1)
                tasks.start_soon(ask, koodrive.share_ids[1:2], patient)
                await anyio.wait_all_tasks_blocked()
                impatient.cancel()
    assert len(reports) == 1
    assert reports[0].counts[Status.CANCELLED] == 1
    assert calls == [None, None]


@attrs.define
class Unhashable:
    """A provider that compares by value, as attrs classes do, and so has no hash."""

    calls: int = 0

    async def __call__(self, stale):
        self.calls += 1
        return TOKEN


async def test_any_callable_may_be_a_provider(koodrive, connect):
    provider = Unhashable()
    async with connect(koodrive, TokenCredentials(provider, USER)) as client:
        assert await client.cancel(koodrive.share_ids)
    assert provider.calls == 1


async def test_a_401_that_renewal_cures_does_not_end_the_proof(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.02)
    provider = Provider(emulator)
    async with connect(emulator, TokenCredentials(provider, USER), pace=AT_ONCE) as client:
        await client.cancel(emulator.share_ids[:100])
        emulator.script(unauthorized("APIG.0307"))
        emulator.max_in_flight = 0
        assert await client.cancel(emulator.share_ids[100:])
    assert emulator.max_in_flight > 4
    assert len(provider.stale) == 2
