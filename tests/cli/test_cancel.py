import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from koodrive_async import AppCredentials, AsyncShareClient, ShareOutcome, Status
from koodrive_async.cli import show
from koodrive_async.cli.board import PlainBoard
from koodrive_async.cli.follow import Ending, follow
from koodrive_async.cli.takers import SHOWN
from koodrive_async.testing import BlackHole, Emulator, lost_reply, unavailable
from tests.cli.runs import ESCAPE, SECRETS, TIMES, Run, start

ALL_GONE = "every one of these was gone already; is this the right user, and the right file?"


@pytest.fixture
def file(emulator: Emulator, tmp_path: Path) -> str:
    path = tmp_path / "ids.txt"
    path.write_text("# mine\n\n" + "".join(f"{share_id}\n" for share_id in emulator.share_ids))
    return str(path)


def test_all_well(emulator: Emulator, file: str, run: Run) -> None:
    ran = run("cancel", file)
    assert ran.status == 0
    assert emulator.cancelled == set(emulator.share_ids)
    assert ran.counts() == {
        "cancelled": 250,
        "already gone": 0,
        "rejected": 0,
        "unknown": 0,
        "not sent": 0,
        "together": 250,
    }
    assert "3 requests" in ran.out
    assert ESCAPE not in ran.out + ran.err
    assert "cancelling: 250 of 250 ids" in ran.err


def test_again_all_are_gone_and_that_is_well(emulator: Emulator, file: str, run: Run) -> None:
    assert ALL_GONE not in run("cancel", file).err
    ran = run("cancel", file)
    assert ran.status == 0
    assert ran.counts()["already gone"] == 250
    assert ran.err.count(ALL_GONE) == 1


def test_a_resume_that_finds_all_gone_needs_no_warning(
    emulator: Emulator, file: str, run: Run, tmp_path: Path
) -> None:
    journal = str(tmp_path / "journal")
    run("cancel", file, "--journal", journal)
    assert ALL_GONE not in run("cancel", file, "--journal", journal).err


def test_failures_are_shown_a_few_for_each_reason(emulator: Emulator, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "ids"
    emulator.item_codes = dict.fromkeys(emulator.share_ids[:20], "4711")
    path.write_text("\n".join([*emulator.share_ids, *emulator.received_ids]))
    ran = run("cancel", str(path))
    assert ran.status == 1
    assert all(f"rejected  {share_id}  Forbidden: 13000410 " in ran.out for share_id in emulator.received_ids)
    assert ran.out.count(": 4711") == SHOWN + 1
    assert f"rejected  ... and {20 - SHOWN} more  " in ran.out
    assert ran.counts()["rejected"] == 23


def test_json_has_every_outcome(emulator: Emulator, file: str, run: Run) -> None:
    with Path(file).open("a") as ids:
        ids.write("\n".join(emulator.received_ids))
    emulator.script(None, lost_reply())
    ran = run("cancel", "--json", file)
    assert ran.status == 1
    outcomes = [json.loads(line) for line in ran.out.splitlines()]
    assert sorted(found["share_id"] for found in outcomes) == sorted(
        emulator.share_ids + emulator.received_ids
    )
    for found in outcomes:
        mine = found["share_id"] in emulator.share_ids
        assert found["status"] in (("cancelled", "already_gone") if mine else ("rejected",))
        assert (found["error"] is None) == mine
        assert len(found["trace_id"]) == 58
        assert found["attempts"] >= 1
        assert found["retryable"] is False
    assert ran.counts(ran.err)["rejected"] == 3


def test_standard_input(emulator: Emulator) -> None:
    process = start("cancel", "--json")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"# some\n{emulator.share_ids[0]}\n")
    process.stdin.flush()
    first = json.loads(process.stdout.readline())  # while the input is still open
    assert (first["share_id"], first["status"]) == (emulator.share_ids[0], "cancelled")
    process.stdin.write(emulator.share_ids[1])
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(out)["share_id"] == emulator.share_ids[1]


def test_a_slip_in_a_file_costs_nothing(emulator: Emulator, file: str, run: Run) -> None:
    with Path(file).open("a") as ids:
        ids.write("10 01\n")
    ran = run("cancel", file)
    assert (ran.status, ran.out) == (2, "")
    assert "line 253: a share id contains blanks" in ran.err
    assert emulator.requests == 0


