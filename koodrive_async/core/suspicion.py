"""Batches refused as invalid: is it some ids in them, or would everything be refused?

A refused batch is halved until the bad ids are alone. While it is in doubt whether anything would be
accepted, requests go one at a time. After `CROSS_CHECK` refusals in a row, single ids from all over the known
input are tried; if all of those are refused too, everything would be. Not here: sending (see ``bulk``).
"""

from __future__ import annotations

#: Refusals in a row after which single ids from elsewhere are tried: one batch of 100 is down to a single id,
#: and that id's neighbour refused too, after nine.
CROSS_CHECK = 10

#: How many single ids are tried. If 14 % of all ids are good, one of 20 is with a probability of 95 %.
SAMPLES = 20

#: Refusals in a row, samples included, after which nothing is expected to be accepted (README: within 40).
HOPELESS = CROSS_CHECK + SAMPLES


class Suspicion:
    """What the refusals and acceptances in a bulk call add up to.

    Attributes:
        strikes: How many refusals there were since something was last accepted.
        samples: How many of these were of single ids from elsewhere.
        ever_accepted: Whether anything was accepted in this call.
    """

    def __init__(self) -> None:
        self.strikes = 0
        self.samples = 0
        self.ever_accepted = False

    @property
    def doubtful(self) -> bool:
        """Whether everything may be refused, so that requests go one at a time.

        Until something was accepted, one refusal is enough. After that it takes `CROSS_CHECK` in a row, since
        a few bad ids say nothing about the others.
        """
        return self.strikes >= (CROSS_CHECK if self.ever_accepted else 1)

    @property
    def wants_sample(self) -> bool:
        """Whether to try a single id from elsewhere before halving goes on."""
        return self.strikes >= CROSS_CHECK and self.samples < SAMPLES

    @property
    def hopeless(self) -> bool:
        """Whether everything would be refused."""
        return self.strikes >= HOPELESS and self.samples >= SAMPLES

    def accepted(self) -> None:
        """Note that the service accepted a batch or a piece of one."""
        self.strikes = self.samples = 0
        self.ever_accepted = True

    def refused(self, *, sample: bool) -> None:
        """Note that the service refused a batch or a piece of one as invalid.

        Args:
            sample: Whether it was a single id from elsewhere.
        """
        self.strikes += 1
        self.samples += sample


def spread(number: int) -> float:
    """Return where to take a sample, as a fraction of the input.

    The places are 1/2, 1/4, 3/4, 1/8, 5/8 ... for 1, 2, 3, 4, 5 ...: spread evenly, however many are taken.
    """
    place, step = 0.0, 0.5
    while number:
        place += step * (number & 1)
        number >>= 1
        step /= 2
    return place
