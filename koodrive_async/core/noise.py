"""Tell refusals that a limit explains from refusals that come whatever the rate.

A limit refuses what exceeds it, and nothing else. So where refusals go on although the rate was lowered
again and again, lowering does not help. If they are few, they are tolerated from then on. If they are many,
the rate is lowered once more, to well below all that was granted, and they are counted there: a limit
refuses nothing now, and stays what it was; otherwise the lowering is undone. What is tolerated is noise: a
sick node behind a balancer, a gateway that sheds at random.

Refusals that noise explains change no ceiling; more than that are a limit's again. In every later hold of a
lowered ceiling the share is measured once more.

Not here: who may send (see `pacing`), how high a limit is (see `capacity`). Numbers in, numbers out.
"""

import math
from typing import Final

CLOSURES: Final = 4
"""Closures in a row, each at a rate that was to be safe, before noise is suspected: finding a limit from
above takes up to three."""

ENOUGH: Final = 30
"""... and requests that were sent in between: while a limit is being found from above, there are few."""

DEPTH: Final = 0.7
"""The rate of the test, as a share of what was granted: low enough for every limit that still stands."""

SEEN: Final = 3
"""The test ends with this many refusals: it is noise ..."""

EXPECTED: Final = 10.0
"""... or, when so many should have been seen by what was counted before the test (which is chosen for being
much, so that some of it is chance), it is a limit ..."""

SHORTEST: Final = 60
"""... but not before so many requests: a share counted in a few is not worth much ..."""

LONGEST: Final = 4000
"""... and after so many requests in any case: what is rarer is no trouble."""

MOST: Final = 0.25
"""Greatest share that is noise: where more is refused, sending less is right whatever the reason."""

SOFT: Final = 0.04
"""Up to this share no test is needed: so few refusals are tolerated also where they come of a soft limit, as
that of several nodes behind a balancer, most of which lies where it already refuses a little."""

FEWER: Final = 3.0
"""Lowering helped if a refusal took so many times as many requests as before."""

SILENT: Final = 3.0
"""The noise has ended if so many refusals of it should have come in a hold and none did."""

CALM: Final = 0.3
"""Of the requests in flight at a refusal no more than this share was refused too, beside the first: a limit
that fell refuses most of them."""

SPARE: Final = 0.01
"""Refusals beyond the noise that are tolerated, as a share of all requests: one in 100 is no harm ..."""

SLOPE: Final = 1.5
"""... and this many times the noise itself, since a share that was measured is not exact."""

EXCESS: Final = 10.0
"""Refusals beyond that which are too many to be chance: with noise of 10 % it comes to one false alarm in
some ten thousand refusals ..."""

RARE: Final = 3.0
"""... and where noise is next to nothing, so few are no chance either ..."""

STEEP: Final = 400.0
"""... with so many more for each unit of the share in between (7 at 1 %): equally rare false alarms."""

MEMORY: Final = 3000.0
"""Requests over which the share is measured: enough to see 0.1 %, and soon replaced when the noise ends."""

NEVER: Final = 2**63
"""A number that no request has."""


