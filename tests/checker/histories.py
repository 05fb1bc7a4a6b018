"""What is drawn from a seed: the shares, the weather, the client, the calls.

A seed is "backend-topic-number", so that one word replays one history. Drawing is pure and in a fixed order.

What is left out of the draw, because nobody could tell: a reply copied late that names no ids of its own
request (it may come in between the next request and its answer), and a nameless "gone" that crosses with a
request whose ids are refused once they are cancelled.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from tests.checker.books import After, Kind, Share
from tests.checker.replies import LOSSES, MUTE, Fault, Way, Weather

BACKENDS = ("asyncio", "trio")


@attrs.frozen
class Call:
    """One call of the client. Times are seconds, `after` ones are numbers of outcomes taken."""

    how: str = "cancel"  # or "open_cancel"
    source: str = "list"  # or "generator", "async", "slow"
    source_end: str = ""  # or "raises", "cancelled", "stalls"
    source_end_at: int = 0
    deadline: float | None = None
    grace: float = 0.3
    cut_after: float | None = None
    cut_way: str = "native"
    leave_after: int | None = None
    stop_after: int | None = None
    consumer_waits: float = 0.0
    progress: str = ""  # or "raises", "cancelled"


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
    http: str = ""  # "" for the default transport, "pool", "retries"
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


@attrs.define
class Draft:
    """A history while it is drawn; the topics change what they are about."""

    rng: random.Random
    trio: bool
    faults: list[Fault] = attrs.field(factory=list)
    chance: float = 0.0
    first: Fault | None = None
    always: Fault | None = None
    connections: float = 0.0
    idle_close: float = 0.0
    gone_whole: bool = False
    count: int = 3
    kinds: list[Kind] = attrs.field(factory=list)  # sprinkled among live ones
    afters: Sequence[After] = (After.GONE, After.GONE, After.ZERO)
    call: Call = Call()
    again: Call | None = None
    options: dict[str, object] = attrs.field(factory=dict)

    def some(self, *ways: Way, most: int = 4) -> list[Fault]:
        """A few of these, each carried out or not."""
        drawn = self.rng.sample(ways, self.rng.randint(1, min(most, len(ways))))
        return [(way, self.rng.random() < 0.6) for way in drawn]

    def pick(self, *values: object) -> object:
        return self.rng.choice(values)


# -- topics ---------------------------------------------------------------------------------------

OLD = (
    *MUTE, Way.SLOW, Way.NO_LIST, Way.ODD, Way.THROTTLED, Way.LATE, Way.MISSING, Way.TWICE, Way.FOREIGN,
    Way.SHUFFLED, Way.NUMBERS, Way.MIXED,
)  # fmt: skip
LISTS = (
    Way.CONTRADICTION, Way.OTHER_NAME, Way.IN_TEXT, Way.IN_5XX, Way.ZEROS, Way.MIXED, Way.FOREIGN,
    Way.MISSING, Way.TWICE, Way.SHUFFLED, Way.NUMBERS, Way.NAMELESS,
)  # fmt: skip
REFUSING = (After.REFUSED, After.REFUSED, After.POISON, After.GONE)


def _calm(draft: Draft) -> None:
    draft.kinds = draft.rng.sample((Kind.NEVER, Kind.REFUSED, Kind.POISON, Kind.BUSY, Kind.LIVE), 2)


def _storm(draft: Draft) -> None:
    draft.faults = draft.some(*OLD, most=6)
    draft.chance = draft.rng.choice((0.1, 0.3, 0.6, 0.9))
    draft.connections = draft.rng.choice((0.0, 0.0, 0.1, 0.3))
    draft.idle_close = draft.rng.choice((0.0, 0.0, 0.3))
    draft.kinds = draft.rng.sample(list(Kind), 2)
    draft.gone_whole = draft.rng.random() < 0.3


def _strays(draft: Draft) -> None:
    """Cancellations that nobody asked for, and failures in foreign code."""
    what = draft.rng.choice(("source", "source", "middleware", "middleware", "hook", "progress", "provider"))
    end = "raises" if draft.trio or draft.rng.random() < 0.2 else "cancelled"
    match what:
        case "source":
            draft.count = max(draft.count, 3)
            draft.call = attrs.evolve(
                draft.call,
                source="async",
                source_end=end,
                source_end_at=draft.rng.randint(0, draft.count),
                how=draft.rng.choice(("cancel", "open_cancel", "open_cancel")),
            )
        case "middleware":
            after = end == "cancelled" and draft.rng.random() < 0.4
            draft.options["middleware"] = "cancelled after" if after else end
            draft.options["middleware_at"] = draft.rng.randint(1, 3)
        case "hook":
            draft.options["hook"] = end
        case "progress":
            draft.call = attrs.evolve(draft.call, progress=end)
        case "provider":
            draft.options["provider"] = "renews" if draft.trio else "cancelled"


def _after(draft: Draft) -> None:
    """A lost reply, and then a refusal that may be its consequence."""
    draft.afters = REFUSING
    draft.faults = draft.some(*MUTE, Way.LATE, Way.MISSING, Way.NO_LIST)
    draft.first = (draft.rng.choice((*MUTE, Way.LATE)), True)
    draft.chance = draft.rng.choice((0.0, 0.2))
    _maybe_journal(draft)


def _twice(draft: Draft) -> None:
    """What left once has left, whoever sends it again."""
    draft.options["middleware"], draft.options["http"] = draft.rng.choice(
        (("twice", ""), ("twice", ""), ("", "retries"), ("twice", "pool"))
    )
    draft.first = (draft.rng.choice((Way.CLOSED_DOOR, Way.CLOSED_DOOR, Way.RST)), draft.rng.random() < 0.8)
    draft.faults = [(Way.CLOSED_DOOR, True), *draft.some(*LOSSES)]
    draft.chance = draft.rng.choice((0.2, 0.9))
    draft.options["attempts"] = draft.rng.choice((1, 1, 2))
    draft.afters = draft.rng.choice(((After.GONE,), REFUSING))


def _crossing(draft: Draft) -> None:
    """Bytes on a connection that belong to no request on it."""
    draft.count = draft.rng.choice((2, 3, 5, 8, 101, 130))
    draft.call = attrs.evolve(draft.call, how="open_cancel", source="slow")
    draft.options["concurrency"] = draft.rng.choice((1, 1, 2))
    kind = draft.rng.choice(("named", "gone", "glued", "idle", "idle"))
    if kind == "named":
        draft.faults = [(way, True) for way in (Way.COPIED, Way.GLUED, Way.STRAY_408, Way.FOREIGN)]
        draft.options["http"] = draft.rng.choice(("", "", "pool"))
    elif kind == "gone":
        draft.faults = [(way, True) for way in (Way.STRAY_GONE, Way.STRAY_GONE, Way.GLUED_GONE)]
        draft.kinds = []
        draft.call = attrs.evolve(draft.call, how=draft.rng.choice(("cancel", "open_cancel")))
        draft.count = draft.rng.choice((2, 3, 4))
        draft.options["calls"] = draft.rng.choice((2, draft.count))
    elif kind == "idle":
        draft.first, draft.faults = (Way.IDLE_COPY, True), [(Way.NAMELESS, True)]
        draft.kinds = draft.rng.sample((Kind.REFUSED, Kind.NEVER, Kind.LIVE), 2)
        draft.count = draft.rng.choice((2, 4, 8))
        draft.call = attrs.evolve(draft.call, how=draft.rng.choice(("cancel", "open_cancel")), source="list")
        draft.options["calls"] = 2
    else:
        draft.faults = [(Way.GLUED, True), (Way.NAMELESS, True), (Way.GLUED_GONE, True)]
    draft.chance = draft.rng.choice((0.3, 0.6, 0.9))


def _lists(draft: Draft) -> None:
    """Lists that contradict themselves or name ids elsewhere."""
    draft.faults = draft.some(*LISTS)
    draft.chance = draft.rng.choice((0.3, 0.7, 1.0))
    draft.kinds = [draft.rng.choice((Kind.NEVER, Kind.REFUSED)), *draft.rng.sample(list(Kind), 1)]
    draft.count = max(draft.count, 2)
    draft.options["http"] = draft.rng.choice(("", "", "pool"))
    draft.afters = draft.rng.choice(((After.GONE,), (After.ZERO,), REFUSING))


def _gone(draft: Draft) -> None:
    """A whole-request "does not exist", of everything or of some ids."""
    if draft.rng.random() < 0.5:
        draft.always = (draft.rng.choice((Way.WRONG_USER, Way.WRONG_USER, Way.REFUSE_ALL)), False)
        draft.count = draft.rng.choice((2, 3, 8, 60, 130))
    else:
        draft.gone_whole = True
        draft.kinds = [Kind.NEVER] * draft.rng.randint(1, 3)
        draft.afters = (After.GONE, After.GONE_WHOLE)
        draft.faults, draft.chance = draft.some(*MUTE), 0.1
        draft.first = draft.rng.choice((None, (draft.rng.choice(MUTE), True)))
        draft.options["http"] = draft.rng.choice(("", "", "pool"))


def _limits(draft: Draft) -> None:
    """Deadlines, stops, leaving, cancelling: what was not read or not sent."""
    rng = draft.rng
    call = attrs.evolve(
        draft.call,
        source=rng.choice(("list", "generator", "async", "slow", "slow")),
        grace=rng.choice((0.0, 0.01, 0.3)),
    )
    draft.count = rng.choice((3, 8, 101, 230))
    match rng.choice(("deadline", "deadline", "stop", "leave", "cut", "stall")):
        case "deadline":
            call = attrs.evolve(call, deadline=rng.choice((0.0, 0.001, 0.005, 0.02)))
        case "stop":
            call = attrs.evolve(call, how="open_cancel", stop_after=rng.randint(1, draft.count))
        case "leave":
            call = attrs.evolve(call, how="open_cancel", leave_after=rng.randint(0, draft.count))
        case "cut":
            call = attrs.evolve(call, cut_after=rng.uniform(0, 0.02), cut_way=rng.choice(("native", "anyio")))
        case "stall":
            at = rng.randint(0, draft.count)
            call = attrs.evolve(
                call, source="async", source_end="stalls", source_end_at=at, deadline=rng.choice((0.01, 0.05))
            )
    draft.call = attrs.evolve(call, consumer_waits=rng.choice((0.0, 0.0, 0.001)))
    draft.faults, draft.chance = draft.some(*MUTE, Way.SLOW, Way.THROTTLED), rng.choice((0.0, 0.3))
    draft.afters = rng.choice((REFUSING, (After.GONE,)))
    _maybe_journal(draft)


def _dead(draft: Draft) -> None:
    """Nothing ever answers."""
    draft.always = (draft.rng.choice(LOSSES), draft.rng.random() < 0.5)
    draft.options["attempts"] = draft.rng.choice((1, 2))
    draft.count = draft.rng.choice((1, 1, 2, 8))


def _statuses(draft: Draft) -> None:
    """Statuses that nobody expects: the first answer, or that for ids that are cancelled already."""
    draft.afters = (draft.rng.choice((After.ODD, After.GONE)),)
    draft.first = (draft.rng.choice((Way.ODD, Way.ODD, Way.MISSING, *MUTE)), True)
    draft.faults, draft.chance = [(Way.ODD, True), (Way.ODD, False)], draft.rng.choice((0.0, 0.9))


def _tokens(draft: Draft) -> None:
    draft.options["provider"] = "renews"
    draft.faults = [(Way.EXPIRED, False), *draft.some(*MUTE)]
    draft.chance = draft.rng.choice((0.3, 0.6))
    draft.options["middleware"] = draft.rng.choice(("", "loses", "answers", "watches"))
    draft.options["middleware_at"] = draft.rng.randint(1, 3)


def _anything(draft: Draft) -> None:
    """Several topics, one upon the other."""
    for topic in draft.rng.sample((_storm, _after, _lists, _limits, _twice, _tokens), 2):
        faults, chance = draft.faults, draft.chance
        topic(draft)
        draft.faults, draft.chance = [*faults, *draft.faults], max(chance, draft.chance)
    draft.options["hook"] = draft.rng.choice(("", "raises"))


def _maybe_journal(draft: Draft) -> None:
    """One history in five keeps a journal, and runs again on it."""
    if draft.rng.random() < 0.2:
        draft.options["journal"] = True
        draft.options["settles"] = draft.rng.random() < 0.5
        draft.again = Call(how=draft.rng.choice(("cancel", "open_cancel")))


def _maybe_together(draft: Draft) -> None:
    """One history in six makes several calls at the same time, where calls don't depend on each other."""
    if (
        draft.rng.random() < 1 / 6
        and draft.again is None
        and "calls" not in draft.options
        and draft.count > 3
    ):
        draft.options |= {"calls": draft.rng.choice((2, 3)), "together": True}


TOPICS: dict[str, Callable[[Draft], None]] = {
    "calm": _calm,
    "storm": _storm,
    "strays": _strays,
    "after": _after,
    "twice": _twice,
    "crossing": _crossing,
    "lists": _lists,
    "gone": _gone,
    "limits": _limits,
    "dead": _dead,
    "statuses": _statuses,
    "tokens": _tokens,
    "anything": _anything,
}
#: How often each is drawn where none is asked for: what takes long or varies little, seldom.
_WEIGHTS = (2, 10, 6, 8, 5, 8, 12, 5, 10, 2, 3, 4, 10)


def seeds(first: int, count: int, *, topic: str = "", backend: str = "") -> list[str]:
    """Seeds of histories, one for each number."""
    drawn = []
    for number in range(first, first + count):
        rng = random.Random(f"seed {number}")
        kind = topic or rng.choices(list(TOPICS), _WEIGHTS)[0]
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
        _maybe_together(draft)
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