def test_a_slip_on_standard_input_ends_it(emulator: Emulator) -> None:
    process = start("cancel", "-")
    out, err = process.communicate(f"{emulator.share_ids[0]}\n10 01\n", timeout=20)
    assert process.returncode == 2
    assert "standard input, line 2: a share id contains blanks" in err
    assert "together" in out
    assert emulator.requests <= 1


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_no_ids(emulator: Emulator, tmp_path: Path, run: Run, text: str) -> None:
    path = tmp_path / "ids"
    path.write_text(text)
    ran = run("cancel", str(path))
    assert (ran.status, ran.out) == (0, "")
    assert "nothing to do" in ran.err


def test_no_such_file(emulator: Emulator, run: Run) -> None:
    ran = run("cancel", "/no/such/file")
    assert (ran.status, ran.err) == (2, "koodrive: /no/such/file: No such file or directory\n")


def test_no_credentials(environment: pytest.MonkeyPatch, run: Run) -> None:
    ran = run("cancel", "/no/such/file")
    assert ran.status == 2
    assert "KOODRIVE_ENDPOINT is not set" in ran.err


def test_refused_credentials(
    emulator: Emulator, environment: pytest.MonkeyPatch, file: str, run: Run
) -> None:
    environment.setenv("KOODRIVE_APP_SECRET", "not-this-one")
    ran = run("cancel", file)
    assert ran.status == 1
    assert "koodrive: stopped by AuthFailed: " in ran.err
    assert "not-this-one" not in ran.out + ran.err
    assert ran.counts() == {
        "cancelled": 0,
        "already gone": 0,
        "rejected": 100,
        "unknown": 0,
        "not sent": 150,
        "together": 250,
    }


def test_the_options_reach_the_client(emulator: Emulator, file: str, run: Run) -> None:
    ran = run("cancel", "--concurrency", "1", "--per-second", "1000", file)
    assert ran.status == 0
    assert emulator.max_in_flight == 1


def test_a_deadline(emulator: Emulator, file: str, run: Run) -> None:
    emulator.latency = 0.3
    ran = run("cancel", "--concurrency", "1", "--deadline", "0.1", file)
    assert ran.status == 1
    assert ran.counts()["cancelled"] == 100
    assert "koodrive: the deadline has passed; what was not read yet was not sent either" in ran.err


def test_bad_weather_is_told(emulator: Emulator, file: str, run: Run) -> None:
    emulator.script(None, unavailable(), lost_reply())
    ran = run("cancel", file)
    assert ran.status == 0
    assert f"1 {TIMES} 503" in ran.err
    assert f"1 {TIMES} connection lost" in ran.err


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_signal_drains(
    environment: pytest.MonkeyPatch, tmp_path: Path, name: str, flags: tuple[str, ...]
) -> None:
    with Emulator(shares=20_000, latency=0.2) as emulator:  # more lines than fit into a pipe nobody reads
        path = tmp_path / "ids"
        path.write_text("\n".join(emulator.share_ids))
        process = start("cancel", *flags, str(path), **emulator.environ("token"))
        until(lambda: emulator.cancelled_count > 300)
        number = getattr(signal, name)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert "stopping: " in err
    assert "koodrive: interrupted; what was not read yet was not sent either" in err
    table = err if flags else out
    rows = [line.split() for line in table.splitlines()]
    counted = next(int(row[1].replace(",", "")) for row in rows if row[:1] == ["cancelled"])
    assert counted == emulator.cancelled_count < 20_000
    assert not any(secret in out + err for secret in SECRETS)
    if flags:
        said = [json.loads(line) for line in out.splitlines()]
        assert {found["share_id"] for found in said if found["status"] == "cancelled"} == emulator.cancelled


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_signal_while_standard_input_is_silent(emulator: Emulator) -> None:
    process = start("cancel")
    assert process.stdin is not None
    process.stdin.write(f"{emulator.share_ids[0]}\n")
    process.stdin.flush()
    until(lambda: emulator.cancelled_count)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    process.communicate()


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_reader_who_leaves_stops_it(
    environment: pytest.MonkeyPatch, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    with Emulator(shares=0, received=20_000, latency=0.05) as emulator:
        path = tmp_path / "ids"
        path.write_text("\n".join(emulator.received_ids))
        process = start("cancel", *flags, str(path), **emulator.environ())
        assert process.stdout is not None
        if flags:
            process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=20) == 1
        assert process.stderr is not None
        err = process.stderr.read()
        assert "nobody reads the outcomes any more" in err
        assert "Traceback" not in err
        assert "Exception ignored" not in err
        assert emulator.requests < 200
        process.stderr.close()
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_second_signal_cuts_what_is_under_way(emulator: Emulator, backend: str) -> None:
    taken: list[ShareOutcome] = []
    emulator.inject(lambda seen: BlackHole(act=True) if seen.number > 1 else None)

    async def take(outcome: ShareOutcome) -> None:
        taken.append(outcome)
        if len(taken) == 100:
            signal.raise_signal(signal.SIGINT)

    class Impatient(PlainBoard):
        def say(self, text: object) -> None:
            if "stopping" in str(text):
                signal.raise_signal(signal.SIGINT)

    async def both() -> Ending:
        app_id, secret = next(iter(emulator.apps.items()))
        async with AsyncShareClient(emulator.url, AppCredentials(app_id, secret, emulator.user_id)) as client:
            board = Impatient(show.console(sys.stderr), "cancelling", None, None)
            stream = client.open_cancel(emulator.share_ids, grace=0.2)
            with anyio.fail_after(10):
                return await follow(stream, take, board, read=lambda: True)

    ending = anyio.run(both, backend=backend)
    assert ending.signal == signal.SIGINT
    assert ending.error is None
    assert len(taken) == len({outcome.share_id for outcome in taken}) == 250
    assert ending.report.counts[Status.CANCELLED] == 100
    assert ending.report.counts[Status.UNKNOWN] + ending.report.counts[Status.NOT_SENT] == 150


