"""The topics that histories are about: each draws what goes wrong, and for whom."""

import random
from collections.abc import Callable, Sequence

import attrs

from tests.checker.books import After, Kind
from tests.checker.replies import LOSSES, MUTE, Fault, Way


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
    draft.options["http"] = draft.rng.choice(("", "", "switches"))


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


def maybe_together(draft: Draft) -> None:
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
WEIGHTS = (2, 10, 6, 8, 5, 8, 12, 5, 10, 2, 3, 4, 10)
