"""Fixtures for tests of the whole client."""

import sys
import time

import pytest

from koodrive_async.shell import looptime


class ShiftedClock:
    """The true clocks plus what a test adds: time passes without sleeping."""

    def __init__(self) -> None:
        self.shift = 0.0
        self.perf_counter = time.perf_counter

    def advance(self, seconds: float) -> None:
        self.shift += seconds

    def time(self) -> float:
        return time.time() + self.shift

    def monotonic(self) -> float:
        return time.monotonic() + self.shift


@pytest.fixture
def clock(monkeypatch) -> ShiftedClock:
    """What the shell, all of it, takes for the wall clock, the monotonic clock and the event loop's."""
    shifted = ShiftedClock()
    loop_clock = looptime.loop_clock

    def shifted_loop_clock():
        now = loop_clock()
        return lambda: now() + shifted.shift

    monkeypatch.setattr(looptime, "loop_clock", shifted_loop_clock)
    for name, module in list(sys.modules.items()):
        if name.startswith("koodrive_async.shell.") and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", shifted)
    return shifted


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Whatever proxy the machine has must not change a test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
