"""The oracle, second half: how a call ended, and whether its report adds up."""

import json
from collections.abc import Iterator, Sequence

from koodrive_async import CancelReport, KooDriveError, ShareOutcome, Status, TransportFailure
from tests.checker.books import BUSY, GONE, INVALID, REFUSED, Books
from tests.checker.callers import Broken
from tests.checker.histories import History
from tests.checker.results import WELL, Result
from tests.checker.topics import Call

#: Requests after which a call must have noticed that nothing is accepted; those under way are on top.
MOST_IN_VAIN = 45


def ending(history: History, books: Books, result: Result) -> Iterator[str]:
    """What is wrong with how a call ended."""
    yield from _raised(history, result)
    if result.returned_by_itself:
        yield from _quiet_end(history, books, result)
    report, read = result.report, len(result.source.read)
    if report is None:
        return
    failed = sum(outcome.status not in WELL for outcome in result.outcomes())
    if report and (failed or not result.whole):
        yield f"True in a condition, but {failed} failed and {read} of {len(result.source.ids)} ids were read"
    requests = sum(entry.run == result.run for entry in books.entries)
    if history.hopeless and requests > MOST_IN_VAIN:
        yield f"{requests} requests, and nothing was ever accepted"
    yield from _named_ending(result)
    yield from _named_error(history, result)
    if result.by_itself and isinstance(result.error, TransportFailure):
        yield from _dead(history, books, result)


def _raised(history: History, result: Result) -> Iterator[str]:
    """Whether it may raise this."""
    error = result.error
    if error is None:
        return
    if not isinstance(error, Exception):
        yield f"ended by {type(error).__name__}, and nobody cancelled it"
    elif not isinstance(error, KooDriveError | Broken):
        yield f"raised {error!r}"
    if isinstance(error, Broken) and not _may_break(history, result.call):
        yield f"raised {error!r}, and nothing did"
    if isinstance(error, KooDriveError) and result.report is None and not result.cut:
        yield f"raised {type(error).__name__} without a report"
    if history.quiet:
        yield f"raised {error!r}, and nothing went wrong"


def _may_break(history: History, call: Call) -> bool:
    return call.source_end == "raises" or history.middleware == "raises"


def _quiet_end(history: History, books: Books, result: Result) -> Iterator[str]:
    """Whether it may end without an error, nobody having ended it early."""
    source = result.source
    if not result.whole:
        yield f"ended without an error after {len(source.read)} of {len(source.ids)} ids"
    if result.call.source_end in ("raises", "cancelled"):
        yield "ended without an error, but its source did not"
    if result.run in books.broke:
        yield "ended without an error, but the caller's own code did not"
    if history.hopeless:
        yield "returned, but nothing was ever accepted"
    foreign = history.middleware or history.journal
    mute = result.run not in books.answered and not any(entry.sent for entry in books.entries)
    if result.report.requests > 0 and mute and not foreign:
        yield "returned, but nothing was ever answered"


def _dead(history: History, books: Books, result: Result) -> Iterator[str]:
    """A call that says that nobody ever answered."""
    answered = [one.number for one in books.entries if one.run == result.run and one.finished]
    sure = not (history.tight or history.middleware)
    if answered and sure and result.error.gave_up != "patience":
        yield f"raised {result.error!r}, but request {answered[0]} was answered"


def _named_ending(result: Result) -> Iterator[str]:
    report, error = result.report, result.error
    plain = json.loads(json.dumps(report.to_dict()))
    shown = plain["version"], plain["ok"], plain["complete"], plain["ended"]
    if shown != (1, bool(report), report.complete, report.ended.value):
        yield f"to_dict() begins with {shown}"
    if plain["counts"] != {status.value: count for status, count in report.counts.items()}:
        yield f"to_dict() counts {plain['counts']}"
    if report.unjournaled:
        yield f"{report.unjournaled} outcomes are not in the journal"
    if bool(report) != (report.complete and report.all_well):
        yield f"True in a condition: {bool(report)}, complete={report.complete}, all_well={report.all_well}"
    if report.complete and not result.whole:
        yield f"complete, but {len(result.source.read)} of {len(result.source.ids)} ids were read"
    if result.returned_by_itself and not (report.complete and report.ended.name == "EXHAUSTED"):
        yield f"complete={report.complete}, ended={report.ended.name}, and nobody ended it early"
    may = {
        "EXHAUSTED": report.complete,
        "STOPPED": result.stopped,
        "LEFT": result.left or result.cut,
        "DEADLINE": result.call.deadline is not None,
        "CANCELLED": result.cut,
        "FAILED": error is not None or result.cut or result.left,
    }
    if not may[report.ended.name]:
        yield f"ended={report.ended.name}, which it did not"
    if isinstance(error, Exception) and report.ended.name != "FAILED":
        yield f"ended={report.ended.name} beside {type(error).__name__}"


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


