import os
import re
import signal
import subprocess
import sys

import pytest

from koodrive_async import ShareOutcome
from koodrive_async.cli import demo
from koodrive_async.testing import Emulator
from tests.cli.runs import ESCAPE, TIMES, Run, command, start

COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


def test_the_table_adds_up_and_the_report_holds(run: Run, environment: pytest.MonkeyPatch) -> None:
    ran = run("demo", "--shares", "1500")
    assert (ran.status, ran.err) == (0, "")
    counts = ran.counts()
    total = counts.pop("together")
    assert total == sum(counts.values()) == 1500
    assert counts["rejected"] == 7
    assert (counts["unknown"], counts["not sent"]) == (0, 0)
    lost = int(re.search(r"12 before, (\d+) after a lost reply", ran.out)[1])  # type: ignore[index]
    assert counts["already gone"] == 12 + lost
    assert 90 <= lost <= 100
    assert f"1 {TIMES} cancelled the shares, then cut the connection" in ran.out
    assert f"1 {TIMES} answered 503" in ran.out
    assert f"1 {TIMES} answered 429" in ran.out
    assert ran.out.count("✓") == 5
    assert "✗" not in ran.out
    assert demo.PROGRAM.splitlines()[-1] in ran.out


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_seed_brings_the_same_report(
    run: Run, environment: pytest.MonkeyPatch, backend: str
) -> None:
    arguments = ("demo", "--shares", "700", "--seed", "3", "--concurrency", "4", "--backend", backend)
    first, second = run(*arguments), run(*arguments)
    assert first.status == second.status == 0
    assert first.counts() == second.counts()
    assert first.counts() != run(*arguments[:-3], "64", "--calm").counts()


def test_calm_means_no_faults(run: Run, environment: pytest.MonkeyPatch) -> None:
    ran = run("demo", "--shares", "300", "--calm")
    assert ran.status == 0
    assert "nothing: it behaved" in ran.out
    assert "weather" not in ran.out
    assert ran.counts()["cancelled"] == 300 - 2 * 6


@pytest.mark.parametrize("shares", ["1", "100", "101"])
def test_few_shares(run: Run, environment: pytest.MonkeyPatch, shares: str) -> None:
    ran = run("demo", "--shares", shares)
    assert ran.status == 0
    assert ran.counts()["together"] == int(shares)


def test_elsewhere_than_on_a_terminal_it_is_a_few_plain_lines(
    run: Run, environment: pytest.MonkeyPatch
) -> None:
    ran = run("demo", "--shares", "1000")
    assert ESCAPE not in ran.out
    assert "\r" not in ran.out
    assert 2 <= len(re.findall("^ cancelling: ", ran.out, re.MULTILINE)) <= 4
    assert max(map(len, ran.out.splitlines())) <= 80


def test_where_there_is_only_ascii_it_is_ascii(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PYTHONIOENCODING", "ascii")
    ran = subprocess.run(command("demo", "--shares", "300"), capture_output=True, check=True)
    assert ran.stdout.isascii()
    assert b"\\u" not in ran.stdout
    assert b"  ok  300 outcomes for 300 ids" in ran.stdout


def test_the_program_it_ends_with_runs(emulator: Emulator) -> None:
    ran = subprocess.run([sys.executable, "-c", demo.PROGRAM], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("CancelReport(already_gone=2")


def on_terminal(**changes: str) -> str:
    """The demo on a terminal of 80 columns; what it wrote there."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **changes}
    process = subprocess.Popen(
        command("demo", "--shares", "900"), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 65_536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    assert process.wait() == 0
    return seen.decode()


def test_on_a_terminal_it_moves(environment: pytest.MonkeyPatch) -> None:
    seen = on_terminal()
    assert COLOUR.search(seen)
    assert len(re.findall(r"in flight", seen)) > 5
    assert "900/900" in seen
    assert seen.count(f"{ESCAPE}[?25l") == seen.count(f"{ESCAPE}[?25h") == 1  # the cursor comes back


def test_on_a_terminal_with_no_color_it_has_none(environment: pytest.MonkeyPatch) -> None:
    seen = on_terminal(NO_COLOR="1")
    assert not COLOUR.search(seen)
    assert "900/900" in seen


def test_on_a_dumb_terminal_nothing_moves(environment: pytest.MonkeyPatch) -> None:
    seen = on_terminal(TERM="dumb")
    assert ESCAPE not in seen
    assert " cancelling: 900 of 900 ids" in seen


def test_ctrl_c_ends_it_with_what_was_settled(environment: pytest.MonkeyPatch) -> None:
    process = start("demo", "--shares", "20000", "--calm", PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    while " cancelling: " not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert "stopping: " in out
    assert "The report, as far as it got" in out
    assert "ids were not read any more" in out
    assert "✗" not in out
    assert "What next" not in out


def test_a_report_that_does_not_hold_is_status_1(
    run: Run, environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = demo.Scene.take

    async def forget_one(scene: demo.Scene, outcome: ShareOutcome) -> None:
        if outcome.share_id != scene.ids[5]:
            await take(scene, outcome)

    monkeypatch.setattr(demo.Scene, "take", forget_one)
    ran = run("demo", "--shares", "200", "--calm")
    assert ran.status == 1
    assert "✗ 1 ids have no outcome, 0 have several, 0 nobody asked for" in ran.out
    assert "✗ 1 were cancelled there, and the report says otherwise" in ran.out
    assert "What next" not in ran.out


def test_a_run_that_fails_says_why_and_is_status_1(
    run: Run, environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = demo.Scene.make

    def make_without_apps(shares: int, seed: int, *, calm: bool) -> demo.Scene:
        scene = make(shares, seed, calm=calm)
        scene.emulator.apps = {"demo-app-id": "another secret"}
        scene.emulator.inject(lambda _: scene.emulator.apps.clear())
        return scene

    monkeypatch.setattr(demo.Scene, "make", make_without_apps)
    ran = run("demo", "--shares", "200", "--calm")
    assert ran.status == 1
    assert "It ended early: AuthFailed: " in ran.out
    assert "another secret" not in ran.out
    assert "✗" not in ran.out
