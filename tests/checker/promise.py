"""The oracle, first half: each outcome against the books, by the promise's own definition.

A finding begins with what was claimed, so that a test can tell the kinds apart. Findings are about what the
books refute; that a client might have found out more is one only where nothing stood in its way.
"""

from collections.abc import Callable, Iterator, Sequence

import attrs

from koodrive_async import CallEnded, ShareOutcome, Status, TransportFailure
from tests.checker.books import BUSY, GONE, Books, Entry, Kind, Share
from tests.checker.endings import ending, sums
from tests.checker.histories import History
from tests.checker.results import WELL, Result

#: What must come of a share where nothing goes wrong.
EXPECTED = {
    Kind.LIVE: Status.CANCELLED,
    Kind.BUSY: Status.CANCELLED,
    Kind.NEVER: Status.ALREADY_GONE,
    Kind.REFUSED: Status.REJECTED,
    Kind.POISON: Status.REJECTED,
}


def judge(history: History, books: Books, results: Sequence[Result]) -> Iterator[str]:
    """Everything that is wrong."""
    for result in results:
        where = f"call {result.run}: "
        for finding in (*ending(history, books, result), *sums(history, books, result)):
            yield where + finding
        for outcome in result.outcomes():
            for finding in _outcome(history, books, results[: result.run], outcome):
                yield f"{where}#{books.place(outcome.share_id)} {finding}"


@attrs.frozen
class _Claim:
    """One outcome, and the requests with its id: those of this call, with a journal earlier ones too."""

    history: History
    books: Books
    calls: Sequence[Result]  # this one is the last
    outcome: ShareOutcome
    share: Share
    entries: Sequence[Entry]

    @property
    def result(self) -> Result:
        return self.calls[-1]

    @property
    def done_by(self) -> Entry | None:
        """The request that carried it out, if it is one of these."""
        return self.share.done_by if self.share.done_by in self.entries else None

    def said(self, code: str) -> bool:
        """Whether a reply that holds gave this code."""
        told = (one for one in self.entries if one.sent and self.holds(one))
        return any(one.claims.get(self.share.share_id) == code for one in told)

    def holds(self, entry: Entry) -> bool:
        """Whether a reply counts: through a lent client only one that names every id of its request."""
        return not self.history.http or not (entry.nameless or set(entry.ids) - entry.claims.keys())

    def refused(self) -> bool:
        """Whether anybody refused it, alone or with others, a middleware too."""
        told = [one for one in self.entries if one.sent]
        inside = any(self.share.share_id in ids for ids, _ in self.books.refused_inside)
        return inside or any(one.refused or self.refusal(one) for one in told)

    def refusal(self, entry: Entry) -> str:
        """The code with which a request refused just this id, or ""."""
        # Of several ids the refusal of the whole says nothing certain.
        whole = entry.refused if len(entry.ids) == 1 else ""
        code = entry.claims.get(self.share.share_id) or whole
        return "" if code in ("0", GONE) else code

    def refused_again(self) -> bool:
        """Whether two calls saw the same refusal of just this id; what a middleware answered may be one."""
        if any(list(ids) == [self.share.share_id] for ids, _ in self.books.refused_inside):
            return True
        told = [one for one in self.entries if one.sent]
        now = {self.refusal(one) for one in told if one.run == self.result.run} - {""}
        return any(self.refusal(one) in now for one in told if one.run < self.result.run)

    def only_word(self) -> bool:
        """A single id, of which the service says twice that it does not exist: nobody can know better."""
        alone = len(set(self.result.source.ids)) == 1 and not self.history.http
        return alone and sum(one.refused == GONE and one.finished for one in self.entries) >= 2


