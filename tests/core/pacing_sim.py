"""A client, a service with a limit and a network between them, in virtual time: what a `Pacer` achieves.

Deterministic for a seed, event driven, no sleeping. The client works off a backlog of batches, as many at a
time as its concurrency; a refused batch is sent again at once (the gate holds it), a failed one after its
back-off and when the retry quota has a turn for it. Timers are late, as an event loop's are.

A third of the latency is the network's, half of that before the service sees the request; a refusal takes
only the network's part.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from koodrive_async.core.pacing import Pacer, RetryQuota, Signal, backoff

if TYPE_CHECKING:
    from collections.abc import Callable


class Answer(NamedTuple):
    signal: Signal
    retry_after: float | None = None
    ceiling: float | None = None
    work: float | None = None  # seconds at the service; None: what the client's latency says
    by: Concurrency | None = None  # who wants to know when the work is done


OK = Answer(Signal.SUCCESS)
NO = Answer(Signal.THROTTLED, work=0.0)
BROKEN = Answer(Signal.FAILED, work=0.0)


class Service:
    """Grants everything. `granted(end)`: what an ideal client gets from 0 to `end`."""

    def arrive(self, now: float) -> Answer:
        return OK

    def granted(self, end: float) -> float:
        return math.inf


class TokenBucket(Service):
    """Also what GCRA and "n per second with burst" do."""

    def __init__(self, rate: float, burst: float = 10.0) -> None:
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


class Gcra(Service):
    """Spaced requests, by their theoretical arrival time; tolerates a few that come early."""

    def __init__(self, rate: float, early: int = 2) -> None:
        self.rate, self.early, self.due = rate, early, 0.0

    def arrive(self, now):
        if self.due - now > self.early / self.rate:
            return NO
        self.due = max(self.due, now) + 1 / self.rate
        return OK

    def granted(self, end):
        return self.early + 1 + self.rate * end


class Penalty(TokenBucket):
    """Refused requests cost tokens too, into a debt of half a second."""

    def arrive(self, now):
        answer = super().arrive(now)
        if answer is NO:
            self.tokens = max(-0.5 * self.rate, self.tokens - 1)
        return answer


class Blocking(TokenBucket):
    """A refusal shuts the door on everybody for a while."""

    def __init__(self, rate: float, burst: float = 10.0, block: float = 1.0) -> None:
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
    """So many per window of the clock; the run begins somewhere inside one."""

    def __init__(self, count: int, window: float = 1.0, phase: float = 0.3) -> None:
        self.count, self.window, self.phase = count, window, phase
        self.current = self.used = -1

    def arrive(self, now):
        index = int(now / self.window + self.phase)
        if index != self.current:
            self.current, self.used = index, 0
        if self.used >= self.count:
            return NO
        self.used += 1
        return OK

    def granted(self, end):
        return self.count * (end / self.window + self.phase)


class SlidingWindow(Service):
    def __init__(self, count: int, window: float = 1.0) -> None:
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


class Concurrency(Service):
    """So many at a time.

    `granted` is Little's law over the whole round trip: without refusals a slot is taken again when its
    answer has come back and the next request has arrived. (Guessing when a slot falls free can do better.)
    """

    def __init__(self, slots: int, latency: float = 0.03) -> None:
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
    """Works off so many per second in order, queues some, drops the rest: its latency grows with its load."""

    def __init__(self, rate: float, depth: int = 20) -> None:
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
    """One service, from `at` on another."""

    def __init__(self, first: Service, second: Service, at: float) -> None:
        self.first, self.second, self.at = first, second, at

    def arrive(self, now):
        return (self.first if now < self.at else self.second).arrive(now)

    def granted(self, end):
        if end <= self.at:
            return self.first.granted(end)
        return self.first.granted(self.at) + self.second.granted(end - self.at)


class Nodes(Service):
    """Any one of several nodes, each with its own limit."""

    def __init__(self, nodes: list[Service], seed: int) -> None:
        self.nodes, self.random = nodes, random.Random(seed)

    def arrive(self, now):
        return self.random.choice(self.nodes).arrive(now)

    def granted(self, end):
        return sum(node.granted(end) for node in self.nodes)


class Telling(Service):
    """The service says more than 429: Retry-After (seconds, or a function of the time), the text."""

    def __init__(self, inner: Service, retry_after=None, ceiling: float | None = None) -> None:
        self.inner, self.retry_after, self.ceiling = inner, retry_after, ceiling
        self.granted = inner.granted

    def arrive(self, now):
        answer = self.inner.arrive(now)
        if answer.signal is not Signal.THROTTLED:
            return answer
        wait = self.retry_after(now) if callable(self.retry_after) else self.retry_after
        return answer._replace(retry_after=wait, ceiling=self.ceiling)


class Faulty(Service):
    """A share of the requests fails at random; all do from `down` to `up`."""

    def __init__(self, seed: int, share: float = 0.0, down: float = math.inf, up: float = math.inf) -> None:
        self.random, self.share, self.down, self.up = random.Random(seed), share, down, up

    def arrive(self, now):
        failed = self.down <= now < self.up or self.random.random() < self.share
        return BROKEN if failed else OK


class Result(NamedTuple):
    done: int
    refused: int
    failed: int
    sends: list[float]
    elapsed: float
    granted: float
    late: float  # of what was granted in the second half of the run, the share that was got
    closures: int
    stalled: float  # the longest time without a successful probe
    attempts: int  # the most that one batch used up: failures while the gate was open
    pacer: Pacer

    @property
    def goodput(self) -> float:
        return self.done / self.granted

    @property
    def refusals(self) -> float:
        return self.refused / len(self.sends)


class Simulation:
    """One run; see `run`."""

    def __init__(
        self, service, *, requests, concurrency, per_second, adaptive, latency, spread, late, erratic, seed
    ):
        self.service, self.concurrency, self.latency = service, concurrency, latency
        self.spread, self.late, self.erratic = spread, late, erratic
        self.random = random.Random(seed)
        self.pacer = Pacer(concurrency=concurrency, per_second=per_second, adaptive=adaptive)
        self.quota = RetryQuota()
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.serial = self.open = self.failed = self.refused = self.closures = 0
        self.left: float = math.inf if requests is None else requests
        self.ready: deque[int] = deque()
        self.attempts: dict[int, int] = {}
        self.wake_at = math.inf
        self.stalled = 0.0
        self.sends: list[float] = []
        self.accepted: list[float] = []

    def at(self, when: float, action: Callable[[float], None]) -> None:
        self.serial += 1
        heapq.heappush(self.events, (when, self.serial, action))

    def vary(self, value: float) -> float:
        return value * self.random.uniform(1 - self.spread, 1 + self.spread)

    def work(self) -> float:
        mean = self.latency * 2 / 3
        return self.random.expovariate(1 / mean) if self.erratic else self.vary(mean)

    def pump(self, now: float) -> None:
        """Send what may be sent; see to it that it goes on."""
        while self.ready or (self.left > 0 and self.open < self.concurrency):
            wait = self.pacer.admit(now)
            if wait > 0:
                if wait < math.inf and not now < self.wake_at <= now + wait:
                    self.wake_at = now + wait + self.random.uniform(0.0001, self.late)
                    self.at(self.wake_at, lambda _: None)
                return
            if self.ready:
                batch = self.ready.popleft()
            else:
                self.left -= 1
                self.open += 1
                batch = len(self.attempts)
                self.attempts[batch] = 0
            self.send(now, batch)

    def send(self, now: float, batch: int) -> None:
        ticket = self.pacer.start(now)
        self.sends.append(now)

        def arrive(now: float) -> None:
            answer = self.service.arrive(now)
            self.at(
                now + (self.work() if answer.work is None else answer.work), lambda now: leave(now, answer)
            )

        def leave(now: float, answer: Answer) -> None:
            if answer.by is not None:
                answer.by.leave()
            self.at(now + self.vary(self.latency / 6), lambda now: self.finish(now, batch, ticket, answer))

        self.at(now + self.vary(self.latency / 6), arrive)

    def finish(self, now, batch, ticket, answer) -> None:
        closed = self.pacer.closed
        alone = self.pacer.finish(
            now, ticket, answer.signal, batch=batch, retry_after=answer.retry_after, ceiling=answer.ceiling
        )
        self.closures += self.pacer.closed and not closed
        if answer.signal is Signal.SUCCESS:
            self.accepted.append(now)
            self.open -= 1
            self.quota.give(retried=self.attempts[batch] > 0)
        elif answer.signal is Signal.THROTTLED:
            self.refused += 1
            if alone:  # meanwhile another may go, as in a back-off
                self.open -= 1
                self.at(now + alone, lambda _: self.again(batch))
            else:
                self.ready.appendleft(batch)
        else:
            self.failed += 1
            self.attempts[batch] += not ticket.probe
            delay = backoff(max(1, self.attempts[batch]), self.random.random(), base=0.1, cap=5.0)
            self.at(now + delay, lambda now: self.retry(now, batch))

    def again(self, batch: int) -> None:
        self.open += 1
        self.ready.appendleft(batch)

    def retry(self, now: float, batch: int) -> None:
        wait = self.quota.take(now)
        if wait > 0:
            self.at(now + wait, lambda now: self.retry(now, batch))
        else:
            self.ready.append(batch)

    def run(self, seconds: float) -> Result:
        now = 0.0
        self.pump(now)
        while self.events and (self.left > 0 or len(self.accepted) < len(self.attempts)):
            if self.events[0][0] > seconds:
                now = seconds
                break
            now, _, action = heapq.heappop(self.events)
            self.stalled = max(self.stalled, self.pacer.stalled(now))
            action(now)
            self.pump(now)
        granted = self.service.granted(now)
        late = sum(when > now / 2 for when in self.accepted) / (granted - self.service.granted(now / 2) or 1)
        return Result(
            len(self.accepted),
            self.refused,
            self.failed,
            self.sends,
            now,
            granted,
            late,
            self.closures,
            self.stalled,
            max(self.attempts.values()),
            self.pacer,
        )


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
    late: float = 0.0015,
    erratic: bool = False,
    seed: int = 0,
) -> Result:
    """Work off `requests` batches, or as many as go in `seconds`.

    `latency` of a request, give or take a share of `spread`; `erratic`: exponentially distributed.
    `late`: timers fire up to so many seconds late.
    """
    simulation = Simulation(
        service,
        requests=requests,
        concurrency=concurrency,
        per_second=per_second,
        adaptive=adaptive,
        latency=latency,
        spread=spread,
        late=late,
        erratic=erratic,
        seed=seed,
    )
    return simulation.run(seconds)
