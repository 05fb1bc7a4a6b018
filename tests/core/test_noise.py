"""Refusals that are no limit's: what a pacer makes of them, in virtual time."""

from __future__ import annotations

import statistics
from functools import cache

import pytest
from pacing_sim import Telling, TokenBucket, run
from pacing_weathers import WEATHERS, Noisy, measure

from koodrive_async.core import noise
from koodrive_async.core.noise import Noise
from koodrive_async.core.pacing import Pacer, Signal

results = cache(measure)


@pytest.mark.parametrize("name", WEATHERS)
def test_what_is_granted_is_used_whatever_the_weather(name):
    weather = WEATHERS[name]
    assert statistics.median(result.goodput for result in results(name)) >= weather.goodput
    assert statistics.median(result.refusals for result in results(name)) <= weather.refused


def test_a_wait_that_the_service_asks_for_is_kept_by_all_also_where_429s_are_noise():
    asked = 2.0
    result = run(Telling(Noisy(0, 0.01), asked), seconds=60)
    gaps = [b - a for a, b in zip(result.sends, result.sends[1:], strict=False)]
    assert sum(gap >= asked for gap in gaps) == result.closures
    assert result.closures >= 5


def noisy_pacer() -> tuple[Pacer, float]:
    """One that has learnt that a tenth is refused at random, and the time."""
    made, now, number = Pacer(concurrency=8, per_second=None, adaptive=True), 0.0, 0
    while not made._capacity.noise.share or made.closed:
        now += max(0.005, made.admit(now))
        ticket = made.start(now)
        number += 1
        made.finish(now + 0.004, ticket, Signal.THROTTLED if number % 10 == 0 else Signal.SUCCESS)
    return made, now


def test_noise_delays_only_its_own_batch():
    made, now = noisy_pacer()
    delay = made.finish(now + 0.01, made.start(now + 0.005), Signal.THROTTLED)
    assert delay > 0
    assert not made.closed


def test_a_refusal_that_closes_the_gate_delays_everybody_and_nobody_besides():
    made = Pacer(concurrency=8, per_second=None, adaptive=True)
    assert made.finish(0.01, made.start(0.0), Signal.THROTTLED) == 0.0
    assert made.closed


def test_a_wait_that_is_asked_for_closes_the_gate_but_noise_lowers_nothing():
    made, now = noisy_pacer()
    rate = made.rate
    assert made.finish(now + 0.01, made.start(now + 0.005), Signal.THROTTLED, retry_after=3.0) == 0.0
    assert made.closed
    assert made.opens_at == now + 3.01
    made.finish(now + 3.05, made.start(now + 3.02), Signal.SUCCESS)
    assert not made.closed
    assert made.rate == rate


def test_a_limit_by_name_is_no_noise():
    made, now = noisy_pacer()
    made.finish(now + 0.01, made.start(now + 0.005), Signal.THROTTLED, ceiling=20.0)
    assert made.closed
    made.finish(now + 0.3, made.start(now + 0.2), Signal.SUCCESS)
    assert made.rate == pytest.approx(19.4)


def test_more_than_noise_explains_is_a_limit():
    made, now = noisy_pacer()
    count = 0
    while not made.closed:
        now += max(0.005, made.admit(now))
        made.finish(now + 0.004, made.start(now), Signal.THROTTLED)
        count += 1
    assert 3 <= count <= 13


def test_noise_that_ended_is_forgotten():
    made = Noise()
    for start in range(0, 600, 100):
        made.hold(start)
        made.explains(start + 100)
        made.unexpected(start + 100)
    assert made.share == pytest.approx(0.01)
    assert made.explains(650)
    made.hold(1000)
    made.held(1000 + int(noise.SILENT / 0.01) + 1)
    assert not made.share
    assert not made.explains(2000)


def test_a_short_run_with_a_limit_knows_no_noise():
    result = run(TokenBucket(300), seconds=20)
    assert not result.pacer._capacity.noise.share