def _outcome(history: History, books: Books, calls: Sequence[Result], outcome: ShareOutcome) -> Iterator[str]:
    result = calls[-1]
    share, status = books.shares.get(outcome.share_id), outcome.status
    if share is None:
        yield f"{status.name}, and nobody asked for it"
        return
    entries = [
        one
        for one in books.with_id(outcome.share_id)
        if one.run == result.run or (history.journal and one.run < result.run)
    ]
    yield from _CHECKS[status](_Claim(history, books, calls, outcome, share, entries))
    if history.quiet and status is not EXPECTED[share.kind]:
        yield f"{status.name}, and nothing went wrong: it is {share.kind}"
    if (status in WELL) != (outcome.error is None):
        yield f"{status.name} with error {outcome.error!r}"
    if outcome.ok != (status in WELL):
        yield f"{status.name} with ok={outcome.ok}"
    if isinstance(outcome.error, CallEnded):
        yield from _ended(result, outcome)


def _ended(result: Result, outcome: ShareOutcome) -> Iterator[str]:
    """Whether the call ended as the error of an outcome says."""
    gave_up = outcome.error.gave_up if outcome.error else ""
    may = {
        "deadline": result.call.deadline is not None,
        "stopped": result.stopped,
        "left": result.left,
        "cancelled": result.cut,
        "failed": result.error is not None or result.left or result.cut,  # only who stays is told
    }
    if not may.get(gave_up):
        yield f"{outcome.status.name} because of ({gave_up}), which was not so: {outcome.error!r}"


def _cancelled(claim: _Claim) -> Iterator[str]:
    if claim.done_by is None:
        yield "CANCELLED, but nothing was carried out"
    elif not claim.said("0"):
        yield "CANCELLED, but no reply that holds said so"


def _already_gone(claim: _Claim) -> Iterator[str]:
    gone = claim.share.kind is Kind.NEVER or claim.done_by is not None
    if not gone and not claim.only_word():
        yield "ALREADY_GONE, but the share is there"
    elif gone and not claim.said(GONE):
        yield "ALREADY_GONE, but no reply that holds said so"


def _rejected(claim: _Claim) -> Iterator[str]:
    if claim.done_by is not None and not (claim.history.settles and claim.refused_again()):
        yield f"REJECTED, but request {claim.done_by.number} carried it out"
    elif not claim.refused():
        yield "REJECTED, but nobody refused it"
    if "deadline passed before" in str(claim.outcome.error):
        yield "REJECTED, and its error speaks of a deadline"


def _not_sent(claim: _Claim) -> Iterator[str]:
    now = [one for one in claim.entries if one.run == claim.result.run]
    if now:
        yield f"NOT_SENT, but request {now[0].number} had it"
    elif claim.done_by is not None:
        yield f"NOT_SENT, but request {claim.done_by.number} of an earlier run carried it out"


def _unknown(claim: _Claim) -> Iterator[str]:
    history, result, entries = claim.history, claim.result, claim.entries
    lost = isinstance(claim.outcome.error, TransportFailure)
    unseen = claim.books.lossy or history.tight
    if not (entries or lost or unseen) and result.by_itself:
        yield "UNKNOWN, but nothing with it was ever sent"
    if not entries or lost or not result.by_itself or history.http or history.middleware or history.tight:
        return
    last = entries[-1]
    refusal = claim.refusal(last)
    # A request that nobody saw may have been lost, and then a refusal settles nothing.
    doubt = refusal and (unseen or not all(call.by_itself for call in claim.calls))
    if all(one.plain and one.finished for one in entries) and not doubt:
        yield f"UNKNOWN, but request {entries[0].number} was answered as it should"
    if last.finished and refusal not in ("", BUSY):
        if claim.outcome.code != refusal:
            yield f"UNKNOWN {claim.outcome.code!r}, but request {last.number} was refused with {refusal}"
        if history.settles and claim.refused_again() and all(one.plain for one in entries[-1:]):
            yield f"UNKNOWN, but request {last.number} was refused as in the call before"


_CHECKS: dict[Status, Callable[[_Claim], Iterator[str]]] = {
    Status.CANCELLED: _cancelled,
    Status.ALREADY_GONE: _already_gone,
    Status.REJECTED: _rejected,
    Status.NOT_SENT: _not_sent,
    Status.UNKNOWN: _unknown,
}
