"""The pacer: tables for its rules, hypothesis for its invariants, virtual time for what it achieves."""

from __future__ import annotations

import math
import statistics
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pacing_sim import (
    Blocking,
    Changing,
    Concurrency,
    Faulty,
    FixedWindow,
    Gcra,
    LeakyQueue,
    Nodes,
    Penalty,
    Service,
    SlidingWindow,
    Telling,
    TokenBucket,
    run,
)

from koodrive_async.core import capacity, pacing, quota
from koodrive_async.core.pacing import Pacer, RetryQuota, Signal, Ticket, backoff

SUCCESS, THROTTLED, FAILED, NEUTRAL = Signal.SUCCESS, Signal.THROTTLED, Signal.FAILED, Signal.NEUTRAL


def pacer(*, concurrency=16, per_second=None, adaptive=True, proven=True) -> Pacer:
    """At time 0, after one success if `proven`."""
    made = Pacer(concurrency=concurrency, per_second=per_second, adaptive=adaptive)
    if proven:
        made.finish(0.0, made.start(-0.03), SUCCESS)
    return made


def warm(made: Pacer, until: float = 10.0, count: int = 1000) -> float:
    """Let `made` have `count` successes, one at a time; the time afterwards."""
    for i in range(count):
        now = until * i / count
        made.finish(now + 0.005, made.start(now), SUCCESS)
    return until


def start_all(made: Pacer, now: float) -> list[Ticket]:
    tickets = []
    while made.admit(now) == 0.0:
        tickets.append(made.start(now))
    return tickets


# --- the start


def test_unproven_credentials_go_one_at_a_time():
    made = pacer(proven=False)
    assert not made.proven
    assert made.limit == 1
    (ticket,) = start_all(made, 0.0)
    assert made.admit(1.0) == math.inf
    made.finish(1.0, ticket, NEUTRAL)
    assert not made.proven
    (ticket,) = start_all(made, 1.0)
    made.finish(2.0, ticket, SUCCESS)
    assert made.proven
    assert made.limit == 2


def test_unprove_goes_back_to_one_at_a_time_until_a_success():
    made = pacer(adaptive=False)
    first, second, *_ = start_all(made, 0.0)
    made.unprove()
    assert not made.proven
    assert made.limit == 1
    made.finish(1.0, first, NEUTRAL)
    assert made.admit(1.0) == math.inf
    made.finish(1.0, second, SUCCESS)
    assert made.limit == 16


def trips(made: Pacer, now: float, count: int) -> list[int]:
    """Keep `made` busy for some round trips: how many were in flight in each."""
    sizes = []
    tickets = start_all(made, now)
    for _ in range(count):
        sizes.append(len(tickets))
        now += 1.0
        following = []
        for ticket in tickets:
            made.finish(now, ticket, SUCCESS)
            following += start_all(made, now)
        tickets = following
    return sizes


def test_the_number_in_flight_doubles_per_round_trip():
    assert trips(pacer(concurrency=20), 0.0, 6) == [2, 4, 8, 16, 20, 20]


def test_the_number_does_not_grow_where_it_does_not_limit():
    made = pacer()
    warm(made)
    assert made.limit <= 4


def test_a_fixed_number_is_there_at_once():
    assert pacer(adaptive=False).limit == 16


# --- closing and opening


@pytest.mark.parametrize(
    ("adaptive", "retry_after", "pause"),
    [(True, None, 0.05), (True, 0.0, 0.05), (True, 2.0, 2.0), (False, None, 0.25), (False, 3.5, 3.5)],
)
def test_a_refusal_closes_the_gate(adaptive, retry_after, pause):
    made = pacer(adaptive=adaptive)
    first, second = start_all(made, 0.0)[:2]
    made.finish(1.0, first, THROTTLED, retry_after=retry_after)
    assert made.closed
    assert made.opens_at == 1.0 + pause
    assert made.admit(1.0) == pytest.approx(pause)
    assert made.stalled(1.5) == 0.5
    made.finish(1.0 + pause / 2, second, SUCCESS)  # was sent before: proves nothing
    assert made.closed
    assert made.admit(1.0 + pause) == 0.0
    probe = made.start(1.0 + pause)
    assert probe.probe
    assert made.admit(9.0) == math.inf
    made.finish(9.0, probe, SUCCESS)
    assert not made.closed
    assert made.stalled(10.0) == 0.0


