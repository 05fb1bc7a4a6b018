"""The demo's bad weather: which batches meet which fault, fixed by the seed.

A fault is tied to a batch, not to a moment, so that the same seed brings the same report on every
machine. Refuses to make it so bad that the demo is about waiting.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from koodrive_async import testing
from koodrive_async.core.batching import BATCH_SIZE

if TYPE_CHECKING:
    from koodrive_async.testing import Fault, RequestSeen

#: One batch in so many meets a fault ...
_ONE_IN = 6
#: ... but no more of them than this.
_MOST = 60

#: What the gateway says it grants, in requests a second. More than the demo ever sends: the client
#: believes it, and would go slowly for the rest of the run.
_GRANTED = 5_000


class Weather:
    """A rule for the emulator.

    Attributes:
        played: How often each kind of fault was played.
    """

    def __init__(self, seed: int, ids: Sequence[str]) -> None:
        lost, busy, page = testing.lost_reply(), testing.unavailable(), testing.html_page(502)
        slow, plain = testing.throttled(1, limit=_GRANTED), testing.throttled(limit=_GRANTED)
        #: In order of importance: few batches meet the first ones only. Each "wait a second" costs a second.
        kinds = [lost, busy, slow, busy, lost, page, busy, plain]
        later = [lost, busy, plain, busy, page]
        fresh = ids[BATCH_SIZE::BATCH_SIZE]  # the first request gets through: it proves the credentials
        number = min(_MOST, len(fresh), -(-len(fresh) // _ONE_IN))
        kinds += later * (number // len(later) + 1)
        chosen = random.Random(seed).sample(fresh, number)  # noqa: S311 - repeatable on purpose
        self._due: dict[str, Fault] = dict(zip(chosen, kinds, strict=False))
        self._names = {
            lost: "cancelled the shares, then cut the connection: the reply was lost",
            busy: "answered 503 Service Unavailable",
            slow: "answered 429 Too Many Requests, Retry-After: 1",
            plain: "answered 429 Too Many Requests",
            page: "answered 502 with a proxy's HTML page",
        }
        self.played: Counter[str] = Counter()

    def __call__(self, seen: RequestSeen) -> Fault | None:
        """The fault for this request; a batch meets it once."""
        first = next(iter(seen.share_ids), "")
        fault = self._due.pop(first, None)
        if fault is not None:
            self.played[self._names[fault]] += 1
        return fault
