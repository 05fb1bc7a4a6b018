"""A cancellation that nobody asked for is the failure of the code that raised it, never a quiet end.

On asyncio such a `CancelledError` comes out of any future that somebody else cancels. Trio delivers
`Cancelled` to a scope only, so there is nothing to raise by hand.
"""

import asyncio

import anyio
import pytest

from koodrive_async import (
    AuthFailed,
    CallEnded,
    Ended,
    Pace,
    RetryPolicy,
    Status,
    TokenCredentials,
    UnexpectedCancellation,
)
from koodrive_async.testing import unauthorized
from tests.conftest import USER
from tests.engine.kit import asked, collect, honest, perform, statuses
from tests.support.threaded import until

pytestmark = [
    pytest.mark.usefixtures("leaks"),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]


async def dropped_by_its_pool():
    """What a driver does whose pool gives up a request: the future it awaits is cancelled."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def cancelled_by_hand():
    """A library that cancels the task it runs in, and forgets about it."""
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


WAYS = [dropped_by_its_pool, cancelled_by_hand]


def source_of(ids, way, kind):
    async def generator():
        for share_id in ids:
            yield share_id
        await way()

    class Iterator:
        def __init__(self):
            self.left = iter(ids)

        def __aiter__(self):
            return self

        async def __anext__(self):
            for share_id in self.left:
                return share_id
            return await way()

    def plain():
        yield from ids
        raise asyncio.CancelledError

    return {"generator": generator, "iterator": Iterator, "plain": plain}[kind]()


@pytest.mark.parametrize("kind", ["generator", "iterator", "plain"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [0, 7, 200])
async def test_a_source_of_a_stream(make_koodrive, connect, anyio_backend, kind, way, count):
    emulator = make_koodrive(shares=max(count, 1))
    ids = emulator.share_ids[:count]
    outcomes = []
    async with connect(emulator) as client:
        with pytest.raises(
            UnexpectedCancellation, match=r"source of ids \(.*(generator|Iterator|plain)"
        ) as caught:
            await collect(client.open_cancel(source_of(ids, way, kind)), outcomes)
    report = caught.value.report
    assert (report.complete, report.ended, bool(report)) == (False, Ended.FAILED, False)
    assert report.all_well
    honest(outcomes, ids, emulator)
    assert statuses(report) == ({"cancelled": count} if count else {})


@pytest.mark.parametrize("kind", ["generator", "iterator", "plain"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_source_of_cancel(make_koodrive, connect, anyio_backend, kind, way):
    emulator = make_koodrive(shares=200)
    async with connect(emulator) as client:
        with pytest.raises(UnexpectedCancellation, match="source of ids") as caught:
            await client.cancel(source_of(emulator.share_ids, way, kind))
    report = caught.value.report
    assert (report.complete, report.ended, bool(report)) == (False, Ended.FAILED, False)
    assert statuses(report) == {"not_sent": 200}
    assert {type(outcome.error) for outcome in report.not_sent} == {UnexpectedCancellation}
    assert emulator.requests == 0


def dropping(way, when, *, after=False):
    """A middleware that is cancelled once, before or after it sends."""
    calls = []

    async def middleware(request, send):
        calls.append(request)
        if len(calls) != when:
            return await send(request)
        if after:
            await send(request)
        return await way()

    return middleware


@pytest.mark.parametrize("how", ["cancel", "open_cancel"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after", [False, True], ids=["before it sends", "after it sent"])
async def test_a_middleware_once(make_koodrive, connect, anyio_backend, how, way, after):
    emulator = make_koodrive(shares=10_000, latency=0.001)
    outcomes = []
    async with connect(emulator, middleware=[dropping(way, 20, after=after)]) as client:
        with pytest.raises(UnexpectedCancellation, match=r"a middleware \(dropping.*middleware\)") as caught:
            await perform(client, how, emulator.share_ids, outcomes)
    report = caught.value.report
    assert (report.ended, bool(report)) == (Ended.FAILED, False)
    assert report.counts[Status.UNKNOWN] == (100 if after else 0)
    if how == "cancel":
        outcomes = report.outcomes
        assert report.complete
    honest(outcomes, [outcome.share_id for outcome in outcomes], emulator)
    assert all(outcome.error for outcome in outcomes if not outcome.ok)


async def test_a_middleware_of_a_single_call(koodrive, connect, anyio_backend):
    async with connect(koodrive, middleware=[dropping(dropped_by_its_pool, 1)]) as client:
        with pytest.raises(UnexpectedCancellation, match="a middleware") as caught:
            await client.get_my_share(koodrive.share_ids[0])
        assert caught.value.ambiguous is False
        assert await client.get_my_share(koodrive.share_ids[0])


async def test_a_middlewares_own_time_limit_works(koodrive, connect, anyio_backend):
    """`asyncio.timeout` cancels the task it is in: that is asked for, and must not be taken from it."""
    limited = []

    async def impatient(request, send):
        try:
            async with asyncio.timeout(0 if not limited else None):
                return await send(request)
        except TimeoutError:
            limited.append(request)
            return await send(request)

    async with connect(koodrive, middleware=[impatient]) as client:
        report = await client.cancel(koodrive.share_ids)
    assert report.all_well
    assert len(limited) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_provider(koodrive, connect, anyio_backend, way):
    """Its failure is that of the renewal, as whatever else it raises."""

    async def provider(_stale):
        await way()

    async with connect(koodrive, TokenCredentials(provider, USER)) as client:
        with pytest.raises(AuthFailed, match="token provider was cancelled") as caught:
            await client.cancel(koodrive.share_ids)
    assert statuses(caught.value.report) == {"not_sent": 100}
    assert koodrive.requests == 0


async def test_a_provider_in_mid_job(make_koodrive, connect, anyio_backend):
    emulator = make_koodrive(shares=3_000)
    emulator.inject(lambda seen: unauthorized() if seen.number >= 10 else None)
    given = []

    async def provider(stale):
        given.append(stale)
        if stale is not None:
            await dropped_by_its_pool()
        return "demo-token"

    retry = RetryPolicy(base=0.002, cap=0.01, patience=0.3)  # as long as a provider is asked again
    async with connect(emulator, TokenCredentials(provider, USER), retry=retry) as client:
        with pytest.raises(AuthFailed, match="token provider was cancelled") as caught:
            await client.cancel(emulator.share_ids)
    assert caught.value.report.counts[Status.CANCELLED] == emulator.cancelled_count
    assert sum(caught.value.report.counts.values()) == 3_000


@pytest.mark.parametrize("how", ["hook", "on_progress"])
async def test_a_hook_or_a_callback_does_no_harm(make_koodrive, connect, anyio_backend, caplog, how):
    emulator = make_koodrive(shares=1_000)

    def broken(_):
        raise asyncio.CancelledError

    hooks, progress = ([broken], None) if how == "hook" else ([], broken)
    async with connect(emulator, hooks=hooks) as client:
        report = await client.cancel(emulator.share_ids, on_progress=progress)
    assert report
    assert statuses(report) == {"cancelled": 1_000}
    assert "failed" in caplog.text


async def test_a_log_handler_does_no_harm(koodrive, connect, anyio_backend):
    import logging

    class Broken(logging.Handler):
        def emit(self, record):
            raise asyncio.CancelledError

    handler = Broken()
    log = logging.getLogger("koodrive_async")
    log.addHandler(handler)
    try:
        koodrive.script(unauthorized())  # logged at DEBUG as a failed attempt
        log.setLevel(logging.DEBUG)
        tokens = iter(["stale", "demo-token"])

        async def provider(_stale):
            return next(tokens)

        async with connect(koodrive, TokenCredentials(provider, USER)) as client:
            assert await client.cancel(koodrive.share_ids)
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)


async def test_a_task_of_the_call_that_somebody_cancels_by_its_handle(make_koodrive, connect, anyio_backend):
    """A shutdown that cancels every task it finds, ours too, must not look like a job that is done."""
    emulator = make_koodrive(shares=5_000, latency=0.01)
    async with connect(emulator, pace=Pace(concurrency=2)) as client:  # whose connections are made by then
        mine = asyncio.current_task()
        results = []

        async def run():
            try:
                results.append(await client.cancel(emulator.share_ids))
            except UnexpectedCancellation as error:
                results.append(error.report)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            before = asyncio.all_tasks()
            await until(lambda: emulator.requests >= 20)
            for task in asyncio.all_tasks() - before - {mine}:
                task.cancel()
    came_in = asked(emulator)
    for report in results:
        assert not report
        assert report.ended in (Ended.FAILED, Ended.CANCELLED)
        assert len(report.outcomes) == 5_000
        for outcome in report.outcomes:  # a send that was cut just then is UNKNOWN, came it in or not
            assert outcome.status is not Status.NOT_SENT or not came_in[outcome.share_id]
            assert outcome.status is not Status.CANCELLED or outcome.share_id in emulator.cancelled


async def test_what_was_not_sent_says_why(make_koodrive, connect, anyio_backend):
    emulator = make_koodrive(shares=2_000)

    async def broken(_request, _send):
        raise RuntimeError("a bug")

    async with connect(emulator, middleware=[broken]) as client:
        with pytest.raises(RuntimeError, match="a bug") as caught:
            await client.cancel(emulator.share_ids)
    report = caught.value.report
    assert statuses(report) == {"not_sent": 2_000}
    assert {type(outcome.error) for outcome in report.outcomes} == {CallEnded}
    assert "RuntimeError" in str(report.outcomes[0].error)
