"""Rows 63, 67, 68: signals, forks, and interpreters that end without closing anything."""

import signal
import time

import pytest

from tests.engine.kit import asked, script

COMMON = """
import asyncio, os, signal, sys, warnings, anyio
from koodrive_async import AsyncShareClient, Journal, Pace, Status, TokenCredentials, WrongEventLoop
url, user, backend, path = sys.argv[1:]
def make():
    return AsyncShareClient(url, TokenCredentials("demo-token", user), pace=Pace(concurrency=4))
ids = [str(number) for number in range(10**17, 10**17 + 5000)]
"""


def run(emulator, source, backend, path=""):
    return script(COMMON + source, emulator.url, emulator.user_id, backend, path)


def ended(process, within=30):
    """What it said and complained of; a process that hangs is a failure."""
    said, complaints = process.communicate(timeout=within)
    return said, complaints, process.returncode


both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@pytest.fixture
def emulator(make_koodrive):
    return make_koodrive(shares=[str(number) for number in range(10**17, 10**17 + 5_000)], latency=0.03)


INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
async def main():
    async with make() as client:
        print("go", flush=True)
        async with client.open_cancel(ids, journal=Journal(path)) as stream:
            async for _ in stream:
                pass
try:
    anyio.run(main, backend=backend)
finally:
    print("over", flush=True)
"""


@both
def test_ctrl_c_drains_and_the_journal_is_complete(emulator, tmp_path, backend):
    """Row 63: a KeyboardInterrupt ends the sends in order; a run afterwards asks only for the rest."""
    path = tmp_path / "journal"
    with run(emulator, INTERRUPTED, backend, path) as process:
        process.stdout.readline()
        while emulator.cancelled_count < 400:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        said, complaints, _ = ended(process)
    assert "over" in said
    assert "KeyboardInterrupt" in complaints
    assert emulator.settled()
    landed = emulator.cancelled_count
    assert 400 <= landed < 5_000
    emulator.latency = 0
    with run(emulator, RESUMED, backend, path) as process:
        said, complaints, code = ended(process)
    assert code == 0, complaints
    assert said.split() == ["5000"]
    # the interrupt hits wherever the loop happens to be: at most what was in flight is asked twice
    assert sum(asked(emulator).values()) <= 5_000 + 4 * 100


RESUMED = """
async def main():
    async with make() as client:
        report = await client.cancel(ids, journal=Journal(path))
        print(report.counts[Status.CANCELLED] + report.counts[Status.ALREADY_GONE])
anyio.run(main, backend=backend)
"""

TERMINATED = """
async def watch(scope):
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return
async def main():
    async with make() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(watch, tasks.cancel_scope)
        print("go", flush=True)
        try:
            async with client.open_cancel(ids, journal=Journal(path)) as stream:
                async for _ in stream:
                    pass
        finally:
            print(stream.report.counts[Status.CANCELLED], stream.report.counts[Status.UNKNOWN], flush=True)
anyio.run(main, backend=backend)
"""


@both
def test_sigterm_handled_by_the_caller_drains(emulator, tmp_path, backend):
    path = tmp_path / "journal"
    with run(emulator, TERMINATED, backend, path) as process:
        process.stdout.readline()
        while emulator.cancelled_count < 400:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        said, complaints, code = ended(process)
    assert code == 0, complaints
    assert said.split() == [str(emulator.cancelled_count), "0"]
    assert all(seen.status for seen in emulator.log)
    with run(emulator, RESUMED, backend, path) as process:
        said, _, _ = ended(process)
    assert said.split() == ["5000"]
    assert set(asked(emulator).values()) == {1}


FORKED = """
async def main():
    async with make() as client:
        await client.cancel(ids[:100])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
        if child == 0:
            try:
                await client.cancel(ids[100:200])
            except WrongEventLoop as error:
                os.write(1, b"refused\\n")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        report = await client.cancel(ids[200:300])
        print(report.counts[Status.CANCELLED])
anyio.run(main, backend=backend)
"""


@both
def test_a_forked_process_is_told_to_make_its_own(emulator, backend):
    with run(emulator, FORKED, backend) as process:
        said, complaints, code = ended(process)
    assert code == 0, complaints
    assert said.split() == ["refused", "100"]
    assert emulator.cancelled_count == 200


UNCLOSED = """
async def main():
    client = make()
    await client.cancel(ids[:300])
    print("done", flush=True)
anyio.run(main, backend=backend)
"""

ABANDONED = """
async def main():
    opened = make().open_cancel(ids, journal=Journal(path))
    stream = await opened.__aenter__()
    await anext(stream)
    print("done", flush=True)
    os.write(1, b"")
    sys.exit(3)
anyio.run(main, backend=backend)
"""


@both
def test_an_interpreter_that_ends_without_closing_does_not_hang(emulator, backend):
    with run(emulator, UNCLOSED, backend) as process:
        said, complaints, code = ended(process)
    assert code == 0, complaints
    assert said.split() == ["done"]
    assert "ResourceWarning: unclosed" in complaints  # of each connection, by its event loop or Python itself
    assert "Error" not in complaints


@pytest.mark.parametrize("backend", ["asyncio"])
def test_nor_does_one_that_leaves_a_stream_open(emulator, tmp_path, backend):
    """trio refuses to end a task whose nursery is open, whatever we do: row 68 concerns asyncio."""
    path = tmp_path / "journal"
    with run(emulator, ABANDONED, backend, path) as process:
        said, complaints, code = ended(process)
    assert said.split() == ["done"]
    assert code == 3, complaints
    emulator.latency = 0
    with run(emulator, RESUMED, backend, path) as process:
        said, complaints, _ = ended(process)
    assert said.split() == ["5000"], complaints
