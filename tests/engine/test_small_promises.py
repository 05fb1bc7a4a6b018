"""Smaller things that were seen not to hold: a journal that is gone, warnings, clocks, async callbacks."""

import functools
import logging

import anyio
import pytest

from koodrive_async import (
    AsyncShareClient,
    ConfigurationError,
    Ended,
    Journal,
    JournalFailed,
    Pace,
    Status,
    UsageError,
)
from koodrive_async.testing import Rewrite, rewrites
from tests.engine.kit import always, honest, statuses

pytestmark = pytest.mark.usefixtures("leaks")


# -- a journal that is removed in mid-run ---------------------------------------------------------


def removed(path):
    path.unlink()


def renamed(path):
    path.rename(path.with_name("elsewhere"))


def replaced(path):
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(b"")


def log_removed(path):
    path.with_name(path.name + "-wal").unlink()


@pytest.mark.parametrize("gone", [removed, renamed, replaced, log_removed])
async def test_a_journal_that_is_gone_in_mid_run_is_noticed(make_koodrive, connect, tmp_path, gone):
    emulator = make_koodrive(shares=5_000, latency=0.005)
    path = tmp_path / "journal"

    def act(progress):
        if progress.settled >= 500 and not acted:
            acted.append(progress)
            gone(path)

    acted = []
    async with connect(emulator, pace=Pace(concurrency=2)) as client:
        with pytest.raises(JournalFailed, match="removed or replaced while it was in use") as caught:
            await client.cancel(emulator.share_ids, journal=Journal(path), on_progress=act)
    report = caught.value.report
    assert report.ended is Ended.FAILED
    assert report.counts[Status.CANCELLED] == emulator.cancelled_count < 5_000
    assert report.counts[Status.NOT_SENT] > 0
    assert report.unjournaled > 0
    honest(report.outcomes, emulator.share_ids, emulator)


# -- said once, and once only ---------------------------------------------------------------------


async def test_what_is_odd_is_mentioned_once_for_each_client(make_koodrive, connect, caplog):
    emulator = make_koodrive(shares=400)
    emulator.inject(always(Rewrite(rewrites.with_foreign)))
    async with connect(emulator) as client:
        for first in range(0, 200, 50):
            await client.cancel(emulator.share_ids[first : first + 50])
        await client.with_options().cancel(emulator.share_ids[200:250])
    async with connect(emulator) as client:
        await client.cancel(emulator.share_ids[250:])
    said = [record for record in caplog.records if "not asked for" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING] * 2


# -- callbacks that nobody would await ------------------------------------------------------------


class Called:
    async def __call__(self, _event):
        """Never run."""


class Streaming:
    async def __call__(self, _event):
        yield


async def an_async_function(_event):
    """Never run."""


ASYNC = [Called(), Streaming(), an_async_function, functools.partial(an_async_function), Called().__call__]


@pytest.mark.parametrize("callback", ASYNC, ids=[type(c).__name__ for c in ASYNC])
async def test_an_async_callback_is_refused(koodrive, connect, by_token, callback):
    with pytest.raises(ConfigurationError, match="hooks must be plain functions"):
        AsyncShareClient(koodrive.url, by_token, hooks=[callback])
    async with connect(koodrive) as client:
        with pytest.raises(ConfigurationError, match="on_progress must be plain"):
            await client.cancel(koodrive.share_ids, on_progress=callback)
        with pytest.raises(ConfigurationError, match="on_progress must be plain"):
            client.open_cancel(koodrive.share_ids, on_progress=callback)
        with pytest.raises(UsageError, match="on_progress must be plain"):
            await client.wait_for_share_task("1", "2", on_progress=callback)
        with pytest.raises(UsageError, match="where must be a plain function"):
            client.find_shares(where=callback)
    assert koodrive.requests == 0


async def test_a_filter_that_returns_an_awaitable_matches_nothing(koodrive, connect):
    """A coroutine is true, so it would be every share."""

    async def decide(_share):
        return False

    async with connect(koodrive) as client:
        with pytest.raises(UsageError, match="where must be a plain function"):
            await client.cancel(client.find_shares(where=lambda share: decide(share)))  # noqa: PLW0108 - no async function itself
    assert koodrive.cancelled_count == 0


# -- clocks ---------------------------------------------------------------------------------------


async def test_waits_go_by_the_event_loops_clock(make_koodrive, connect, monkeypatch):
    """With `time.monotonic` frozen, as some test libraries do it, back-offs and pauses still end."""
    import time

    from koodrive_async.testing import throttled, unavailable

    emulator = make_koodrive(shares=300)
    emulator.script(unavailable(), throttled(retry_after=0), unavailable(), throttled())
    clock = real = time.monotonic

    def frozen():
        import sys

        caller = sys._getframe(1).f_globals.get("__name__", "")
        return 1.0 if caller.startswith("koodrive_async.") and ".testing" not in caller else real()

    monkeypatch.setattr(time, "monotonic", frozen)
    assert clock is real
    async with connect(emulator) as client:
        with anyio.fail_after(10):
            report = await client.cancel(emulator.share_ids, deadline=60)
    assert statuses(report) == {"cancelled": 300}
    assert report.elapsed > 0
