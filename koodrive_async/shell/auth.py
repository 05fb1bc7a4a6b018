"""The current token, and its renewal: one for any number of parallel 401s.

Shared by all calls with the same credentials, in one event loop. Refuses to sign.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import anyio

from koodrive_async.core.credentials import Credentials, TokenCredentials, TokenProvider, check_header_value
from koodrive_async.core.errors import AuthFailed, KooDriveError
from koodrive_async.core.secrets import Secret, scrub

#: A provider that takes longer is given up; it has its own time-outs, this one keeps us honest.
PROVIDER_LIMIT = 60.0


class Token(NamedTuple):
    """A token and which one it is; no token for signed requests.

    Attributes:
        generation: Grows with each renewal.
        secret: The token itself.
        tries: How many renewals had ended when it was handed out: who had it before a renewal failed
            shares that failure, who asks later makes a new try.
    """

    generation: int
    secret: Secret | None
    tries: int = 0


class Auth:
    """Hands out the current token."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._provider: TokenProvider | None = None
        secret = None
        if isinstance(credentials, TokenCredentials):
            if isinstance(credentials.token, Secret):
                secret = credentials.token
            else:
                self._provider = credentials.token
        self._token = Token(0, secret)
        self._lock = anyio.Lock()
        self._tries = 0
        self._failure: KooDriveError | None = None

    @property
    def renewable(self) -> bool:
        """Whether a refused token can be replaced."""
        return self._provider is not None

    def secrets(self, token: Token | None = None) -> tuple[str, ...]:
        """What no text of ours may repeat, of that token or the current one."""
        return self.credentials.secrets((token or self._token).secret)

    async def ready(self) -> Token:
        """The current token; fetched if there is none yet.

        Raises:
            AuthFailed: The provider failed.
        """
        if self._provider is not None and self._token.secret is None:
            await self.renew(self._token._replace(tries=self._tries))
        return self._token._replace(tries=self._tries)

    async def renew(self, stale: Token) -> None:
        """Replace a token, unless somebody did it since.

        Whoever waits while a renewal runs shares its outcome, the failure too; a waiter takes over
        when the one who runs it is cancelled.

        Raises:
            AuthFailed: The provider failed, took too long, or returned the stale token.
        """
        assert self._provider is not None
        async with self._lock:
            if self._token.generation != stale.generation:
                return
            if self._tries != stale.tries and self._failure is not None:
                raise _again(self._failure)
            try:
                fresh = await self._fetch(self._provider, stale.secret)
            except KooDriveError as error:
                self._tries += 1
                self._failure = copy.copy(error)  # without its traceback and cause
                raise
            self._tries += 1
            self._failure = None
            self._token = Token(stale.generation + 1, fresh)

    async def _fetch(self, provider: TokenProvider, stale: Secret | None) -> Secret:
        old = stale.reveal() if stale else None
        try:
            with anyio.fail_after(PROVIDER_LIMIT):
                fresh = await provider(old)
            check_header_value("the token of the provider", fresh)
        except KooDriveError as error:
            raise AuthFailed(f"the token provider failed: {error}") from error
        except Exception as error:  # whatever a caller's function raises ends as one typed error for all
            text = scrub(str(error), (old or "",), limit=200)
            raise AuthFailed(f"the token provider failed: {type(error).__name__}: {text}") from error
        if fresh == old:
            raise AuthFailed("the token provider returned the token that was refused")
        return Secret(fresh)


def _again(error: KooDriveError) -> AuthFailed:
    """The same error as an object of its own: one object raised in many tasks grows their tracebacks."""
    return AuthFailed(*error.args)
