"""Every code block of README runs; its two commands are what the gate runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from koodrive_async.testing import Emulator

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "bash"]

#: How each block is put to use; a block that nobody knows how to run fails.
USES = {
    "async def clean_up": "",  # runs by itself
    "async def stream": """
import anyio
report = anyio.run(stream, IDS)
assert report and sum(report.counts.values()) == len(IDS), report
""",
    "async def cancel_expired": """
import anyio
plan, report = anyio.run(cancel_expired)
assert 0 < plan.found == report.counts["cancelled"] < len(IDS), (plan, report)
""",
    "async def off_board": """
import anyio
cancelled, left = anyio.run(off_board, "1505084218764547200", "demo-app-id", "demo-app-secret")
assert cancelled.counts["cancelled"] == len(IDS), cancelled
assert left.counts["cancelled"] == 7, left
""",
    "async def audit": """
import anyio
lines = anyio.run(audit)
assert 0 < len(lines) < len(IDS) and all(who for _, who, _, _ in lines), lines
""",
    "async def lines": """
import anyio
async def read():
    async with AsyncShareClient.from_env() as client:
        return await first_line(client, IDS)
line = anyio.run(read)
assert line == f"{IDS[0]} cancelled\\n", line
""",
    "async def test_clean_up": """
import anyio
anyio.run(test_clean_up)
""",
    "FastAPI(": """
from fastapi.testclient import TestClient
with TestClient(app) as web:
    answer = web.post("/shares/cancel", json=IDS)
    assert answer.json() == {"cancelled": len(IDS)}, answer.text
""",
}

#: Blocks that cancel nothing on this test's emulator.
ONLY_LOOK = {"async def audit", "async def test_clean_up"}


@pytest.fixture
def emulator():
    with Emulator(
        shares=["1689759841444195840", *(str(1689759841444195841 + n) for n in range(149))], received=7
    ) as emulator:
        yield emulator


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.split("\n", 1)[0][:40])
def test_python_block_runs(code: str, emulator: Emulator):
    signs = [sign for sign in USES if sign in code]
    assert len(signs) == 1, "tell USES how to run this block"
    code = code.replace("https://intl.myhuaweicloud-koodrive.com", emulator.url)
    program = f"IDS = {list(emulator.share_ids)!r}\n{code}\n{USES[signs[0]]}"
    environment = {**os.environ, **emulator.environ()}
    ran = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert bool(emulator.cancelled) is (signs[0] not in ONLY_LOOK), "nothing was cancelled"


def test_the_example_is_short():
    lines = [line for line in PYTHON[0].splitlines() if line.strip()]
    assert len(lines) <= 15


def test_shell_blocks_are_the_two_commands():
    assert [block.strip().rsplit(" && ", 1)[1] for block in SHELL[:2]] == [
        ".venv/bin/koodrive demo",
        ".venv/bin/pytest",
    ]
    for command in SHELL[:2]:
        assert re.fullmatch(
            r"python3 -m venv \.venv && \.venv/bin/pip install -q -e '\.\[[a-z,]+\]'"
            r" && \.venv/bin/(koodrive demo|pytest)\n",
            command,
        )
    assert "grep -m1" in (ROOT / ".ci/run").read_text(), "the gate reads the test command from README"
