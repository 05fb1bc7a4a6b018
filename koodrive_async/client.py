"""`AsyncShareClient`: wiring and documentation; the logic is below, in ``shell`` and ``core``."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from weakref import WeakValueDictionary

import anyio

from koodrive_async.core import operations
from koodrive_async.core.batching import BATCH_SIZE, check_share_id, check_text, refuse_single
from koodrive_async.core.codec import dump, read_cancel_reply, read_model
from koodrive_async.core.credentials import AppCredentials, Credentials, TokenCredentials
from koodrive_async.core.endpoint import Endpoint
from koodrive_async.core.errors import ConfigurationError, InvalidShareId
from koodrive_async.core.events import Hook, Progress
from koodrive_async.core.models import CancelReply, CommonShareLink
from koodrive_async.core.pairing import GONE_CODES, Rules
from koodrive_async.core.report import CancelReport
from koodrive_async.core.settings import (
    Network,
    Pace,
    RetryPolicy,
    Timeout,
    check_callables,
    check_kind,
)
from koodrive_async.core.wire import Middleware
from koodrive_async.shell.call import Caller
from koodrive_async.shell.clock import Clock
from koodrive_async.shell.drain import GRACE, Drain, drained
from koodrive_async.shell.gate import Gate
from koodrive_async.shell.hooks import tell
from koodrive_async.shell.journal import Journal
from koodrive_async.shell.lifecycle import Lifecycle
from koodrive_async.shell.sender import Sender
from koodrive_async.shell.stream import CancelStream, Job, OpenStream
from koodrive_async.shell.supply import ShareIds, read_all
from koodrive_async.shell.trail import Ask
from koodrive_async.shell.transport import Wire

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class AsyncShareClient:
    """An async client for KooDrive's share API; runs on asyncio and on trio.

    Use it as an async context manager, or call `aclose`. One client serves any number of tasks of one
    event loop; its connections, its pace and what it learns of the service are shared by all of them.

    Args:
        endpoint: Scheme and host of the service, such as ``https://intl.myhuaweicloud-koodrive.com``
            (page koodrive_05_0009). ``http`` only for loopback.
        credentials: `TokenCredentials` or `AppCredentials`.
        network: How connections are made.
        http: An `httpx.AsyncClient` of your own instead (its own pool and settings); never closed here.
        timeout: The limits of one attempt.
        retry: How long to keep trying.
        pace: How fast to go.
        gone_codes: Codes that mean that a share does not exist (koodrive_05_0011: 13000309).
        item_retry_codes: Codes of single ids to ask again for; none are documented.
        middleware: Functions around every attempt, the first one outermost; signing is inside them all.
        hooks: Functions that get every `Event`.

    Raises:
        ConfigurationError: A setting that can't work.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        *,
        transport: Literal["default"] = "default",
        network: Network = Network(),
        http: httpx.AsyncClient | None = None,
        timeout: Timeout = Timeout(),
        retry: RetryPolicy = RetryPolicy(),
        pace: Pace = Pace(),
        gone_codes: Collection[str] = GONE_CODES,
        item_retry_codes: Collection[str] = (),
        middleware: Sequence[Middleware] = (),
        hooks: Sequence[Hook] = (),
    ) -> None:
        if transport != "default":
            raise ConfigurationError(f"there is no transport {transport!r}")
        check_kind("network", network, Network)
        self._shared = _Shared(
            wire=Wire(Endpoint.parse(endpoint), network, http),
            rules=Rules(gone=_codes(gone_codes), again=_codes(item_retry_codes)),
            middleware=check_callables("middleware", middleware),
            hooks=check_callables("hooks", hooks),
        )
        self._owner = True
        self._caller = self._shared.caller(credentials, timeout, retry, pace)

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """A client from the environment.

        ``KOODRIVE_ENDPOINT``; ``KOODRIVE_ACCESS_TOKEN``, or ``KOODRIVE_APP_ID`` and
        ``KOODRIVE_APP_SECRET``; ``KOODRIVE_USER_ID``; ``KOODRIVE_AGENT_NAME`` for the carrier edition.

        Args:
            **overrides: Arguments of the constructor; those given are not looked up.

        Raises:
            ConfigurationError: A variable is missing, or both kinds of credentials are there.
        """
        if "endpoint" not in overrides:
            overrides["endpoint"] = _variable("ENDPOINT")
        if "credentials" not in overrides:
            overrides["credentials"] = _credentials_from_env()
        return cls(**overrides)

    def with_options(
        self,
        *,
        credentials: Credentials | EllipsisType = ...,
        timeout: Timeout | EllipsisType = ...,
        retry: RetryPolicy | EllipsisType = ...,
        pace: Pace | EllipsisType = ...,
    ) -> Self:
        """A view of this client with other settings, on the same connections; closing it closes nothing.

        Other credentials or another pace have a gate, a proof and a token of their own.
        """
        now = self._caller
        view = copy(self)
        view._owner = False  # noqa: SLF001 - its own class
        view._caller = self._shared.caller(  # noqa: SLF001
            now.gate.auth.credentials if credentials is ... else credentials,
            now.sender.timeout if timeout is ... else timeout,
            now.retry if retry is ... else retry,
            now.gate.pace if pace is ... else pace,
        )
        return view

    async def __aenter__(self) -> Self:
        self._shared.life.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, after what is being sent has ended; again is harmless.

        Calls under way in other tasks end with `ClientClosed`, their sends have the grace period.
        """
        if self._owner:
            await self._shared.aclose()

    def __repr__(self) -> str:
        return f"<AsyncShareClient {self._shared.wire.endpoint} {self._caller.gate.auth.credentials!r}>"

    # -- cancelling -------------------------------------------------------------------------------

    async def cancel(
        self,
        share_ids: ShareIds,
        *,
        deadline: float | None = None,
        grace: float = GRACE,
        journal: Journal | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> CancelReport:
        """Cancel any number of shares (page batchCancel.html); every distinct id gets one outcome.

        All ids are read and checked before the first request. Batches of at most 100 go concurrently.
        Cancelling the task that awaits this does not abort what is being sent: it returns late, by the
        grace at most; to know what landed then, use `open_cancel` or a journal.

        Args:
            share_ids: Ids, as an iterable or async iterable; not one ``str``. Repeated ids are sent once.
            deadline: Seconds after which nothing new begins; what is left then is NOT_SENT.
            grace: Seconds that requests under way may run on after the deadline or a cancellation.
            journal: Remembers on disk what was settled: run the same line again after a crash, and only
                the rest is sent.
            on_progress: Called with a `Progress` a few times per second, and at the end.

        Returns:
            A report with an outcome for each distinct id, in order of first sight.

        Raises:
            InvalidShareId: An id that can't be one; nothing was sent.
            AuthFailed: The credentials were refused; ``.report`` is complete, as for all below.
            Forbidden: They may not do this.
            InvalidRequest: Everything is refused, whatever the ids.
            Throttled: The service asks to wait longer than the patience.
            TransportFailure: The service stayed unreachable for the patience.
            ServerFault: It kept failing for the patience.
            JournalFailed: The journal can't be used; nothing more was sent.
            ClientClosed: The client was closed before or meanwhile.
            WrongEventLoop: Called from another event loop than before.
        """
        job = self._job(operations.BATCH_CANCEL, deadline, grace, journal, on_progress)
        drain = Drain(grace)

        async def run() -> CancelReport:
            return await job.report(await read_all(share_ids), drain)

        with self._shared.life.using(drain):
            return await drained(run, drain)

    def open_cancel(
        self,
        share_ids: ShareIds,
        *,
        deadline: float | None = None,
        grace: float = GRACE,
        journal: Journal | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AbstractAsyncContextManager[CancelStream]:
        """Cancel shares as their ids are read and their outcomes taken; memory stays flat.

        Reads at most (concurrency + 1) x 100 ids ahead of the consumer, and sends an id twice only if it
        comes again later than that.

        Args:
            share_ids: As for `cancel`; read lazily.
            deadline: As for `cancel`.
            grace: As for `cancel`; also when the block is left early.
            journal: As for `cancel`.
            on_progress: As for `cancel`.

        Returns:
            A context manager; its stream has ``async for outcome in stream``, ``.report``, ``.progress``
            and ``.stop()``. Raises `KooDriveError` as `cancel` does, and the source's own errors, out
            of the iteration, after the outcomes already owed.
        """
        job = self._job(operations.BATCH_CANCEL, deadline, grace, journal, on_progress)
        return OpenStream(job, share_ids, self._shared.life)

    async def cancel_batch(self, share_ids: Sequence[str]) -> CancelReply:
        """One request's worth of ids, as one logical call (page batchCancel.html): the primitive.

        Args:
            share_ids: 1..100 ids, sent as they are.

        Returns:
            The service's reply; its sub-responses may lack ids, name others, or fail one by one.

        Raises:
            UsageError: No ids, more than 100, or one that can't be an id; nothing was sent.
            KooDriveError: The last error, when no reply could be had; ``.ambiguous`` says whether the
                service may have acted.
        """
        refuse_single(share_ids)
        ids = [check_share_id(share_id, place) for place, share_id in enumerate(share_ids)]
        if not 1 <= len(ids) <= BATCH_SIZE:
            raise InvalidShareId(f"a batch has 1..{BATCH_SIZE} ids, not {len(ids)}")
        operation = operations.BATCH_CANCEL
        return await self._call(
            Ask(operation, operation.url_path(), read_cancel_reply, body=dump({"shareIds": ids}))
        )

    # -- reading ----------------------------------------------------------------------------------

    async def get_share_info(self, short_url: str) -> CommonShareLink:
        """The public information of an access link (page getShareInfo.html).

        Args:
            short_url: The short code of the link; not a URL.

        Raises:
            UsageError: No short code; nothing was sent.
            NotFound: There is no such link.
            KooDriveError: Any other error, the last one.
        """
        operation = operations.GET_SHARE_INFO
        return await self._call(
            Ask(
                operation,
                operation.url_path(),
                lambda envelope: read_model(envelope, "link", CommonShareLink),
                query=(("shortUrl", check_text("short_url", short_url)),),
            )
        )

    # -- wiring -----------------------------------------------------------------------------------

    async def _call(self, ask: Ask[T]) -> T:
        drain = Drain()
        with self._shared.life.using(drain):
            return await drained(lambda: self._caller.alone(ask, drain), drain)

    def _job(
        self,
        operation: operations.Operation,
        deadline: float | None,
        grace: float,
        journal: Journal | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> Job:
        return Job(self._caller, operation, self._shared.rules, deadline, grace, on_progress, journal)


class _Shared:
    """What a client and its views have in common."""

    def __init__(
        self, wire: Wire, rules: Rules, middleware: Sequence[Middleware], hooks: Sequence[Hook]
    ) -> None:
        self.life = Lifecycle()
        self.wire, self.rules, self.middleware, self.hooks = wire, rules, middleware, hooks
        self._clock = Clock()
        # Weak, since a service may make a view for each of its users: what no view uses is forgotten.
        self._gates: WeakValueDictionary[tuple[Credentials, Pace], Gate] = WeakValueDictionary()

    def caller(self, credentials: Credentials, timeout: Timeout, retry: RetryPolicy, pace: Pace) -> Caller:
        """Who makes the requests of a view; those with equal credentials and pace share a gate."""
        check_kind("credentials", credentials, TokenCredentials, AppCredentials)
        check_kind("timeout", timeout, Timeout)
        check_kind("retry", retry, RetryPolicy)
        check_kind("pace", pace, Pace)
        gate = self._gates.get((credentials, pace))
        if gate is None:
            gate = Gate(credentials, pace, lambda event: tell(self.hooks, event))
            self._gates[credentials, pace] = gate
        sender = Sender(self.wire, self._clock, gate, timeout, self.middleware, self.hooks)
        return Caller(sender, retry)

    async def aclose(self) -> None:
        for gate in list(self._gates.values()):
            gate.close()
        await self.life.close()
        with anyio.CancelScope(shield=True):
            await self.wire.aclose()


def _codes(codes: Collection[str]) -> frozenset[str]:
    if isinstance(codes, str):
        raise ConfigurationError("codes must be a collection of strings, not one string")
    return frozenset(str(code) for code in codes)


def _variable(name: str) -> str:
    value = os.environ.get(f"KOODRIVE_{name}", "")
    if not value:
        raise ConfigurationError(f"the environment variable KOODRIVE_{name} is not set")
    return value


def _credentials_from_env() -> Credentials:
    token, app_id = (bool(os.environ.get(f"KOODRIVE_{name}")) for name in ("ACCESS_TOKEN", "APP_ID"))
    if token == app_id:
        raise ConfigurationError(
            "set KOODRIVE_ACCESS_TOKEN, or KOODRIVE_APP_ID and KOODRIVE_APP_SECRET"
            + (", not both" if token else "")
        )
    user_id, agent_name = _variable("USER_ID"), os.environ.get("KOODRIVE_AGENT_NAME") or None
    if token:
        return TokenCredentials(_variable("ACCESS_TOKEN"), user_id, agent_name)
    return AppCredentials(_variable("APP_ID"), _variable("APP_SECRET"), user_id, agent_name)
