"""Batches refused as invalid: is it some ids in them, or would everything be refused?

A refused batch is halved until the culprits are alone. While nothing was accepted since the first
refusal, requests go one at a time; when a number of them in a row were refused, over different
batches, the refusal hits everything alike. Refuses to send, and to know what a batch is.
"""

from __future__ import annotations

from collections.abc import Hashable

#: Refusals in a row after which other batches are tried: one batch of 100 is down to a single id,
#: and that id's neighbour refused too, after nine.
CROSS_CHECK = 10

#: Refusals in a row after which nothing will be accepted (design.md: "within 20 requests").
HOPELESS = 20


class Suspicion:
    """What refusals and acceptances in a bulk call add up to."""

    def __init__(self) -> None:
        self.strikes = 0
        self._ever_accepted = False
        self._origins: set[Hashable] = set()

    @property
    def doubtful(self) -> bool:
        """Nothing was accepted since the last refusal: one request at a time."""
        return self.strikes > 0

    @property
    def cross_check(self) -> bool:
        """Rather than halving on, try another batch."""
        return self.strikes >= CROSS_CHECK

    def accepted(self) -> None:
        """The service accepted a batch or a piece of one."""
        self.strikes = 0
        self._ever_accepted = True
        self._origins.clear()

    def refused(self, origin: Hashable) -> None:
        """It refused one as invalid; `origin` is the batch it was cut from."""
        self.strikes += 1
        self._origins.add(origin)

    @property
    def hopeless(self) -> bool:
        """Everything would be refused.

        Once something was accepted, a single batch may be bad from end to end: then it takes
        refusals of several batches to say so.
        """
        return self.strikes >= HOPELESS and (not self._ever_accepted or len(self._origins) > 1)
