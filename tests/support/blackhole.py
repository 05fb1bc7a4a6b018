"""Addresses at which no connection comes about: one keeps silent, one refuses."""

import atexit
import functools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.support.threaded import HOST

FILL_LIMIT = 64


@contextmanager
def full_listener() -> Iterator[tuple[socket.socket, Callable[[], None]]]:
    """A listener whose queue is full, and a function that empties it.

    Until then the kernel drops further SYNs; a client repeats its SYN after a second, then after two more.
    """
    with ExitStack() as listening, ExitStack() as filling:
        listener = listening.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        for _ in range(FILL_LIMIT):
            filler = filling.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            raise AssertionError("this kernel accepts without end")

        def empty() -> None:
            filling.close()
            listener.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()

        yield listener, empty


@contextmanager
def full_backlog() -> Iterator[int]:
    """The port of a listener whose queue is full: the kernel drops further SYNs, connecting times out."""
    with full_listener() as (listener, _):
        port: int = listener.getsockname()[1]
        yield port


@functools.cache
def closed_port() -> int:
    """A port that refuses as long as this process lives: bound, so nobody else gets it, but not listening."""
    holder = socket.socket()
    atexit.register(holder.close)
    holder.bind((HOST, 0))
    port: int = holder.getsockname()[1]
    return port
