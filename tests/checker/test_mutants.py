"""The checker is seen to fail: each fault of the past, put back into a copy of the package, is found."""

import pytest

from tests.checker.faults import FAULTS
from tests.checker.mutants import Mutant

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_put_back_is_found(fault, tmp_path):
    mutant = Mutant(tmp_path, fault)
    mutant.patch()
    assert mutant.play(wanted=fault.says) is not None, f"not found in {fault.histories} histories"


@pytest.mark.parametrize("topic", sorted({fault.topic for fault in FAULTS}))
def test_without_a_fault_nothing_is_found(topic, tmp_path):
    most = max((fault for fault in FAULTS if fault.topic == topic), key=lambda fault: fault.histories)
    story = Mutant(tmp_path, most).play()
    if story is not None:
        pytest.fail(story, pytrace=False)


def test_every_point_has_a_fault():
    assert {fault.point for fault in FAULTS} == set(range(10))
