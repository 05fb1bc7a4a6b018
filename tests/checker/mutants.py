"""Small patches that bring faults back, one at least for each promise that was once broken.

A checker that finds nothing proves nothing unless it is seen to find: `test_mutants.py` puts each of these
into a copy of the package and plays the topic that is about it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]


@attrs.frozen
class Patch:
    """One text of one file of the package (a path below `koodrive_async`), and what stands there instead."""

    file: str
    old: str
    new: str


@attrs.frozen
class Fault:
    """A fault of the past: the topic that brings it out, and how the checker puts it.

    `patches` bring it back; empty while the package still has it.
    """

    point: int
    name: str
    topic: str
    says: str
    patches: tuple[Patch, ...] = ()
    histories: int = 400

    def __str__(self) -> str:
        return f"{self.point} {self.name}"


FAULTS = (
    # Point 0: what the promise rests on since it was made.
    Fault(
        0,
        "ambiguity does not stick",
        "storm",
        r"(NOT_SENT|REJECTED), but request \d+",
        (
            Patch(
                "core/outcomes.py",
                "    if ambiguous:\n        status = Status.UNKNOWN\n",
                "    if ():\n        pass\n",
            ),
        ),
    ),
    Fault(
        0,
        "an id left out counts as cancelled",
        "storm",
        "CANCELLED, but",
        (Patch("core/pairing.py", '[(None, "") if sub is None else', '[("0", "") if sub is None else'),),
    ),
    Fault(
        0,
        "leaving is not noted",
        "storm",
        "NOT_SENT, but",
        (Patch("shell/departure.py", "            self.left = True", "            self.left = False"),),
    ),
    Fault(
        1, "a source's stray cancellation ends the job", "strays", "ended without an error, but its source"
    ),
    Fault(
        1, "half the source makes a true report", "strays", r"True in a condition, but 0 failed and \d+ of"
    ),
    Fault(1, "a middleware's stray cancellation", "strays", "but the caller's own code did not|ever sent"),
    Fault(1, "a hook's stray cancellation", "strays", "without a report|and nothing went wrong"),
    Fault(2, "refused after a lost reply is final", "after", r"REJECTED, but request \d+ carried it out"),
    Fault(3, "what a middleware sent first is forgotten", "twice", r"NOT_SENT, but request \d+ had it"),
    Fault(
        4, "a stray gone settles", "crossing", "ALREADY_GONE, but no reply that holds said so", histories=1200
    ),
    Fault(
        4,
        "a copied reply settles",
        "crossing",
        "CANCELLED, but nothing|REJECTED, but request",
        (Patch("shell/transport.py", "if state is not None and state.trailing_data[0]:", "if ():"),),
        histories=1200,
    ),
    Fault(4, "a lent client's nameless list settles", "lists", "CANCELLED, but no reply that holds said so"),
    Fault(5, "the first of two answers counts", "lists", "CANCELLED, but nothing was carried out"),
    Fault(5, "position counts beside other names", "lists", r"REJECTED, but request \d+ carried it out"),
    Fault(6, "gone for everything reads as success", "gone", "ALREADY_GONE, but the share is there"),
    Fault(
        7,
        "a deadline while reading makes a true report",
        "limits",
        r"True in a condition, but 0 failed and \d",
    ),
    Fault(8, "no reason given", "limits", "NOT_SENT with error None"),
    Fault(8, "a dead endpoint is an outcome", "dead", "returned, but nothing was ever answered"),
    Fault(9, "odd statuses are refusals", "statuses", r"REJECTED, but request \d+ carried it out"),
)


class Mutant:
    """A copy of the package with a fault in it."""

    def __init__(self, folder: Path, fault: Fault) -> None:
        self.folder, self.fault = folder, fault
        shutil.copytree(
            ROOT / "koodrive_async", folder / "koodrive_async", ignore=shutil.ignore_patterns("__pycache__")
        )
        (folder / "tests").symlink_to(ROOT / "tests", target_is_directory=True)

    def patch(self) -> None:
        """Put the fault in.

        Raises:
            AssertionError: If an old text is not there exactly once.
        """
        for patch in self.fault.patches:
            path = self.folder / "koodrive_async" / patch.file
            text = path.read_text()
            found = text.count(patch.old)
            assert found == 1, f"{self.fault}: {patch.file} has {found} times {patch.old!r}"
            path.write_text(text.replace(patch.old, patch.new))

    def play(self, *, wanted: str = "") -> str | None:
        """Play the fault's topic; what the checker printed of the first failure, or None."""
        options = [self.fault.topic, "--count", str(self.fault.histories), "--wanted", wanted]
        done = subprocess.run(
            [sys.executable, "-m", "tests.checker", *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert str(self.folder) in done.stdout, f"another package was played: {done.stdout}{done.stderr}"
        return done.stdout if done.returncode else None

    def finding(self, story: str) -> str:
        """The seed and the first finding of the kind expected."""
        seed = re.search(r"CHECKER_SEED=(\S+)", story)
        said = re.search(rf"  - (.*(?:{self.fault.says}).*)", story)
        return f"{seed[1] if seed else '?'}: {said[1] if said else '?'}"