@pytest.mark.parametrize(
    ("signal", "pauses"),
    [
        (THROTTLED, [0.05, 0.075, 0.1125, 0.16875]),
        (FAILED, [0.05, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]),
        (NEUTRAL, [0.05, 0.0, 0.0]),
    ],
)
def test_the_pause_grows_with_every_probe_that_does_not_succeed(signal, pauses):
    made = pacer()
    now = 1.0
    made.finish(now, made.start(0.5), THROTTLED)
    for pause in pauses:
        wait = made.admit(now)
        assert wait == pytest.approx(pause)
        now += wait + 1e-9
        made.finish(now, made.start(now), signal)
    assert made.stalled(now) == pytest.approx(now - 1.0)


def test_retry_after_counts_for_probes_and_stragglers_and_is_never_shortened():
    made = pacer(adaptive=False)
    first, second, third = start_all(made, 0.0)[:3]
    made.finish(1.0, first, THROTTLED, retry_after=5.0)
    made.finish(1.1, second, THROTTLED)
    assert made.opens_at == 6.0
    made.finish(2.0, third, THROTTLED, retry_after=10.0)
    assert made.opens_at == 12.0
    made.finish(12.5, made.start(12.0), THROTTLED, retry_after=1e9)
    assert made.opens_at == 1e9 + 12.5
    assert math.isfinite(made.admit(13.0))


def test_a_straggler_closes_an_open_gate_only_for_its_retry_after():
    made = pacer(adaptive=False)
    first, second, third = start_all(made, 0.0)[:3]
    made.finish(1.0, first, THROTTLED)
    made.finish(1.5, made.start(1.4), SUCCESS)
    made.finish(2.0, second, THROTTLED)
    assert not made.closed
    made.finish(2.1, third, THROTTLED, retry_after=3.0)
    assert made.closed
    assert made.opens_at == 5.1


def test_an_extra_request_is_not_a_second_probe():
    """The gate counts an id refused for load as a request of its own that was refused."""
    made = pacer()
    made.finish(1.0, made.start(0.5), THROTTLED)
    probe = made.start(1.1)
    extra = made.start(1.1)
    assert probe.probe
    assert not extra.probe
    made.finish(1.1, extra, THROTTLED)
    made.finish(1.2, probe, SUCCESS)
    assert not made.closed


def test_a_refusal_in_no_time_at_all():
    made = pacer()
    made.finish(1.0, made.start(1.0), THROTTLED)
    made.finish(1.0, made.start(1.0), SUCCESS)
    made.finish(1.0, made.start(1.0), THROTTLED)
    made.finish(1.0, made.start(1.0), THROTTLED)
    made.finish(1.0, made.start(1.0), SUCCESS)
    assert made.rate is None or made.rate > 0


def test_a_refusal_before_any_success_teaches_nothing():
    made = pacer(proven=False)
    made.finish(0.1, made.start(0.0), THROTTLED)
    made.finish(0.3, made.start(0.2), SUCCESS)
    assert made.rate is None
    assert made.limit == 2


# --- what is learnt


def refuse(made: Pacer, now: float, **said) -> float:
    """One refusal, the pause, a successful probe; the time afterwards."""
    made.finish(now + 0.01, made.start(now), THROTTLED, **said)
    now = made.opens_at
    made.finish(now + 0.01, made.start(now), SUCCESS)
    return now + 0.01


