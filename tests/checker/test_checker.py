"""Thousands of short histories, each outcome compared with the books of the server.

`CHECKER_HISTORIES` and `CHECKER_FIRST` choose others than the usual ones; `CHECKER_SEED` plays a single one.
"""

import os

import pytest

from tests.checker.histories import history, seeds
from tests.checker.play import check
from tests.checker.replies import Way
from tests.checker.topics import TOPICS

#: 36 to 42 histories for each second of CPU: four minutes on two cores that have nothing else to do.
HISTORIES = int(os.environ.get("CHECKER_HISTORIES", "16000"))
FIRST = int(os.environ.get("CHECKER_FIRST", "1000"))
SEED = os.environ.get("CHECKER_SEED", "")
#: Enough for xdist to share out evenly, few enough that starting a server for each costs nothing.
PARTS = 40


def _hold(chosen) -> None:
    failures = check(chosen)
    if failures:
        pytest.fail(str(failures[0]), pytrace=False)


def test_a_few_histories_hold():
    _hold(seeds(0, 90))


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(PARTS))
def test_thousands_of_histories_hold(part):
    share = HISTORIES // PARTS
    _hold(seeds(FIRST + part * share, share))


@pytest.mark.skipif(not SEED, reason="set CHECKER_SEED to the seed of a history")
def test_replay():
    _hold([SEED])


def test_a_seed_always_draws_the_same_history():
    for seed in seeds(0, 100):
        assert history(seed) == history(seed)


def test_everything_is_drawn():
    drawn = [history(seed) for seed in seeds(0, 2_000)]
    assert {one.topic for one in drawn} == set(TOPICS)
    ways = {way for one in drawn for way, _ in one.weather.faults}
    ways |= {fault[0] for one in drawn for fault in (one.weather.first, one.weather.always) if fault}
    assert ways == set(Way)
