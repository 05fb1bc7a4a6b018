"""What is drawn from a seed: the shares, the weather, the client, the calls.

A seed is "backend-topic-number", so that one word replays one history. Drawing is pure and in a fixed order.

What is left out of the draw, because nobody could tell: a reply copied late that names no ids of its own
request (it may come in between the next request and its answer), and a nameless "gone" that crosses with a
request whose ids are refused once they are cancelled.
"""

import random
from collections.abc import Sequence
from typing import Any

import attrs

from tests.checker.books import Kind, Share
from tests.checker.replies import Fault, Way, Weather
from tests.checker.topics import TOPICS, WEIGHTS, Call, Draft, maybe_together

BACKENDS = ("asyncio", "trio")


@attrs.frozen
class History:
    """One history, all of it."""

    seed: str
    backend: str
    topic: str
    shares: Sequence[Share]
    repeated: bool  # some ids come twice in the input
    weather: Weather
    calls: Sequence[Call]
    http: str = ""  # "" for the default transport, "pool", "retries", "switches"
    concurrency: int = 3
    attempts: int = 3
    together: bool = False  # the calls are made at the same time
    journal: bool = False
    settles: bool = False  # the journal settles refusals that come twice
    middleware: str = (
        ""  # or "watches", "twice", "raises", "cancelled", "cancelled after", "loses", "answers"
    )
    middleware_at: int = 1
    hook: str = ""  # or "raises", "cancelled"
    provider: str = ""  # "renews", "cancelled"
    afterwards: bool = False

    @property
    def quiet(self) -> bool:
        """Whether nothing goes wrong that may matter: hooks don't."""
        harmless = not (self.middleware or self.provider or any(call.source_end for call in self.calls))
        return self.topic == "calm" or (self.topic == "strays" and harmless)

    @property
    def tight(self) -> bool:
        """Whether the client waits for a short time only: then on a busy machine anything may time out."""
        weather = self.weather
        drawn = (*weather.faults, *(fault for fault in (weather.first, weather.always) if fault))
        return any(way is Way.HANG for way, _ in drawn)

    @property
    def between_strays(self) -> bool:
        """Whether strays come between the calls, and not during one."""
        return self.weather.first == (Way.IDLE_COPY, True)

    @property
    def hopeless(self) -> bool:
        """Whether every request is refused, and there are enough of them to see it."""
        refused = self.weather.always in ((Way.WRONG_USER, False), (Way.REFUSE_ALL, False))
        return refused and len(self.shares) >= 60


def seeds(first: int, count: int, *, topic: str = "", backend: str = "") -> list[str]:
    """Seeds of histories, one for each number."""
    drawn = []
    for number in range(first, first + count):
        rng = random.Random(f"seed {number}")
        kind = topic or rng.choices(list(TOPICS), WEIGHTS)[0]
        drawn.append(f"{backend or BACKENDS[number % 2]}-{kind}-{number}")
    return drawn


def history(seed: str) -> History:
    """The history of a seed."""
    backend, topic, _ = seed.split("-")
    rng = random.Random(seed)
    draft = Draft(rng, trio=backend == "trio")
    draft.count = rng.choice((1, 1, 2, 3, 5, 8, 8, 20, 101))
    draft.call = Call(
        how=rng.choice(("cancel", "open_cancel")),
        source=rng.choice(("list", "generator", "async", "slow")),
        grace=rng.choice((0.05, 0.3)),
    )
    draft.options = {"concurrency": rng.choice((1, 2, 4)), "attempts": rng.choice((1, 2, 3))}
    TOPICS[topic](draft)
    weather = Weather(
        seed,
        faults=_decidable(draft),
        chance=draft.chance,
        first=draft.first,
        always=draft.always,
        connections=draft.connections,
        idle_close=draft.idle_close,
        gone_whole=draft.gone_whole,
    )
    if topic not in ("strays", "gone"):  # whose promises are about one call
        maybe_together(draft)
    split: Any = draft.options.pop("calls", 1)
    calls = [draft.call] * split if draft.again is None else [draft.call, draft.again]
    return History(
        seed,
        backend,
        topic,
        _shares(draft),
        draft.call.how == "cancel" and rng.random() < 0.2,
        weather,
        calls,
        afterwards=rng.random() < 0.15,
        **draft.options,  # type: ignore[arg-type]
    )


def _decidable(draft: Draft) -> list[Fault]:
    """The faults, without those that nobody could tell apart from the truth beside the others."""
    ways = {way for way, _ in draft.faults}
    crossing = ways & {Way.COPIED, Way.STRAY_GONE}
    nameless = {Way.NAMELESS, Way.THROTTLED, Way.EXPIRED}
    return [fault for fault in draft.faults if not (crossing and fault[0] in nameless)]


def _shares(draft: Draft) -> list[Share]:
    rng = draft.rng
    base = rng.randrange(10**18, 8 * 10**18)
    kinds = [Kind.LIVE] * draft.count
    for kind in draft.kinds:
        for _ in range(rng.randint(1, max(1, min(draft.count // 2, 4)))):
            kinds[rng.randrange(draft.count)] = kind
    after = rng.choice(draft.afters)
    return [
        Share(str(base + place * 7), kind, after, busy=rng.randint(1, 3) if kind is Kind.BUSY else 0)
        for place, kind in enumerate(kinds)
    ]
