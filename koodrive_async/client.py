"""`AsyncShareClient`: wiring and documentation; the operations are in ``api``, the logic below."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from copy import copy
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from koodrive_async.api.base import Shared
from koodrive_async.api.cancelling import Cancelling
from koodrive_async.api.links import Links
from koodrive_async.api.mine import MyShares
from koodrive_async.api.public import PublicLinks
from koodrive_async.api.received import ReceivedShares
from koodrive_async.api.tasks import Tasks
from koodrive_async.core.credentials import AppCredentials, Credentials, PublicAccess, TokenCredentials
from koodrive_async.core.endpoint import Endpoint
from koodrive_async.core.errors import ConfigurationError
from koodrive_async.core.events import Hook
from koodrive_async.core.pairing import GONE_CODES, Rules
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
from koodrive_async.shell.wires import Transport, wire_to

if TYPE_CHECKING:
    import httpx


class AsyncShareClient(Cancelling, MyShares, ReceivedShares, Links, Tasks, PublicLinks):
    """An async client for KooDrive's share API; runs on asyncio and on trio.

    Use it as an async context manager, or call `aclose`. One client serves any number of tasks of one
    event loop; its connections, its pace and what it learns of the service are shared by all of them.

    Args:
        endpoint: Scheme and host of the service, such as ``https://intl.myhuaweicloud-koodrive.com``
            (page koodrive_05_0009). ``http`` only for loopback.
        credentials: `TokenCredentials` or `AppCredentials`; `PublicAccess` for the carrier's public calls.
        transport: Which transport carries the requests; "default", over httpx, is the only one.
        network: How connections are made.
        http: An `httpx.AsyncClient` of your own instead (its own pool and settings); never closed here.
        timeout: The limits of one attempt.
        retry: How long to keep trying.
        pace: How fast to go: the ceiling of this client and all of its views together.
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
        transport: Transport = "default",
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
        check_kind("network", network, Network)
        self._shared = Shared(
            wire=wire_to(Endpoint.parse(endpoint), transport, network, http),
            rules=Rules(gone=_codes(gone_codes), again=_codes(item_retry_codes)),
            middleware=check_callables("middleware", middleware, awaited=True),
            hooks=check_callables("hooks", hooks),
            pace=pace,
        )
        self._owner = True
        self._use(self._shared.caller(credentials, timeout, retry, pace))

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
        priority: Literal["normal", "background"] | EllipsisType = ...,
    ) -> Self:
        """A view of this client with other settings, on the same connections; closing it closes nothing.

        Other credentials or another pace have a gate, a proof and a token of their own, below the client's
        ceiling: its `Pace` holds for all views together.

        Args:
            credentials: Other credentials, those of one of your users, say.
            timeout: Other limits of one attempt.
            retry: Other patience.
            pace: A narrower pace.
            priority: "background" for calls that give way to all others.

        Raises:
            ConfigurationError: If the pace is wider than the client's, or another setting can't work.
        """
        if priority not in (..., "normal", "background"):
            raise ConfigurationError(f'priority must be "normal" or "background", not {priority!r}')
        now = self._caller
        view = copy(self)
        view._owner = False  # noqa: SLF001 - its own class
        view._use(  # noqa: SLF001
            self._shared.caller(
                now.gate.auth.credentials if credentials is ... else credentials,
                now.sender.timeout if timeout is ... else timeout,
                now.retry if retry is ... else retry,
                now.gate.pace if pace is ... else pace,
                background=now.background if priority is ... else priority == "background",
            )
        )
        return view

    def _use(self, caller: Caller) -> None:
        self._caller = caller
        nobody = PublicAccess(caller.gate.auth.credentials.agent_name)
        self._public = self._shared.caller(
            nobody, caller.sender.timeout, caller.retry, caller.gate.pace, background=caller.background
        )

    def reset_pace(self) -> None:
        """Look again at how fast the service lets this view go.

        What was learnt is forgotten, the wait that a 429 asked for included ("come back in an hour", and the
        quota is back already): the next request is sent, and the number in flight grows from one. Requests
        that wait go on. What was learnt for all views together is forgotten too.
        """
        self._caller.gate.reset()

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
