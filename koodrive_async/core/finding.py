"""Which shares are meant, and what they come to: filters and counts, as values.

What can't be judged (a time of unknown form, a counter that is missing) never matches: nothing is
cancelled on a doubt, but it is counted. Refuses to list or cancel anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from inspect import isawaitable, iscoroutine

import attrs

from koodrive_async.core.errors import UsageError
from koodrive_async.core.inputs import flag, moment, text
from koodrive_async.core.models import ShareByMeLink
from koodrive_async.core.settings import is_async
from koodrive_async.core.times import ShareState

Predicate = Callable[[ShareByMeLink], bool]


class Age(StrEnum):
    """How long ago something was shared."""

    WEEK = "up to 7 days"
    MONTH = "up to 30 days"
    QUARTER = "up to 90 days"
    YEAR = "up to 365 days"
    OLDER = "older"
    UNKNOWN = "unknown"


_AGES = ((7, Age.WEEK), (30, Age.MONTH), (90, Age.QUARTER), (365, Age.YEAR))


def age_of(share: ShareByMeLink, now: datetime) -> Age:
    """How long before `now` it was shared."""
    then = share.shared_at
    if then is None:
        return Age.UNKNOWN
    return next((age for days, age in _AGES if now - then <= timedelta(days=days)), Age.OLDER)


def has_expired(share: ShareByMeLink, now: datetime) -> bool | None:
    """Whether its validity has passed by `now`, whatever else is wrong with it; None: that can't be told."""
    state = share.state(now)
    if state is ShareState.EXPIRED:
        return True
    if not share.expire_time.strip():
        return False if state in (ShareState.ACTIVE, ShareState.DELETED, ShareState.INVALID) else None
    expires = share.expires_at
    return None if expires is None else expires <= now


@attrs.frozen(slots=True, kw_only=True)
class Criteria:
    """What `find_shares` looks for: all that is not None must hold.

    Raises:
        UsageError: A value that can't be meant.
    """

    expired: bool | None = None
    created_before: datetime | None = None
    created_after: datetime | None = None
    scope: int | None = None
    status: int | ShareState | None = None
    name: str | None = None
    without_views: bool = False
    where: Predicate | None = None

    def __attrs_post_init__(self) -> None:
        if self.expired is not None:
            flag("expired", self.expired)
        flag("without_views", self.without_views)
        for field in ("created_before", "created_after"):
            if getattr(self, field) is not None:
                moment(field, getattr(self, field))
        if self.scope is not None and (isinstance(self.scope, bool) or not isinstance(self.scope, int)):
            raise UsageError(f"scope must be a whole number, not {self.scope!r}")
        known = isinstance(self.status, int | ShareState) and not isinstance(self.status, bool)
        if self.status is not None and not known:
            raise UsageError(f"status must be a whole number or a ShareState, not {self.status!r}")
        if self.name is not None:
            text("name", self.name)
        # Nobody would await an async one, and a coroutine that is not awaited is true for every share.
        where: object = self.where
        if where is not None and (not callable(where) or is_async(where)):
            raise UsageError("where must be a plain function of a share")

    def judge(self, share: ShareByMeLink, now: datetime) -> bool | None:
        """Whether a share is meant; None if that can't be told."""
        answers = [*self._by_field(share, now)]
        if False in answers:
            return False
        if None in answers:
            return None
        found: object = True if self.where is None else self.where(share)
        if isawaitable(found):
            if iscoroutine(found):
                found.close()
            raise UsageError("where must be a plain function of a share; it returned an awaitable")
        return bool(found)

    def _by_field(self, share: ShareByMeLink, now: datetime) -> Sequence[bool | None]:
        answers: list[bool | None] = []
        if self.expired is not None:
            expired = has_expired(share, now)
            answers.append(None if expired is None else expired is self.expired)
        then = share.shared_at
        if self.created_before is not None:
            answers.append(None if then is None else then < self.created_before)
        if self.created_after is not None:
            answers.append(None if then is None else then > self.created_after)
        if self.scope is not None:
            answers.append(None if share.scope is None else share.scope == self.scope)
        if isinstance(self.status, ShareState):
            answers.append(share.state(now) is self.status)
        elif self.status is not None:
            answers.append(None if share.status is None else share.status == self.status)
        if self.name is not None:
            answers.append(self.name.casefold() in share.display_name.casefold())
        if self.without_views:
            answers.append(None if share.view_cnt is None else share.view_cnt == 0)
        return answers


@attrs.frozen(slots=True)
class CancelPlan:
    """What a cancel would take, without one: see `FoundShares.plan`.

    Attributes:
        found: Shares that match.
        listed: Shares that were looked at.
        undecided: Shares that could not be judged, and so don't match.
        malformed: Items of the list that could not be read at all.
        by_age: Matching shares by age.
        by_state: Matching shares by state.
        first_ids: The ids of the first of them.
    """

    found: int = 0
    listed: int = 0
    undecided: int = 0
    malformed: int = 0
    by_age: Mapping[Age, int] = attrs.field(factory=dict)
    by_state: Mapping[ShareState, int] = attrs.field(factory=dict)
    first_ids: Sequence[str] = ()

    def __bool__(self) -> bool:
        return self.found > 0


class PlanCounts:
    """Counts on the way to a plan."""

    def __init__(self, first: int, now: datetime) -> None:
        self._first, self._now = first, now
        self._ages: Counter[Age] = Counter()
        self._states: Counter[ShareState] = Counter()
        self._ids: list[str] = []
        self._found = 0

    def add(self, share: ShareByMeLink) -> None:
        """One more that matches."""
        self._found += 1
        self._ages[age_of(share, self._now)] += 1
        self._states[share.state(self._now)] += 1
        if len(self._ids) < self._first:
            self._ids.append(share.share_id)

    def plan(self, *, listed: int, undecided: int, malformed: int) -> CancelPlan:
        """The plan, in the order of ages and states."""
        return CancelPlan(
            found=self._found,
            listed=listed,
            undecided=undecided,
            malformed=malformed,
            by_age={age: self._ages[age] for age in Age if self._ages[age]},
            by_state={state: self._states[state] for state in ShareState if self._states[state]},
            first_ids=tuple(self._ids),
        )
