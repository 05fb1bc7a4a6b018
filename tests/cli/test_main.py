import re
import subprocess
import sys

import pytest

import koodrive_async
from koodrive_async.cli import main
from tests.cli.runs import Run, command


def test_help_names_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.status == 0
    assert all(re.search(rf"^ +{name} ", ran.out, re.MULTILINE) for name in ("demo", "cancel", "info"))


@pytest.mark.parametrize("name", ["demo", "cancel", "info"])
def test_help_of_a_command_fits_80_columns(run: Run, name: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("COLUMNS", "80")
    ran = run(name, "--help")
    assert ran.status == 0
    assert max(map(len, ran.out.splitlines())) <= 80


def test_version(run: Run) -> None:
    assert run("--version").out == f"koodrive {koodrive_async.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("info",),
        ("demo", "--shares", "0"),
        ("demo", "--shares", "many"),
        ("demo", "--backend", "curio"),
        ("cancel", "--concurrency", "0"),
        ("cancel", "--per-second", "0"),
        ("cancel", "--per-second", "nan"),
        ("cancel", "--deadline", "-1"),
        ("cancel", "--deadline", "inf"),
    ],
)
def test_wrong_usage_is_status_2(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert "usage: koodrive" in ran.err


@pytest.mark.parametrize(
    ("missing", "arguments", "names", "extras"),
    [
        (["rich"], ["info", "x"], "rich", "cli"),
        (["rich"], ["cancel"], "rich", "cli"),
        (["rich", "starlette", "uvicorn"], ["demo"], "rich, starlette and uvicorn", "cli,emulator"),
        (["uvicorn"], ["demo"], "uvicorn", "cli,emulator"),
    ],
)
def test_a_missing_extra_is_named_with_what_helps(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    missing: list[str],
    arguments: list[str],
    names: str,
    extras: str,
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    ran = run(*arguments)
    assert ran.status == 2
    assert ran.err == (
        f"koodrive: `{arguments[0]}` needs {names}; this helps: pip install 'koodrive-async[{extras}]'\n"
    )


def test_missing_trio_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", None)
    ran = run("demo", "--backend", "trio")
    assert ran.status == 2
    assert "pip install trio" in ran.err


def test_help_imports_nothing_that_it_does_not_need() -> None:
    program = (
        "import sys\n"
        "sys.modules['rich'] = sys.modules['uvicorn'] = None\n"
        "from koodrive_async.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "late = ('koodrive_async.cli.', 'koodrive_async.testing', 'starlette')\n"
        "heavy = [name for name in sys.modules if name.startswith(late)]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_an_interrupt_outside_a_call_is_status_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("koodrive_async.cli.info.run", interrupt)
    ran = run("info", "x")
    assert (ran.status, ran.err) == (130, "koodrive: interrupted\n")


def test_as_a_module() -> None:
    ran = subprocess.run(command("--version"), capture_output=True, text=True, check=True)
    assert ran.stdout == f"koodrive {koodrive_async.__version__}\n"


def test_the_entry_point_is_main() -> None:
    assert koodrive_async.cli.main is main
