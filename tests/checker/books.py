"""The books of one history: what each share is, what came in, what was done, what was answered.

Written by the server's thread, read by the oracle once every connection of the history is closed. Shares no
code with the client: what a reply is worth is noted here by whoever made it, never read out of its bytes.
"""

import time
from collections.abc import Iterable, Sequence
from enum import StrEnum

import attrs

GONE = "13000309"
REFUSED = "13000410"
INVALID = "13000102"
BUSY = "13009999"


class Kind(StrEnum):
    """What a share is before anybody asks to cancel it."""

    LIVE = "live"
    NEVER = "never existed"
    REFUSED = "refused"  # an item of its own in the list, always
    BUSY = "busy"  # likewise, for the first few times
    POISON = "poison"  # the whole request is refused as invalid
    SICK = "sick"  # the whole request fails with a 500


class After(StrEnum):
    """How an id that has been cancelled is answered when it is asked for again."""

    GONE = "gone"
    ZERO = "code 0 again"
    REFUSED = "refused"
    POISON = "poison"  # the whole request is refused as invalid
    GONE_WHOLE = "whole gone"  # the whole request is answered "does not exist"
    ODD = "odd status"  # the whole request gets a status nobody expects


@attrs.define
class Share:
    share_id: str
    kind: Kind = Kind.LIVE
    after: After = After.GONE
    busy: int = 0
    done_by: "Entry | None" = None


@attrs.define(eq=False)
class Entry:
    """One request as it came in.

    `claims`: what its reply says of single ids, and means; a reply that contradicts itself claims nothing.
    `refused`: the code with which the request as a whole was refused. `nameless`: its reply names no ids.
    `plain`: its reply is the truth as documented. `finished`: it was written whole.
    """

    number: int
    run: int
    ids: tuple[str, ...]
    fault: str = ""
    acted: list[str] = attrs.field(factory=list)
    claims: dict[str, str] = attrs.field(factory=dict)
    refused: str = ""
    nameless: bool = False
    plain: bool = False
    sent: bool = False
    finished: bool = False


@attrs.define
class Books:
    """Everything that the service knows of one history. `run` is the number of the call under way."""

    shares: dict[str, Share]
    run: int = 1
    #: Of calls at the same time: the call that asks for an id.
    owners: dict[str, int] = attrs.field(factory=dict)
    calm: bool = False
    entries: list[Entry] = attrs.field(factory=list)
    #: Runs in which something was answered whole, by whomever.
    answered: set[int] = attrs.field(factory=set)
    #: Connections that broke, were refused or were closed by the server: requests may have been lost unseen.
    lossy: bool = False
    #: Runs in which the caller's own code ended by an exception that the call must report.
    broke: set[int] = attrs.field(factory=set)
    #: What a middleware answered by itself: ids, and the code with which it refused them.
    refused_inside: list[tuple[Sequence[str], str]] = attrs.field(factory=list)
    asked: dict[tuple[str, ...], int] = attrs.field(factory=dict)
    places: dict[str, int] = attrs.field(factory=dict)
    story: list[str] = attrs.field(factory=list)
    began: float = attrs.field(factory=time.monotonic)

    def tell(self, text: str) -> None:
        self.story.append(f"{(time.monotonic() - self.began) * 1000:7.1f} ms  {text}")

    def arrived(self, ids: Iterable[str], fault: str = "") -> Entry:
        these = tuple(ids)
        run = self.owners.get(these[0], self.run) if these else self.run
        entry = Entry(len(self.entries) + 1, run, these, fault)
        self.entries.append(entry)
        return entry

    def with_id(self, share_id: str) -> list[Entry]:
        return [entry for entry in self.entries if share_id in entry.ids]

    def execute(self, entry: Entry, share_id: str) -> None:
        share = self.shares[share_id]
        assert share.kind in (Kind.LIVE, Kind.BUSY)
        if share.done_by is None:
            share.done_by = entry
            entry.acted.append(share_id)

    def short(self, ids: Iterable[str]) -> str:
        """Ids for people: their places, runs of them shortened."""
        places = sorted(self.place(share_id) for share_id in ids)
        runs: list[list[int]] = []
        for place in places:
            if runs and place == runs[-1][1] + 1:
                runs[-1][1] = place
            else:
                runs.append([place, place])
        return ",".join(f"#{a}" if a == b else f"#{a}-{b}" for a, b in runs) or "none"

    def place(self, share_id: str) -> int:
        if len(self.places) != len(self.shares):
            self.places = {known: number for number, known in enumerate(self.shares)}
        return self.places.get(share_id, -1)

    def kinds(self) -> str:
        """The shares for people."""
        kinds: dict[str, list[str]] = {}
        for share in self.shares.values():
            after = f", then {share.after}" if share.kind in (Kind.LIVE, Kind.BUSY) else ""
            kinds.setdefault(f"{share.kind}{after}", []).append(share.share_id)
        return "; ".join(f"{self.short(ids)} {kind}" for kind, ids in kinds.items())
