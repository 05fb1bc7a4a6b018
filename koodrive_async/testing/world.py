"""The service itself, without a socket: settings, state, counters, and the handling of one request.

Everything mutable here is guarded by `lock`; tests read and change it from their own thread.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from email.utils import formatdate
from typing import TYPE_CHECKING, Literal

from koodrive_async.testing.answers import Answer, Refusal
from koodrive_async.testing.limits import Meter, RateLimit
from koodrive_async.testing.routing import Call, Edition, Operation
from koodrive_async.testing.rules import NO_PERMISSION, Tokens
from koodrive_async.testing.state import NOT_THERE, Book, realistic_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from koodrive_async.testing.faults import Fault, Rule
    from koodrive_async.testing.seeding import Share
    from koodrive_async.testing.seen import RequestSeen
    from koodrive_async.testing.tasks import Task

    Code = int | str

COLLEAGUE = "1505084218764547201"
TOO_MANY = RateLimit(per_second=20)


class World:
    """The service's settings, state and counters. `Emulator` adds the server to it."""

    def __init__(
        self,
        *,
        edition: Edition = "enterprise",
        shares: int | Iterable[str] = 0,
        received: int | Iterable[str] = 0,
        seed: int = 0,
        tokens: Collection[str] = ("demo-token",),
        token_lifetime: float | None = None,
        apps: Mapping[str, str] | None = None,
        user_id: str = "1505084218764547200",
        agent_name: str = "demo-carrier",
        clock: Callable[[], float] = time.time,
        clock_offset: float = 0.0,
        date_tolerance: float = 0.0,
        latency: float | Callable[[], float] = 0.0,
        rate_limit: float | RateLimit | None = None,
        max_concurrency: int | None = None,
        max_log: int = 10_000,
        cursor: Literal["stable", "offset"] = "stable",
        empty_page_every: int = 0,
        task_seconds: float = 0.05,
    ) -> None:
        self.lock = threading.RLock()
        self._seed = seed
        self.edition, self.agent_name, self.user_id = edition, agent_name, user_id
        self.clock, self.clock_offset = clock, clock_offset
        self.date_window, self.date_tolerance = 900.0, date_tolerance
        self.latency, self.max_concurrency = latency, max_concurrency
        self.cursor, self.empty_page_every, self.task_seconds = cursor, empty_page_every, task_seconds
        self.apps = dict({"demo-app-id": "demo-app-secret"} if apps is None else apps)
        self.tokens = Tokens(tokens, token_lifetime, self.now)
        self.colleague_id = COLLEAGUE if user_id != COLLEAGUE else COLLEAGUE[:-1] + "9"
        self.users = {user_id, self.colleague_id}
        self.names = {user_id: "Demo User", self.colleague_id: "Li Lei"}
        self.poison: set[str] = set()
        self.poison_status = 400
        self.item_codes: dict[str, Code | Sequence[Code]] = {}
        self.exit_names_ids = False
        self.created: list[str] = []
        self.kdstokens: dict[str, str] = {}
        self.tasks: dict[str, Task] = {}
        self.task_result_code = 1
        self.task_fields: tuple[str, ...] = ("jobInfo", "taskInfos")
        self.sessions = {"demo-session"}
        self.accounts = {"demo-account": "demo-password"}
        self.captcha = "123456"
        self.refresh_tokens = {"demo-refresh-token"}
        self.rotate_refresh_tokens = False
        self.refresh_wraps_session = True

        mine = realistic_ids(shares, seed) if isinstance(shares, int) else shares
        theirs = realistic_ids(received, seed, start=10**18) if isinstance(received, int) else received
        carrier, at = edition == "carrier", self.now()
        self.books = {
            user_id: Book(user_id, self.colleague_id, mine, seed=seed, carrier=carrier, at=at),
            self.colleague_id: Book(
                self.colleague_id, user_id, theirs, seed=seed + 1, carrier=carrier, at=at
            ),
        }

        self.requests = 0
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.faults_played: Counter[str] = Counter()
        self.app_calls: Counter[str] = Counter()
        self.log: deque[RequestSeen] = deque(maxlen=max_log)
        self.in_flight = 0
        self.max_in_flight = 0
        self.errors: list[Exception] = []
        self._meter: Meter | None = None
        self.rate_limit = rate_limit
        self._script: deque[Fault | None] = deque()
        self._rules: list[Rule] = []
        self._late: list[tuple[float, Callable[[], object]]] = []
        self._date = (0, "")

    # -- the clock

    def now(self) -> float:
        """The server's time, in seconds since 1970."""
        return self.clock() + self.clock_offset

    def date(self) -> str:
        """The server's time for the Date header."""
        second = int(self.now())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]

    # -- limits

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the gateway grants; assign a number, a `RateLimit` or None at any time."""
        return self._meter.limit if self._meter else None

    @rate_limit.setter
    def rate_limit(self, limit: float | RateLimit | None) -> None:
        if limit is not None and not isinstance(limit, RateLimit):
            limit = RateLimit(limit)
        with self.lock:
            self._meter = None if limit is None else Meter(limit, time.monotonic())

    # -- the shares

    @property
    def share_ids(self) -> list[str]:
        """Ids of all shares of `user_id`, seeded and created ones, oldest first, cancelled or not."""
        return self.books[self.user_id].ids

    @property
    def received_ids(self) -> list[str]:
        """Ids of the shares that the colleague shares with `user_id`."""
        return self.books[self.colleague_id].ids

    @property
    def cancelled(self) -> set[str]:
        """Ids of the shares that were cancelled; a new set at each look."""
        self.run_late()
        with self.lock:
            return {
                share_id
                for book in self.books.values()
                if book.gone.clear_count < len(book.ids)
                for share_id, number in book.index.items()
                if book.gone[number]
            }

    @property
    def cancelled_count(self) -> int:
        """How many shares were cancelled: cheap."""
        self.run_late()
        with self.lock:
            return sum(len(book.ids) - book.gone.clear_count for book in self.books.values())

    @property
    def live_ids(self) -> list[str]:
        """Ids of the shares of `user_id` that still exist."""
        self.run_late()
        with self.lock:
            book = self.books[self.user_id]
            return [book.ids[number] for number in book.gone.clear_from(0)]

    def share(self, share_id: str) -> Share:
        """What a share looks like now, cancelled or not; KeyError if there never was one."""
        with self.lock:
            for book in self.books.values():
                if share_id in book.index:
                    return book.share(book.index[share_id])
        raise KeyError(share_id)

    def is_cancelled(self, share_id: str) -> bool:
        """Whether this share was cancelled."""
        self.run_late()
        with self.lock:
            return any(
                book.gone[book.index[share_id]] for book in self.books.values() if share_id in book.index
            )

    def cancel_one(self, user: str, share_id: str) -> Code:
        """Cancel a share on behalf of a user; the sub-response's code."""
        for book in self.books.values():
            number = book.index.get(share_id)
            if number is not None:
                if book.gone[number]:
                    return NOT_THERE
                if book.owner != user:
                    return NO_PERMISSION
                book.cancel(number)
                return 0
        return NOT_THERE

    def exit_one(self, user: str, share_id: str) -> Code:
        """Take a user off a received share; the sub-response's code."""
        book = self.received_book(user)
        number = None if book is None else book.index.get(share_id)
        if book is None or number is None or not book.unseen.mark(number):
            return NOT_THERE
        return 0

    def book_of(self, user: str) -> Book:
        """The shares of a user; made when first needed."""
        if user not in self.books:
            at, carrier = self.now(), self.edition == "carrier"
            self.books[user] = Book(user, "", (), seed=self._seed + len(self.books), carrier=carrier, at=at)
        return self.books[user]

    def received_book(self, user: str) -> Book | None:
        """The shares a user receives; None for users who receive none."""
        return next((book for book in self.books.values() if book.receiver == user), None)

    def scripted_code(self, share_id: str) -> Code:
        """The code `item_codes` holds for this id now; 0: behave."""
        codes = self.item_codes.get(share_id)
        if codes is None:
            return 0
        if isinstance(codes, int | str):
            return codes
        if len(codes) <= 1:
            del self.item_codes[share_id]
        else:
            self.item_codes[share_id] = codes[1:]
        return codes[0] if codes else 0

    def expire_tokens(self) -> None:
        """End the life of all access tokens now."""
        with self.lock:
            for token in list(self.tokens):
                self.tokens.expire(token)

    # -- faults

    def script(self, *faults: Fault | None) -> None:
        """Queue faults: the next requests take one each, in order; None is good behaviour."""
        with self.lock:
            self._script.extend(faults)

    def inject(self, rule: Rule | None) -> None:
        """Ask this rule at each request that the script leaves alone; None removes all rules."""
        with self.lock:
            if rule is None:
                self._rules.clear()
            else:
                self._rules.append(rule)

    @property
    def scripted(self) -> int:
        """How many scripted faults are still waiting for their request."""
        return len(self._script)

    def behave(self) -> None:
        """Forget the script and all rules."""
        with self.lock:
            self._script.clear()
            self._rules.clear()

    def later(self, due: float, act: Callable[[], object]) -> None:
        """Act at this point of `time.monotonic()`: noticed at the next request or look at the state."""
        with self.lock:
            self._late.append((due, act))

    def run_late(self) -> None:
        """Carry out what is due."""
        if self._late:
            with self.lock:
                now = time.monotonic()
                due = [act for at, act in self._late if at <= now]
                self._late = [entry for entry in self._late if entry[0] > now]
                for act in due:
                    act()

    # -- one request

    def arrive(self, seen: RequestSeen) -> Answer | Fault | None:
        """Count and log a request; a refusal by throttling, the fault it shall meet, or None."""
        self.run_late()
        with self.lock:
            self.requests += 1
            seen.number = self.requests
            self.counts[seen.operation] += 1
            self.log.append(seen)
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            refused = self._throttle(seen)
            if refused is not None:
                return refused
            if self._script:
                fault = self._script.popleft()
            else:
                fault = next((found for rule in self._rules if (found := rule(seen)) is not None), None)
            if fault is not None:
                seen.fault = fault
                self.faults_played[type(fault).__name__] += 1
            return fault

    def leave(self, seen: RequestSeen) -> None:
        """The request is done with."""
        with self.lock:
            self.in_flight -= 1
            seen.finished = time.monotonic()
            self.statuses[seen.status] += 1

    def handle(self, operation: Operation, seen: RequestSeen, params: dict[str, str]) -> Answer:
        """Check a request and carry it out."""
        try:
            user = operation.admit(self, seen)
            return operation.handler(self, Call(seen, params, user))
        except Refusal as refused:
            return refused.answer

    def _throttle(self, seen: RequestSeen) -> Answer | None:
        if self.max_concurrency is not None and self.in_flight > self.max_concurrency:
            return TOO_MANY.refusal(0)
        if self._meter is not None:
            wait = self._meter.wait(seen.monotonic)
            if wait > 0:
                return self._meter.limit.refusal(wait)
        return None