def test_ids_typed_on_a_terminal(emulator: Emulator, environment: pytest.MonkeyPatch, run: Run) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        environment.setattr(sys, "stdin", terminal)
        os.write(ours, f"{emulator.share_ids[0]}\n\x04".encode())
        ran = run("cancel")
    os.close(ours)
    assert ran.status == 0
    assert "one share id a line" in ran.err
    assert ran.counts()["cancelled"] == 1


def test_a_journal_asks_for_the_rest_only(emulator: Emulator, file: str, tmp_path: Path, run: Run) -> None:
    journal = str(tmp_path / "journal")
    emulator.latency = 0.3
    ran = run("cancel", "--journal", journal, "--concurrency", "1", "--deadline", "0.1", file)
    assert ran.status == 1
    assert "koodrive: the same command again asks for the rest" in ran.err
    assert emulator.requests == 1
    emulator.latency = 0.0
    ran = run("cancel", "--journal", journal, file)
    assert ran.status == 0
    assert ran.counts()["cancelled"] == 250
    assert emulator.requests == 3
    assert run("cancel", "--journal", journal, file).status == 0
    assert emulator.requests == 3


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_journal_that_is_none_is_status_2(
    emulator: Emulator, file: str, run: Run, flags: tuple[str, ...]
) -> None:
    ran = run("cancel", *flags, "--journal", file, file)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("koodrive: ")
    assert emulator.requests == 0


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_signal_drains_in_this_process_too(
    emulator: Emulator, file: str, run: Run, flags: tuple[str, ...]
) -> None:
    emulator.latency = 0.1
    emulator.inject(lambda seen: os.kill(os.getpid(), signal.SIGINT) if seen.number == 2 else None)  # type: ignore[func-returns-value]
    ran = run("cancel", "--concurrency", "1", *flags, file)
    assert ran.status == 130
    assert "stopping: 1 request under way may end" in ran.err
    table = ran.counts(ran.err if flags else ran.out)
    assert (table["cancelled"], table["not sent"]) == (200, 50)
    assert len(emulator.cancelled) == 200


def test_an_unreachable_service_is_told(
    emulator: Emulator, environment: pytest.MonkeyPatch, file: str, run: Run
) -> None:
    emulator.stop()
    ran = run("cancel", "--deadline", "0.4", file)
    emulator.start()
    assert ran.status == 1
    assert f"{TIMES} no connection" in ran.err
    assert ran.counts()["not sent"] == 250


def test_reading_errors_end_it(emulator: Emulator, environment: pytest.MonkeyPatch, run: Run) -> None:
    ours, theirs = os.pipe()

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    with os.fdopen(ours) as source:
        os.write(theirs, b"1001\n")
        environment.setattr(sys, "stdin", source)
        environment.setattr("koodrive_async.cli.source.os.read", fail)
        ran = run("cancel")
    os.close(theirs)
    assert (ran.status, ran.out) == (1, "")
    assert "koodrive: stopped by OSError: [Errno 5] Input/output error" in ran.err
