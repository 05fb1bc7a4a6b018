"""Time to import, and to the first answer: ``python -m benchmarks.startup``. A fresh process each time."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.lab import Server, in_turns, pin, save, save_plot, table

FIRST = """
import asyncio, sys
from koodrive_async import AppCredentials, AsyncShareClient
async def main():
    async with AsyncShareClient(sys.argv[1], AppCredentials("app", "secret", "u")) as client:
        assert await client.cancel(["340000000000000001"])
asyncio.run(main())
"""
CASES = {
    "python alone": "pass",
    "its five dependencies": "import anyio, attrs, cattrs, httpx, tenacity",
    "koodrive_async": "import koodrive_async",
    "its client": "from koodrive_async import AsyncShareClient",
    "first answer": FIRST,
    "first answer, httpx": (
        "import asyncio, sys, httpx\n"
        "async def main():\n"
        "    async with httpx.AsyncClient() as client:\n"
        "        path = '/koodrive/ose/v1/share/cancel'\n"
        "        await client.post(sys.argv[1] + path, json={'shareIds': ['340000000000000001']})\n"
        "asyncio.run(main())"
    ),
}


def measure(code: str, url: str) -> Mapping[str, float]:
    """CPU time where the system tells it of a child, else the time that passed; both in milliseconds."""
    import resource

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before, began = spent(), time.perf_counter()
    # As installed: with the byte code kept.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", code, url], check=True, env=environment)
    return {"cpu_ms": (spent() - before) * 1e3, "wall_ms": (time.perf_counter() - began) * 1e3}


def draw(axes: Any, results: Mapping[str, Mapping[str, float]]) -> None:
    axes.barh(list(results), [result["cpu_ms"] for result in results.values()])
    axes.set(xlabel="CPU, ms")
    axes.invert_yaxis()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--dry", action="store_true", help="write no results")
    options = parser.parse_args()
    pin(0)
    with Server() as server:
        results = in_turns(options.only, options.repeat, lambda name: measure(CASES[name], server.url))
    print(json.dumps(results, indent=1))
    alone = results["python alone"]["cpu_ms"]
    rows = [
        [name, f"{result['cpu_ms']:.0f}", f"{result['cpu_ms'] - alone:.0f}", f"{result['wall_ms']:.0f}"]
        for name, result in results.items()
    ]
    print(table(["a fresh process", "CPU, ms", "beyond Python alone", "wall, ms"], rows))
    ratio = results["koodrive_async"]["cpu_ms"] / results["its five dependencies"]["cpu_ms"]
    print(f"importing koodrive_async / importing its five dependencies: {ratio:.2f}")
    if not options.dry:
        save("startup", repeat=options.repeat, results=results)
        save_plot("startup", lambda axes: draw(axes, results))


if __name__ == "__main__":
    main()
