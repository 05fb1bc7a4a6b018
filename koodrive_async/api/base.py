"""What all groups of operations stand on: one call, one bulk call, one list.

Refuses to know any operation; those are the groups' (``mine``, ``received``, ``links`` ...).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import anyio

from koodrive_async.core import inputs
from koodrive_async.core.batching import check_text
from koodrive_async.core.codec import Envelope
from koodrive_async.core.credentials import AppCredentials, Credentials, PublicAccess, TokenCredentials
from koodrive_async.core.errors import ClientClosed, UsageError
from koodrive_async.core.events import Hook, Progress
from koodrive_async.core.objects import LinkAccess
from koodrive_async.core.operations import Operation
from koodrive_async.core.pages import OnMalformed, Page
from koodrive_async.core.pairing import Rules
from koodrive_async.core.report import CancelReport
from koodrive_async.core.settings import Pace, RetryPolicy, Timeout, check_kind, check_narrower
from koodrive_async.core.wire import Middleware
from koodrive_async.shell.call import Caller
from koodrive_async.shell.ceiling import Ceiling
from koodrive_async.shell.clock import Clock
from koodrive_async.shell.drain import Drain, drained
from koodrive_async.shell.finding import CollectedIds, ListedIds
from koodrive_async.shell.gate import Gate
from koodrive_async.shell.hooks import tell
from koodrive_async.shell.journal import Journal
from koodrive_async.shell.lifecycle import Lifecycle
from koodrive_async.shell.looptime import LoopTime
from koodrive_async.shell.pages import Listing, Source
from koodrive_async.shell.sender import Sender
from koodrive_async.shell.stream import CancelStream, Job, OpenStream
from koodrive_async.shell.supply import ShareIds
from koodrive_async.shell.trail import Ask
from koodrive_async.shell.wires import Wire

T = TypeVar("T")

#: What `cancel` and `exit` take: ids, or what a list of shares gives.
Shares = Iterable[str] | AsyncIterable[str] | Listing[Any]

OnProgress = Callable[[Progress], None]


#: Gates that outlive their views: a few kilobytes each, and more users than that in a minute are rare.
_KEPT = 256


class Shared:
    """What a client and its views have in common."""

    def __init__(
        self,
        wire: Wire,
        rules: Rules,
        middleware: Sequence[Middleware],
        hooks: Sequence[Hook],
        pace: Pace,
    ) -> None:
        check_kind("pace", pace, Pace)
        self.ceiling = Ceiling(pace)
        self.life = Lifecycle()
        self.wire, self.rules, self.middleware, self.hooks = wire, rules, middleware, hooks
        self.clock = Clock()
        self.time = LoopTime()
        self.mentioned: set[str] = set()
        # Weak, since a service may make a view for each of its users: what no view uses is forgotten, except
        # for the gates used last, whose proofs and tokens serve the next request of the same user.
        self._gates: WeakValueDictionary[tuple[Credentials, Pace], Gate] = WeakValueDictionary()
        self._recent: OrderedDict[tuple[Credentials, Pace], Gate] = OrderedDict()

    def caller(
        self,
        credentials: Credentials,
        timeout: Timeout,
        retry: RetryPolicy,
        pace: Pace,
        *,
        background: bool = False,
    ) -> Caller:
        """Who makes the requests of a view; those with equal credentials and pace share a gate."""
        check_kind("credentials", credentials, TokenCredentials, AppCredentials, PublicAccess)
        check_kind("timeout", timeout, Timeout)
        check_kind("retry", retry, RetryPolicy)
        check_kind("pace", pace, Pace)
        check_narrower(pace, self.ceiling.pace)
        key = (credentials, pace)
        gate = self._gates.get(key)
        if gate is None:
            gate = Gate(credentials, pace, self.time, lambda event: tell(self.hooks, event), self.ceiling)
            self._gates[key] = gate
        self._recent[key] = gate
        self._recent.move_to_end(key)
        if len(self._recent) > _KEPT:
            self._recent.popitem(last=False)
        sender = Sender(self.wire, self.clock, gate, timeout, self.middleware, self.hooks, self.mentioned)
        return Caller(sender, retry, background)

    async def aclose(self) -> None:
        """End the calls under way, then the connections."""
        for gate in list(self._gates.values()):
            gate.close()
        await self.life.close()
        with anyio.CancelScope(shield=True):
            await self.wire.aclose()


class Api:
    """The base of the groups; each view of a client is one."""

    _shared: Shared
    _caller: Caller
    #: For calls that take no credentials: what they meet says nothing about anybody's credentials.
    _public: Caller

    @property
    def _credentials(self) -> Credentials:
        return self._caller.gate.auth.credentials

    @property
    def _carrier(self) -> bool:
        """Whether this is the carrier edition: only there a name of a carrier is given."""
        return self._credentials.agent_name is not None

    def _caller_for(self, operation: Operation) -> Caller:
        if not operation.authenticated:
            return self._public
        if isinstance(self._credentials, PublicAccess):
            raise UsageError(f"{operation.name} needs credentials; PublicAccess is for public calls")
        return self._caller

    # -- one call ---------------------------------------------------------------------------------

    async def _call(
        self,
        operation: Operation,
        read: Callable[[Envelope], T],
        *segments: str,
        query: inputs.Query = (),
        body: bytes = b"",
        secrets: Sequence[str | None] = (),
    ) -> T:
        caller = self._caller_for(operation)
        ask = Ask(
            operation,
            operation.url_path(*segments),
            read,
            query=query,
            body=body,
            secrets=tuple(filter(None, secrets)),
        )
        drain = Drain()
        with self._shared.life.using(drain):
            return await drained(lambda: caller.alone(ask, drain), drain)

    # -- a list -----------------------------------------------------------------------------------

    @staticmethod
    def _source(
        fetch: Callable[[str | None], Awaitable[Page[T]]],
        id_field: str,
        *,
        cursor: str | None,
        dedupe: bool,
        on_malformed: OnMalformed,
    ) -> Source[T]:
        start = None if cursor is None else check_text("cursor", cursor)
        return Source(fetch, id_field, start, inputs.flag("dedupe", dedupe), on_malformed)

    # -- many ids ---------------------------------------------------------------------------------

    def _job(
        self,
        operation: Operation,
        deadline: float | None,
        grace: float,
        journal: Journal | None,
        on_progress: OnProgress | None,
    ) -> Job:
        caller = self._caller_for(operation)
        return Job(caller, operation, self._shared.rules, deadline, grace, on_progress, journal)

    async def _settle(self, job: Job, shares: Shares) -> CancelReport:
        ids: ShareIds = ListedIds(shares) if isinstance(shares, Listing) else shares
        drain = Drain(job.grace)

        async def run() -> CancelReport:
            return await job.report(ids, drain)

        try:
            with self._shared.life.using(drain):
                return await drained(run, drain)
        except ClientClosed as error:
            if error.report is None:  # it was closed before this call
                await job.attach_unread(error, ids)
            raise

    def _open(self, job: Job, shares: Shares) -> AbstractAsyncContextManager[CancelStream]:
        ids: ShareIds = CollectedIds(shares) if isinstance(shares, Listing) else shares
        return OpenStream(job, ids, self._shared.life)


def short_code(link: str | LinkAccess) -> str:
    """The short code of a link.

    Raises:
        UsageError: It is none.
    """
    return link.short_url if isinstance(link, LinkAccess) else check_text("short_url", link)


def token_of(link: str | LinkAccess) -> str | None:
    """The ``kdstoken`` that goes with a link, if its access code was given."""
    return inputs.token_of(link) if isinstance(link, LinkAccess) else None
