"""Addresses at which no connection comes about: one keeps silent, one refuses."""

import atexit
import functools
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.support.threaded import HOST

FILL_LIMIT = 64


@contextmanager
def full_backlog() -> Iterator[int]:
    """The port of a listener whose queue is full: the kernel drops further SYNs, connecting times out."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(FILL_LIMIT):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect((HOST, port))
            except TimeoutError:
                break
        else:
            raise AssertionError("this kernel accepts without end")
        yield port


@functools.cache
def closed_port() -> int:
    """A port that refuses as long as this process lives: bound, so nobody else gets it, but not listening."""
    holder = socket.socket()
    atexit.register(holder.close)
    holder.bind((HOST, 0))
    port: int = holder.getsockname()[1]
    return port