def sums(history: History, books: Books, result: Result) -> Iterator[str]:
    """What does not add up in a report."""
    report, source = result.report, result.source
    if report is None:
        return
    outcomes = result.outcomes()
    yield from (f"request {one.number} asks for nothing" for one in books.entries if not one.ids)
    arrived = sum(entry.run == result.run for entry in books.entries)
    if arrived > report.requests and history.http != "retries" and history.middleware != "twice":
        yield f"{arrived} requests came in, {report.requests} reported"
    if len({outcome.share_id for outcome in outcomes}) != len(outcomes):
        yield "an id has two outcomes"
    given = list(dict.fromkeys(source.ids if result.call.source == "list" else source.read))
    if isinstance(report, CancelReport):
        yield from _report(result, outcomes, given)
    else:
        yield from _summary(result, outcomes, given)


def _counted(outcomes: Sequence[ShareOutcome]) -> dict[Status, int]:
    return {status: sum(one.status is status for one in outcomes) for status in Status}


def _report(result: Result, outcomes: Sequence[ShareOutcome], given: Sequence[str]) -> Iterator[str]:
    ids = [outcome.share_id for outcome in outcomes]
    # An id that the source gave as the deadline passed may have been read too late.
    short = len(given) - len(ids) > (result.call.deadline is not None)
    if ids != given[: len(ids)] or short:
        yield f"outcomes of {len(ids)} ids, but {len(given)} were given, or in another order"
    if dict(result.report.counts) != _counted(outcomes):
        yield f"counts {dict(result.report.counts)}, but outcomes {_counted(outcomes)}"
    again = set(result.report.retryable_ids)
    for outcome in outcomes:
        must = outcome.status in (Status.UNKNOWN, Status.NOT_SENT)
        may = outcome.status not in WELL
        if (must and outcome.share_id not in again) or (not may and outcome.share_id in again):
            yield f"{outcome.status.name} and retryable_ids disagree"
    yield from _order(result, outcomes)


def _order(result: Result, outcomes: Sequence[ShareOutcome]) -> Iterator[str]:
    """Ids that the service said no to come last among those worth asking for again."""
    refused = {
        one.share_id
        for one in outcomes
        if one.code in (BUSY, GONE, INVALID, REFUSED) and one.status in (Status.UNKNOWN, Status.REJECTED)
    }
    again = result.report.retryable_ids
    behind = False
    for share_id in again:
        if behind and share_id not in refused:
            yield f"retryable_ids names {share_id} behind ids that were refused"
            return
        behind = behind or share_id in refused


def _summary(result: Result, outcomes: Sequence[ShareOutcome], given: Sequence[str]) -> Iterator[str]:
    counts, found = result.report.counts, _counted(outcomes)
    for status in Status:
        if found[status] > counts[status] or (status not in WELL and found[status] < counts[status]):
            yield f"{status.name}: {counts[status]} in the summary, {found[status]} handed out"
    total = sum(counts.values())
    if result.report.complete and total < len(given):
        yield f"complete, but {total} of {len(given)} ids were counted"
    yield from _order(result, outcomes)
    if result.call.source != "list" and not len(given) - 1 <= total <= len(given):
        yield f"{len(given)} ids were read, and {total} counted"
    if result.returned_by_itself and (total != len(given) or len(result.taken) != total):
        yield f"{len(given)} ids, {total} counted, {len(result.taken)} handed out"
