"""Random runs against the emulator: what is asked, what goes wrong, who is cut short; and what must hold."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from hypothesis import strategies as st

from koodrive_async import (
    AsyncShareClient,
    AttemptStarted,
    BatchSettled,
    KooDriveError,
    Pace,
    PaceChanged,
    RetryPolicy,
    ShareOutcome,
    Status,
    Timeout,
    TokenCredentials,
)
from koodrive_async.testing import (
    BlackHole,
    Chaos,
    Delay,
    Drip,
    Emulator,
    LateEffect,
    TruncatedBody,
    TruncatedJson,
    dropped,
    empty_reply,
    gateway_timeout,
    html_page,
    lost_reply,
    server_error,
    throttled,
    unauthorized,
    unavailable,
)
from tests.engine.cancelling import cancelled_after

BUSY = "13009999"

FAULTS = [
    unavailable(),
    server_error(act=True),
    gateway_timeout(act=True),
    lost_reply(),
    lost_reply("fin"),
    dropped(),
    dropped("fin"),
    throttled(),
    TruncatedBody(),
    TruncatedJson(),
    html_page(200),
    html_page(502, act=True),
    empty_reply(),
    BlackHole(),
    BlackHole(act=True),
    Delay(0.02),
    Delay(0.02, lost_reply()),
    LateEffect(after=0.01),
    Drip(0.001, size=200),
    unauthorized(),
]


@attrs.frozen
class Call:
    """One call to the client: how, for how many ids, and what cuts it short."""

    how: str
    count: int
    cut_after: float | None
    deadline: float | None
    grace: float
    take: int | None


@attrs.frozen
class Scenario:
    """A client's life: rounds of calls at the same time, each in its own weather."""

    seed: int
    concurrency: int
    adaptive: bool
    rounds: Sequence[tuple[dict[Any, float], Sequence[Call]]]
    poison: int
    gone: int
    busy: int


def _weather() -> st.SearchStrategy[dict[Any, float]]:
    some = st.lists(st.sampled_from(FAULTS), max_size=5, unique_by=repr)
    return st.tuples(some, st.sampled_from([0.02, 0.1, 0.2])).map(
        lambda drawn: dict.fromkeys(drawn[0], drawn[1])
    )


_CALLS = st.builds(
    Call,
    how=st.sampled_from(["cancel", "open_cancel"]),
    count=st.sampled_from([0, 1, 3, 99, 100, 101, 250, 600]),
    cut_after=st.none() | st.floats(0, 0.05),
    deadline=st.none() | st.floats(0, 0.1),
    grace=st.sampled_from([0.0, 0.02, 0.5]),
    take=st.none() | st.integers(0, 300),
)

SCENARIOS = st.builds(
    Scenario,
    seed=st.integers(0, 10**6),
    concurrency=st.sampled_from([1, 3, 8]),
    adaptive=st.booleans(),
    rounds=st.lists(st.tuples(_weather(), st.lists(_CALLS, min_size=1, max_size=3)), min_size=1, max_size=3),
    poison=st.integers(0, 3),
    gone=st.integers(0, 3),
    busy=st.integers(0, 3),
)


