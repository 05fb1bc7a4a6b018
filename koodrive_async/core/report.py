"""Many outcomes as one value: `CancelReport`, and what a stream keeps, `CancelSummary`.

A report is two columns: the ids, and for each a reference to a `Settlement`, which all ids
settled alike share. `ShareOutcome`s are made when somebody looks: a million of them would take
ten times the memory. Not here: what became of an id (see ``pairing`` and ``outcomes``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, overload

import attrs

from koodrive_async.core.errors import CancelIncomplete
from koodrive_async.core.models import ShareSubResponse
from koodrive_async.core.outcomes import RANK, WELL, Ended, Settlement, ShareOutcome, Status, count_statuses


class Outcomes(Sequence[ShareOutcome]):
    """A read-only sequence of outcomes over the report's columns; each is made when looked at."""

    __slots__ = ("_ids", "_places", "_settlements")

    def __init__(
        self, ids: Sequence[str], settlements: Sequence[Settlement], places: Sequence[int] | None = None
    ) -> None:
        self._ids = ids
        self._settlements = settlements
        self._places: Sequence[int] = range(len(ids)) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[ShareOutcome]:
        for place in self._places:
            yield self._settlements[place].of(self._ids[place])

    @overload
    def __getitem__(self, index: int) -> ShareOutcome: ...
    @overload
    def __getitem__(self, index: slice) -> Outcomes: ...
    def __getitem__(self, index: int | slice) -> ShareOutcome | Outcomes:
        if isinstance(index, slice):
            return Outcomes(self._ids, self._settlements, self._places[index])
        place = self._places[index]
        return self._settlements[place].of(self._ids[place])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list's: the elements' errors have no value to hash

    def __repr__(self) -> str:
        shown = ", ".join(repr(outcome) for outcome in self[:3])
        return f"[{shown}{f', … {len(self) - 3} more' if len(self) > 3 else ''}]"


