"""Copies of the package with a fault in them.

A checker that finds nothing proves nothing unless it is seen to find: `test_mutants.py` puts each of the
faults into a copy of the package and plays the topic that is about it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.checker.faults import Fault

ROOT = Path(__file__).resolve().parents[2]


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