class Watch:
    """A middleware and a hook that see what is sent, how much at a time, and whether the gate is closed."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.flying = 0
        self.begun_closed = 0
        self.closed = False
        self.received: set[str] = set()
        self.told: dict[Status, int] = dict.fromkeys(Status, 0)

    async def middleware(self, request: Any, send: Any) -> Any:
        closed = self.closed
        self.flying += 1
        self.begun_closed += closed
        try:
            assert self.flying <= self.ceiling, "more in flight than the ceiling"
            assert self.begun_closed <= 1, "sent while the gate is closed"
            reply = await send(request)
        finally:
            self.flying -= 1
            self.begun_closed -= closed
        if reply.status == 200:
            self.received.add(request.trace_id)
        return reply

    def hook(self, event: Any) -> None:
        if isinstance(event, PaceChanged):
            self.closed = event.closed
        elif isinstance(event, BatchSettled):
            for status, count in event.counts.items():
                self.told[status] += count
        else:
            assert not isinstance(event, AttemptStarted) or event.attempt > 0


@attrs.define
class Result:
    """What a call gave; None where the caller was cut short and got nothing."""

    call: Call
    ids: Sequence[str]
    counts: dict[Status, int] | None = None
    outcomes: Sequence[ShareOutcome] | None = None
    taken: list[ShareOutcome] = attrs.field(factory=list)


def _report_of(error: KooDriveError) -> Any:
    assert error.report is not None, f"no report: {error!r}"
    return error.report


async def _cancel(client: AsyncShareClient, result: Result) -> None:
    call = result.call
    try:
        report = await client.cancel(result.ids, deadline=call.deadline, grace=call.grace)
    except KooDriveError as error:
        report = _report_of(error)
    result.outcomes, result.counts = report.outcomes, dict(report.counts)


async def _stream(client: AsyncShareClient, result: Result) -> None:
    call = result.call
    opened = client.open_cancel(result.ids, deadline=call.deadline, grace=call.grace)
    try:
        async with opened as stream:
            try:
                if call.take == 0:
                    return
                async for outcome in stream:
                    result.taken.append(outcome)
                    if len(result.taken) == call.take:
                        break
                else:
                    result.outcomes = result.taken
            except KooDriveError as error:
                _report_of(error)
                result.outcomes = result.taken
    finally:
        if "stream" in locals():
            result.counts = dict(stream.report.counts)


@asynccontextmanager
async def _client(emulator: Emulator, scenario: Scenario, watch: Watch):
    async with AsyncShareClient(
        emulator.url,
        TokenCredentials("demo-token", emulator.user_id),
        pace=Pace(concurrency=scenario.concurrency, adaptive=scenario.adaptive),
        retry=RetryPolicy(attempts=3, base=0.001, cap=0.005, patience=1.0),
        timeout=Timeout(read=0.15, total=0.3),
        item_retry_codes={BUSY},
        middleware=[watch.middleware],
        hooks=[watch.hook],
    ) as client:
        yield client


async def play(scenario: Scenario, backend: str) -> None:
    """Run a scenario and check what must hold."""
    total = sum(call.count for _, calls in scenario.rounds for call in calls)
    with Emulator(shares=total, seed=scenario.seed, max_log=100_000) as emulator:
        ids = list(emulator.share_ids)
        busy = _prepare(emulator, scenario, ids)
        watch = Watch(scenario.concurrency)
        async with _client(emulator, scenario, watch) as client:
            for weather, calls in scenario.rounds:
                emulator.behave()
                emulator.inject(Chaos(scenario.seed, weather))
                before = emulator.requests
                results = []
                async with anyio.create_task_group() as tasks:
                    for call in calls:
                        mine, ids = ids[: call.count], ids[call.count :]
                        results.append(Result(call, mine))
                        tasks.start_soon(_perform, client, results[-1], backend)
                for result in results:
                    _check(result, emulator, before)
            assert watch.flying == 0
        assert emulator.settled(), "a socket is open after aclose"
        _check_all(emulator, busy, watch.received)


def _prepare(emulator: Emulator, scenario: Scenario, ids: Sequence[str]) -> set[str]:
    emulator.poison.update(ids[1::7][: scenario.poison])
    for share_id in ids[2::5][: scenario.gone]:
        emulator.cancel_one(emulator.user_id, share_id)
    busy = set(ids[3::11][: scenario.busy])
    emulator.item_codes.update({share_id: [BUSY] * 2 for share_id in busy})
    return busy


async def _perform(client: AsyncShareClient, result: Result, backend: str) -> None:
    run = _cancel if result.call.how == "cancel" else _stream
    if result.call.cut_after is None:
        await run(client, result)
        return
    await cancelled_after(result.call.cut_after, lambda: run(client, result), way="native", backend=backend)


def _check(result: Result, emulator: Emulator, before: int) -> None:
    seen = {share_id for seen in list(emulator.log)[before:] for share_id in seen.share_ids}
    known = list(result.outcomes or result.taken)
    distinct = {outcome.share_id for outcome in known}
    assert len(distinct) == len(known), "two outcomes for one id"
    assert distinct <= set(result.ids), "an outcome for an id that nobody asked for"
    for outcome in known:
        here = outcome.share_id in seen
        assert not (outcome.status is Status.NOT_SENT and here), "NOT_SENT, but it was"
        assert outcome.status is not Status.CANCELLED or emulator.is_cancelled(outcome.share_id)
        assert outcome.status is not Status.CANCELLED or here
        assert outcome.status is not Status.ALREADY_GONE or here
        assert (outcome.error is None) == (outcome.status in (Status.CANCELLED, Status.ALREADY_GONE)) or (
            outcome.status is Status.NOT_SENT
        )
    if result.counts is None:
        return
    if result.call.how == "cancel":
        assert sum(result.counts.values()) == len(result.ids) == len(known)
    assert sum(result.counts.values()) <= len(result.ids)
    if result.outcomes is not None:
        for status, count in result.counts.items():
            assert count == sum(outcome.status is status for outcome in result.outcomes)
    landed = sum(emulator.is_cancelled(share_id) for share_id in result.ids)
    assert result.counts[Status.CANCELLED] <= landed
    mine = len(set(result.ids) & seen)
    assert mine <= sum(count for status, count in result.counts.items() if status is not Status.NOT_SENT)


def _check_all(emulator: Emulator, busy: set[str], received: set[str]) -> None:
    """Of each call (the first part of a trace id): no id is sent again once it had a good answer."""
    answered: dict[str, set[str]] = defaultdict(set)
    for seen in emulator.log:
        call = (seen.trace_id or "")[:32]
        assert not answered[call] & set(seen.share_ids), "sent again after it was settled"
        if seen.fault is None and seen.trace_id in received:
            answered[call].update(set(seen.share_ids) - busy)
