import socket
import time

import pytest

from tests.support.blackhole import closed_port, full_backlog
from tests.support.threaded import HOST


def test_full_backlog_times_out() -> None:
    with full_backlog() as port:
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            socket.create_connection((HOST, port), timeout=0.3)
        assert 0.25 < time.monotonic() - begin < 1.5


def test_closed_port_refuses() -> None:
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, closed_port()), timeout=1)
