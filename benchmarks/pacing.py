"""Goodput and refusals under limits that nobody tells: ``python -m benchmarks.pacing``."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any

from benchmarks.clients import HEADERS, PATH, ours
from benchmarks.lab import BATCH, Server, Stopwatch, in_turns, pin, save, save_plot, share_ids, table
from benchmarks.rivals import RIVALS, permit

OURS = "koodrive_async"
CONCURRENCY = 32
LATENCY = 0.05
BURST = 20
_BUCKET = ["--burst", str(BURST)]
#: Name -> options of the server, requests per second that it can give at best, and at once at first.
LIMITS: dict[str, tuple[list[str], float, int]] = {
    "20/s": ([*_BUCKET, "--rate", "20"], 20, BURST),
    "200/s": ([*_BUCKET, "--rate", "200"], 200, BURST),
    "200/s, Retry-After: 1": ([*_BUCKET, "--rate", "200", "--tell"], 200, BURST),
    "8 at a time": (["--places", "8"], 8 / LATENCY, 0),
}


async def rival(name: str, url: str, batches: int) -> None:
    import httpx

    pacing = RIVALS[name]()
    left = [{"shareIds": share_ids(BATCH, first=place * BATCH)} for place in range(batches)]
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    async with httpx.AsyncClient(headers=HEADERS, limits=limits, timeout=60) as client:

        async def work() -> None:
            while left:
                body = left.pop()
                while True:
                    async with permit(pacing) as say:
                        response = await client.post(url + PATH, json=body)
                        wait = response.headers.get("retry-after")
                        say(response.status_code == 429, float(wait) if wait else None)
                    if response.status_code == 200:
                        break

        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONCURRENCY):
                tasks.create_task(work())


async def cancel(name: str, url: str, batches: int) -> None:
    if name != OURS:
        await rival(name, url, batches)
        return
    async with ours(url, CONCURRENCY) as run:
        await run(share_ids(batches * BATCH))


def measure(name: str, limit: str, seconds: float) -> Mapping[str, float]:
    """Every batch must go through; how long that takes is the goodput."""
    options, best, burst = LIMITS[limit]
    batches = int(best * seconds)
    with Server("--latency", str(LATENCY), *options) as server:
        server.counts()
        with Stopwatch() as watch:
            asyncio.run(cancel(name, server.url, batches))
        good, refused, _ = server.counts()
    assert good == batches
    return {"goodput": (batches - burst) / best / watch.wall, "refused": refused / (good + refused)}


def draw(axes: Any, results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    for name in (OURS, *RIVALS):
        good = [result[name]["goodput"] * 100 for result in results.values()]
        refused = [result[name]["refused"] * 100 for result in results.values()]
        axes.scatter(refused, good, label=name, s=80 if name == OURS else 35)
        for limit, x, y in zip(results, refused, good, strict=True):
            axes.annotate(limit, (x, y), fontsize=6, xytext=(3, 3), textcoords="offset points")
    axes.set(xlabel="requests refused, %", ylabel="goodput, % of what the limit allows")
    axes.legend(fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of the limit's full rate")
    parser.add_argument("--dry", action="store_true", help="write no results")
    options = parser.parse_args()
    pin(0)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for limit in LIMITS:
        results[limit] = in_turns(
            (OURS, *RIVALS),
            options.repeat,
            lambda name, limit=limit: measure(name, limit, options.seconds),
        )
        print(limit, results[limit], flush=True)
    rows = [
        [
            name,
            *(f"{result[name]['goodput']:.0%}, {result[name]['refused']:.1%}" for result in results.values()),
        ]
        for name in (OURS, *RIVALS)
    ]
    print(table(["goodput, refused", *results], rows))
    if not options.dry:
        save("pacing", repeat=options.repeat, concurrency=CONCURRENCY, latency=LATENCY, results=results)
        save_plot("pacing", lambda axes: draw(axes, results))


if __name__ == "__main__":
    main()
