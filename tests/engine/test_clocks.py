"""Clocks: the server's may be hours off and ours may jump; no date is ever later than the server's."""

import time

import anyio
import pytest

from koodrive_async import ClockCorrected, Pace
from koodrive_async.shell import clock as clock_module
from koodrive_async.testing import Headers, unavailable
from koodrive_async.testing import Status as Answered
from koodrive_async.testing.rules import read_date
from tests.engine.kit import statuses

pytestmark = pytest.mark.usefixtures("leaks")


def dates_are_right(emulator):
    """Every date that was accepted lies within the window, and none later than the server's time."""
    for seen in emulator.log:
        if seen.date is not None and seen.status == 200:
            assert seen.at - 900 <= read_date(seen.date) <= seen.at


def none_is_later(seen_requests):
    assert all(read_date(seen.date) <= seen.at for seen in seen_requests)


@pytest.mark.parametrize("hours", [-14, -0.3, 0.3, 14])
async def test_a_clock_that_is_hours_off(make_koodrive, connect, credentials, hours):
    emulator = make_koodrive(shares=3_000, clock_offset=hours * 3600)
    corrected = []
    hooks = [lambda event: corrected.append(event) if isinstance(event, ClockCorrected) else None]
    async with connect(emulator, credentials, hooks=hooks) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 3_000}
    assert emulator.requests <= 30 + 3
    dates_are_right(emulator)
    none_is_later(list(emulator.log)[3:])
    assert abs(corrected[0].seconds - hours * 3600) < 15


@pytest.mark.parametrize("hours", [-14, 14])
async def test_with_a_hundred_in_parallel(make_koodrive, connect, by_app, hours):
    emulator = make_koodrive(shares=20_000, latency=0.02)
    async with connect(emulator, by_app, pace=Pace(concurrency=100, adaptive=False)) as client:
        assert await client.cancel(emulator.share_ids[:100])
        emulator.clock_offset = hours * 3600  # it jumps while a hundred are on their way
        report = await client.cancel(emulator.share_ids[100:])
    assert statuses(report) == {"cancelled": 19_900}
    assert emulator.requests <= 200 + 100 + 10  # each of those under way again, once
    dates_are_right(emulator)


@pytest.mark.parametrize("jump", [-14 * 3600, -1200, 1200, 14 * 3600])
async def test_our_own_clock_jumps_in_mid_run(make_koodrive, connect, by_app, monkeypatch, jump):
    class Jumping:
        shift = 0.0
        monotonic = staticmethod(time.monotonic)

        def time(self):
            return time.time() + self.shift

    jumping = Jumping()
    monkeypatch.setattr(clock_module, "time", jumping)
    emulator = make_koodrive(shares=4_000, latency=0.002)
    async with (
        connect(emulator, by_app, pace=Pace(concurrency=4)) as client,
        client.open_cancel(emulator.share_ids) as stream,
    ):
        taken = 0
        async for _ in stream:
            taken += 1
            if taken == 1_000:
                jumping.shift = jump
    assert statuses(stream.report) == {"cancelled": 4_000}
    assert emulator.requests == 40
    none_is_later(emulator.log)


async def test_with_a_clock_that_is_well_no_date_is_ever_late_or_early(make_koodrive, connect, by_app):
    """Across the change of a second, where rounding up would be noticed."""
    emulator = make_koodrive(shares=100, latency=0.0)
    async with connect(emulator, by_app) as client:
        for _ in range(60):
            await client.cancel(emulator.share_ids[:1])
            await anyio.sleep(0.02)
    none_is_later(emulator.log)
    assert emulator.requests == 60


async def test_a_server_clock_without_a_date_header(make_koodrive, connect, by_app):
    emulator = make_koodrive(shares=500, clock_offset=-7_200)
    emulator.inject(lambda _seen: Headers({"date": None}))
    async with connect(emulator, by_app) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 500}  # the refusal's own text says what time it is
    assert emulator.requests <= 8


GMT = "%a, %d %b %Y %H:%M:%S GMT"

WRONG_DATES = {
    "constant": lambda seen: 1_725_852_805.0,
    "an hour ahead": lambda seen: seen.at + 3600,
    "an hour behind": lambda seen: seen.at - 3600,
    "another zone": lambda seen: seen.at + 8 * 3600,
    "jumping": lambda seen: seen.at + 4_000 * (seen.number % 5 - 2),
    "one of eight nodes is 20 minutes ahead": lambda seen: seen.at + 1200 * (seen.number % 8 == 3),
}


@pytest.mark.parametrize("date", WRONG_DATES)
async def test_a_date_header_that_is_wrong_harms_nobody(make_koodrive, connect, by_app, date):
    """Our clock and the service's check are right."""
    emulator = make_koodrive(shares=3_000)

    def lie(seen):
        return Headers({"date": time.strftime(GMT, time.gmtime(WRONG_DATES[date](seen)))})

    emulator.inject(lie)
    corrected = []
    hooks = [lambda event: corrected.append(event) if isinstance(event, ClockCorrected) else None]
    async with connect(emulator, by_app, hooks=hooks) as client:
        assert await client.cancel(emulator.share_ids)
    assert emulator.statuses[401] == 0
    assert corrected == []
    dates_are_right(emulator)


async def test_wrong_dates_before_the_first_success_end_nothing(make_koodrive, connect, by_app):
    """Unavailable at first, each time with the same wrong date, which is believed and then given up."""
    emulator = make_koodrive(shares=500)

    def lie(seen):
        wrong = {"date": time.strftime(GMT, time.gmtime(seen.at + 3600))}
        return Answered(503, unavailable().body, wrong) if seen.number <= 4 else Headers(wrong)

    emulator.inject(lie)
    async with connect(emulator, by_app) as client:
        assert await client.cancel(emulator.share_ids)
    assert emulator.statuses[401] <= 2
