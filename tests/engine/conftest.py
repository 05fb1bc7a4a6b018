"""Fixtures for tests of the bulk engine."""

import pytest


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Whatever proxy the machine has must not change a test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
