"""Is the report true? The demo's outcomes beside the emulator's own books.

Sets and statuses in, findings out. Refuses to look at anything the client believes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet

import attrs

from koodrive_async.core.outcomes import Status


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        good: Whether it is as it should be.
        text: What was found.
    """

    good: bool
    text: str


def audit(
    asked: Collection[str],
    told: Mapping[str, Status],
    *,
    repeated: int,
    before: AbstractSet[str],
    after: AbstractSet[str],
    complete: bool,
) -> list[Finding]:
    """Compare.

    Args:
        asked: The ids that were handed in.
        told: What the report says.
        repeated: Outcomes that came for an id that had one.
        before: What was cancelled in the service's books when it began.
        after: And when it was over.
        complete: Whether all ids were to be read: nobody interrupted it.
    """
    by_status: dict[Status, set[str]] = {status: set() for status in Status}
    for share_id, status in told.items():
        by_status[status].add(share_id)
    confirmed, gone = by_status[Status.CANCELLED], by_status[Status.ALREADY_GONE]
    unanswered = len(set(asked) - told.keys())
    foreign = len(told.keys() - set(asked))
    untrue, still_there = confirmed - after, gone - after
    changed = after - before
    unsaid = changed - confirmed - gone - by_status[Status.UNKNOWN]
    return [
        _coverage(len(told), len(asked), unanswered if complete else 0, repeated, foreign),
        _finding(confirmed, untrue, "called cancelled", "cancelled there", "not"),
        _finding(gone, still_there, "called already gone", "gone there", "still there"),
        Finding(
            not unsaid,
            f"{len(changed):,} were cancelled there meanwhile, and the report knows of each"
            if not unsaid
            else f"{len(unsaid):,} were cancelled there, and the report says otherwise",
        ),
    ]


def _coverage(told: int, asked: int, unanswered: int, repeated: int, foreign: int) -> Finding:
    if unanswered or repeated or foreign:
        text = f"{unanswered:,} ids have no outcome, {repeated:,} have several, {foreign:,} nobody asked for"
        return Finding(False, text)
    if told < asked:
        return Finding(True, f"{told:,} outcomes; the other {asked - told:,} ids were not read any more")
    return Finding(True, f"{told:,} outcomes for {asked:,} ids, one for each")


def _finding(
    all_of_them: Collection[str], wrong: Collection[str], called: str, really: str, but: str
) -> Finding:
    if wrong:
        return Finding(False, f"{len(wrong):,} of {len(all_of_them):,} {called} are {but}")
    return Finding(True, f"{len(all_of_them):,} {called}, and {really}")