class CancelReport:
    """What became of every id of a call to ``cancel``: one outcome for each distinct id.

    Reports merge: ``CancelReport()`` is neutral; ``a + b`` has the ids in the order in which they first
    appear and, for an id in both, the more certain outcome (that of ``a`` if both are equally certain). A
    sum is complete only if both reports are; after a resume, use the report of the resume alone. True in a
    condition if and only if the source was read to its end and every id is CANCELLED or ALREADY_GONE.

    Attributes:
        requests: How many requests were sent.
        elapsed: How long it took, in seconds; of merged reports the sum.
        complete: Whether the source was read to its end; if not, it may have had ids that are not in here.
        ended: Why the call ended; of merged reports the first reason that is not EXHAUSTED.
        unjournaled: How many ids have an outcome that the journal did not confirm.
    """

    __slots__ = ("_elapsed_ns", "_ids", "_settlements", "complete", "ended", "requests", "unjournaled")

    def __init__(
        self,
        outcomes: Iterable[ShareOutcome] = (),
        *,
        requests: int = 0,
        elapsed: float = 0.0,
        complete: bool = True,
        ended: Ended = Ended.EXHAUSTED,
        unjournaled: int = 0,
    ) -> None:
        best: dict[str, Settlement] = {}
        for outcome in outcomes:
            _keep_surer(best, outcome.share_id, outcome.settlement)
        self._ids: Sequence[str] = tuple(best)
        self._settlements: Sequence[Settlement] = tuple(best.values())
        self.requests = requests
        self.complete = complete
        self.ended = ended
        self.unjournaled = unjournaled
        # Whole nanoseconds, since adding floats is not associative.
        self._elapsed_ns = round(elapsed * 1e9)

    @classmethod
    def of_columns(
        cls, ids: Sequence[str], settlements: Sequence[Settlement], **details: Any
    ) -> CancelReport:
        """Make a report from two columns of equal length, which are not copied.

        Args:
            ids: Distinct ids.
            settlements: What became of each.
            details: As for the constructor.
        """
        report = cls(**details)
        report._ids, report._settlements = ids, settlements
        return report

    @property
    def elapsed(self) -> float:
        """How long it took, in seconds."""
        return self._elapsed_ns / 1e9

    @property
    def outcomes(self) -> Sequence[ShareOutcome]:
        """One outcome for each distinct id, in order of first sight."""
        return Outcomes(self._ids, self._settlements)

    @property
    def counts(self) -> Mapping[Status, int]:
        """How many ids ended in each status; every status is there."""
        return count_statuses(self._settlements)

    def _having(self, status: Status) -> Sequence[ShareOutcome]:
        places = [place for place, kept in enumerate(self._settlements) if kept.status is status]
        return Outcomes(self._ids, self._settlements, places)

    @property
    def cancelled(self) -> Sequence[ShareOutcome]:
        """The outcomes that are CANCELLED."""
        return self._having(Status.CANCELLED)

    @property
    def already_gone(self) -> Sequence[ShareOutcome]:
        """The outcomes that are ALREADY_GONE."""
        return self._having(Status.ALREADY_GONE)

    @property
    def rejected(self) -> Sequence[ShareOutcome]:
        """The outcomes that are REJECTED."""
        return self._having(Status.REJECTED)

    @property
    def unknown(self) -> Sequence[ShareOutcome]:
        """The outcomes that are UNKNOWN."""
        return self._having(Status.UNKNOWN)

    @property
    def not_sent(self) -> Sequence[ShareOutcome]:
        """The outcomes that are NOT_SENT."""
        return self._having(Status.NOT_SENT)

    @property
    def retryable_ids(self) -> Sequence[str]:
        """The ids worth asking for again: UNKNOWN, NOT_SENT, and REJECTED for a passing reason.

        Ids that the service refused come last, so that they do not hold up the others.
        """
        return _retryable(self._ids, self._settlements)

    @property
    def sub_responses(self) -> Sequence[ShareSubResponse]:
        """The merged ``subResponseList``: what the service answered for each id that it named."""
        return [
            ShareSubResponse(share_id=share_id, code=kept.code, message=kept.message)
            for share_id, kept in zip(self._ids, self._settlements, strict=True)
            if kept.answered
        ]

    @property
    def all_well(self) -> bool:
        """Whether every id that was read is CANCELLED or ALREADY_GONE."""
        # A million ids share a few thousand settlements; each of these is looked at once.
        return all(
            kept.well
            for kept in dict(zip(map(id, self._settlements), self._settlements, strict=True)).values()
        )

    def raise_for_failures(self) -> None:
        """Raise unless the source was read to its end and every id is cancelled or gone.

        Raises:
            CancelIncomplete: If the source was not read to its end, or an id is neither cancelled nor gone;
                its ``.report`` is this report.
        """
        if not self:
            raise CancelIncomplete(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers and every outcome as plain data, ready for JSON."""
        return {**_head(self), "outcomes": [outcome.to_dict() for outcome in self.outcomes]}

    def __add__(self, other: CancelReport) -> CancelReport:
        if not isinstance(other, CancelReport):
            return NotImplemented
        best = dict(zip(self._ids, self._settlements, strict=True))
        for share_id, settlement in zip(other._ids, other._settlements, strict=True):
            _keep_surer(best, share_id, settlement)
        merged = CancelReport.of_columns(
            tuple(best),
            tuple(best.values()),
            requests=self.requests + other.requests,
            complete=self.complete and other.complete,
            ended=other.ended if self.ended is Ended.EXHAUSTED else self.ended,
            unjournaled=self.unjournaled + other.unjournaled,
        )
        merged._elapsed_ns = self._elapsed_ns + other._elapsed_ns
        return merged

    def __bool__(self) -> bool:
        return self.complete and self.all_well

    def __len__(self) -> int:
        return len(self._ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CancelReport):
            return NotImplemented
        return (
            self.requests == other.requests
            and self._elapsed_ns == other._elapsed_ns
            and (self.complete, self.ended, self.unjournaled)
            == (other.complete, other.ended, other.unjournaled)
            and list(self._ids) == list(other._ids)
            and list(self._settlements) == list(other._settlements)
        )

    __hash__ = None  # type: ignore[assignment]  # a mutable-sized value of unhashable parts

    def __repr__(self) -> str:
        return _text("CancelReport", self)

    def __getstate__(self) -> tuple[Any, ...]:
        columns = tuple(self._ids), tuple(self._settlements)
        return (*columns, self.requests, self._elapsed_ns, self.complete, self.ended, self.unjournaled)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._ids, self._settlements, self.requests, self._elapsed_ns, *ending = state
        self.complete, self.ended, self.unjournaled = ending


def _retryable(ids: Iterable[str], settlements: Iterable[Settlement]) -> Sequence[str]:
    """List the ids worth asking for again; those that the service refused come last."""
    first: list[str] = []
    last: list[str] = []
    for share_id, kept in zip(ids, settlements, strict=True):
        if kept.retryable:
            (last if kept.refused else first).append(share_id)
    return first + last


def _head(report: CancelReport | CancelSummary) -> dict[str, Any]:
    """Return what both kinds of report have in common as plain data."""
    return {
        "version": 1,
        "ok": bool(report),
        "complete": report.complete,
        "ended": report.ended.value,
        "all_well": report.all_well,
        "counts": {status.value: count for status, count in report.counts.items()},
        "requests": report.requests,
        "elapsed": report.elapsed,
        "unjournaled": report.unjournaled,
    }


def _text(name: str, report: CancelReport | CancelSummary) -> str:
    counts = ", ".join(f"{status}={count}" for status, count in report.counts.items() if count) or "empty"
    ended = "" if report.ended is Ended.EXHAUSTED else f", ended={report.ended}"
    unread = "" if report.complete else ", complete=False"
    return f"{name}({counts}, requests={report.requests}, elapsed={report.elapsed:.3f}{ended}{unread})"


def _keep_surer(best: dict[str, Settlement], share_id: str, settlement: Settlement) -> None:
    kept = best.get(share_id)
    if kept is None or RANK[settlement.status] < RANK[kept.status]:
        best[share_id] = settlement


@attrs.frozen(slots=True, repr=False)
class CancelSummary:
    """What a stream keeps of its outcomes, flat in memory however many there were.

    True in a condition if and only if the source was read to its end and every id is CANCELLED or
    ALREADY_GONE.

    Attributes:
        counts: How many ids ended in each status.
        requests: How many requests were sent.
        elapsed: Seconds since the stream was opened.
        failures: The first 1,000 outcomes that are neither CANCELLED nor ALREADY_GONE.
        failures_truncated: Whether there were more failures than are kept.
        complete: Whether the source was read to its end; False until it was.
        ended: Why the stream ended; EXHAUSTED while it runs.
        unjournaled: How many ids have an outcome that the journal did not confirm.
    """

    counts: Mapping[Status, int] = attrs.field(factory=lambda: count_statuses(()))
    requests: int = 0
    elapsed: float = 0.0
    failures: Sequence[ShareOutcome] = ()
    failures_truncated: bool = False
    complete: bool = True
    ended: Ended = Ended.EXHAUSTED
    unjournaled: int = 0

    @property
    def retryable_ids(self) -> Sequence[str]:
        """The ids of the kept failures that are worth asking for again.

        Ids that the service refused come last, so that they do not hold up the others.
        """
        return _retryable(
            [outcome.share_id for outcome in self.failures],
            [outcome.settlement for outcome in self.failures],
        )

    @property
    def retryable_truncated(self) -> bool:
        """Whether ids that are not in `retryable_ids` may be worth asking for again too."""
        return self.failures_truncated

    @property
    def all_well(self) -> bool:
        """Whether every id that was read is CANCELLED or ALREADY_GONE."""
        return all(not count for status, count in self.counts.items() if status not in WELL)

    def raise_for_failures(self) -> None:
        """Raise unless the source was read to its end and every id is cancelled or gone.

        Raises:
            CancelIncomplete: If the source was not read to its end, or an id is neither cancelled nor gone;
                its ``.report`` is this summary.
        """
        if not self:
            raise CancelIncomplete(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers and the failures that were kept as plain data, ready for JSON."""
        return {
            **_head(self),
            "failures": [outcome.to_dict() for outcome in self.failures],
            "failures_truncated": self.failures_truncated,
            "retryable_ids": list(self.retryable_ids),
            "retryable_truncated": self.retryable_truncated,
        }

    def __bool__(self) -> bool:
        return self.complete and self.all_well

    def __repr__(self) -> str:
        return _text("CancelSummary", self)

    def __getstate__(self) -> tuple[Any, ...]:
        # The counts are a read-only view, which can't be pickled.
        return dict(self.counts), *attrs.astuple(self, recurse=False)[1:]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for field, value in zip(attrs.fields(type(self)), state, strict=True):
            object.__setattr__(self, field.name, value)


#: How many failures a summary keeps: enough to see what is wrong, little enough to forget.
KEPT_FAILURES = 1_000


class Tally:
    """Counts outcomes as they come; the mutable half of `CancelSummary`."""

    __slots__ = ("_keep", "counts", "failures")

    def __init__(self, keep: int = KEPT_FAILURES) -> None:
        self._keep = keep
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        self.failures: list[ShareOutcome] = []

    def add(self, ids: Sequence[str], settlement: Settlement) -> None:
        """Count ids settled alike."""
        self.counts[settlement.status] += len(ids)
        if not settlement.well and len(self.failures) < self._keep:
            self.failures.extend(settlement.of(i) for i in ids[: self._keep - len(self.failures)])

    def summary(self, **details: Any) -> CancelSummary:
        """Make the summary as of now; `details` as for `CancelSummary`."""
        failed = sum(count for status, count in self.counts.items() if status not in WELL)
        return CancelSummary(
            counts=MappingProxyType(dict(self.counts)),
            failures=tuple(self.failures),
            failures_truncated=failed > len(self.failures),
            **details,
        )
