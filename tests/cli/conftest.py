import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import attrs
import pytest

from koodrive_async.cli import main
from koodrive_async.testing import Emulator

ESCAPE = "\x1b"
SECRETS = ("demo-token", "demo-app-secret")


@attrs.frozen
class Ran:
    """What a command left behind."""

    status: int
    out: str
    err: str

    def counts(self, text: str | None = None) -> dict[str, int]:
        """The table's rows by their first word or two."""
        rows = re.findall(
            r"^ +([a-z][a-z ]*?)  +([\d,]+)(?:  .*)?$", self.out if text is None else text, re.MULTILINE
        )
        return {name: int(number.replace(",", "")) for name, number in rows}


Run = Callable[..., Ran]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """`main`, in this process."""

    def run(*arguments: str) -> Ran:
        try:
            status = main(arguments)
        except SystemExit as exit_:
            assert isinstance(exit_.code, int)
            status = exit_.code
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


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "koodrive_async.cli", *arguments]


def start(*arguments: str, **changes: str | None) -> subprocess.Popen[str]:
    """The command as a process of its own, everything piped."""
    environment = {name: value for name, value in {**os.environ, **changes}.items() if value is not None}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command(*arguments),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        encoding="utf-8",
        env=environment,
    )
