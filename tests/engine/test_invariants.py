"""Whatever happens, every id ends in exactly one honest outcome; hypothesis looks for the contrary."""

import anyio
import pytest
from hypothesis import HealthCheck, given, settings

from tests.engine.scenario import SCENARIOS, play

QUIETLY = [HealthCheck.too_slow, HealthCheck.data_too_large]
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@BACKENDS
@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=QUIETLY)
@given(scenario=SCENARIOS)
def test_every_id_ends_in_one_honest_outcome(backend, scenario):
    anyio.run(play, scenario, backend, backend=backend)


@pytest.mark.heavy
@BACKENDS
@settings(max_examples=80, deadline=None, suppress_health_check=QUIETLY)
@given(scenario=SCENARIOS)
def test_every_id_ends_in_one_honest_outcome_however_long_one_looks(backend, scenario):
    anyio.run(play, scenario, backend, backend=backend)
