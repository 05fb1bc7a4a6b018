"""Ids per second when the service takes its time: ``python -m benchmarks.throughput``."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any

from benchmarks.clients import CANDIDATES
from benchmarks.lab import BATCH, Server, Stopwatch, in_turns, pin, save, save_plot, share_ids, table

NAMES = ["koodrive_async", "httpx", "httpx + semaphore + tenacity", "aiohttp"]


async def measure(name: str, url: str, concurrency: int, batches: int) -> Mapping[str, float]:
    async with CANDIDATES[name](url, concurrency) as run:
        await run(share_ids(4 * concurrency * BATCH, first=10**9))
        ids = share_ids(batches * BATCH)
        with Stopwatch() as watch:
            await run(ids)
    return {"ids_per_second": len(ids) / watch.wall, "cpu_share": watch.cpu / watch.wall}


def draw(axes: Any, results: Mapping[str, Mapping[str, Mapping[str, float]]], names: list[str]) -> None:
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        at = [group + place * width for group in range(len(results))]
        axes.bar(at, [result[name]["ids_per_second"] for result in results.values()], width, label=name)
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(results))], list(results))
    axes.set(ylabel="ids per second", title="64 requests in flight")
    axes.legend(fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--batches", type=int, default=1500)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--only", nargs="*", default=NAMES, choices=list(CANDIDATES))
    parser.add_argument("--dry", action="store_true", help="write no results")
    options = parser.parse_args()
    pin(0)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for latency in (0.0, 0.02, 0.05):
        with Server("--latency", str(latency)) as server:
            bound = f"{options.concurrency / latency * BATCH:,.0f}" if latency else "-"
            results[f"{latency * 1000:.0f} ms"] = in_turns(
                options.only,
                options.repeat,
                lambda name, url=server.url: asyncio.run(
                    measure(name, url, options.concurrency, options.batches)
                ),
            )
        print(f"{latency * 1000:.0f} ms; the latency alone allows {bound} ids/s", flush=True)
    rows = [
        [name, *(f"{result[name]['ids_per_second']:,.0f}" for result in results.values())]
        + [f"{result[name]['cpu_share']:.0%}" for result in results.values()]
        for name in options.only
    ]
    header = ["ids per second", *results, *(f"core busy, {latency}" for latency in results)]
    print(table(header, rows))
    if not options.dry:
        save("throughput", repeat=options.repeat, concurrency=options.concurrency, results=results)
        save_plot("throughput", lambda axes: draw(axes, results, options.only))


if __name__ == "__main__":
    main()
