"""What all benchmarks share: a pinned server, runs in turns, medians, results on disk."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

RESULTS = Path(__file__).parent / "results"
BATCH = 100
Case = TypeVar("Case")


def pin(core: int) -> None:
    """Stay on one core, where there are two and the system can."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


class Server:
    """``server.py`` in a process of its own, on another core than ours."""

    def __init__(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
            preexec_fn=lambda: pin(1),  # noqa: PLW1509 - no thread runs yet
        )
        self.port = int(self._line())
        self.url = f"http://127.0.0.1:{self.port}"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def counts(self) -> tuple[int, int, float]:
        """Good replies and refusals since the last time; CPU seconds used since it began."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        good, refused, cpu = self._line().split()
        return int(good), int(refused), float(cpu)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def share_ids(count: int, first: int = 0) -> list[str]:
    """Distinct ids that look like the service's."""
    return [str(340_000_000_000_000_000 + first + i) for i in range(count)]


class Stopwatch:
    """CPU seconds of this process, all threads, and seconds that passed."""

    def __enter__(self) -> Self:
        gc.collect()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu = time.process_time() - self._cpu
        self.wall = time.perf_counter() - self._wall


def in_turns(
    cases: Iterable[Case], repeat: int, measure: Callable[[Case], Mapping[str, float]]
) -> dict[Case, dict[str, float]]:
    """Every candidate once, then all again: what else the machine does hits all of them. Medians."""
    runs: dict[Case, list[Mapping[str, float]]] = {case: [] for case in cases}
    for turn in range(repeat):
        for case in runs if turn % 2 == 0 else reversed(runs):
            runs[case].append(measure(case))
    return {
        case: {key: statistics.median(run[key] for run in done) for key in done[0]}
        for case, done in runs.items()
    }


def child(module: str, *arguments: str) -> Any:
    """The JSON that ``python -m module arguments`` prints last: a fresh process for a clean measurement."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> dict[str, Any]:
    """What matters of the machine; nothing that tells which one it is."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def save(name: str, **results: Any) -> None:
    """Write ``results/name.json``."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), **results}, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def save_plot(name: str, draw: Callable[[Any], None]) -> None:
    """Write ``results/name.png``."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    draw(axes)
    axes.grid(visible=True, which="both", alpha=0.25)
    figure.savefig(RESULTS / f"{name}.png", dpi=96)
    plt.close(figure)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)
