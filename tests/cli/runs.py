"""What the tests of the command share: ways to run it, and what it left behind."""

import os
import re
import subprocess
import sys
from collections.abc import Callable

import attrs

ESCAPE = "\x1b"
TIMES = "\N{MULTIPLICATION SIGN}"
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
