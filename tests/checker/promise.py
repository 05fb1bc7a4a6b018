"""The oracle: each outcome of a call against the books, by the promise's own definition.

Each finding begins with what was claimed, so that a test can tell the kinds apart. Findings are about what
the books refute; that a client might have found out more is one only where nothing stood in its way.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from koodrive_async import CancelReport, KooDriveError, ShareOutcome, Status, TransportFailure
from tests.checker.books import BUSY, GONE, Books, Entry, Kind
from tests.checker.callers import Broken, Source
from tests.checker.histories import Call, History

WELL = (Status.CANCELLED, Status.ALREADY_GONE)
#: Requests after which a call must have noticed that nothing is accepted; those under way are on top.
MOST_IN_VAIN = 45
#: What must come of a share where nothing goes wrong.
EXPECTED = {
    Kind.LIVE: Status.CANCELLED,
    Kind.BUSY: Status.CANCELLED,
    Kind.NEVER: Status.ALREADY_GONE,
    Kind.REFUSED: Status.REJECTED,
    Kind.POISON: Status.REJECTED,
}

# -- shim: what the package does not have yet. To be deleted, with every line that says HAS_ENDED. ---
HAS_ENDED = hasattr(CancelReport, "complete")
# ----------------------------------------------------------------------------------------------------


@attrs.define
class Result:
    """What a call gave, and what the caller did to it."""

    call: Call
    source: Source
    run: int
    taken: list[ShareOutcome] = attrs.field(factory=list)
    report: Any = None
    error: BaseException | None = None
    normally: bool = False  # it returned, or the stream ended by itself
    cut: bool = False
    left: bool = False
    stopped: bool = False

    @property
    def by_itself(self) -> bool:
        """Whether nobody ended it early."""
        return not (self.cut or self.left or self.stopped or self.call.deadline is not None)

    def outcomes(self) -> list[ShareOutcome]:
        """Those that are known one by one: of a stream what was taken, and the failures in its report."""
        if isinstance(self.report, CancelReport):
            return list(self.report.outcomes)
        taken = {outcome.share_id for outcome in self.taken}
        rest = [one for one in getattr(self.report, "failures", ()) if one.share_id not in taken]
        return [*self.taken, *rest]


def judge(history: History, books: Books, results: Sequence[Result]) -> Iterator[str]:
    """Everything that is wrong."""
    for result in results:
        where = f"call {result.run}: "
        for finding in (*_ending(history, books, result), *_sums(history, books, result)):
            yield where + finding
        for outcome in result.outcomes():
            for finding in _outcome(history, books, result, outcome):
                yield f"{where}#{books.place(outcome.share_id)} {finding}"


# -- one outcome ----------------------------------------------------------------------------------


def _outcome(history: History, books: Books, result: Result, outcome: ShareOutcome) -> Iterator[str]:
    share = books.shares.get(outcome.share_id)
    if share is None:
        yield f"{outcome.status}, and nobody asked for it"
        return
    # What counts is this call; with a journal also the runs before it.
    mine = [
        one
        for one in books.with_id(outcome.share_id)
        if one.run == result.run or (history.journal and one.run < result.run)
    ]
    now = [one for one in mine if one.run == result.run]
    done = share.done_by if share.done_by in mine else None
    gone = share.kind is Kind.NEVER or done is not None
    status = outcome.status
    match status:
        case Status.CANCELLED:
            if done is None:
                yield "CANCELLED, but nothing was carried out"
            elif not _said(history, mine, outcome.share_id, "0"):
                yield "CANCELLED, but no reply that holds said so"
        case Status.ALREADY_GONE:
            if not gone and not _only_word(history, mine):
                yield "ALREADY_GONE, but the share is there"
            elif gone and not _said(history, mine, outcome.share_id, GONE):
                yield "ALREADY_GONE, but no reply that holds said so"
        case Status.REJECTED:
            if done is not None:
                yield f"REJECTED, but request {done.number} carried it out"
            elif not _refused(mine, outcome.share_id):
                yield "REJECTED, but nobody refused it"
            if "deadline passed before" in str(outcome.error):
                yield "REJECTED, and its error speaks of a deadline"
        case Status.NOT_SENT:
            if now:
                yield f"NOT_SENT, but request {now[0].number} had it"
            elif done is not None:
                yield f"NOT_SENT, but request {done.number} of an earlier run carried it out"
        case Status.UNKNOWN:
            yield from _doubt(history, books, result, mine, outcome)
    if history.quiet and status is not EXPECTED[share.kind]:
        yield f"{status.name}, and nothing went wrong: it is {share.kind}"
    if (status in WELL) != (outcome.error is None):
        yield f"{status.name} with error {outcome.error!r}"
    if HAS_ENDED and outcome.ok != (status in WELL):
        yield f"{status.name} with ok={outcome.ok}"


def _said(history: History, mine: Sequence[Entry], share_id: str, code: str) -> bool:
    """Whether a reply that holds gave this code for the id; through a lent client only named ones do."""
    told = (one for one in mine if one.sent and not (history.http and one.nameless))
    return any(one.claims.get(share_id) == code for one in told)


def _only_word(history: History, mine: Sequence[Entry]) -> bool:
    """A single id, of which the service says twice that it does not exist: nobody can know better."""
    alone = len(history.shares) == 1 and not history.http
    return alone and sum(one.refused == GONE and one.finished for one in mine) >= 2


def _refused(mine: Sequence[Entry], share_id: str) -> bool:
    return any(one.sent and (one.refused or one.claims.get(share_id, "0") not in ("0", GONE)) for one in mine)


def _doubt(
    history: History, books: Books, result: Result, mine: Sequence[Entry], outcome: ShareOutcome
) -> Iterator[str]:
    if not mine and not books.lossy and result.by_itself:
        yield "UNKNOWN, but nothing with it was ever sent"
    plain = [one for one in mine if one.plain and one.finished]
    lost = isinstance(outcome.error, TransportFailure)  # a busy machine can make any request time out
    if not mine or lost or not result.by_itself or history.http or history.middleware:
        return
    if plain == mine:
        yield f"UNKNOWN, but request {mine[0].number} was answered as it should"
    last = mine[-1]
    refusal = last.refused or last.claims.get(outcome.share_id, "0")
    if HAS_ENDED and last.finished and refusal not in ("0", GONE, BUSY) and outcome.code != refusal:
        yield f"UNKNOWN with code {outcome.code!r}, but request {last.number} was refused with {refusal}"


# -- how it ended ---------------------------------------------------------------------------------


def _ending(history: History, books: Books, result: Result) -> Iterator[str]:
    call, source, error = result.call, result.source, result.error
    all_read = source.over or (call.source == "list" and call.how == "cancel")
    if error is not None and not isinstance(error, Exception):
        yield f"ended by {type(error).__name__}, and nobody cancelled it"
    elif error is not None and not isinstance(error, KooDriveError | Broken):
        yield f"raised {error!r}"
    if isinstance(error, Broken) and not _may_break(history, call):
        yield f"raised {error!r}, and nothing did"
    if result.report is None:
        if isinstance(error, KooDriveError) and not result.cut:
            yield f"raised {type(error).__name__} without a report"
        return
    failures = [outcome for outcome in result.outcomes() if outcome.status not in WELL]
    if result.report and (failures or not (all_read or call.source == "list")):
        read = "all" if all_read else f"{len(source.read)}"
        yield f"True in a condition, but {len(failures)} failed and {read} of {len(source.ids)} ids were read"
    if result.normally and result.by_itself and not (all_read or call.source == "list"):
        yield f"ended without an error after {len(source.read)} of {len(source.ids)} ids"
    if result.normally and result.by_itself and call.source_end in ("raises", "cancelled"):
        yield "ended without an error, but its source did not"
    if result.normally and result.by_itself and result.run in books.broke:
        yield "ended without an error, but the caller's own code did not"
    if history.hopeless and result.by_itself:
        requests = sum(entry.run == result.run for entry in books.entries)
        if requests > MOST_IN_VAIN:
            yield f"{requests} requests, and nothing was ever accepted"
        if result.normally:
            yield "returned, but nothing was ever accepted"
    if result.normally and result.by_itself and _never_answered(history, books, result):
        yield "returned, but nothing was ever answered"
    if history.quiet and error is not None:
        yield f"raised {error!r}, and nothing went wrong"
    if HAS_ENDED:
        yield from _named_ending(result, all_read=all_read)
        yield from _named_error(history, result)


def _may_break(history: History, call: Call) -> bool:
    return call.source_end == "raises" or history.middleware == "raises"


def _never_answered(history: History, books: Books, result: Result) -> bool:
    busy = result.report.requests > 0 and not history.middleware and not history.journal
    return busy and result.run not in books.answered and not any(one.sent for one in books.entries)


def _named_ending(result: Result, *, all_read: bool) -> Iterator[str]:
    report, call = result.report, result.call
    json.dumps(report.to_dict())
    if bool(report) != (report.complete and report.all_well):
        yield f"True in a condition: {bool(report)}, complete={report.complete}, all_well={report.all_well}"
    if report.complete and not (all_read or call.source == "list"):
        yield f"complete, but {len(result.source.read)} of {len(result.source.ids)} ids were read"
    if result.normally and result.by_itself and not report.complete:
        yield "not complete, and nobody ended it early"
    may = {
        "EXHAUSTED": report.complete,
        "STOPPED": result.stopped,
        "LEFT": result.left or result.cut,
        "DEADLINE": call.deadline is not None,
        "CANCELLED": result.cut,
        "FAILED": result.error is not None or result.cut or result.left,
    }
    if not may[report.ended.name]:
        yield f"ended={report.ended.name}, which it did not"
    if result.error is not None and isinstance(result.error, Exception) and report.ended.name != "FAILED":
        yield f"ended={report.ended.name} beside {type(result.error).__name__}"


def _named_error(history: History, result: Result) -> Iterator[str]:
    """A cancellation that nobody asked for: the error says whose it was."""
    if history.topic != "strays" or result.error is None:
        return
    kind, text = type(result.error).__name__, str(result.error)
    culprits = {
        "source": result.call.source_end == "cancelled",
        "middleware": history.middleware.startswith("cancelled"),
        "provider": history.provider == "cancelled",
    }
    for culprit, guilty in culprits.items():
        wanted = "AuthFailed" if culprit == "provider" else "UnexpectedCancellation"
        if guilty and (kind != wanted or culprit not in text):
            yield f"raised {result.error!r}, which does not name the {culprit}"


# -- sums -----------------------------------------------------------------------------------------


def _sums(history: History, books: Books, result: Result) -> Iterator[str]:
    report, source = result.report, result.source
    if report is None:
        return
    outcomes = result.outcomes()
    arrived = sum(entry.run == result.run for entry in books.entries)
    if arrived > report.requests and history.http != "retries" and history.middleware != "twice":
        yield f"{arrived} requests came in, {report.requests} reported"
    ids = [outcome.share_id for outcome in outcomes]
    if len(set(ids)) != len(ids):
        yield "an id has two outcomes"
    counts: Mapping[Status, int] = report.counts
    total = sum(counts.values())
    found = {status: sum(one.status is status for one in outcomes) for status in Status}
    distinct = list(dict.fromkeys(source.ids if result.call.source == "list" else source.read))
    if isinstance(report, CancelReport):
        if ids != distinct[: len(ids)] or len(ids) < len(distinct) - (result.call.deadline is not None):
            yield f"outcomes of {len(ids)} ids, but {len(distinct)} were given, or in another order"
        if found != dict(counts):
            yield f"counts {dict(counts)}, but outcomes {found}"
    else:
        for status in Status:
            failures = status not in WELL
            if found[status] > counts[status] or (failures and found[status] < counts[status]):
                yield f"{status.name}: {counts[status]} in the summary, {found[status]} handed out"
        whole = result.normally and result.by_itself
        if result.call.source != "list" and not len(distinct) - 1 <= total <= len(distinct):
            yield f"{len(distinct)} ids were read, and {total} counted"
        if whole and (total != len(distinct) or len(result.taken) != total):
            yield f"{len(distinct)} ids, {total} counted, {len(result.taken)} handed out"
    if isinstance(report, CancelReport):
        again = set(report.retryable_ids)
        for outcome in outcomes:
            must = outcome.status in (Status.UNKNOWN, Status.NOT_SENT)
            if (must and outcome.share_id not in again) or (
                outcome.status in WELL and outcome.share_id in again
            ):
                yield f"{outcome.status.name} and retryable_ids disagree"


def kinds_of(books: Books) -> str:
    """The shares for people."""
    kinds: dict[str, list[str]] = {}
    for share in books.shares.values():
        after = f", then {share.after}" if share.kind in (Kind.LIVE, Kind.BUSY) else ""
        kinds.setdefault(f"{share.kind}{after}", []).append(share.share_id)
    return "; ".join(f"{books.short(ids)} {kind}" for kind, ids in kinds.items())
