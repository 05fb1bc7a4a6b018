"""What no plan foresees: extensions of the user's that raise what they should not. No id is lost over it."""

import asyncio

import anyio
import pytest

from koodrive_async import KooDriveError, Pace, Status, TokenCredentials
from koodrive_async.testing import lost_reply
from tests.conftest import USER
from tests.engine.kit import always, collect, honest

pytestmark = pytest.mark.usefixtures("leaks")


def failing_at(number, error, *, after):
    """A middleware that raises at that request, before or after it was sent."""
    count = 0

    async def middleware(request, send):
        nonlocal count
        count += 1
        if count != number:
            return await send(request)
        if after:
            await send(request)
        raise error

    return middleware


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", [ValueError, KeyError, TimeoutError, RuntimeError])
async def test_a_middleware_that_raises(make_koodrive, connect, kind, after):
    """It is a bug, so it surfaces as itself; what became of the ids is known all the same."""
    error = kind("odd")
    emulator = make_koodrive(shares=2_000)
    middleware = [failing_at(10, error, after=after)]
    async with connect(emulator, middleware=middleware, pace=Pace(concurrency=3)) as client:
        with pytest.raises(kind) as caught:
            await client.cancel(emulator.share_ids)
    assert caught.value is error
    report = error.report
    honest_but_for_doubt(report.outcomes, emulator)
    assert report.counts[Status.CANCELLED] >= 900 - 200
    assert len(report.outcomes) == 2_000


def honest_but_for_doubt(outcomes, emulator):
    """As `honest`; but UNKNOWN may be said of what never left."""
    sure = [outcome for outcome in outcomes if outcome.status is not Status.UNKNOWN]
    honest(sure, [outcome.share_id for outcome in sure], emulator)


async def test_in_a_stream_what_is_owed_comes_first(make_koodrive, connect):
    emulator = make_koodrive(shares=2_000)
    outcomes = []
    async with connect(emulator, middleware=[failing_at(10, ValueError("odd"), after=True)]) as client:
        with pytest.raises(ValueError, match="odd"):
            await collect(client.open_cancel(emulator.share_ids), outcomes)
    honest_but_for_doubt(outcomes, emulator)
    assert len(outcomes) >= 900


async def test_a_middleware_that_hides_a_lost_reply(koodrive, connect):
    """The id may have been cancelled: UNKNOWN, whatever the middleware makes of it."""

    async def hiding(request, send):
        try:
            return await send(request)
        except KooDriveError:
            raise LookupError("something else") from None

    koodrive.inject(always(lost_reply()))
    async with connect(koodrive, middleware=[hiding]) as client:
        with pytest.raises(LookupError) as caught:
            await client.cancel(koodrive.share_ids)
    assert caught.value.report.counts[Status.UNKNOWN] == 100


@pytest.mark.parametrize("how", ["cancel", "cancel_batch"])
async def test_a_provider_whose_own_task_was_cancelled(koodrive, connect, anyio_backend_name, how):
    """Nobody cancelled the call: it must not look cancelled, nor end in silence."""
    if anyio_backend_name == "trio":
        pytest.skip("trio's Cancelled can't be raised by hand")

    async def provider(_stale):
        raise asyncio.CancelledError

    async with connect(koodrive, TokenCredentials(provider, USER)) as client:
        with anyio.fail_after(5), pytest.raises(KooDriveError, match="cancelled"):
            await getattr(client, how)(koodrive.share_ids)
    assert koodrive.requests == 0
