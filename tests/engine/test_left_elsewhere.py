"""A stream inside an async generator that is dropped: another task closes it, and is told what to write."""

import gc
import json
import logging
import sys
from contextlib import aclosing

import anyio
import pytest

from koodrive_async import Ended, Pace, UsageError
from tests.engine.kit import script, served
from tests.support.threaded import until

pytestmark = pytest.mark.usefixtures("leaks")


async def test_the_recipe(make_koodrive, connect):
    """README's: whoever iterates closes the generator, in the same task."""
    emulator = make_koodrive(shares=2_000, latency=0.005)
    held = []

    async def lines(client):
        async with client.open_cancel(emulator.share_ids) as stream:
            held.append(stream)
            async for outcome in stream:
                yield outcome

    async with connect(emulator) as client:
        async with aclosing(lines(client)) as outcomes:
            async for _ in outcomes:
                break
        assert held[0].report.ended is Ended.LEFT
        assert await client.cancel(emulator.share_ids[-1:])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_generator_that_is_dropped(make_koodrive, connect, anyio_backend, caplog):
    """What is under way ends, the engine is over, and the error names the recipe."""
    caplog.set_level(logging.WARNING, "koodrive_async")
    emulator = make_koodrive(shares=5_000, latency=0.01)
    held, errors = [], []

    async def lines(client):
        try:
            async with client.open_cancel(emulator.share_ids, grace=1) as stream:
                held.append(stream)
                async for outcome in stream:
                    yield outcome
        except UsageError as error:
            errors.append(error)
            raise

    async def reader(client):
        outcomes = lines(client)
        await anext(outcomes)  # and the browser has left

    unraisable = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    import asyncio

    asyncio.get_running_loop().set_exception_handler(lambda _, context: unraisable.append(context))
    try:
        async with connect(emulator, pace=Pace(concurrency=2)) as client:
            await asyncio.create_task(reader(client))
            gc.collect()
            await until(lambda: bool(errors))
            sent = emulator.requests
            await anyio.sleep(0.1)
            assert emulator.requests == sent  # nothing new begins
            assert await client.cancel(emulator.share_ids[-1:])
    finally:
        sys.unraisablehook = before
        asyncio.get_running_loop().set_exception_handler(None)
    (error,) = errors
    assert "aclosing" in str(error)
    report = error.report
    assert (report.complete, report.ended) == (False, Ended.LEFT)
    assert report.counts == held[0].report.counts
    assert sum(report.counts.values()) > 0
    warned = [record for record in caplog.records if "left by another task" in record.getMessage()]
    assert [record.levelno for record in warned] == [logging.WARNING]
    assert not [entry for entry in unraisable if "cancel scope" in str(entry)]


ON_TRIO = """
import gc, json, sys, warnings
import trio
from koodrive_async import AsyncShareClient, UsageError

told = []

async def lines(client, ids):
    try:
        async with client.open_cancel(ids, grace=1) as stream:
            async for outcome in stream:
                yield outcome
    except UsageError as error:
        told.append([str(error), sum(error.report.counts.values())])
        raise

async def main():
    warnings.simplefilter("ignore", ResourceWarning)
    client = AsyncShareClient.from_env()
    await anext(lines(client, sys.argv[1].split(",")))
    gc.collect()
    for _ in range(500):
        if told:
            break
        await trio.sleep(0.01)
    print(json.dumps(told), flush=True)
    import os
    os._exit(0)  # trio itself does not outlive a task group that is left like that

trio.run(main)
"""


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_generator_that_is_dropped_on_trio(anyio_backend):
    import os

    with served("--shares", 300) as environment:
        ids = ",".join(str(number) for number in range(1, 301))
        with script(ON_TRIO, ids, env={**os.environ, **environment}) as process:
            out, err = process.communicate(timeout=30)
    assert out, err
    ((text, settled),) = json.loads(out)
    assert "aclosing" in text
    assert settled > 0