def test_one_closure_lowers_the_rate_once():
    made = pacer()
    now = refuse(made, warm(made))
    before = made.rate
    assert before is not None
    tickets = []
    for _ in range(5):
        now += made.admit(now)
        tickets.append(made.start(now))
    for ticket in tickets:
        made.finish(now + 0.01, ticket, THROTTLED)
    assert made.rate == before
    now = made.opens_at
    made.finish(now, made.start(now), SUCCESS)
    after = made.rate
    assert after is not None
    assert after < before


@pytest.mark.parametrize(
    ("ceiling", "rate"), [(20.0, 19.4), (600 / 60, 9.7), (1e-9, capacity.FLOOR), (0.0, None), (-5.0, None)]
)
def test_the_gateways_text_is_taken_at_its_word(ceiling, rate):
    made = pacer()
    refuse(made, warm(made), ceiling=ceiling)
    if rate is None:
        assert made.rate is not None
        assert made.rate > 50
    else:
        assert made.rate == pytest.approx(rate)


def test_the_gateways_text_is_a_ceiling_for_later_growth():
    result = run(Telling(TokenBucket(100, 20), ceiling=50.0), seconds=30)
    assert result.pacer.rate is not None
    assert result.pacer.rate <= 48.5


def test_nothing_is_learnt_where_nothing_shall_be():
    made = pacer(adaptive=False)
    refuse(made, warm(made), ceiling=20.0)
    assert made.rate is None
    assert made.limit == 16


def test_a_ceiling_is_held_then_climbs_ever_faster_but_only_while_it_limits():
    ceiling = capacity.Ceiling()
    ceiling.lower(100.0, hold=0.0)
    now, values = 0.0, []
    for _ in range(100):
        ceiling.bound(now)
        now += 0.1
        ceiling.climb(now)
        values.append(ceiling.value)
    assert values[18] == 100.0
    assert not math.isclose(values[-1], 100.0)
    steps = [b / a for a, b in pairwise(values)]
    assert steps[20:] == sorted(steps[20:])
    assert values[75] > 500
    assert not ceiling.climb(now + 1000.0)
    ceiling.bound(now)
    top = ceiling.value
    ceiling.climb(now + 1e6)  # idleness counts as `STEP` seconds
    assert ceiling.value < 100 * top


def test_refusals_that_agree_lengthen_the_hold():
    ceiling = capacity.Ceiling()
    holds = []
    for value in (100, 99, 101, 98, 97, 50, 49):
        ceiling.lower(value, hold=0.0)
        holds.append(ceiling._hold)
    assert holds == [2.0, 4.0, 6.0, 6.0, 6.0, 2.0, 4.0]
    ceiling.lower(49, hold=25.0)
    assert ceiling._hold == 25.0
    ceiling.lower(49, hold=1e9)
    assert ceiling._hold == capacity.CARE_CAP


def test_many_deliveries_are_kept_in_little_memory():
    made = pacer()
    refuse(made, warm(made, until=1.0, count=6000))
    assert made.rate is not None
    assert made._capacity._times.maxlen == 4096


# --- outages


def fail(made: Pacer, batches, now: float = 1.0) -> list[bool]:
    closed = []
    for batch in batches:
        made.finish(now, made.start(now), FAILED, batch=batch)
        closed.append(made.closed)
    return closed


@pytest.mark.parametrize(
    ("proven", "batches", "closed_at"),
    [
        (True, range(12), 10),
        (True, ["a", "b", "c"] * 4, 10),
        (True, ["a", "b"] * 20, None),
        (True, [None] * 40, None),
        (True, ["a"] * 10 + ["b", "c"], 12),
        (False, range(6), 5),
        (False, ["a"] * 40, None),
    ],
)
def test_an_outage_is_many_failures_in_a_row_over_several_batches(proven, batches, closed_at):
    closed = fail(pacer(proven=proven), batches)
    assert (closed.index(True) + 1 if any(closed) else None) == closed_at


