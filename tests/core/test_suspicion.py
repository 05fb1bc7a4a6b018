from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.batching import BATCH_SIZE
from koodrive_async.core.suspicion import CROSS_CHECK, HOPELESS, SAMPLES, Suspicion, spread


def after(*happened: str) -> Suspicion:
    """What is suspected after acceptances ("+"), refusals ("-") and refusals of samples ("s")."""
    suspicion = Suspicion()
    for one in "".join(happened):
        if one == "+":
            suspicion.accepted()
        else:
            suspicion.refused(sample=one == "s")
    return suspicion


class Played:
    """A call over so many ids, one request at a time: batches, halves, and single ids from elsewhere.

    Attributes:
        suspicion: How it ended.
        requests: How many it took.
        culprits: Ids that were refused alone.
        samples: Single ids from elsewhere, in turn.
    """

    def __init__(self, bad: set[int], total: int, *, before: str = "", most: int = 100_000) -> None:
        self.suspicion, self.requests = after(before), 0
        self.culprits: set[int] = set()
        self.samples: list[int] = []
        self._rest = [*range(total)]
        self._halves: list[tuple[int, list[int]]] = []
        self._halving = -1
        while (self._rest or self._halves) and not self.suspicion.hopeless and self.requests < most:
            self._ask(bad)

    def _ask(self, bad: set[int]) -> None:
        single = self._sample() if self.suspicion.wants_sample else None
        origin, piece = single or self._next()
        self.requests += 1
        if bad.isdisjoint(piece):
            self.suspicion.accepted()
            return
        self.suspicion.refused(sample=single is not None)
        if len(piece) == 1:
            self.culprits.update(piece)
            return
        middle = (len(piece) + 1) // 2
        self._halving = origin
        self._halves += [(origin, piece[middle:]), (origin, piece[:middle])]

    def _next(self) -> tuple[int, list[int]]:
        if self._halves:
            return self._halves.pop()
        piece, self._rest = self._rest[:BATCH_SIZE], self._rest[BATCH_SIZE:]
        return piece[0], piece

    def _sample(self) -> tuple[int, list[int]] | None:
        where = spread(self.suspicion.samples + 1)
        if self._rest:
            self.samples.append(self._rest.pop(int(where * len(self._rest))))
            return -1, self.samples[-1:]
        # Of the refused batch itself only while nothing at all was accepted.
        others = [
            (origin, piece)
            for origin, piece in self._halves
            if not (self.suspicion.ever_accepted and origin == self._halving)
        ]
        if not others:
            return None
        origin, piece = chosen = others[int(where * len(others))]
        self.samples.append(piece.pop(len(piece) // 2))
        if not piece:
            self._halves.remove(chosen)
        return origin, self.samples[-1:]


# -- what is suspected when -----------------------------------------------------------------------


@pytest.mark.parametrize("happened", ["", "+", "-+", "--+", "-" * CROSS_CHECK + "s" * (SAMPLES - 1) + "+"])
def test_at_first_and_after_each_acceptance_nothing_is_suspected(happened):
    suspicion = after(happened)
    assert (suspicion.doubtful, suspicion.wants_sample, suspicion.hopeless) == (False, False, False)
    assert (suspicion.strikes, suspicion.samples) == (0, 0)
    assert suspicion.ever_accepted is ("+" in happened)


def test_one_refusal_is_a_doubt_and_in_a_call_that_works_ten_are():
    assert after("-").doubtful
    assert after("s").doubtful
    assert not after("+", "-" * (CROSS_CHECK - 1)).doubtful
    assert after("+", "-" * CROSS_CHECK).doubtful
    assert not after("-+-").doubtful


@pytest.mark.parametrize("before", ["", "+", "---+"])
def test_single_ids_from_elsewhere_are_tried_after_ten_refusals_and_twenty_of_them(before):
    doubt = before + "-" * CROSS_CHECK
    assert not after(doubt[:-1]).wants_sample
    for tried in range(SAMPLES):
        assert after(doubt, "s" * tried).wants_sample
        assert not after(doubt, "s" * tried).hopeless
        assert not after(doubt, "s" * tried, "+").wants_sample
    assert not after(doubt, "s" * SAMPLES).wants_sample
    assert after(doubt, "s" * SAMPLES).hopeless
    assert HOPELESS == CROSS_CHECK + SAMPLES == 30  # design.md: within 40 requests


@pytest.mark.parametrize("before", ["", "+"])
def test_nothing_is_hopeless_without_twenty_of_them(before):
    assert not after(before, "-" * 1_000).hopeless
    assert not after(before, "-" * 1_000, "s" * (SAMPLES - 1)).hopeless
    assert after(before, "-" * 1_000, "s" * SAMPLES).hopeless
    assert not after(before, "s" * SAMPLES, "-" * (CROSS_CHECK - 1)).hopeless
    assert after(before, "s" * SAMPLES, "-" * CROSS_CHECK).hopeless
    assert not after(before, "s" * SAMPLES, "+", "-" * 1_000).hopeless


# -- where samples are taken ----------------------------------------------------------------------


def test_the_places_of_samples_halve_what_is_between_them():
    assert [spread(n) for n in range(8)] == [0, 1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]


@given(st.integers(1, 500))
def test_samples_are_evenly_spread_at_any_time(number):
    places = sorted(spread(n) for n in range(1, number + 1))
    assert len(set(places)) == number
    gaps = [b - a for a, b in zip([0.0, *places], [*places, 1.0], strict=True)]
    assert max(gaps) < 2 / (number + 1) or number + 1 == 1 / max(gaps)


# -- whole calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [100, 101, 300, 20_000])
@pytest.mark.parametrize("before", ["", "+"], ids=["at once", "after a success"])
def test_what_hits_everything_alike_is_recognised_after_thirty_requests(total, before):
    played = Played({*range(total)}, total, before=before)
    if total <= 101 and before:  # too little else to compare with: the batch itself may be bad
        assert not played.suspicion.hopeless
        assert len(played.culprits) == total
        return
    assert played.suspicion.hopeless
    assert played.requests == HOPELESS
    assert len(set(played.samples)) == SAMPLES
    if total == 20_000:  # from all over the input
        assert {place // 2_000 for place in played.samples} == {*range(10)}


@pytest.mark.parametrize("first", [*range(0, 17_501, 1_250)])
def test_what_an_eighth_of_the_ids_survives_does_not_hit_everything(first):
    """Wherever it is in the input, one of its ids is tried in time."""
    good = {*range(first, first + 2_500)}
    played = Played({*range(20_000)} - good, 20_000, most=HOPELESS)
    assert played.suspicion.ever_accepted
    assert not played.suspicion.hopeless


def test_a_call_whose_end_is_good_gets_there():
    bad = {*range(1_750)}
    played = Played(bad, 2_000)
    assert not played.suspicion.hopeless
    assert played.culprits == bad


@pytest.mark.parametrize("bad", [{0}, {99}, {50}, {0, 99}, {0, 1}, {*range(0, 100, 2)}, {*range(1, 100)}])
def test_a_good_id_anywhere_in_a_batch_saves_it_where_it_is_found_in_time(bad):
    played = Played(bad, 100)
    assert not played.suspicion.hopeless
    assert played.culprits == bad
    assert played.requests <= 2 * 100 - 1


@pytest.mark.parametrize("total", [200, 1_000])
@pytest.mark.parametrize("first", [0, 100])
def test_one_batch_bad_from_end_to_end_spoils_no_other(total, first):
    bad = {*range(first, first + 100)}
    played = Played(bad, total)
    assert not played.suspicion.hopeless
    assert played.culprits == bad
    assert played.requests <= 199 + total // 100 + 199 // CROSS_CHECK + 10


@pytest.mark.parametrize("total", [1, 2, 10])
def test_few_ids_are_all_told_apart_before_anything_is_hopeless(total):
    played = Played({*range(total)}, total)
    assert not played.suspicion.hopeless
    assert len(played.culprits) == total
    assert played.requests <= 2 * total - 1


@given(st.sets(st.integers(0, 299)), st.sampled_from([1, 7, 100, 101, 300]))
def test_each_bad_id_is_found_and_nothing_else_unless_it_is_hopeless(bad, total):
    bad = {one for one in bad if one < total}
    played = Played(bad, total)
    assert played.culprits <= bad
    assert played.culprits == bad or played.suspicion.hopeless
    if played.suspicion.hopeless:
        assert len(played.samples) >= SAMPLES
