"""Rows 1-3: no connection comes about, so nothing was sent, for certain."""

import socket

import anyio
import pytest

from koodrive_async import (
    AttemptFailed,
    AttemptTimeout,
    ConnectFailed,
    RetryPolicy,
    Sent,
    Status,
    Timeout,
    TransportFailure,
)
from tests.client.wire import some_ids
from tests.engine.kit import unanswered
from tests.faults.line import FEW, LONG, address, statuses
from tests.support.blackhole import closed_port, full_backlog

pytestmark = pytest.mark.usefixtures("leaks")

NOBODY = f"http://127.0.0.1:{closed_port()}"


def nothing_was_sent(report, ids, error):
    assert statuses(report) == {"not_sent": len(ids)}
    assert list(report.retryable_ids) == ids
    for outcome in report.outcomes:
        assert type(outcome.error) is error
        assert outcome.error.sent is Sent.NO
        assert not outcome.error.permanent
        assert not outcome.error.ambiguous
        assert outcome.error.gave_up == "attempts"


async def test_01_connection_refused(line):
    """Nobody listens at the first attempt; the service comes back before the second."""
    line.emulator.stop()
    back = [lambda event: line.emulator.start() if isinstance(event, AttemptFailed) else None]
    async with line.made.client(line.emulator, hooks=back) as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(line.passing)
        assert statuses(report) == {"cancelled": 100}
        assert {outcome.attempts for outcome in report.outcomes} == {2}
        assert line.emulator.requests == 1
        await line.is_well(client)
    (failure,) = line.failures
    assert type(failure) is ConnectFailed
    assert failure.sent is Sent.NO


async def test_01_connection_refused_for_good(made):
    async with made.client(NOBODY, retry=FEW) as client:
        with anyio.fail_after(LONG):
            report = await unanswered(client.cancel(ids := some_ids(100)), ConnectFailed)
    nothing_was_sent(report, ids, ConnectFailed)
    assert len(made.failures) == report.requests == 4


async def test_01_connection_refused_within_the_budget(made):
    """The budget, not the attempts: it ends in time and says so."""
    retry = RetryPolicy(attempts=10_000, budget=0.3, base=0.01, cap=0.02)
    async with made.client(NOBODY, retry=retry) as client:
        with anyio.fail_after(LONG), pytest.raises(TransportFailure) as caught:
            await client.cancel_batch(["1"])
    assert caught.value.sent is Sent.NO  # the last attempt may have been cut by what was left of the budget
    assert caught.value.gave_up == "budget"
    assert not caught.value.ambiguous


async def test_02_connect_black_hole(made):
    with full_backlog() as port:
        url = f"http://127.0.0.1:{port}"
        async with made.client(url, retry=FEW, timeout=Timeout(connect=0.1)) as client:
            with anyio.fail_after(LONG):
                report = await unanswered(client.cancel(ids := some_ids(100)), AttemptTimeout)
    nothing_was_sent(report, ids, AttemptTimeout)
    assert len(made.failures) == 4


class Resolver:
    """Stands in for the resolver of both event loops: knows no name so many times, then all of them."""

    def __init__(self, monkeypatch, failures):
        self.failures, self.asked = failures, 0
        monkeypatch.setattr("anyio._core._sockets.getaddrinfo", self)
        monkeypatch.setattr("trio._highlevel_open_tcp_stream.getaddrinfo", self)

    async def __call__(self, host, port, *args, **kwargs):
        self.asked += 1
        if self.asked <= self.failures:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]


async def test_03_dns_failure(line, monkeypatch):
    """Retried as any failure to connect: resolvers have bad moments."""
    Resolver(monkeypatch, 1)
    where = f"http://localhost:{address(line.emulator.url)[1]}"
    async with line.made.client(where) as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(line.passing)
        assert statuses(report) == {"cancelled": 100}
        assert {outcome.attempts for outcome in report.outcomes} == {2}
        assert line.emulator.requests == 1
        await line.is_well(client)
    (failure,) = line.failures
    assert type(failure) is ConnectFailed
    assert "Name or service not known" in str(failure)


async def test_03_dns_failure_for_good(made, monkeypatch):
    resolver = Resolver(monkeypatch, 10**9)
    async with made.client("https://koodrive.invalid", retry=FEW) as client:
        with anyio.fail_after(LONG):
            report = await unanswered(client.cancel(ids := some_ids(100)), ConnectFailed)
    nothing_was_sent(report, ids, ConnectFailed)
    assert resolver.asked == 4


async def test_03_dns_failure_is_an_outage_when_it_hits_all(made, monkeypatch):
    resolver = Resolver(monkeypatch, 10**9)
    retry = RetryPolicy(base=0.002, cap=0.01, patience=0.6)
    async with made.client("https://koodrive.invalid", retry=retry) as client:
        with anyio.fail_after(LONG), pytest.raises(ConnectFailed) as caught:
            await client.cancel(some_ids(5_000))
    assert caught.value.gave_up == "patience"
    assert caught.value.report.counts[Status.NOT_SENT] == 5_000
    assert resolver.asked < 40
