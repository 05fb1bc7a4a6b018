"""Rows 80-82: this process runs out of something, its user's code fails, or memory is not given back."""

import errno
import gc
import json
import logging
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import anyio
import httpx
import pytest

import koodrive_async
from koodrive_async import AsyncShareClient, ConnectFailed, Pace, RetryPolicy, Sent, Status
from koodrive_async.testing import Body, Rewrite, refused, rewrites, unavailable
from koodrive_async.testing.answers import dump
from tests.client.wire import all_well, some_ids
from tests.engine.kit import unanswered
from tests.faults.line import FEW, LONG, statuses
from tests.support.blackhole import closed_port

pytestmark = pytest.mark.usefixtures("leaks")

ROOT = Path(koodrive_async.__file__).parent
REPOSITORY = Path(__file__).parents[2]


CLOSED = closed_port()


# -- 80: no more file descriptors -----------------------------------------------------------------

STARVED = """
    import os, resource, sys
    import anyio
    from koodrive_async import (
        AsyncShareClient, AttemptFailed, ConnectFailed, Pace, RetryPolicy, Sent, Status, TokenCredentials
    )

    url, backend, free, ids = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    failures = []

    def note(event):
        if isinstance(event, AttemptFailed):
            failures.append(event.error)

    async def main():
        who = TokenCredentials("demo-token", "1505084218764547200")
        retry = RetryPolicy(base=0.01, cap=0.05)
        async with AsyncShareClient(url, who, pace=Pace(concurrency=16), retry=retry, hooks=[note]) as client:
            if free:
                assert await client.cancel(ids[:1])  # one connection is there
            else:
                async with AsyncShareClient(url, who) as other:  # everything is loaded
                    assert await other.cancel(ids[:1])
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest_free = os.dup(0)
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + free, hard))
            try:
                report = await client.cancel(ids[1:])
                assert free
            except ConnectFailed as error:  # nothing that it sent was ever answered
                report = error.report
                assert not free and report.complete and report.ended == "failed", repr(error)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            if not free:
                assert report.counts[Status.NOT_SENT] == len(ids) - 1, report
                error = report.outcomes[0].error
                assert not error.ambiguous and error.gave_up == "attempts", repr(error)
            else:
                assert report.counts[Status.CANCELLED] == len(ids) - 1, report
            for error in failures:
                assert type(error) is ConnectFailed, repr(error)
                assert error.sent is Sent.NO and not error.permanent, repr(error)
                assert "Too many open files" in str(error), str(error)
            assert await client.cancel(report.retryable_ids or ids[:1])
        print(len(failures))

    anyio.run(main, backend=backend)
"""


@pytest.mark.parametrize("free", [0, 3])
async def test_80_no_more_file_descriptors(make_koodrive, anyio_backend_name, free):
    """With none left nothing is sent; with a few the job makes do with as many connections."""
    emulator = make_koodrive(shares=2_001 if free else 101, latency=0.02)
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(STARVED)]
    arguments = [emulator.url, anyio_backend_name, str(free), *emulator.share_ids]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = await anyio.to_thread.run_sync(
        lambda: subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
        )
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert int(run.stdout) > 0  # it did run out of them
    assert emulator.max_in_flight <= (free + 1 if free else 1)
    if free:
        assert emulator.cancelled_count == 2_001
    assert emulator.settled()


async def test_80_no_more_file_descriptors_for_the_certificates(made, monkeypatch):
    """The very first connection also opens the bundle of certificates."""
    full = [OSError(errno.EMFILE, "Too many open files")] * 2
    load = httpx.create_ssl_context

    def create(*args, **kwargs):
        if full:
            raise full.pop()
        return load(*args, **kwargs)

    monkeypatch.setattr(httpx, "create_ssl_context", create)
    async with made.client(f"https://127.0.0.1:{CLOSED}", retry=FEW) as client:
        with anyio.fail_after(LONG):
            report = await unanswered(client.cancel(some_ids(3)), ConnectFailed)
    assert full == []
    assert statuses(report) == {"not_sent": 3}
    for failure in made.failures:
        assert type(failure) is ConnectFailed
        assert (failure.sent, failure.permanent) == (Sent.NO, False)
    assert "Too many open files" in str(made.failures[0])


