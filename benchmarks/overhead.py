"""Client CPU per batch of 100 ids, by concurrency: ``python -m benchmarks.overhead``."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from itertools import product
from typing import Any

from benchmarks.clients import CANDIDATES
from benchmarks.lab import BATCH, Server, Stopwatch, in_turns, pin, save, save_plot, share_ids, table

OURS = "koodrive_async"


async def measure(name: str, url: str, concurrency: int, batches: int) -> Mapping[str, float]:
    """Connections and pace warmed up first."""
    ids = share_ids(batches * BATCH)
    async with CANDIDATES[name](url, concurrency) as run:
        await run(share_ids(4 * concurrency * BATCH, first=10**9))
        with Stopwatch() as watch:
            await run(ids)
    return {"cpu_us": watch.cpu / batches * 1e6, "wall_us": watch.wall / batches * 1e6}


def draw(axes: Any, results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    levels = list(results)
    for name in results[levels[0]]:
        costs = [results[level][name]["cpu_us"] for level in levels]
        axes.plot(levels, costs, marker="o", label=name, lw=3 if name == OURS else 1.5)
    axes.set(yscale="log", xlabel="requests in flight", ylabel="client CPU per batch of 100 ids, µs")
    axes.legend(fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--batches", type=int, default=400, help="per run, at least")
    parser.add_argument("--concurrency", type=int, nargs="*", default=[1, 16, 64, 256])
    parser.add_argument("--only", nargs="*", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--dry", action="store_true", help="write no results")
    options = parser.parse_args()
    pin(0)
    with Server() as server:

        def one(case: tuple[int, str]) -> Mapping[str, float]:
            concurrency, name = case
            _, _, before = server.counts()
            batches = max(options.batches, 4 * concurrency)
            measured = asyncio.run(measure(name, server.url, concurrency, batches))
            good, _, after = server.counts()
            return {**measured, "server_us": (after - before) / good * 1e6}

        found = in_turns(list(product(options.concurrency, options.only)), options.repeat, one)
    results = {
        str(level): {name: found[level, name] for name in options.only} for level in options.concurrency
    }
    rows = [
        [name, *(f"{results[level][name]['cpu_us']:,.0f}" for level in results)]
        + [f"{results[level][OURS]['cpu_us'] / results[level][name]['cpu_us']:.2f}" for level in results]
        for name in options.only
        if OURS in options.only
    ]
    ratios = [f"ours / it, {level}" for level in results]
    print(table(["client CPU, µs a batch", *(f"C={level}" for level in results), *ratios], rows))
    if not options.dry:
        save("overhead", repeat=options.repeat, results=results)
        save_plot("overhead", lambda axes: draw(axes, results))


if __name__ == "__main__":
    main()
