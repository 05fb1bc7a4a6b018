"""A client, a service with a limit and a network between them, in virtual time: what a `Pacer` achieves.

Deterministic for a seed, event driven, no sleeping. The client has an endless backlog: as many requests as it is
allowed, refused ones again. Timers are up to 1.5 ms late, as an event loop's are.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from koodrive_async.core.pacing import Pacer, Signal


class Answer(NamedTuple):
    signal: Signal
    retry_after: float | None = None
    ceiling: float | None = None
    work: float | None = None  # seconds at the service; None: the usual
    by: "Concurrency | None" = None  # who wants to know when it is answered


OK = Answer(Signal.SUCCESS)
NO = Answer(Signal.THROTTLED, work=0.0)


class Service:
    """Grants everything. `granted(end)`: what an ideal client would have got from 0 to `end`."""

    def arrive(self, now: float) -> Answer:
        return OK

    def granted(self, end: float) -> float:
        return math.inf


class TokenBucket(Service):
    def __init__(self, rate, burst=10.0):
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, 0.0

    def arrive(self, now):
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return NO
        self.tokens -= 1
        return OK

    def granted(self, end):
        return self.burst + self.rate * end


class Penalty(TokenBucket):
    """Every refused request costs tokens too, down to a debt."""

    def arrive(self, now):
        answer = super().arrive(now)
        if answer is NO:
            self.tokens = max(-0.5 * self.rate, self.tokens - 1)
        return answer


class Blocking(TokenBucket):
    """A refusal closes the door to everybody for a while."""

    def __init__(self, rate, burst=10.0, block=1.0):
        super().__init__(rate, burst)
        self.block, self.until = block, -1.0

    def arrive(self, now):
        if now < self.until:
            return NO
        answer = super().arrive(now)
        if answer is NO:
            self.until = now + self.block
        return answer


class FixedWindow(Service):
    def __init__(self, count, window=1.0, phase=0.3):
        self.count, self.window, self.phase = count, window, phase
        self.current, self.used = -1, 0

    def arrive(self, now):
        index = int((now + self.phase * self.window) / self.window)
        if index != self.current:
            self.current, self.used = index, 0
        if self.used >= self.count:
            return NO
        self.used += 1
        return OK

    def granted(self, end):
        return self.count * max(1.0, end / self.window)


class SlidingWindow(Service):
    def __init__(self, count, window=1.0):
        self.count, self.window, self.log = count, window, deque()

    def arrive(self, now):
        while self.log and self.log[0] <= now - self.window:
            self.log.popleft()
        if len(self.log) >= self.count:
            return NO
        self.log.append(now)
        return OK

    def granted(self, end):
        return self.count * max(1.0, end / self.window)


class Gcra(TokenBucket):
    def __init__(self, rate, burst=3.0):
        super().__init__(rate, burst)


class Concurrency(Service):
    """So many at a time; `granted` is Little's law over the whole round trip: a slot that is free is taken
    again when the answer has come back and the next request has arrived, without a refusal no sooner."""

    def __init__(self, slots, latency=0.03):
        self.slots, self.latency, self.busy = slots, latency, 0

    def arrive(self, now):
        if self.busy >= self.slots:
            return NO
        self.busy += 1
        return Answer(Signal.SUCCESS, by=self)

    def leave(self):
        self.busy -= 1

    def granted(self, end):
        return self.slots / self.latency * end


class LeakyQueue(Service):
    """Works off `rate` per second in order, queues `depth`, refuses the rest."""

    def __init__(self, rate, depth=20):
        self.rate, self.depth, self.free_at = rate, depth, 0.0

    def arrive(self, now):
        start = max(now, self.free_at)
        if (start - now) * self.rate >= self.depth:
            return NO
        self.free_at = start + 1 / self.rate
        return Answer(Signal.SUCCESS, work=self.free_at - now)

    def granted(self, end):
        return self.rate * end


class Changing(Service):
    """Another service from `at` on."""

    def __init__(self, first, second, at):
        self.first, self.second, self.at = first, second, at

    def arrive(self, now):
        return (self.first if now < self.at else self.second).arrive(now)

    def granted(self, end):
        if end <= self.at:
            return self.first.granted(end)
        return self.first.granted(self.at) + self.second.granted(end - self.at)


class Nodes(Service):
    """A random one of several nodes, each with its own limit."""

    def __init__(self, nodes, seed=1):
        self.nodes, self.random = nodes, random.Random(seed)

    def arrive(self, now):
        return self.random.choice(self.nodes).arrive(now)

    def granted(self, end):
        return sum(node.granted(end) for node in self.nodes)


class Telling(Service):
    """The service says more than 429: Retry-After, or the gateway's text."""

    def __init__(self, inner, retry_after=None, ceiling=None):
        self.inner, self.retry_after, self.ceiling = inner, retry_after, ceiling
        self.granted = inner.granted

    def arrive(self, now):
        answer = self.inner.arrive(now)
        if answer.signal is not Signal.THROTTLED:
            return answer
        wait = self.retry_after(now) if callable(self.retry_after) else self.retry_after
        return answer._replace(retry_after=wait, ceiling=self.ceiling)