def test_a_success_between_is_no_outage():
    made = pacer()
    for _ in range(5):
        assert not any(fail(made, range(9)))
        made.finish(1.0, made.start(1.0), SUCCESS)


def test_after_an_outage_the_start_is_slow_again():
    made = pacer(adaptive=False)
    fail(made, range(10))
    assert made.closed
    assert made.rate is None
    now = made.opens_at
    assert now == 1.5
    made.finish(now, made.start(now), SUCCESS)
    assert trips(made, now, 5) == [2, 4, 8, 16, 16]


def test_any_success_ends_an_outage():
    made = pacer(adaptive=False)
    early = made.start(0.0)
    fail(made, range(10))
    assert made.closed
    made.finish(1.1, early, SUCCESS)
    assert not made.closed


def test_failures_while_closed_change_nothing_but_by_a_probe():
    made = pacer(adaptive=False)
    others = start_all(made, 0.0)
    made.finish(1.0, others[0], THROTTLED)
    for ticket in others[1:]:
        made.finish(1.0, ticket, FAILED, batch=ticket.number)
    assert made.opens_at == 1.25


# --- the sender's own limits


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("per_second", [1, 5, 50, 300])
def test_per_second_is_never_exceeded_and_nearly_reached(per_second, adaptive):
    result = run(Service(), seconds=20, per_second=per_second, adaptive=adaptive, late=0.005)
    sends = result.sends
    assert all(b - a > 1.0 for a, b in zip(sends, sends[per_second:], strict=False))
    assert len(sends) >= 0.95 * 20 * per_second - 1
    assert sum(when < 0.1 for when in sends) <= 0.1 * per_second + 1  # no burst at the start


@pytest.mark.parametrize("per_second", [0.25, 2.5])
def test_a_fraction_per_second_holds_on_average(per_second):
    sends = run(Service(), seconds=40, per_second=per_second).sends
    assert 0.9 * 40 * per_second <= len(sends) <= 40 * per_second + 1


def test_a_paused_rate_is_not_made_up_for():
    made = pacer(per_second=100, adaptive=False)
    for now in (1.0, 5.0):
        assert made.admit(now) == 0.0
        made.start(now)
        assert made.admit(now) == pytest.approx(0.0102)


def test_a_late_timer_is_made_up_for():
    made = pacer(per_second=100, adaptive=False)
    made.start(1.0)
    assert made.admit(1.025) == 0.0  # 15 ms late
    made.start(1.025)
    assert made.admit(1.025) == 0.0
    made.start(1.025)
    assert made.admit(1.025) > 0.005


def test_a_learnt_rate_spaces_the_sends():
    result = run(TokenBucket(300), requests=2700)
    sends = [when for when in result.sends if when > 3.0]
    assert max(b - a for a, b in pairwise(sends)) < 0.15  # pauses included
    in_10_ms = max(sum(a <= b < a + 0.01 for b in sends[i : i + 50]) for i, a in enumerate(sends))
    assert in_10_ms <= 6


# --- invariants


