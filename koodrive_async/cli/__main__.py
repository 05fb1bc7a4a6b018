"""`python -m koodrive_async.cli`: the same command where no script is installed."""

from __future__ import annotations

import sys

from koodrive_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
