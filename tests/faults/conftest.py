"""Fixtures of the fault tests: a line to an emulator, with a proxy in it that does what a test says."""

import pytest

from tests.client.conftest import no_proxies as no_proxies  # noqa: PLC0414 - a fixture, taken over
from tests.faults.line import Line, Made, address
from tests.support.chaos import ChaosProxy


@pytest.fixture
def line(make_koodrive, connect):
    """An emulator with 201 shares behind a `ChaosProxy`."""
    emulator = make_koodrive(shares=201)
    with ChaosProxy(address(emulator.url)) as proxy:
        yield Line(emulator, proxy, connect)


@pytest.fixture
def made(connect) -> Made:
    """Clients of whatever server, with the same check at their end."""
    return Made(connect)
