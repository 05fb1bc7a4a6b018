"""Memory does not grow with the number of ids; in processes of their own, one for each size."""

import pytest

from tests.engine.kit import script, served

STREAM = """
import itertools, sys, tracemalloc, anyio
from koodrive_async import AsyncShareClient, TokenCredentials
url, user, count, backend = sys.argv[1:]
async def main():
    async with AsyncShareClient(url, TokenCredentials("demo-token", user)) as client:
        await client.cancel(["1"])
        tracemalloc.start()
        ids = map(str, range(10**17, 10**17 + int(count)))
        async with client.open_cancel(ids) as stream:
            async for _ in stream:
                pass
        assert sum(stream.report.counts.values()) == int(count)
        print(tracemalloc.get_traced_memory()[1])
anyio.run(main, backend=backend)
"""


def peak(environment, source, count, backend):
    arguments = (environment["KOODRIVE_ENDPOINT"], environment["KOODRIVE_USER_ID"], count, backend)
    with script(source, *arguments) as process:
        said, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    return int(said)


def growth(source, backend, few, many):
    with served("--shares", 0) as environment:
        return peak(environment, source, many, backend) - peak(environment, source, few, backend)


def test_a_stream_is_flat():
    assert growth(STREAM, "asyncio", 2_000, 14_000) < 0.9 * 2**20


@pytest.mark.heavy
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_stream_of_many_is_flat(backend):
    assert growth(STREAM, backend, 20_000, 200_000) < 12 * 2**20
