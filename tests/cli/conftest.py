import os
from collections.abc import Iterator

import pytest

from koodrive_async.cli import main
from koodrive_async.testing import Emulator
from tests.cli.runs import SECRETS, Ran, Run


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """`main`, in this process."""

    def run(*arguments: str) -> Ran:
        try:
            status = main(arguments)
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        out, err = capfd.readouterr()
        assert not any(secret in out + err for secret in SECRETS)
        return Ran(status, out, err)

    return run


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The process's environment, without anything that changes how we look or whom we ask."""
    for name in list(os.environ):
        if name.startswith("KOODRIVE_") or name in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"}:
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def emulator(environment: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A running emulator that the environment points at."""
    with Emulator(shares=250, received=3) as emulator:
        for name, value in emulator.environ("app").items():
            environment.setenv(name, value)
        yield emulator
