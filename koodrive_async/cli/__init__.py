"""The command `koodrive`: its parser, and the way from arguments to an exit status.

Each command is a file of its own, imported when it is called for, so that ``--help`` stays quick and
a missing extra is a sentence, not a traceback. Refuses to know what a command does.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import os
import sys
from typing import TYPE_CHECKING

from koodrive_async.core.errors import JournalFailed, KooDriveError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

#: Exit statuses; 128 + the signal's number when one ended the command, as shells do.
DONE, INCOMPLETE, USAGE, INTERRUPTED = 0, 1, 2, 130

#: What each command needs beyond the core, and the extras that bring it.
_NEEDS = {
    "demo": (("rich", "starlette", "uvicorn"), "cli,emulator"),
    "cancel": (("rich",), "cli"),
    "info": (("rich",), "cli"),
}

_ENVIRONMENT = """\
environment:
  KOODRIVE_ENDPOINT      scheme and host of the service
  KOODRIVE_USER_ID       whose shares they are
  KOODRIVE_ACCESS_TOKEN  an access token, or instead of it:
  KOODRIVE_APP_ID        the id and
  KOODRIVE_APP_SECRET    the secret of an application
  KOODRIVE_AGENT_NAME    carrier edition only
"""

_STATUSES = """
exit status:
  0  every id is cancelled or was gone    2  wrong usage or configuration
  1  not everything was cancelled         130  interrupted (Ctrl-C)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What stands after ``koodrive``; None for the process's own.

    Returns:
        The exit status.

    Raises:
        SystemExit: From argparse: help was asked for, or the arguments are wrong.
    """
    chosen = _parser().parse_args(arguments)
    problem = _missing(chosen)
    if problem:
        return _complain(problem, USAGE)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name in a poorer encoding is no reason to fail
    try:
        status: int = importlib.import_module(f"koodrive_async.cli.{chosen.command}").run(chosen)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except (UsageError, JournalFailed) as error:
        return _complain(str(error), USAGE)
    except KooDriveError as error:
        return _complain(f"{type(error).__name__}: {error}", INCOMPLETE)
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter must not stumble over it when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INCOMPLETE
    return status


def _complain(text: str, status: int) -> int:
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    print(f"koodrive: {printable}", file=sys.stderr)
    return status


def _missing(chosen: argparse.Namespace) -> str:
    """What is not installed and which line installs it; empty if all is there."""
    needed, extras = _NEEDS[chosen.command]
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    if absent:
        names = " and ".join(filter(None, [", ".join(absent[:-1]), absent[-1]]))
        return f"`{chosen.command}` needs {names}; this helps: pip install 'koodrive-async[{extras}]'"
    if getattr(chosen, "backend", "") == "trio" and importlib.util.find_spec("trio") is None:
        return "`--backend trio` needs trio; this helps: pip install trio"
    return ""


# -- the parser ---------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="koodrive",
        description="Cancel share links of Huawei Cloud KooDrive: any number, one honest outcome for each.",
        epilog="Begin with `koodrive demo`: it needs no account, and nothing leaves this machine.",
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_cancel(commands)
    _add_info(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = _command(
        commands,
        "demo",
        "cancel a few thousand shares of an emulator in bad weather, and check the report",
        "Starts an emulator of the service on this machine, cancels all its shares through a real socket"
        " while it loses replies and answers 429 and 503, and compares the report with its books.",
        "exit status:\n  0  the report holds    1  it does not    130  interrupted (Ctrl-C)\n",
    )
    demo.add_argument("--shares", type=_count, default=5_000, metavar="N", help="how many (default 5000)")
    demo.add_argument(
        "--seed", type=int, default=7, metavar="N", help="another seed, another weather (default 7)"
    )
    demo.add_argument("--calm", action="store_true", help="no faults")
    demo.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="the event loop")
    _add_concurrency(demo)


def _add_cancel(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    cancel = _command(
        commands,
        "cancel",
        "cancel the shares whose ids are in a file",
        "Reads share ids, one a line (blank lines and # comments are skipped), and cancels them. A file is"
        " checked to its end before anything is sent; standard input is worked off as it comes."
        " Ctrl-C stops sending, lets what is under way end, and says what was settled.",
        _ENVIRONMENT + _STATUSES,
    )
    cancel.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="the ids; - (default): standard input"
    )
    cancel.add_argument("--json", action="store_true", help="one JSON object per id on standard output")
    _add_concurrency(cancel)
    cancel.add_argument(
        "--per-second",
        type=_positive,
        metavar="N",
        help="never more requests a second (of up to 100 ids each)",
    )
    cancel.add_argument(
        "--journal",
        metavar="PATH",
        help="remember there what is settled; the same command again does the rest",
    )
    cancel.add_argument("--deadline", type=_positive, metavar="SECONDS", help="begin nothing new after that")


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    info = _command(
        commands,
        "info",
        "show the public information of a share",
        "Shows what the service tells about an access link.",
        _ENVIRONMENT,
    )
    info.add_argument("short_url", metavar="SHORT_URL", help="the short code of the link, or the whole link")
    info.add_argument("--json", action="store_true", help="as one JSON object")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    short: str,
    long: str,
    epilog: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=short,
        description=long,
        epilog=epilog,
        formatter_class=_Paragraphs,
    )


def _add_concurrency(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--concurrency", type=_count, default=16, metavar="N", help="requests in flight at most (default 16)"
    )


class _Paragraphs(argparse.HelpFormatter):
    """Wraps running text, and leaves tables (anything with line breaks) alone."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text.rstrip() if "\n" in text else super()._fill_text(text, width, indent)


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and leave")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from koodrive_async import __version__

        print(f"koodrive {__version__}")
        parser.exit()


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0 or math.isinf(number):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return number


_count.__name__, _positive.__name__ = "whole number", "number"  # how argparse speaks of them