# -- 81: the user's own code ----------------------------------------------------------------------


async def test_81_hook_raises(line, caplog):
    """Each time, at each event; the other hooks are told all the same."""
    events = []

    def bad(event):
        raise RuntimeError(f"no {type(event).__name__}, please")

    line.emulator.script(unavailable())
    with caplog.at_level(logging.ERROR, logger="koodrive_async"):
        async with line.client(hooks=[bad, events.append]) as client:
            report = await client.cancel(line.passing)
            assert statuses(report) == {"cancelled": 100}
            assert report.requests == 2
            await line.is_well(client)
    assert events
    assert len(caplog.messages) == len(events)
    assert "a hook failed on AttemptStarted" in caplog.messages[0]
    assert caplog.records[0].exc_info[0] is RuntimeError


async def test_81_progress_callback_raises(line, caplog):
    def bad(progress):
        raise RuntimeError("no, please")

    with caplog.at_level(logging.ERROR, logger="koodrive_async"):
        async with line.client() as client:
            report = await client.cancel(line.passing, on_progress=bad)
            assert statuses(report) == {"cancelled": 100}
            async with client.open_cancel(line.staying, on_progress=bad) as stream:
                outcomes = [outcome async for outcome in stream]
            assert {outcome.status for outcome in outcomes} == {Status.CANCELLED}
            await line.is_well(client)
    assert "on_progress failed" in caplog.messages


class BadHandler(logging.Handler):
    def emit(self, record):
        raise RuntimeError("the log is full")


@pytest.fixture
def bad_log():
    """A log that can't be written to: its handler raises, against the rules, on every record."""
    log = logging.getLogger("koodrive_async")
    handler, level = BadHandler(), log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield
    log.removeHandler(handler)
    log.setLevel(level)


NOTEWORTHY = {
    "a failed attempt": unavailable(),
    "a foreign id": Rewrite(rewrites.with_foreign),
    "nameless answers": Rewrite(rewrites.without_ids),
    "a wrong content-type": Body(b"<html>", content_type="text/html", act=False),
}


@pytest.mark.parametrize("what", NOTEWORTHY)
async def test_81_logger_raises(line, bad_log, what):
    line.emulator.script(NOTEWORTHY[what])
    async with line.client() as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(line.passing)
        assert statuses(report) == {"cancelled": 100}
        await line.is_well(client)


async def test_81_logger_raises_when_the_clock_is_corrected(make_koodrive, made, by_app, bad_log):
    emulator = make_koodrive(shares=100, clock_offset=3_600)
    async with made.client(emulator, by_app) as client:
        assert await client.cancel(emulator.share_ids)
    assert emulator.requests == 2


async def test_81_logger_raises_when_a_hook_raises(line, bad_log):
    def bad(event):
        raise RuntimeError("no, please")

    async with line.client(hooks=[bad]) as client:
        report = await client.cancel(line.passing, on_progress=bad)
        assert statuses(report) == {"cancelled": 100}
        await line.is_well(client)


async def test_81_middleware_raises(line):
    """It is part of the sending: the call ends with its error as it is, and the report is honest."""

    async def bad(request, send):
        if request.trace_id.endswith("1"):
            await send(request)
        raise KeyError("a bug")

    async with line.client(middleware=[bad]) as client:
        with anyio.fail_after(LONG), pytest.raises(KeyError, match="a bug"):
            await client.cancel(line.passing)
    async with line.client() as client:
        await line.is_well(client)


# -- 82: what an outcome's error keeps alive ------------------------------------------------------


