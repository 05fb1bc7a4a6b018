"""The service's clock as the client sees it: a `Date` in whole seconds, through a slow line."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.signing import format_date
from koodrive_async.core.skew import (
    FIRST_MARGIN,
    MARGIN,
    NOTEWORTHY,
    WINDOW,
    ClockEstimate,
    refused_for_date,
)
from koodrive_async.core.verdict import parse_http_date
from tests.core.builders import EPOCH, HTTP_DATE

starts = st.floats(1e9, 3e9)  # the server's time when our monotonic clock was at nought
monotonics = st.floats(0, 1e7)
latencies = st.floats(0, 30)
exchanges = st.lists(st.tuples(st.floats(0, 3600), latencies, latencies), min_size=1, max_size=5)

#: A float near 3e9 has steps of half a microsecond.
STEP = 1e-5


def learnt(start, exchanges):
    """The estimate after replies, each `(pause, way there, way back)`; and when the last one came in."""
    estimate, now = ClockEstimate(), 0.0
    for pause, there, back in exchanges:
        now += pause
        date = math.floor(start + now + there)  # the server writes it when the request has come in
        now += there + back
        estimate = estimate.learn(date, now)
    return estimate, now


@given(starts, exchanges, st.floats(0, 1e6), st.floats(-1e9, 1e9))
def test_what_is_signed_is_never_ahead_of_the_server_whatever_our_own_clock_says(start, line, later, off):
    estimate, received = learnt(start, line)
    now = received + later
    signed = estimate.signing_time(wall=start + now + off, monotonic=now)
    assert signed <= start + now - MARGIN + STEP


@given(starts, exchanges, st.floats(0, 1e6))
def test_nor_is_it_later_than_by_the_way_back_a_second_and_the_margin(start, line, later):
    estimate, received = learnt(start, line)
    now = received + later
    signed = estimate.signing_time(wall=0.0, monotonic=now)
    assert start + now - signed <= line[-1][2] + 1 + MARGIN + STEP


@given(starts, exchanges, st.floats(0, 1e6), st.floats(0, 10))
def test_a_signature_by_a_learnt_clock_is_never_one_that_must_be_refused_for_its_date(
    start, line, later, way
):
    estimate, received = learnt(start, line)
    now = received + later
    signed = estimate.signing_time(wall=0.0, monotonic=now)
    assert not refused_for_date(signed, math.floor(start + now + way))


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
    assert ClockEstimate().signing_time(wall=EPOCH, monotonic=77.0) == EPOCH - FIRST_MARGIN


def test_a_learnt_clock_runs_on_the_monotonic_one_and_not_on_a_wall_clock_that_jumps():
    estimate = ClockEstimate().learn(EPOCH, 100.0)
    assert estimate.signing_time(wall=EPOCH, monotonic=110.0) == EPOCH + 10 - MARGIN
    assert estimate.signing_time(wall=EPOCH + 20 * 60, monotonic=110.0) == EPOCH + 10 - MARGIN


def test_the_last_reply_counts():
    estimate = ClockEstimate().learn(EPOCH, 100.0).learn(EPOCH - 3600, 200.0)
    assert estimate == ClockEstimate().learn(EPOCH - 3600, 200.0)


@pytest.mark.parametrize(
    ("offset", "corrected"),
    [(0.0, False), (3.0, False), (-6.0, False), (20.0, True), (-20.0, True), (3600.0, True)],
)
def test_only_a_difference_beyond_the_noise_is_a_correction(offset, corrected):
    before = ClockEstimate()
    after = before.learn(EPOCH + offset, 100.0)
    moved = after.correction(before, wall=EPOCH, monotonic=100.0)
    assert bool(moved) is corrected
    if corrected:
        assert moved == pytest.approx(offset, abs=FIRST_MARGIN + MARGIN)
    assert after.correction(after, wall=0.0, monotonic=500.0) == 0.0


def test_from_a_header_to_a_signing_time():
    estimate = ClockEstimate().learn(parse_http_date(HTTP_DATE), 50.0)
    assert format_date(estimate.signing_time(wall=0.0, monotonic=52.5)) == "20240909T033326Z"


@pytest.mark.parametrize(
    ("ahead", "now"),
    [
        (None, 5_000.0),
        (4_900.0, 5_000.0),
        (4_898.5, 5_000.0),
        (4_902.0, 5_000.0),
        (4_910.0, 5_010.0),
        (0.0, 100.0),
    ],
)
def test_the_likely_time_is_ours_unless_it_is_known_to_differ(ahead, now):
    assert ClockEstimate(ahead).likely_time(wall=5_000.0, monotonic=100.0) == now