class Result(NamedTuple):
    done: int
    refused: int
    failed: int
    sent: int
    elapsed: float
    granted: float
    late: float  # goodput of the second half of the run, as a share of what was granted in it
    sends: list[float]
    pacer: Pacer

    @property
    def goodput(self) -> float:
        return self.done / self.granted

    @property
    def refusals(self) -> float:
        return self.refused / self.sent


def run(
    service: Service,
    *,
    requests: int | None = None,
    seconds: float = math.inf,
    concurrency: int = 64,
    per_second: float | None = None,
    adaptive: bool = True,
    latency: float = 0.03,
    spread: float = 0.2,
    expo: bool = False,
    seed: int = 0,
    watch: Callable[[float, Pacer], None] | None = None,
) -> Result:
    """Send until `requests` were accepted or `seconds` are over.

    `latency`: of an accepted request; a third of it is the network's, and all that a refusal takes.
    """
    rng = random.Random(seed)
    pacer = Pacer(concurrency=concurrency, per_second=per_second, adaptive=adaptive)
    events: list[tuple[float, int, Callable[[float], None]]] = []
    count = done = refused = failed = 0
    wake_at = math.inf
    sends: list[float] = []
    accepted: list[float] = []

    def at(when, action):
        nonlocal count
        count += 1
        heapq.heappush(events, (when, count, action))

    def vary(value):
        return value * rng.uniform(1 - spread, 1 + spread)

    def send(now):
        ticket = pacer.start(now)
        sends.append(now)

        def arrive(now):
            answer = service.arrive(now)
            work = answer.work
            if work is None:
                work = rng.expovariate(1.5 / latency) if expo else vary(latency * 2 / 3)
            at(now + work, lambda now: leave(now, answer))

        def leave(now, answer):
            if answer.by is not None:
                answer.by.leave()
            at(now + vary(latency / 6), lambda now: finish(now, answer))

        def finish(now, answer):
            nonlocal done, refused, failed
            if answer.signal is Signal.SUCCESS:
                done += 1
                accepted.append(now)
            elif answer.signal is Signal.THROTTLED:
                refused += 1
            else:
                failed += 1
            pacer.finish(
                now,
                ticket,
                answer.signal,
                batch=ticket.number,
                retry_after=answer.retry_after,
                ceiling=answer.ceiling,
            )

        at(now + vary(latency / 6), arrive)

    def pump(now):
        nonlocal wake_at
        while True:
            wait = pacer.admit(now)
            if wait > 0:
                break
            send(now)
        if wait < math.inf and not now < wake_at <= now + wait:
            wake_at = now + wait + rng.uniform(0.0001, 0.0015)
            at(wake_at, lambda now: None)

    now = 0.0
    pump(now)
    while events and (requests is None or done < requests):
        when, _, action = heapq.heappop(events)
        if when > seconds:
            now = seconds
            break
        now = when
        action(now)
        if watch is not None:
            watch(now, pacer)
        pump(now)
    half = now / 2
    granted = service.granted(now)
    late = sum(when > half for when in accepted) / (granted - service.granted(half))
    return Result(done, refused, failed, len(sends), now, granted, late, sends, pacer)
