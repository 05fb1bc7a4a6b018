"""Play histories from the command line: `python -m tests.checker lists --count 500`."""

import argparse
import sys
import time
from pathlib import Path

import koodrive_async
from tests.checker.histories import BACKENDS, seeds
from tests.checker.play import check
from tests.checker.topics import TOPICS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.checker", description=__doc__)
    parser.add_argument("topic", nargs="?", default="", choices=["", *TOPICS])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--failures", type=int, default=1, help="stop after so many")
    parser.add_argument("--wanted", default="", help="a pattern: pass over failures that it does not match")
    parser.add_argument("--backend", default="", choices=["", *BACKENDS])
    parser.add_argument("--seed", action="append", help="play just this one, may be repeated")
    arguments = parser.parse_args()
    chosen = arguments.seed or seeds(
        arguments.first, arguments.count, topic=arguments.topic, backend=arguments.backend
    )
    began = time.monotonic()
    failures = check(chosen, most=arguments.failures, wanted=arguments.wanted)
    for failure in failures:
        print(failure, end="\n\n")
    where = Path(koodrive_async.__file__).parent
    print(f"{len(chosen)} histories in {time.monotonic() - began:.1f} s, {len(failures)} failed ({where})")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
