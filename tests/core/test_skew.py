"""What is known of the server's clock: tables, hypothesis, and clocks that are wrong in many ways."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.signing import format_date
from koodrive_async.core.skew import (
    AGREE,
    FIRST_MARGIN,
    MARGIN,
    NOTEWORTHY,
    WINDOW,
    ClockEstimate,
    Stamp,
    refused_for_date,
)
from koodrive_async.core.verdict import parse_http_date
from tests.core.builders import EPOCH, HTTP_DATE

starts = st.floats(1e9, 3e9)  # the server's time when our monotonic clock was at nought
latencies = st.floats(0, 30)

#: A float near 3e9 has steps of half a microsecond.
STEP = 1e-5


def refused(start, off, there=0.0, back=0.0, now=100.0):
    """The estimate after a refusal: our wall clock is `off`, the request takes so long there and back."""
    stamp = ClockEstimate().stamp(wall=start + now + off, monotonic=now)
    received = now + there + back
    date = math.floor(start + now + there)
    return ClockEstimate().refuse(stamp, date, received, wall=start + received + off), received


@given(starts, st.floats(-1e9, 1e9), latencies, latencies, st.floats(0, 1e6), st.floats(-1e9, 1e9))
def test_after_a_refusal_what_is_signed_is_just_behind_the_server(start, off, there, back, later, jump):
    estimate, received = refused(start, off, there, back)
    now = received + later
    signed = estimate.stamp(wall=start + now + jump, monotonic=now).at
    by_date = start + now - signed
    by_wall = abs(signed - (start + received + off - FIRST_MARGIN + later)) < STEP  # the date was refused
    assert by_wall or MARGIN - STEP <= by_date <= back + 1 + MARGIN + STEP
    assert by_wall or not refused_for_date(signed, math.floor(start + now))


@given(starts, st.floats(-5000, 5000), st.floats(0, 5))
def test_a_server_that_refuses_for_the_date_is_believed(server, skew, way):
    """The server's own check, of an `X-Date` in whole seconds, against what its reply says to us."""
    signed = server + skew
    written, now = math.floor(signed), server + way
    if written > now or written < now - WINDOW:
        assert refused_for_date(signed, math.floor(now))
    elif written >= now - WINDOW + NOTEWORTHY + 1:
        assert not refused_for_date(signed, math.floor(now))


@pytest.mark.parametrize(
    ("signed", "refused"),
    [(1, True), (0.999, False), (0, False), (NOTEWORTHY - WINDOW, False), (NOTEWORTHY - WINDOW - 1, True)],
)
def test_where_a_date_begins_to_be_refused(signed, refused):
    assert refused_for_date(EPOCH + signed, EPOCH) is refused


def test_while_nothing_is_learnt_our_own_clock_is_put_back_by_some_seconds():
    assert ClockEstimate().stamp(wall=EPOCH, monotonic=77.0) == (
        EPOCH - FIRST_MARGIN,
        EPOCH - FIRST_MARGIN - 77,
    )


def test_what_was_accepted_runs_on_the_monotonic_clock_and_not_on_a_wall_clock_that_jumps():
    estimate = ClockEstimate().took(Stamp(EPOCH, EPOCH - 100.0))
    assert estimate.stamp(wall=EPOCH, monotonic=110.0).at == EPOCH + 10
    assert estimate.stamp(wall=EPOCH + 20 * 60, monotonic=110.0).at == EPOCH + 10


@given(st.lists(st.floats(0, 3e9), max_size=20))
def test_no_date_outranks_what_was_accepted(dates):
    before = estimate = ClockEstimate().took(Stamp(EPOCH, EPOCH - 100.0))
    for count, date in enumerate(dates):
        estimate = estimate.learn(date, 100.0 + count)
    assert estimate.stamp(wall=0.0, monotonic=500.0) == before.stamp(wall=0.0, monotonic=500.0)


def test_dates_that_agree_are_believed_while_nothing_was_accepted():
    estimate = ClockEstimate()
    for count in range(AGREE):
        assert estimate.ahead is None
        estimate = estimate.learn(EPOCH + count, 100.0 + count + 0.3 * (count % 2))
    assert estimate.ahead == pytest.approx(EPOCH - 100.0 - MARGIN, abs=0.31)


