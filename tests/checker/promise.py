"""The oracle, first half: each outcome against the books, by the promise's own definition.

A finding begins with what was claimed, so that a test can tell the kinds apart. Findings are about what the
books refute; that a client might have found out more is one only where nothing stood in its way.
"""

from collections.abc import Callable, Iterator, Sequence

import attrs

from koodrive_async import ShareOutcome, Status, TransportFailure
from tests.checker.books import BUSY, GONE, Books, Entry, Kind, Share
from tests.checker.endings import ending, sums
from tests.checker.histories import History
from tests.checker.results import HAS_ENDED, WELL, Result

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
            for finding in _outcome(history, books, result, outcome):
                yield f"{where}#{books.place(outcome.share_id)} {finding}"


@attrs.frozen
class _Claim:
    """One outcome, and the requests with its id: those of this call, with a journal earlier ones too."""

    history: History
    books: Books
    result: Result
    outcome: ShareOutcome
    share: Share
    entries: Sequence[Entry]

    @property
    def done_by(self) -> Entry | None:
        """The request that carried it out, if it is one of these."""
        return self.share.done_by if self.share.done_by in self.entries else None

    def said(self, code: str) -> bool:
        """Whether a reply that holds gave this code; through a lent client only those with names hold."""
        told = (one for one in self.entries if one.sent and not (self.history.http and one.nameless))
        return any(one.claims.get(self.share.share_id) == code for one in told)

    def refused(self) -> bool:
        codes = [one.refused or one.claims.get(self.share.share_id, "0") for one in self.entries if one.sent]
        return any(code not in ("0", GONE) for code in codes) or any(one.refused for one in self.entries)

    def only_word(self) -> bool:
        """A single id, of which the service says twice that it does not exist: nobody can know better."""
        alone = len(self.history.shares) == 1 and not self.history.http
        return alone and sum(one.refused == GONE and one.finished for one in self.entries) >= 2


def _outcome(history: History, books: Books, result: Result, outcome: ShareOutcome) -> Iterator[str]:
    share, status = books.shares.get(outcome.share_id), outcome.status
    if share is None:
        yield f"{status.name}, and nobody asked for it"
        return
    entries = [
        one
        for one in books.with_id(outcome.share_id)
        if one.run == result.run or (history.journal and one.run < result.run)
    ]
    yield from _CHECKS[status](_Claim(history, books, result, outcome, share, entries))
    if history.quiet and status is not EXPECTED[share.kind]:
        yield f"{status.name}, and nothing went wrong: it is {share.kind}"
    if (status in WELL) != (outcome.error is None):
        yield f"{status.name} with error {outcome.error!r}"
    if HAS_ENDED and outcome.ok != (status in WELL):
        yield f"{status.name} with ok={outcome.ok}"


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
    if claim.done_by is not None:
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
    # A busy machine can make any request time out, also between its beginning and its first byte.
    lost = isinstance(claim.outcome.error, TransportFailure)
    if not (entries or lost or claim.books.lossy) and result.by_itself:
        yield "UNKNOWN, but nothing with it was ever sent"
    if not entries or lost or not result.by_itself or history.http or history.middleware:
        return
    if all(one.plain and one.finished for one in entries):
        yield f"UNKNOWN, but request {entries[0].number} was answered as it should"
    last = entries[-1]
    # Of several ids the refusal of the whole says nothing certain.
    whole = last.refused if len(last.ids) == 1 else "0"
    refusal = last.claims.get(claim.share.share_id) or whole or "0"
    if HAS_ENDED and last.finished and refusal not in ("0", GONE, BUSY) and claim.outcome.code != refusal:
        yield f"UNKNOWN {claim.outcome.code!r}, but request {last.number} was refused with {refusal}"


_CHECKS: dict[Status, Callable[[_Claim], Iterator[str]]] = {
    Status.CANCELLED: _cancelled,
    Status.ALREADY_GONE: _already_gone,
    Status.REJECTED: _rejected,
    Status.NOT_SENT: _not_sent,
    Status.UNKNOWN: _unknown,
}