class Noise:
    """The share of requests that is refused whatever the rate, and the evidence for it.

    Attributes:
        share: The share; 0.0 while every refusal is taken for a limit's.
        undo: The rate before the lowering that is on trial, requests/s; infinity for none.
        ends: The number of the request that ends the test under way; `NEVER` while there is none.
    """

    def __init__(self) -> None:
        self.share = 0.0
        self._most = 0.0
        """The greatest share that a hold may measure: more takes another test."""
        self.undo = math.inf
        self._needed = CLOSURES
        self.ends = NEVER
        # The trial: closures so far, refusals and requests in their holds.
        self._closures = self._trial_refused = self._trial_sent = 0
        # What `share` was measured from.
        self._refused = self._sent = 0.0
        # The hold or test under way: the request that it began with, and its refusals.
        self._since: int | None = None
        self._seen = 0
        # How many refusals more than noise explains, as a sum that never goes below zero.
        self._score = 0.0
        self._last = 0

    @property
    def measuring(self) -> bool:
        """Whether a hold or a test is under way."""
        return self._since is not None

    @property
    def testing(self) -> bool:
        """Whether a test is under way."""
        return self.ends != NEVER

    def explains(self, number: int) -> bool:
        """Count a refusal; tell whether noise is enough to explain it.

        Args:
            number: The number of the refused request; requests are counted from 1.
        """
        self._seen += 1
        if self.testing and self._seen >= SEEN:
            self.ends = number
        share = self._trial_refused / self._trial_sent if self.testing else self.share
        if not share:
            return False
        gap = max(0, number - self._last)
        self._last = max(self._last, number)
        self._score = max(0.0, self._score - gap * (SLOPE * share + SPARE)) + 1
        if self._score <= min(EXCESS, RARE + STEEP * share):
            return True
        self._score = 0.0
        return False

    def expected(self, undo: float) -> None:
        """A refusal closed the gate that a limit may well explain: put the lowering from `undo` on trial."""
        if not self._closures or self.testing:
            self._end_trial()
            self.undo = undo

    def unexpected(self, number: int) -> bool:
        """A refusal closed the gate in a hold; tell whether a test should follow."""
        if self._since is None:
            return False
        seen, sent = self._seen, max(1, number - self._since)
        refused, total = self._trial_refused + seen, self._trial_sent + sent
        hard = refused > SOFT * total
        if hard and self._closures > 1 and sent * self._trial_refused > FEWER * seen * self._trial_sent:
            return False  # lowering did help
        self._closures += 1
        self._trial_refused, self._trial_sent = refused, total
        if self._closures < self._needed or total < ENOUGH:
            return False
        if hard and refused <= MOST * total:
            return True
        if not hard:
            self._accept(refused, total)
        self._end_trial()
        return False

    def hold(self, number: int) -> None:
        """Begin to measure: from the request after `number` on nothing should be refused."""
        self._since, self._seen = number, 0

    def test(self, number: int) -> None:
        """Begin a test with the request after `number`."""
        self.hold(number)
        self._last, self._score = number, 0.0
        length = EXPECTED * self._trial_sent / self._trial_refused
        self.ends = number + int(min(LONGEST, max(SHORTEST, length)))

    def tested(self, number: int) -> bool:
        """End the test, `number` being the last request of it; tell whether it is noise."""
        noise = self._seen >= SEEN
        if noise:
            self._accept(self._trial_refused + self._seen, self._trial_sent + number - (self._since or 0))
        else:
            self._needed = 2 * CLOSURES
        self._end_trial()
        return noise

    def held(self, number: int) -> None:
        """End a hold that went well: what was refused in it was noise."""
        sent = number - (self._since or 0)
        if self.share and self._since is not None and sent > 0:
            if not self._seen and self.share * sent >= SILENT:
                self.share = 0.0
            else:
                keep = max(0.0, 1 - sent / MEMORY)
                self._refused = keep * self._refused + self._seen
                self._sent = keep * self._sent + sent
                self.share = min(self._most, self._refused / self._sent)
        self._since = None
        self._doubt()

    def _accept(self, refused: float, sent: float) -> None:
        """Believe in noise."""
        self._needed = CLOSURES
        self._refused, self._sent = float(refused), float(sent)
        self.share = min(MOST, refused / sent)
        self._most = max(SOFT, SLOPE * self.share)

    def _doubt(self) -> None:
        """Note evidence against the trial: as much as a closure is for it."""
        if self._closures:
            self._closures -= 1
        if not self._closures:
            self._end_trial()

    def _end_trial(self) -> None:
        self._closures = self._trial_refused = self._trial_sent = 0
        self._since = None
        self.ends = NEVER