def test_dates_that_do_not_agree_are_not():
    estimate = ClockEstimate()
    for count in range(10):
        estimate = estimate.learn(EPOCH + 10 * (count % 2), 100.0)
    assert estimate.ahead is None


def test_a_wrong_date_that_was_believed_is_given_up_when_it_is_refused():
    """It agrees with the refusal's own date, so the refusal does not look like one for the date."""
    estimate = ClockEstimate()
    for _ in range(AGREE):
        estimate = estimate.learn(EPOCH + 3600, 100.0)
    stamp = estimate.stamp(wall=EPOCH, monotonic=100.0)
    assert stamp.at > EPOCH + 3000
    estimate = estimate.doubt(stamp, 100.0, wall=EPOCH)
    assert estimate.stamp(wall=0.0, monotonic=101.0).at == EPOCH + 1 - FIRST_MARGIN


def test_doubt_changes_nothing_where_the_wall_clock_was_used_or_the_date_was_accepted():
    stamp = ClockEstimate().stamp(wall=EPOCH, monotonic=100.0)
    assert ClockEstimate().doubt(stamp, 100.0, wall=EPOCH) == ClockEstimate()
    accepted = ClockEstimate().took(stamp)
    assert accepted.doubt(stamp, 100.0, wall=EPOCH + 999) == accepted


def test_what_was_signed_before_a_correction_corrects_nothing():
    estimate, now = refused(EPOCH, 3600.0)
    late = Stamp(EPOCH + 3600 + 99, EPOCH + 3600 - 1.0)
    assert estimate.refuse(late, EPOCH + 102, now + 2, wall=EPOCH) == estimate
    assert estimate.doubt(late, now, wall=EPOCH) == estimate


def test_when_everything_was_refused_it_begins_again_with_the_latest_date():
    estimate, now = ClockEstimate(), 100.0
    for jump in (0, 5_000, 10_000, 15_000, 20_000):
        stamp = estimate.stamp(wall=EPOCH, monotonic=now)
        estimate = estimate.refuse(stamp, EPOCH + jump, now, wall=EPOCH)
    stamp = estimate.stamp(wall=EPOCH, monotonic=now)
    again = estimate.refuse(stamp, stamp.at + MARGIN, now, wall=stamp.at + FIRST_MARGIN)
    assert again.stamp(wall=0.0, monotonic=now).at == stamp.at
    assert again.refused == ()


@pytest.mark.parametrize(
    ("offset", "corrected"),
    [(0.0, False), (3.0, False), (-6.0, False), (20.0, True), (-20.0, True), (3600.0, True)],
)
def test_only_a_difference_beyond_the_noise_is_a_correction(offset, corrected):
    before = ClockEstimate()
    after = ClockEstimate(EPOCH + offset - MARGIN - 100.0)
    moved = after.correction(before, wall=EPOCH, monotonic=100.0)
    assert bool(moved) is corrected
    if corrected:
        assert moved == pytest.approx(offset, abs=FIRST_MARGIN + MARGIN)
    assert after.correction(after, wall=0.0, monotonic=500.0) == 0.0


def test_from_a_header_to_a_signing_time():
    stamp = Stamp(0.0, -50.0)
    estimate = ClockEstimate().refuse(stamp, parse_http_date(HTTP_DATE), 50.0, wall=0.0)
    assert format_date(estimate.stamp(wall=0.0, monotonic=52.5).at) == "20240909T033326Z"


@pytest.mark.parametrize(
    ("dates", "now"),
    [
        ((), 5_000.0),
        ((4_900.0,), 5_000.0),
        ((4_898.5,), 5_000.0),
        ((4_902.0,), 5_000.0),
        ((4_910.0,), 5_010.0),
        ((0.0,), 100.0),
        ((4_900.0, 0.0, 4_900.0), 5_000.0),
    ],
)
def test_the_likely_time_is_ours_unless_it_is_known_to_differ(dates, now):
    assert ClockEstimate(dates=dates).likely_time(wall=5_000.0, monotonic=100.0) == now


def test_a_date_that_contradicts_what_was_accepted_is_not_likely():
    estimate = ClockEstimate().took(Stamp(5_000.0, 4_900.0)).learn(8_600.0, 100.0)
    assert estimate.likely_time(wall=5_002.0, monotonic=100.0) == 5_002.0
    assert estimate.likely_time(wall=9.0, monotonic=100.0) == 5_001.0
    assert (
        estimate.learn(5_060.0, 100.0).learn(5_060.0, 100.0).likely_time(wall=9.0, monotonic=100.0) == 5_060.0
    )


