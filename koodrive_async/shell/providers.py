"""Token providers for the sessions that are documented: enterprise refresh; carrier login and refresh.

They ask over the same doorway as everything else, with its retries, on a connection of their own that is
closed at once: renewals are rare. Secrets come from functions of the caller's, are asked for when they
are needed, and are neither kept nor logged. Refuses to cache a token (``auth``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import TypeVar

import attrs

from koodrive_async.core import inputs, operations
from koodrive_async.core.codec import Envelope, read_model
from koodrive_async.core.credentials import AccessToken, PublicAccess, check_header_value
from koodrive_async.core.endpoint import Endpoint
from koodrive_async.core.errors import (
    ApiError,
    BadReply,
    ConfigurationError,
    KooDriveError,
    ServerFault,
    Throttled,
)
from koodrive_async.core.objects import SessionInfo
from koodrive_async.core.operations import Operation
from koodrive_async.core.readers import read_word
from koodrive_async.core.secrets import Secret
from koodrive_async.core.settings import Network, Pace, RetryPolicy, Timeout
from koodrive_async.core.wire import Header, Reply, Request, Send
from koodrive_async.shell.call import Caller
from koodrive_async.shell.clock import Clock
from koodrive_async.shell.drain import Drain, drained
from koodrive_async.shell.gate import Gate
from koodrive_async.shell.looptime import LoopTime
from koodrive_async.shell.sender import Sender
from koodrive_async.shell.trail import Ask
from koodrive_async.shell.transport import HttpxWire

T = TypeVar("T")

#: A function that returns a secret, at once or awaited.
SecretSource = Callable[[], str | Awaitable[str]]

#: Page koodrive_05_0010: 20 minutes, and each call begins them anew.
ENTERPRISE_LIFE = 1200.0

#: All waiting calls stand behind a renewal, so it ends well within ``auth.PROVIDER_LIMIT``.
_RETRY = RetryPolicy(attempts=4, budget=30.0, patience=20.0)
_TIMEOUT = Timeout(total=15.0)

#: A cancelled caller waits this long for a renewal that was sent: its reply may hold the only new token.
_GRACE = 2.0


async def _told(name: str, source: SecretSource) -> str:
    found = source()
    return check_header_value(name, await found if isawaitable(found) else found)


@attrs.frozen(slots=True)
class _Doorway:
    """One request to a session endpoint."""

    endpoint: Endpoint
    network: Network
    agent_name: str | None = None

    async def ask(
        self,
        operation: Operation,
        read: Callable[[Envelope], T],
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        secrets: Sequence[str] = (),
    ) -> T:
        async def with_headers(request: Request, send: Send) -> Reply:
            return await send(request.with_headers(*headers))

        wire = HttpxWire(self.endpoint, self.network)
        gate = Gate(PublicAccess(self.agent_name), Pace(concurrency=1), LoopTime())
        caller = Caller(Sender(wire, Clock(), gate, _TIMEOUT, (with_headers,)), _RETRY)
        ask = Ask(operation, operation.url_path(), read, body=body, secrets=tuple(secrets))
        drain = Drain(_GRACE)
        try:
            return await drained(lambda: caller.alone(ask, drain), drain)
        finally:
            await wire.aclose()


class EnterpriseSession:
    """Renews the token of an enterprise session (page refreshSession.html); for `TokenCredentials`.

    The token lives 20 minutes from its last use (koodrive_05_0010), so it is renewed only after a pause
    of nearly as long, or when it is refused.

    Args:
        endpoint: As for the client.
        session_id: Returns the session's id (``x-session-id``; where it comes from is not documented), at
            once or awaited.
        network: As for the client.

    Raises:
        ConfigurationError: A value that can't work.
    """

    def __init__(self, endpoint: str, session_id: SecretSource, *, network: Network = Network()) -> None:
        self._doorway = _Doorway(Endpoint.parse(endpoint), network)
        self._session_id = _source("session_id", session_id)

    async def __call__(self, stale: str | None) -> AccessToken:
        """A fresh token.

        Args:
            stale: The token it replaces; sent along, as the page's example does.

        Raises:
            KooDriveError: The session can't be refreshed.
        """
        session_id = await _told("the session id", self._session_id)
        headers = [("x-session-id", session_id)]
        if stale is not None:
            headers.append(("Authorization", stale))
        token = await self._doorway.ask(
            operations.REFRESH_SESSION,
            lambda envelope: read_word(envelope, "accessToken"),
            headers=headers,
            secrets=(session_id, *(() if stale is None else (stale,))),
        )
        return AccessToken(Secret(token), ENTERPRISE_LIFE, sliding=True)

    def __repr__(self) -> str:
        return f"<EnterpriseSession {self._doorway.endpoint}>"


class CarrierLogin:
    """Logs in to the carrier edition, and refreshes (pages Login.html, RefreshToken.html).

    For `TokenCredentials`. A refresh is tried first; where it is refused, a login follows. Login is sent
    again only when for certain it did not arrive: wrong ones may lock the account, and a code serves once.

    Args:
        endpoint: As for the client.
        account: The account's name or mobile number.
        agent_name: The carrier's name.
        password: Returns the password, at once or awaited.
        code: Instead: returns a verification code, at once or awaited; asked for at every login.
        network: As for the client.

    Raises:
        ConfigurationError: A value that can't work, or not exactly one of password and code.
    """

    def __init__(
        self,
        endpoint: str,
        account: str,
        agent_name: str,
        *,
        password: SecretSource | None = None,
        code: SecretSource | None = None,
        network: Network = Network(),
    ) -> None:
        self._doorway = _Doorway(
            Endpoint.parse(endpoint), network, check_header_value("agent_name", agent_name)
        )
        self._account = inputs.text("account", account)
        if (password is None) == (code is None):
            raise ConfigurationError("give a password or a code, as functions, and not both")
        self._password = None if password is None else _source("password", password)
        self._code = None if code is None else _source("code", code)
        self._refresh: Secret | None = None

    async def __call__(self, stale: str | None) -> AccessToken:
        """A fresh token, with its lifetime.

        Args:
            stale: The token it replaces.

        Raises:
            KooDriveError: Neither refresh nor login worked.
        """
        session = None
        if stale is not None and self._refresh is not None:
            session = await self._refreshed(stale, self._refresh.reveal())
        if session is None:
            session = await self._logged_in()
        if session.refresh_token:
            self._refresh = Secret(session.refresh_token)
        life = session.expires_in
        return AccessToken(Secret(session.access_token), life if life is not None and life > 0 else None)

    def __repr__(self) -> str:
        return f"<CarrierLogin {self._doorway.endpoint}>"

    async def _refreshed(self, stale: str, refresh: str) -> SessionInfo | None:
        """The new session; None if the old one can't be refreshed any more."""
        self._refresh = None  # if it serves once only and the reply is lost, it is gone
        try:
            session = await self._doorway.ask(
                operations.REFRESH_TOKEN,
                _session,
                headers=[("Authorization", stale)],
                body=inputs.body(refresh_token=refresh),
                secrets=(stale, refresh),
            )
        except KooDriveError as error:
            if isinstance(error, ApiError) and not isinstance(error, Throttled | ServerFault):
                return None
            if not error.ambiguous:
                self._refresh = Secret(refresh)  # a bad moment, which says nothing about the token
            raise
        if not session.refresh_token:
            self._refresh = Secret(refresh)  # the example returns the same one; so it may be left out
        return session

    async def _logged_in(self) -> SessionInfo:
        if self._password is not None:
            secret = await _told("the password", self._password)
            body = inputs.body(account=self._account, auth_type="1", password=secret)
        else:
            assert self._code is not None
            secret = await _told("the verification code", self._code)
            body = inputs.body(account=self._account, auth_type="2", captcha_token=secret)
        return await self._doorway.ask(operations.LOGIN, _session, body=body, secrets=(secret, self._account))


def _session(envelope: Envelope) -> SessionInfo:
    """``data.sessionInfo`` as the examples have it, or ``data`` as a table says.

    Raises:
        BadReply: There is no token in either.
    """
    data = envelope.data.get("data")
    if isinstance(data, dict) and isinstance(data.get("sessionInfo"), dict):
        envelope = attrs.evolve(envelope, data=data)
        session = read_model(envelope, "sessionInfo", SessionInfo)
    else:
        session = read_model(envelope, "data", SessionInfo)
    if not session.access_token:
        raise BadReply("the reply has no accessToken")
    return session


def _source(name: str, source: object) -> SecretSource:
    if not callable(source):
        raise ConfigurationError(f"{name} must be a function that returns it, so that no object keeps it")
    return source