class Machine(RuleBasedStateMachine):
    """Any order of events: what must hold whatever happens."""

    @initialize(
        concurrency=st.integers(1, 5),
        per_second=st.sampled_from([None, 0.5, 1, 3, 40]),
        adaptive=st.booleans(),
    )
    def begin(self, concurrency, per_second, adaptive):
        self.concurrency, self.per_second = concurrency, per_second
        self.pacer = Pacer(concurrency=concurrency, per_second=per_second, adaptive=adaptive)
        self.now = 100.0
        self.out: list[Ticket] = []
        self.sends: list[float] = []
        self.retry_after = -math.inf

    @rule(seconds=st.sampled_from([0.0, 1e-7, 0.001, 0.03, 0.5, 3.0, 100.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def wait_as_told(self):
        wait = self.pacer.admit(self.now)
        if math.isfinite(wait):
            self.now += wait

    @rule()
    def send(self):
        if self.pacer.admit(self.now) > 0:
            return
        closed = self.pacer.closed
        if closed:
            assert not any(ticket.probe for ticket in self.out)
            assert self.now >= self.retry_after
        ticket = self.pacer.start(self.now)
        assert ticket.probe == closed
        self.out.append(ticket)
        self.sends.append(self.now)

    @precondition(lambda self: self.out)
    @rule(
        data=st.data(),
        signal=st.sampled_from(Signal),
        batch=st.integers(0, 4),
        retry_after=st.sampled_from([None, 0.0, 1.0, 30.0]),
        ceiling=st.sampled_from([None, None, 0.0, 2.0, 20.0]),
    )
    def end(self, data, signal, batch, retry_after, ceiling):
        ticket = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        rate, closed = self.pacer.rate, self.pacer.closed
        self.pacer.finish(self.now, ticket, signal, batch=batch, retry_after=retry_after, ceiling=ceiling)
        if signal is THROTTLED and self.pacer.closed:
            self.retry_after = max(self.retry_after, self.now + (retry_after or 0.0))
        if closed and not self.pacer.closed:
            assert signal is SUCCESS
            self.retry_after = -math.inf
        if not closed and signal is not SUCCESS:  # a ceiling is lowered when the gate opens, once per closure
            assert self.pacer.rate == rate

    @rule()
    def unprove(self):
        self.pacer.unprove()
        assert self.pacer.limit == 1

    @invariant()
    def holds(self):
        if not hasattr(self, "pacer"):
            return
        made = self.pacer
        assert made.in_flight == len(self.out) <= self.concurrency
        assert 1 <= made.limit <= self.concurrency
        assert made.rate is None or made.rate > 0
        assert (made.stalled(self.now) > 0) <= made.closed
        wait = made.admit(self.now)
        assert wait == made.admit(self.now) >= 0
        if not self.out:
            assert wait < math.inf
        if self.per_second is not None:
            most = max(1, int(self.per_second))
            span = most / self.per_second
            assert all(b - a >= span for a, b in zip(self.sends, self.sends[most:], strict=False))


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rate=st.floats(5, 200),
    concurrency=st.integers(1, 32),
    share=st.floats(0, 0.6),
    retry_after=st.sampled_from([None, 0.0, 0.3]),
)
def test_every_job_comes_to_its_end(seed, rate, concurrency, share, retry_after):
    class Weather(TokenBucket):
        faults = Faulty(seed, share=share)

        def arrive(self, now):
            answer = super().arrive(now)
            return answer if answer.signal is THROTTLED else self.faults.arrive(now)

    service = Telling(Weather(rate), retry_after=retry_after)
    result = run(service, requests=100, concurrency=concurrency, seed=seed)
    assert result.done == 100
    assert result.pacer.in_flight == 0


# --- what it achieves, in virtual time

KINDS = {
    # a service, how it is asked; the least goodput and the most refusals, medians of the seeds
    "token bucket, 300/s, 64 at a time": (lambda _: TokenBucket(300), {"requests": 2700}, 0.92, 0.02),
    "token bucket, 300/s, 16 at a time": (
        lambda _: TokenBucket(300),
        {"requests": 2700, "concurrency": 16},
        0.92,
        0.02,
    ),
    "token bucket, 300/s, large burst": (lambda _: TokenBucket(300, 300), {"requests": 2700}, 0.95, 0.03),
    "token bucket, 300/s, jittery network": (
        lambda _: TokenBucket(300),
        {"requests": 2700, "spread": 0.8, "late": 0.008},
        0.92,
        0.02,
    ),
    "token bucket, 20/s": (lambda _: TokenBucket(20, 5), {"seconds": 60}, 0.95, 0.04),
    "token bucket, 300/s, Retry-After 1": (
        lambda _: Telling(TokenBucket(300), 1.0),
        {"seconds": 30},
        0.84,
        0.01,
    ),
    "token bucket, 300/s, gateway text": (
        lambda _: Telling(TokenBucket(300), None, 300.0),
        {"requests": 2700},
        0.94,
        0.02,
    ),
    "fixed window, 300 a second": (lambda _: FixedWindow(300), {"seconds": 15}, 0.92, 0.03),
    "fixed window, 600 a minute": (lambda _: FixedWindow(600, 60), {"seconds": 300}, 0.9, 0.05),
    "fixed window, 600 a minute, text": (
        lambda _: Telling(FixedWindow(600, 60), None, 10.0),
        {"seconds": 300},
        0.9,
        0.05,
    ),
    "fixed window, 600 a minute, Retry-After": (
        lambda _: Telling(FixedWindow(600, 60), lambda now: 60 - (now + 18) % 60),
        {"seconds": 300},
        0.9,
        0.05,
    ),
    "sliding window, 100 a second": (lambda _: SlidingWindow(100), {"seconds": 30}, 0.9, 0.03),
    "GCRA, 300/s": (lambda _: Gcra(300), {"seconds": 20}, 0.9, 0.01),
    "concurrency, 20": (lambda _: Concurrency(20), {"requests": 2700}, 0.95, 0.02),
    "concurrency, 8, erratic": (
        lambda _: Concurrency(8, 0.1),
        {"seconds": 60, "latency": 0.1, "erratic": True},
        0.75,
        0.02,
    ),
    "leaky queue, 300/s": (lambda _: LeakyQueue(300), {"requests": 2700}, 0.94, 0.02),
    "rises eightfold": (
        lambda _: Changing(TokenBucket(20), TokenBucket(160), 20),
        {"seconds": 80},
        0.85,
        0.02,
    ),
    "falls to an eighth": (
        lambda _: Changing(TokenBucket(320), TokenBucket(40), 10),
        {"seconds": 60},
        0.93,
        0.03,
    ),
    "concurrency rises eightfold": (
        lambda _: Changing(Concurrency(2), Concurrency(16), 8),
        {"seconds": 35},
        0.85,
        0.02,
    ),
    "three nodes, 100/s each": (
        lambda seed: Nodes([TokenBucket(100, 20) for _ in range(3)], seed),
        {"seconds": 20},
        0.85,
        0.02,
    ),
    "penalty for excess": (lambda _: Penalty(300), {"seconds": 30}, 0.85, 0.02),
    "blocks for a second": (lambda _: Blocking(100), {"seconds": 60}, 0.6, 0.02),
}
SEEDS = 3


@cache
def results(kind):
    make, how, _, _ = KINDS[kind]
    return [run(make(seed), seed=seed, **how) for seed in range(SEEDS)]


@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_many_kinds_are_found_and_kept(kind):
    _, _, goodput, refusals = KINDS[kind]
    assert statistics.median(result.goodput for result in results(kind)) >= goodput
    assert statistics.median(result.refusals for result in results(kind)) <= refusals


def test_over_all_kinds_nine_tenths_are_used_and_hardly_anything_is_refused():
    medians = [statistics.median(result.goodput for result in results(kind)) for kind in KINDS]
    assert statistics.median(medians) >= 0.93
    refusals = [statistics.median(result.refusals for result in results(kind)) for kind in KINDS]
    assert statistics.median(refusals) <= 0.02
    assert max(refusals) <= 0.05


@pytest.mark.parametrize("concurrency", [16, 64])
def test_a_short_run_at_300_per_second(concurrency):
    runs = [run(TokenBucket(300), requests=2700, concurrency=concurrency, seed=seed) for seed in range(7)]
    assert statistics.median(result.goodput for result in runs) >= 0.93
    assert min(result.goodput for result in runs) >= 0.9
    assert statistics.median(result.late for result in runs) >= 0.97
    assert min(result.late for result in runs) >= 0.95
    assert max(result.refusals for result in runs) <= 0.02


def test_no_limit_means_full_speed():
    result = run(Service(), requests=2700, concurrency=64)
    assert result.elapsed < 1.15 * 2700 * 0.03 / 64 + 0.25
    assert result.pacer.rate is None


@pytest.mark.parametrize("down", [0.0, 0.2])
@pytest.mark.parametrize("concurrency", [4, 16])
def test_an_outage_of_a_minute_costs_few_requests_and_little_time(down, concurrency):
    for seed in range(5):
        service = Faulty(seed, down=down, up=down + 60)
        result = run(service, requests=600, concurrency=concurrency, seed=seed)
        assert result.done == 600
        assert result.failed <= 0.1 * 600 + 10
        assert result.failed <= 40
        assert result.elapsed < down + 60 + 5 + 1.2 * 600 * 0.03 / concurrency + 1
        assert result.attempts <= 5
        assert 55 < result.stalled < 66


@pytest.mark.parametrize("concurrency", [4, 16, 64])
def test_random_failures_are_no_outage(concurrency):
    runs = [
        run(Faulty(seed, share=0.3), requests=600, concurrency=concurrency, seed=seed) for seed in range(10)
    ]
    assert sum(result.closures for result in runs) <= 2
    assert statistics.mean(len(result.sends) for result in runs) < 1.5 * 600
    assert all(result.done == 600 for result in runs)


def test_a_lone_batch_is_never_taken_for_an_outage():
    result = run(Faulty(0, down=0.0, up=60.0), requests=1)
    assert result.done == 1
    assert result.closures == 0


# --- the quota and the back-off


def test_the_quota_pays_for_retries_until_it_is_empty():
    made = RetryQuota(capacity=30, retry_cost=14)
    assert [made.take(0.0), made.take(0.0)] == [0.0, 0.0]
    wait = made.take(0.0)
    assert wait == pytest.approx(12 / 14 / RetryQuota.TRICKLE)
    assert made.tokens == 2.0
    assert made.take(wait) == 0.0


def test_successes_fill_the_quota_up_to_its_capacity():
    made = RetryQuota()
    made.take(0.0)
    made.give(retried=False)
    assert made.tokens == 500 - 14 + 4
    made.give(retried=True)
    assert made.tokens == 500


def test_a_quota_smaller_than_one_retry_still_grants_one():
    assert RetryQuota(capacity=1, retry_cost=14).take(0.0) == 0.0


@given(
    events=st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["take", "given", "retried"])), max_size=60),
    capacity_=st.floats(0, 100),
    cost=st.floats(0.1, 50),
)
def test_whoever_waits_as_told_gets_a_retry(events, capacity_, cost):
    made = RetryQuota(capacity=capacity_, retry_cost=cost)
    now = 0.0
    for seconds, event in events:
        now += seconds
        if event == "take":
            wait = made.take(now)
            tries = 0
            while wait > 0:
                assert wait <= 1 / RetryQuota.TRICKLE + quota.TICK
                now += wait
                wait = made.take(now)
                tries += 1
                assert tries < 10
        else:
            made.give(retried=event == "retried")
        assert 0 <= made.tokens <= max(capacity_, cost) + 1e-9


@pytest.mark.parametrize(
    ("attempt", "uniform", "floor", "seconds"),
    [
        (1, 0.0, 0.0, 0.0),
        (1, 0.5, 0.0, 0.05),
        (2, 0.5, 0.0, 0.1),
        (4, 0.5, 0.0, 0.4),
        (7, 0.5, 0.0, 2.5),
        (10**9, 0.5, 0.0, 2.5),
        (1, 0.0, 2.0, 2.0),
        (1, 0.5, 2.0, 2.05),
    ],
)
def test_backoff(attempt, uniform, floor, seconds):
    assert backoff(attempt, uniform, base=0.1, cap=5.0, floor=floor) == pytest.approx(seconds)


def test_the_module_names_what_it_offers():
    assert pacing.__all__ == sorted(pacing.__all__)
    assert set(pacing.__all__) == {"Pacer", "RetryQuota", "Signal", "Ticket", "backoff"}
