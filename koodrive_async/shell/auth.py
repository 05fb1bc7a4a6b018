"""The current token, and its renewal: one for any number of parallel 401s, or shortly before it ends.

Shared by all calls with the same credentials, in one event loop. Refuses to sign.
"""

from __future__ import annotations

import copy
import logging
import math
from typing import NamedTuple

import anyio

from koodrive_async.core.credentials import (
    AccessToken,
    Credentials,
    TokenCredentials,
    TokenProvider,
    check_header_value,
)
from koodrive_async.core.errors import AuthFailed, KooDriveError
from koodrive_async.core.secrets import Secret, scrub
from koodrive_async.shell.cancellation import is_asked_for
from koodrive_async.shell.log import say
from koodrive_async.shell.looptime import LoopTime

#: A provider that takes longer is given up; it has its own time-outs, this one keeps us honest.
PROVIDER_LIMIT = 60.0

#: A token is renewed this long before it ends, or a tenth of its life before, whichever is less: time
#: enough for a request to wait its turn and arrive.
MARGIN = 60.0
_SHARE = 0.1


class SameToken(AuthFailed):
    """The provider has no other token than the one that was refused; never leaves the shell."""


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

    def __init__(self, credentials: Credentials, time: LoopTime) -> None:
        self.credentials = credentials
        self._time = time
        self._provider: TokenProvider | None = None
        secret = None
        if isinstance(credentials, TokenCredentials):
            if isinstance(credentials.token, Secret):
                secret = credentials.token
            else:
                self._provider = credentials.token
        self._token = Token(0, secret)
        self._life: AccessToken | None = None
        self._ends = math.inf
        self._lock = anyio.Lock()
        self._tries = 0
        self._failure: KooDriveError | None = None
        self._kept = -1  # the generation that an early renewal failed for: it is used up to its end

    @property
    def renewable(self) -> bool:
        """Whether a refused token can be replaced."""
        return self._provider is not None

    def secrets(self, token: Token | None = None) -> tuple[str, ...]:
        """What no text of ours may repeat, of that token or the current one."""
        return self.credentials.secrets((token or self._token).secret)

    async def ready(self) -> Token:
        """The current token; fetched if there is none yet, renewed if it ends soon.

        Raises:
            AuthFailed: The provider failed, and the token, if there is one, has ended.
        """
        if self._provider is not None:
            token = self._token._replace(tries=self._tries)
            left = self._ends - self._time.now()
            if token.secret is None or left <= 0.0:
                await self._renew(token, refused=False)
            elif left <= self._margin() and self._kept != token.generation:
                await self._renew_early(token)
            if self._life is not None and self._life.sliding and self._life.expires_in is not None:
                # The request that this token is for begins its life anew.
                self._ends = self._time.now() + self._life.expires_in
        return self._token._replace(tries=self._tries)

    async def renew(self, stale: Token) -> None:
        """Replace a token that was refused, unless somebody did it since.

        Whoever waits while a renewal runs shares its outcome, the failure too; a waiter takes over
        when the one who runs it is cancelled.

        Raises:
            AuthFailed: The provider failed, took too long, or returned the stale token.
        """
        await self._renew(stale, refused=True)

    def again(self, token: Token) -> Token:
        """Return the token as one handed out now: asking for its renewal makes a new try."""
        return token._replace(tries=self._tries)

    def _margin(self) -> float:
        life = self._life.expires_in if self._life is not None else None
        return 0.0 if life is None else min(MARGIN, life * _SHARE)

    async def _renew_early(self, token: Token) -> None:
        """Renew a token that still is good; if that fails, it is used as long as it lives."""
        try:
            await self._renew(token, refused=False)
        except AuthFailed as error:
            if self._kept != token.generation:
                self._kept = token.generation
                say(logging.WARNING, "the token could not be renewed before its end: %s", error)

    async def _renew(self, stale: Token, *, refused: bool) -> None:
        assert self._provider is not None
        async with self._lock:
            if self._token.generation != stale.generation:
                return
            if self._tries != stale.tries and self._failure is not None:
                raise _again(self._failure)
            try:
                fresh = await self._fetch(self._provider, stale.secret, refused=refused)
            except KooDriveError as error:
                self._tries += 1
                self._failure = copy.copy(error)  # without its traceback and cause
                raise
            self._tries += 1
            self._failure = None
            self._life = fresh
            self._ends = math.inf if fresh.expires_in is None else self._time.now() + fresh.expires_in
            self._token = Token(stale.generation + 1, fresh.token)

    async def _fetch(self, provider: TokenProvider, stale: Secret | None, *, refused: bool) -> AccessToken:
        old = stale.reveal() if stale else None
        try:
            with anyio.fail_after(PROVIDER_LIMIT):
                made = await provider(old)
            if not isinstance(made, AccessToken):
                made = AccessToken(check_header_value("the token of the provider", made))
        except KooDriveError as error:
            raise AuthFailed(f"the token provider failed: {error}") from error
        except anyio.get_cancelled_exc_class():
            if is_asked_for():
                raise
            raise AuthFailed("the token provider was cancelled, though this call was not") from None
        except Exception as error:  # whatever a caller's function raises ends as one typed error for all
            text = scrub(str(error), (old or "",), limit=200)
            raise AuthFailed(f"the token provider failed: {type(error).__name__}: {text}") from error
        if refused and made.token == stale:
            raise SameToken("the token provider returned the token that was refused")
        return made


def _again(error: KooDriveError) -> KooDriveError:
    """The same error as an object of its own: one object raised in many tasks grows their tracebacks."""
    return type(error)(*error.args)