# -- clocks that are wrong in many ways -----------------------------------------------------------

RESIGNED = 3
"""How often one call is signed again for its date, free of charge."""


def called(estimate, *, server, wall, date, monotonic, there=0.02):
    """One call as the sender makes it: the estimate afterwards, and how often it was signed again.

    `server`, `wall` and `date` give the time of the service's check, of our clock and of the header.
    """
    for again in range(RESIGNED + 1):
        stamp = estimate.stamp(wall=wall(monotonic), monotonic=monotonic)
        monotonic += there
        now = server(monotonic)
        told = date(monotonic)
        received = monotonic + there
        if now - WINDOW <= math.floor(stamp.at) <= now:
            return estimate.took(stamp).learn(told, received), again
        if refused_for_date(stamp.at, told):
            estimate = estimate.refuse(stamp, told, received, wall=wall(received))
        else:
            estimate = estimate.doubt(stamp, received, wall=wall(received))
        estimate = estimate.learn(told, received)
    raise AssertionError("not within the limit")


def true(monotonic):
    return EPOCH + monotonic


def jumping(seed):
    chance = random.Random(seed)
    return lambda monotonic: EPOCH + monotonic + chance.choice([0, 3600, -7200, 1e6])


def one_of_eight(seed):
    chance = random.Random(seed)
    return lambda monotonic: EPOCH + monotonic + (chance.random() < 1 / 8) * 1200


WRONG_DATES = {
    "right": lambda _: true,
    "constant": lambda _: lambda _: EPOCH,
    "constant, years ago": lambda _: lambda _: EPOCH - 1e8,
    "an hour ahead": lambda _: lambda monotonic: true(monotonic) + 3600,
    "an hour behind": lambda _: lambda monotonic: true(monotonic) - 3600,
    "another zone": lambda _: lambda monotonic: true(monotonic) + 8 * 3600,
    "jumping": jumping,
    "one of eight nodes is 20 minutes ahead": one_of_eight,
}
WALLS = {
    "steady": true,
    "jumps ahead": lambda monotonic: true(monotonic) + (monotonic > 150) * 1200,
    "jumps back": lambda monotonic: true(monotonic) - (monotonic > 150) * 7200,
}


@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("date", WRONG_DATES)
def test_every_call_succeeds_without_being_signed_again_whatever_the_header_says(date, wall):
    header, estimate = WRONG_DATES[date](0), ClockEstimate()
    for count in range(400):
        estimate, again = called(
            estimate, server=true, wall=WALLS[wall], date=header, monotonic=100.0 + count / 4
        )
        assert again == 0


@given(
    off=st.floats(-1e6, 1e6),
    jumps=st.lists(st.tuples(st.floats(100, 200), st.floats(-1e5, 1e5)), max_size=4),
    seed=st.integers(0, 99),
)
def test_where_the_header_is_right_every_clock_may_jump(off, jumps, seed):
    """The service's too, and ours too, at any moments."""
    chance = random.Random(seed)
    ours = [(when, jump, chance.random() < 0.5) for when, jump in jumps]

    def clock(monotonic, wall, off):
        return (
            EPOCH + monotonic + off + sum(j for when, j, whose in ours if monotonic > when and whose is wall)
        )

    def server(monotonic):
        return clock(monotonic, wall=False, off=0.0)

    estimate = ClockEstimate()
    for count in range(110):
        estimate, _ = called(
            estimate,
            server=server,
            wall=lambda monotonic: clock(monotonic, wall=True, off=off),
            date=lambda monotonic: math.floor(server(monotonic)),
            monotonic=100.0 + count,
        )


@given(first=st.integers(1, 10), date=st.sampled_from([3600, -7200, 28_800]))
def test_wrong_dates_before_the_first_success_are_given_up(first, date):
    """429s, say, that all bear the same wrong date; our own clock is right."""
    estimate = ClockEstimate()
    for count in range(first):
        estimate = estimate.learn(true(100 + count) + date, 100.0 + count)
    called(estimate, server=true, wall=true, date=lambda now: true(now) + date, monotonic=120.0)
