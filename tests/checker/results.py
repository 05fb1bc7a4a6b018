"""What a call gave its caller, as the oracle reads it."""

from typing import Any

import attrs

from koodrive_async import CancelReport, ShareOutcome, Status
from tests.checker.callers import Source
from tests.checker.topics import Call

WELL = (Status.CANCELLED, Status.ALREADY_GONE)


@attrs.define
class Result:
    """What a call gave, and what the caller did to it."""

    call: Call
    source: Source
    run: int
    taken: list[ShareOutcome] = attrs.field(factory=list)
    report: Any = None
    error: BaseException | None = None
    returned: bool = False  # without an error; a stream: it ended by itself
    cut: bool = False
    left: bool = False
    stopped: bool = False

    @property
    def by_itself(self) -> bool:
        """Whether nobody ended it early."""
        return not (self.cut or self.left or self.stopped or self.call.deadline is not None)

    @property
    def returned_by_itself(self) -> bool:
        return self.returned and self.by_itself

    @property
    def whole(self) -> bool:
        """Whether the source was read to its end, as far as can be told: who hands over a list can't."""
        return self.source.over or self.call.source == "list"

    def outcomes(self) -> list[ShareOutcome]:
        """Those that are known one by one: of a stream what was taken, and the failures in its report."""
        if isinstance(self.report, CancelReport):
            return list(self.report.outcomes)
        taken = {outcome.share_id for outcome in self.taken}
        rest = [one for one in getattr(self.report, "failures", ()) if one.share_id not in taken]
        return [*self.taken, *rest]
