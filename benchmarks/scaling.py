"""Cost per id as ids and waiting callers grow: ``python -m benchmarks.scaling``."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any

from benchmarks.clients import CANDIDATES
from benchmarks.lab import BATCH, Server, Stopwatch, in_turns, pin, save, save_plot, share_ids, table

SIZES = [10**3, 10**4, 10**5, 10**6]
CALLERS = [1, 10, 100, 1000]
#: Ids per measurement: small jobs are repeated until they can be measured.
LEAST = 100_000


async def by_size(url: str, size: int) -> Mapping[str, float]:
    """One call with so many ids."""
    async with CANDIDATES["koodrive_async"](url, 16) as run:
        await run(share_ids(20 * BATCH, first=10**9))
        jobs = max(1, LEAST // size)
        ids = share_ids(size)
        with Stopwatch() as watch:
            for _ in range(jobs):
                await run(ids)
    return {"cpu_us_per_id": watch.cpu / (jobs * size) * 1e6}


async def by_callers(url: str, callers: int) -> Mapping[str, float]:
    """So many tasks at once, each with calls of one batch, through one client with 16 permits."""
    async with CANDIDATES["koodrive_async"](url, 16) as run:
        await run(share_ids(20 * BATCH, first=10**9))
        left = iter(range(LEAST // BATCH))
        ids = share_ids(BATCH)

        async def work() -> None:
            for _ in left:
                await run(ids)

        with Stopwatch() as watch:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(callers):
                    tasks.create_task(work())
    return {"cpu_us_per_id": watch.cpu / LEAST * 1e6}


def draw(axes: Any, results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    for name, points in results.items():
        costs = [point["cpu_us_per_id"] for point in points.values()]
        axes.plot([int(size) for size in points], costs, marker="o", label=name)
    axes.set(xscale="log", xlabel="ids in one call, or tasks waiting", ylabel="client CPU per id, µs")
    axes.set_ylim(bottom=0)
    axes.legend()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no results")
    options = parser.parse_args()
    pin(0)
    results: dict[str, dict[str, dict[str, float]]] = {}
    with Server() as server:
        for name, levels, measure in (
            ("ids in one call", SIZES, by_size),
            ("tasks waiting, one batch each", CALLERS, by_callers),
        ):
            results[name] = in_turns(
                map(str, levels),
                options.repeat,
                lambda level, measure=measure: asyncio.run(measure(server.url, int(level))),
            )
    for name, points in results.items():
        print(table([name, "CPU per id, µs"], [[n, f"{p['cpu_us_per_id']:.2f}"] for n, p in points.items()]))
    if not options.dry:
        save("scaling", repeat=options.repeat, results=results)
        save_plot("scaling", lambda axes: draw(axes, results))


if __name__ == "__main__":
    main()
