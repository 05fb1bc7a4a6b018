"""`python -m koodrive_async.testing`: an emulator for experiments from a shell or another language.

It prints its settings for a client, one `NAME=value` a line, and serves until its input ends or Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress

from koodrive_async.testing import Emulator


def main(arguments: list[str] | None = None) -> None:
    """Parse, serve, wait."""
    parser = argparse.ArgumentParser(
        prog="python -m koodrive_async.testing", description="Serve an emulator."
    )
    parser.add_argument("--edition", choices=("enterprise", "carrier"), default="enterprise")
    parser.add_argument("--shares", type=int, default=1000, help="how many shares to seed")
    parser.add_argument("--received", type=int, default=0, help="how many received shares to seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds a request")
    parser.add_argument("--rate-limit", type=float, default=None, help="requests a second")
    parser.add_argument("--app", action="store_true", help="print app credentials instead of a token")
    chosen = parser.parse_args(arguments)
    emulator = Emulator(
        edition=chosen.edition,
        shares=chosen.shares,
        received=chosen.received,
        seed=chosen.seed,
        port=chosen.port,
        latency=chosen.latency,
        rate_limit=chosen.rate_limit,
    )
    with suppress(KeyboardInterrupt), emulator:
        for name, value in emulator.environ("app" if chosen.app else "token").items():
            print(f"{name}={value}", flush=True)  # noqa: T201 - its output
        sys.stdin.read()


if __name__ == "__main__":
    main()
