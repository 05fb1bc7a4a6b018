"""Batches refused as invalid: is it some ids in them, or would everything be refused?

A refused batch is halved until the culprits are alone. While that is in doubt requests go one at a time. When
a number of them in a row were refused, single ids from all over the known input are tried; if those are all
refused too, the refusal hits everything alike. Not here: sending, and what a batch is (see ``bulk``).
"""

from __future__ import annotations

#: Refusals in a row after which single ids from elsewhere are tried: one batch of 100 is down to a single id,
#: and that id's neighbour refused too, after nine.
CROSS_CHECK = 10

#: How many single ids are tried. If 14 % of all ids would be accepted, one of 20 is (95 %).
SAMPLES = 20

#: Refusals in a row, the samples among them, after which nothing will be accepted (design: within 40).
HOPELESS = CROSS_CHECK + SAMPLES


class Suspicion:
    """What refusals and acceptances in a bulk call add up to.

    Attributes:
        strikes: Refusals since something was accepted last.
        samples: How many of them were single ids from elsewhere.
        ever_accepted: Whether anything was accepted in this call.
    """

    def __init__(self) -> None:
        self.strikes = 0
        self.samples = 0
        self.ever_accepted = False

    @property
    def doubtful(self) -> bool:
        """Whether everything may be refused, so that one request goes at a time.

        At first a single refusal raises the doubt; in a call that works, some bad ids are no reason for it.
        """
        return self.strikes >= (CROSS_CHECK if self.ever_accepted else 1)

    @property
    def wants_sample(self) -> bool:
        """Whether, rather than halving on, a single id from elsewhere is to be tried."""
        return self.strikes >= CROSS_CHECK and self.samples < SAMPLES

    @property
    def hopeless(self) -> bool:
        """Whether everything would be refused."""
        return self.strikes >= HOPELESS and self.samples >= SAMPLES

    def accepted(self) -> None:
        """The service accepted a batch or a piece of one."""
        self.strikes = self.samples = 0
        self.ever_accepted = True

    def refused(self, *, sample: bool) -> None:
        """The service refused a batch or a piece of one as invalid."""
        self.strikes += 1
        self.samples += sample


def spread(number: int) -> float:
    """The place of a sample: 1/2, 1/4, 3/4, 1/8, 5/8 ... for 1, 2, 3, 4, 5 ...; evenly spread at any time."""
    place, step = 0.0, 0.5
    while number:
        place += step * (number & 1)
        number >>= 1
        step /= 2
    return place
