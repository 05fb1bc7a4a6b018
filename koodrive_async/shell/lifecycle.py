"""When a client may be used: in its first event loop and process, and until it is closed.

Refuses to touch a socket: the checks come before any.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import sniffio
from anyio.lowlevel import EventLoopToken, current_token

from koodrive_async.core.errors import ClientClosed, WrongEventLoop
from koodrive_async.shell.drain import Drain


class Lifecycle:
    """One per client, shared by its views."""

    def __init__(self) -> None:
        self._home: tuple[int, EventLoopToken] | None = None
        self._drains: set[Drain] = set()
        self.closed = False

    def check(self) -> None:
        """Refuse a use that can't work.

        Raises:
            ClientClosed: After `close`.
            WrongEventLoop: Outside an event loop, or in another one, another thread or a forked process.
        """
        if self.closed:
            raise ClientClosed("this client was closed; make a new one")
        self._check_place()

    def _check_place(self) -> None:
        try:
            here = (os.getpid(), current_token())
        except (RuntimeError, sniffio.AsyncLibraryNotFoundError):
            raise WrongEventLoop("no event loop runs here; await the client's methods inside one") from None
        if self._home is None:
            self._home = here
        elif self._home != here:
            raise WrongEventLoop(
                "this client belongs to another event loop, thread or process: connections can't be shared"
                " between them; make a client inside the loop that uses it"
                " (`async with AsyncShareClient(...)`), one for each"
            )

    @contextmanager
    def using(self, drain: Drain) -> Iterator[None]:
        """For the length of one call: `close` waits for it."""
        self.check()
        self._drains.add(drain)
        try:
            yield
        finally:
            self._drains.discard(drain)

    async def close(self) -> None:
        """Let calls under way end: sends have their grace period, nothing new begins.

        Raises:
            WrongEventLoop: The connections belong to another one, and can't be closed from here.
        """
        if self._home is not None:
            self._check_place()
        self.closed = True
        drains = list(self._drains)
        for drain in drains:
            drain.begin()
        for drain in drains:  # each ends by its grace: it is cut then
            await drain.quiet()