def frames():
    """Frames of our own code that something keeps alive."""
    gc.collect()
    return [
        each
        for each in gc.get_objects()
        if isinstance(each, types.FrameType) and each.f_code.co_filename.startswith(str(ROOT))
    ]


def tracebacks():
    gc.collect()
    return [
        each
        for each in gc.get_objects()
        if isinstance(each, types.TracebackType)
        and each.tb_frame.f_code.co_filename.startswith(str(ROOT / "shell"))
    ]


def bare(report):
    """No error in a report has a traceback, nor another error behind it."""
    errors = {id(outcome.error): outcome.error for outcome in report.outcomes if outcome.error is not None}
    for error in errors.values():
        assert error.__traceback__ is None, error
        assert error.__context__ is None, error
        assert error.__cause__ is None, error
    return len(errors)


def lost(_request):
    raise httpx.ReadError("connection reset")


def replied(status, body):
    return httpx.Response(status, stream=httpx.ByteStream(body))


FAILING = {
    "lost": lost,
    "503": lambda _request: replied(503, b""),
    "bad reply": lambda _request: replied(200, b"<html>"),
    "refused": lambda _request: replied(200, dump({"code": 13000409, "msg": "frozen"})),
}


async def many_failures(by_token, failing, ids):
    """Every second request fails, and so half of the batches, twice: no outage, and a thousand errors.

    A refusal is that of a batch, whenever it is asked for: over a borrowed client it is asked for twice.
    """
    number = 0

    async def answer(request):
        nonlocal number
        number += 1
        body = await request.aread()
        batch = int(json.loads(body)["shareIds"][0]) // 100 if failing is FAILING["refused"] else number
        return failing(request) if batch % 2 else replied(200, dump(all_well(body)))

    retry = RetryPolicy(attempts=1)
    pace = Pace(concurrency=4)
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http,
        AsyncShareClient("https://koodrive.invalid", by_token, http=http, retry=retry, pace=pace) as client,
    ):
        with anyio.fail_after(300):
            return await client.cancel(ids)


@pytest.mark.parametrize("how", FAILING)
async def test_82_errors_of_many_failed_batches_keep_nothing(by_token, how):
    report = await many_failures(by_token, FAILING[how], some_ids(8_000))
    assert len(report.outcomes) == 8_000
    assert bare(report) >= 10
    assert tracebacks() == []
    assert frames() == []


async def test_82_a_mock_transport_as_everybody_writes_it(by_token):
    """Its responses are read already."""

    def answer(request):
        return httpx.Response(200, json=all_well(request.read()))

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http,
        AsyncShareClient("https://koodrive.invalid", by_token, http=http) as client,
    ):
        assert await client.cancel(some_ids(3))


@pytest.mark.heavy
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the short one above runs on both
async def test_82_errors_of_10000_failed_batches_keep_nothing(by_token, anyio_backend):
    report = await many_failures(by_token, lost, some_ids(2_000_000))
    assert bare(report) >= 2_500
    assert tracebacks() == []


async def test_82_errors_of_ids_refused_one_by_one_keep_nothing(make_koodrive, made):
    emulator = make_koodrive(shares=1_000)
    emulator.poison.update(emulator.share_ids[::100])
    emulator.item_codes[emulator.share_ids[1]] = 13000410
    async with made.client(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 989, "rejected": 11}
    assert bare(report) == 11
    made.failures.clear()
    assert tracebacks() == []


@pytest.mark.parametrize("fatal", [refused("APIG.0304", status=403), refused("APIG.0101", status=404)])
async def test_82_error_that_ends_the_call_is_not_in_its_report(koodrive, made, fatal):
    """What is raised has a traceback, of course; what stays in the report has none."""
    koodrive.inject(lambda _seen: fatal)
    async with made.client(koodrive) as client:
        with pytest.raises(koodrive_async.ApiError) as caught:
            await client.cancel(koodrive.share_ids)
    report = caught.value.report
    made.failures.clear()
    del caught
    bare(report)
    assert tracebacks() == []
