"""Pacing on a real socket: limits of one's own are never exceeded, the service's are found and kept."""

import math
import time
from contextlib import contextmanager

import anyio
import pytest

from koodrive_async import (
    AsyncShareClient,
    AttemptFailed,
    AttemptStarted,
    BatchSettled,
    Pace,
    Status,
    Throttled,
    TokenCredentials,
)
from koodrive_async.testing import RateLimit
from koodrive_async.testing.state import realistic_ids
from tests.engine.kit import most_in_a_second, served, statuses

pytestmark = pytest.mark.usefixtures("leaks")

#: A machine with much else to do may hold one request back until the next one comes.
JITTER = 1


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize(("per_second", "requests"), [(40, 90), (3, 6), (2.5, 5)])
async def test_a_ceiling_of_ones_own_is_never_exceeded(
    make_koodrive, connect, per_second, requests, adaptive
):
    emulator = make_koodrive(shares=requests * 100)
    sent = []
    hooks = [lambda event: sent.append(time.monotonic()) if isinstance(event, AttemptStarted) else None]
    pace = Pace(concurrency=32, per_second=per_second, adaptive=adaptive)
    async with connect(emulator, pace=pace, hooks=hooks) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": requests * 100}
    most = math.ceil(per_second)  # a fraction holds on average: 2.5 is 2 in any 0.8 s
    assert most_in_a_second(sent) <= most
    assert most_in_a_second(seen.monotonic for seen in emulator.log) <= most + JITTER
    assert len(emulator.log) == requests


async def test_the_ceiling_holds_for_all_calls_together(make_koodrive, connect):
    emulator = make_koodrive(shares=3_000)
    async with connect(emulator, pace=Pace(per_second=20)) as client, anyio.create_task_group() as tasks:
        for start in range(0, 3_000, 500):
            tasks.start_soon(client.cancel, emulator.share_ids[start : start + 500])
        for _ in range(10):
            tasks.start_soon(client.cancel, ["1"])
    assert most_in_a_second(seen.monotonic for seen in emulator.log) <= 20 + JITTER


async def test_a_pause_is_not_followed_by_a_burst(make_koodrive, connect):
    emulator = make_koodrive(shares=4_000)
    async with connect(emulator, pace=Pace(per_second=20)) as client:
        await client.cancel(emulator.share_ids[:1_000])
        await anyio.sleep(0.5)
        await client.cancel(emulator.share_ids[1_000:])
    assert most_in_a_second(seen.monotonic for seen in emulator.log) <= 20 + JITTER


async def test_a_fixed_number_stays(make_koodrive, connect):
    """adaptive=False: a 429 closes the gate, and afterwards it goes on as before."""
    emulator = make_koodrive(shares=6_000, latency=0.02)
    async with connect(emulator, pace=Pace(concurrency=6, adaptive=False)) as client:
        await client.cancel(emulator.share_ids[:100])
        emulator.rate_limit = RateLimit(1, burst=1, explain=False)
        await client.cancel(emulator.share_ids[100:200])
        emulator.rate_limit = None
        emulator.max_in_flight = 0
        began = time.monotonic()
        await client.cancel(emulator.share_ids[200:])
    assert emulator.max_in_flight == 6
    assert time.monotonic() - began < 5


async def test_a_limit_of_requests_at_a_time_is_found(make_koodrive, connect):
    emulator = make_koodrive(shares=15_000, latency=0.01, max_concurrency=4)
    async with connect(emulator, pace=Pace(concurrency=32)) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 15_000}
    assert emulator.statuses[429] < 0.4 * emulator.requests


# -- what is granted ------------------------------------------------------------------------------


class Goodput:
    """A hook that notes when batches were settled, and counts refusals."""

    def __init__(self):
        self.settled, self.refused, self.sent = [], 0, 0

    def __call__(self, event):
        if isinstance(event, BatchSettled) and event.counts[Status.CANCELLED]:
            self.settled.append(time.monotonic())
        elif isinstance(event, AttemptStarted):
            self.sent += 1
        elif isinstance(event, AttemptFailed) and isinstance(event.error, Throttled):
            self.refused += 1

    def shares(self, began, granted):
        """Of what is granted: over the whole run, and in the second half of its requests."""
        half = len(self.settled) // 2
        whole = len(self.settled) / (self.settled[-1] - began) / granted
        return whole, (len(self.settled) - half) / (self.settled[-1] - self.settled[half - 1]) / granted


@contextmanager
def service(shares, limit, latency):
    """Of a process of its own, so that it is not the interpreter's lock that is measured."""
    with served("--shares", shares, "--rate-limit", limit, "--latency", latency) as environment:
        yield environment["KOODRIVE_ENDPOINT"], environment["KOODRIVE_USER_ID"]


async def measured(shares, limit, concurrency):
    ids = list(realistic_ids(shares, 0))
    goodput = Goodput()
    with service(shares, limit, 0.03) as (url, user):
        pace = Pace(concurrency=concurrency)
        credentials = TokenCredentials("demo-token", user)
        async with AsyncShareClient(url, credentials, pace=pace, hooks=[goodput]) as client:
            began = time.monotonic()
            report = await client.cancel(ids)
    assert statuses(report) == {"cancelled": shares}
    whole, second = goodput.shares(began, limit)
    refused = goodput.refused / goodput.sent
    return whole, second, refused


async def test_what_the_service_grants_is_used():
    whole, second, refused = await measured(60_000, 300, 32)
    assert whole >= 0.3  # one request at a time would be 0.1; a busy machine has no time for 0.9
    assert second >= 0.3
    assert refused < 0.15


@pytest.mark.heavy
async def test_what_the_service_grants_is_used_nearly_all():
    whole, second, refused = await measured(270_000, 300, 32)
    assert whole >= 0.85, (whole, second, refused)
    assert second >= 0.95, (whole, second, refused)
    assert refused < 0.05, (whole, second, refused)
