from __future__ import annotations

import pytest

from koodrive_async.core.suspicion import CROSS_CHECK, HOPELESS, Suspicion


def after(*happened: str | None) -> Suspicion:
    """What is suspected after refusals (each of the named batch) and acceptances (None)."""
    suspicion = Suspicion()
    for origin in happened:
        if origin is None:
            suspicion.accepted()
        else:
            suspicion.refused(origin)
    return suspicion


def halving(bad: set[int], size: int = 100) -> tuple[Suspicion, int]:
    """One batch, halved depth first until it is over or hopeless; and the requests that took."""
    suspicion, todo, requests = Suspicion(), [range(size)], 0
    while todo and not suspicion.hopeless:
        piece = todo.pop()
        requests += 1
        if bad.isdisjoint(piece):
            suspicion.accepted()
            continue
        suspicion.refused("batch")
        if len(piece) > 1:
            middle = (len(piece) + 1) // 2
            todo += [piece[middle:], piece[:middle]]
    return suspicion, requests


def test_at_first_nothing_is_suspected():
    for suspicion in (after(), after(None), after("a", None), after("a", "b", None)):
        assert not suspicion.doubtful
        assert not suspicion.cross_check
        assert not suspicion.hopeless


def test_one_refusal_is_a_doubt_until_something_is_accepted():
    assert after("a").doubtful
    assert after(None, "a").doubtful
    assert not after("a", None).doubtful


@pytest.mark.parametrize("origins", [["a"], ["a", "b"], [str(n) for n in range(HOPELESS)]])
def test_what_hits_everything_alike_is_recognised_within_twenty_requests(origins):
    refused = (origins * HOPELESS)[:HOPELESS]
    assert after(*refused).hopeless
    assert not after(*refused[:-1]).hopeless
    assert HOPELESS <= 20


def test_other_batches_are_tried_halfway():
    assert after(*["a"] * CROSS_CHECK).cross_check
    assert not after(*["a"] * (CROSS_CHECK - 1)).cross_check
    assert not after(*["a"] * CROSS_CHECK, None).cross_check


def test_after_acceptances_one_batch_bad_from_end_to_end_is_not_fatal():
    assert not after(None, *["a"] * 199).hopeless
    assert not after("b", None, *["a"] * 199).hopeless


def test_after_acceptances_refusals_of_several_batches_are():
    assert after(None, *["a"] * (HOPELESS - 1), "b").hopeless
    assert not after(None, *["a"] * (HOPELESS - 2), "b").hopeless


@pytest.mark.parametrize("bad", [{0}, {99}, {50}, {0, 99}, {0, 1}, {*range(0, 100, 2)}, {*range(1, 100)}])
def test_a_good_id_anywhere_in_a_batch_saves_it_where_it_is_found_in_time(bad):
    suspicion, requests = halving(bad)
    assert not suspicion.hopeless
    assert requests <= 2 * 100 - 1


@pytest.mark.parametrize("size", [20, 50, 100])
def test_a_batch_without_a_good_id_is_given_up_after_twenty(size):
    suspicion, requests = halving({*range(size)}, size)
    assert suspicion.hopeless
    assert requests == HOPELESS


def test_few_ids_are_all_told_apart_before_anything_is_hopeless():
    suspicion, requests = halving({*range(10)}, 10)
    assert not suspicion.hopeless
    assert requests == 19
