"""Weathers in which a 429 is not, or not only, the sign of a limit, and what a `Pacer` achieves in them.

``python -m tests.core.pacing_weathers`` prints the table: goodput, and the share of requests refused.
"""

from __future__ import annotations

import random
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from pacing_sim import NO, OK, Changing, Nodes, Result, Service, Telling, TokenBucket, run

if TYPE_CHECKING:
    from collections.abc import Callable

CONCURRENCY, LATENCY = 64, 0.03


def possible(share: float, concurrency: int = CONCURRENCY) -> float:
    """Successes per second where `share` is refused at random: a refusal takes a third of the time."""
    return (1 - share) * concurrency / LATENCY / (1 - share + share / 3)


class Noisy(Service):
    """Refuses a share of all requests, whatever the rate; the rest goes to `inner`."""

    def __init__(
        self, seed: int, share: float, inner: Service | None = None, concurrency: int = CONCURRENCY
    ) -> None:
        self.random, self.share, self.inner = random.Random(seed), share, inner
        self.best = possible(share, concurrency)

    def arrive(self, now):
        if self.random.random() < self.share:
            return NO
        return OK if self.inner is None else self.inner.arrive(now)

    def granted(self, end):
        return self.best * end if self.inner is None else self.inner.granted(end)


class Sick(Nodes):
    """Ten nodes without a limit, one of which grants next to nothing."""

    def __init__(self, seed: int, rate: float = 2.0, nodes: int = 10) -> None:
        super().__init__([TokenBucket(rate, rate), *(Service() for _ in range(nodes - 1))], seed)
        self.best = possible(1 / nodes)

    def granted(self, end):
        return self.best * end


class Weather(NamedTuple):
    make: Callable[[int], Service]
    how: dict[str, Any]
    goodput: float
    refused: float


def noisy(share: float, goodput: float, **how: Any) -> Weather:
    made = {"seconds": 60, **how}
    concurrency = made.get("concurrency", CONCURRENCY)
    return Weather(
        lambda seed: Noisy(seed, share, concurrency=concurrency), made, goodput, 1.2 * share + 0.002
    )


def limited(share: float, rate: float, goodput: float) -> Weather:
    return Weather(
        lambda seed: Noisy(seed, share, TokenBucket(rate)), {"seconds": 60}, goodput, 1.2 * share + 0.02
    )


def nodes(count: int, rate: float, burst: float, goodput: float) -> Weather:
    def make(seed):
        return Nodes([TokenBucket(rate, burst) for _ in range(count)], seed)

    return Weather(make, {"seconds": 60}, goodput, 0.05)


WEATHERS = {
    "random 429s, 0.1 %": noisy(0.001, 0.85),
    "random 429s, 0.3 %": noisy(0.003, 0.85),
    "random 429s, 1 %": noisy(0.01, 0.85),
    "random 429s, 3 %": noisy(0.03, 0.85),
    "random 429s, 10 %": noisy(0.1, 0.6),
    "random 429s, 1 %, 8 at a time": noisy(0.01, 0.85, concurrency=8),
    "random 429s, 1 %, ten minutes": noisy(0.01, 0.85, seconds=600, concurrency=8),
    "random 429s, 1 %, one at a time": noisy(0.01, 0.85, concurrency=1, seconds=120),
    "random 429s, 10 %, 4 at a time": noisy(0.1, 0.6, concurrency=4, seconds=120),
    "300/s and random 429s, 0.1 %": limited(0.001, 300, 0.85),
    "300/s and random 429s, 1 %": limited(0.01, 300, 0.85),
    "300/s and random 429s, 3 %": limited(0.03, 300, 0.85),
    "300/s and random 429s, 10 %": limited(0.1, 300, 0.6)._replace(refused=0.2),
    "20/s and random 429s, 3 %": limited(0.03, 20, 0.5)._replace(refused=0.08),
    "a sick node of ten": Weather(Sick, {"seconds": 60}, 0.8, 0.12),
    "a sick node of ten, the others 30/s": Weather(
        lambda seed: Nodes([TokenBucket(2, 2), *(TokenBucket(30, 10) for _ in range(9))], seed),
        {"seconds": 60},
        0.8,
        0.15,
    ),
    "four nodes, 50/s each, burst 5": nodes(4, 50, 5, 0.7),
    "four nodes, 50/s each, burst 10": nodes(4, 50, 10, 0.82),
    "four nodes, 50/s each, burst 50": nodes(4, 50, 50, 0.85),
    "noise that begins late": Weather(
        lambda seed: Changing(Noisy(seed, 0), Noisy(seed, 0.03), 20), {"seconds": 60}, 0.85, 0.04
    ),
    "noise that ends, then a limit": Weather(
        lambda seed: Changing(Noisy(seed, 0.03), TokenBucket(300), 20), {"seconds": 60}, 0.8, 0.06
    ),
    "named 20/s, raised to 160/s": Weather(
        lambda _: Changing(
            Telling(TokenBucket(20), ceiling=20.0), Telling(TokenBucket(160), ceiling=160.0), 20
        ),
        {"seconds": 120},
        0.8,
        0.02,
    ),
    "named 20/s": Weather(lambda _: Telling(TokenBucket(20), ceiling=20.0), {"seconds": 180}, 0.93, 0.02),
}
SEEDS = 3


def measure(name: str) -> list[Result]:
    weather = WEATHERS[name]
    return [run(weather.make(seed), seed=seed, **weather.how) for seed in range(SEEDS)]


def main() -> None:
    out = [f"{'':44}{'goodput':>9}{'goal':>7}{'late':>7}{'refused':>9}{'closures':>10}{'rate':>8}"]
    for name, weather in WEATHERS.items():
        results = measure(name)
        good, late, refused, closures, rate = (
            statistics.median(values)
            for values in zip(
                *((r.goodput, r.late, r.refusals, r.closures, r.pacer.rate or 1e5) for r in results),
                strict=True,
            )
        )
        out.append(
            f"{name:44}{good:9.3f}{weather.goodput:7.2f}{late:7.3f}{refused:9.4f}{closures:10}{rate:8.0f}"
            f"{'' if good >= weather.goodput else '  <'}"
        )
    sys.stdout.write("\n".join([*out, ""]))


if __name__ == "__main__":
    main()
