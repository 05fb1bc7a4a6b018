"""Memory of a million ids: ``python -m benchmarks.memory``. Each figure from a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.lab import BATCH, Server, child, in_turns, save, save_plot, share_ids, table

MIB = 2**20
CASES = ["idle", "streamed", "report", "report, objects", "httpx + semaphore + tenacity"]


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def lazily(count: int) -> Iterator[str]:
    for i in range(count):
        yield str(340_000_000_000_000_000 + i)


async def one(case: str, url: str, count: int) -> dict[str, float]:
    """In a fresh process: peak above the client that has sent a little and is idle."""
    from benchmarks.clients import usual

    if case.startswith("httpx"):
        ids = share_ids(count)
        async with usual(url, 16) as run:
            await run(share_ids(1600, first=10**9))
            idle = resident()
            await run(ids)
            return {"above_idle_mib": (peak() - idle) / MIB}
    from koodrive_async import AppCredentials, AsyncShareClient, Pace

    credentials = AppCredentials("app", "secret", "u")
    ids = share_ids(count) if case.startswith("report") else []
    async with AsyncShareClient(url, credentials, pace=Pace(concurrency=16)) as client:
        await client.cancel(share_ids(20 * BATCH, first=10**9))
        gc.collect()
        idle = resident()
        if case == "streamed":
            async with client.open_cancel(lazily(count)) as stream:
                async for outcome in stream:
                    assert outcome.code == "0"
            assert sum(stream.report.counts.values()) == count
        elif case == "report":
            tracemalloc.start()
            report = await client.cancel(ids)
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
            assert len(report) == count
            return {"above_idle_mib": (peak() - idle) / MIB, "kept_bytes_per_id": kept / count}
        elif case == "report, objects":
            report = await client.cancel(ids)
            before = resident()
            outcomes = list(report.outcomes)
            assert len(outcomes) == count
            return {
                "above_idle_mib": (peak() - idle) / MIB,
                "kept_bytes_per_id": (resident() - before) / count,
            }
    return {"above_idle_mib": (peak() - idle) / MIB}


def draw(axes: Any, results: Mapping[str, Mapping[str, float]]) -> None:
    axes.barh(list(results), [result["above_idle_mib"] for result in results.values()])
    axes.set(xlabel="peak above the idle client, MiB")
    axes.invert_yaxis()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--count", type=int, default=10**6)
    parser.add_argument("--dry", action="store_true", help="write no results")
    parser.add_argument("--case", nargs=2, metavar=("CASE", "URL"), help="for the child processes")
    options = parser.parse_args()
    if options.case:
        case, url = options.case
        print(json.dumps(asyncio.run(one(case, url, options.count))))
        return
    with Server() as server:
        settings = ["--count", str(options.count)]
        results = in_turns(
            CASES,
            options.repeat,
            lambda case: child("benchmarks.memory", *settings, "--case", case, server.url),
        )
    rows = [
        [
            case,
            f"{result['above_idle_mib']:.1f}",
            f"{kept:.0f}" if (kept := result.get("kept_bytes_per_id")) else "-",
        ]
        for case, result in results.items()
    ]
    print(table([f"{options.count:,} ids", "peak above idle, MiB", "kept beyond the ids, bytes/id"], rows))
    if not options.dry:
        save("memory", repeat=options.repeat, count=options.count, results=results)
        save_plot("memory", lambda axes: draw(axes, results))


if __name__ == "__main__":
    main()
