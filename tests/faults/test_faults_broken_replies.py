"""Rows 4-19: the connection breaks, or what comes over it is no HTTP. What was sent may have been done."""

import anyio
import attrs
import pytest

from koodrive_async import (
    ApiError,
    AttemptTimeout,
    ConnectionLost,
    Pace,
    RetryPolicy,
    RetryScheduled,
    Sent,
    Status,
    Timeout,
)
from tests.client.wire import all_well, dated, some_ids, well
from tests.engine.kit import unanswered
from tests.faults.line import LONG, statuses
from tests.support.chaos import (
    CONFLICTING_LENGTHS,
    ILLEGAL_CHUNKS,
    TRUNCATED_CHUNKS,
    After,
    AfterRequest,
    AtAccept,
    Behaviour,
    BlackHole,
    Canned,
    CutReply,
    Drip,
    EarlyReply,
    Endless1xx,
    IdleClose,
    MidRequest,
    oversized_header,
)
from tests.support.http1 import reply
from tests.support.rawserver import RawServer
from tests.support.threaded import End, until

pytestmark = pytest.mark.usefixtures("leaks")


async def test_04_rst_at_accept(line):
    await line.suffers(AtAccept(End.RST), ConnectionLost, acted=False)


async def test_05_fin_at_accept(line):
    await line.suffers(AtAccept(End.FIN), ConnectionLost, acted=False)


@pytest.mark.parametrize("after", [1, 64, 2_000])
async def test_06_rst_mid_request(line, after):
    await line.suffers(MidRequest(after, End.RST), ConnectionLost, acted=False)


async def test_07_rst_after_full_request_no_reply(line):
    """The service did it: asked again, it knows no such share, and that is what was wished."""
    await line.suffers(AfterRequest(End.RST, forward=True), ConnectionLost, acted=True)


async def test_08_fin_after_full_request_no_reply(line):
    await line.suffers(AfterRequest(End.FIN, forward=True), ConnectionLost, acted=True)


@pytest.mark.parametrize("end", [End.FIN, End.RST])
@pytest.mark.parametrize("after", [8, 40], ids=["status line", "headers"])
async def test_09_half_a_head(line, after, end):
    await line.suffers(CutReply(after, end, forward=True), ConnectionLost, acted=True)


@pytest.mark.parametrize("end", [End.FIN, End.RST])
@pytest.mark.parametrize("after", [0, 20])
async def test_10_half_a_body(line, after, end):
    await line.suffers(CutReply(after, end, of="body", forward=True), ConnectionLost, acted=True)


@pytest.mark.parametrize("chunks", [TRUNCATED_CHUNKS, ILLEGAL_CHUNKS], ids=["truncated", "illegal"])
async def test_11_bad_chunks(line, chunks):
    await line.suffers(Canned(chunks, End.FIN, forward=True), ConnectionLost, acted=True)


async def test_12_silence(line):
    limits = Timeout(read=0.15)
    await line.suffers(BlackHole(forward=True), AttemptTimeout, acted=True, timeout=limits)


async def test_13_a_reply_that_drips(line):
    """`read` never fires, as there is always another byte; `total` does."""
    limits = Timeout(read=5, total=0.15)
    await line.suffers(Drip(every=0.05, forward=True), AttemptTimeout, acted=True, timeout=limits)


@pytest.mark.parametrize("status", [103])
async def test_14_endless_interim_replies(line, status):
    limits = Timeout(read=5, total=0.15)
    fault = Endless1xx(every=0.01, status=status, forward=True)
    await line.suffers(fault, AttemptTimeout, acted=True, timeout=limits)


# -- 15: a connection that the service closed meanwhile -------------------------------------------


def retries(seen):
    return [lambda event: seen.append(event) if isinstance(event, RetryScheduled) else None]


async def test_15_stale_keep_alive_costs_no_attempt(line):
    """The idle connection breaks just when it is used again: repeated at once, out of nobody's pocket."""
    line.proxy.script(After(1, MidRequest(1, End.RST)))
    waits = []
    options = {"retry": RetryPolicy(attempts=1), "hooks": retries(waits)}
    async with line.client(**options) as client:
        with anyio.fail_after(LONG):
            assert await client.cancel(line.passing)
            report = await client.cancel(line.staying)
        assert statuses(report) == {"cancelled": 100}
        assert {outcome.attempts for outcome in report.outcomes} == {2}
        assert line.emulator.requests == 2
        await line.is_well(client)
    assert waits == []
    (failure,) = line.failures
    assert type(failure) is ConnectionLost
    assert failure.sent is Sent.MAYBE
    assert line.proxy.connections == 2


async def test_15_stale_keep_alive_only_once_for_free(line):
    """A service that breaks every connection at its second request: one repetition is free."""
    line.proxy.script(After(1, AfterRequest(End.RST, forward=True)))
    line.proxy.default = AfterRequest(End.RST, forward=True)
    async with line.client(retry=RetryPolicy(attempts=1)) as client:
        with anyio.fail_after(LONG):
            assert await client.cancel(line.passing)
            report = await unanswered(client.cancel(line.staying), ConnectionLost)
        assert statuses(report) == {"unknown": 100}
        assert report.requests == 3  # one and a free one; as a second chance one, on a new connection
        await line.is_well(client)


async def test_15_stale_keep_alive_many_at_once(make_koodrive, made):
    """The service closes all its idle connections; whether they were noticed in time is a race."""
    emulator = make_koodrive(shares=3_200, latency=0.02, keep_alive=0.05)
    ids = emulator.share_ids
    async with made.client(emulator, pace=Pace(concurrency=8, adaptive=False)) as client:
        for start in range(0, 3_200, 800):
            with anyio.fail_after(LONG):
                report = await client.cancel(ids[start : start + 800])
            assert report
            await anyio.sleep(0.05)
    assert emulator.cancelled == set(ids)
    assert emulator.requests <= 32 + len(made.failures)


async def test_15_stale_keep_alive_closed_in_good_order_is_not_used(line):
    line.proxy.script(IdleClose(0.02, End.CLOSE))
    async with line.client(retry=RetryPolicy(attempts=1)) as client:
        assert await client.cancel(line.passing)
        await until(lambda: not line.emulator.open_connections)  # the proxy has closed both sides
        report = await client.cancel(line.staying)
        assert statuses(report) == {"cancelled": 100}
        await line.is_well(client)


# -- 16: what comes after the reply ---------------------------------------------------------------


@attrs.frozen
class Chatty(Behaviour):
    """Each reply is followed by another one, which nobody asked for; at once, or a little later."""

    later: float = 0.0

    async def run(self, link):
        while True:
            request = await link.request()
            true = await link.exchange(request)
            wrong = dated({"code": 13000102, "msg": "not for you"}, 400)
            if self.later:
                link.reply_delay = 0.0
                await link.send(true)
                await anyio.sleep(self.later)
                await link.send(wrong)
            else:
                await link.send(true + wrong)


@pytest.mark.parametrize("later", [0.0, 0.02], ids=["at once", "later"])
async def test_16_bytes_after_the_reply_answer_no_other_request(line, later):
    line.proxy.default = Chatty(later)
    async with line.client() as client:
        for ids in (line.passing, line.staying):
            with anyio.fail_after(LONG):
                report = await client.cancel(ids)
            assert statuses(report) == {"cancelled": 100}
            assert report.requests == 1
            await anyio.sleep(later * 5)
        await line.is_well(client)
    assert line.failures == []
    assert line.proxy.connections == 3


# -- 17-19 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [413, 431, 494])
async def test_17_early_refusal_before_the_body_is_read(line, status):
    line.proxy.script(EarlyReply(reply(b"", status, (("Connection", "close"),))))
    async with line.client() as client:
        with anyio.fail_after(LONG):
            report = await client.cancel(line.passing)
        assert statuses(report) == {"rejected": 100}
        assert report.requests == 1
        assert line.emulator.requests == 0
        for outcome in report.outcomes:
            assert type(outcome.error) is ApiError
            assert (outcome.error.status, outcome.error.ambiguous) == (status, False)
        await line.is_well(client)


async def test_18_conflicting_lengths(line):
    fault = Canned(CONFLICTING_LENGTHS, End.FIN, forward=True)
    await line.suffers(fault, ConnectionLost, acted=True)


async def test_19_oversized_header(line):
    fault = Canned(oversized_header(), End.FIN, forward=True)
    await line.suffers(fault, ConnectionLost, acted=True)


async def test_19_endless_header(made):
    """Nobody ends it: what is read stays bounded all the same."""

    def endless(request):
        if request.connection > 1:
            return well(request)
        return (part for part in (b"HTTP/1.1 200 OK\r\n", *[b"X-More: " + b"x" * 8_000 + b"\r\n"] * 10_000))

    with RawServer(endless) as server:
        async with made.client(server) as client:
            with anyio.fail_after(LONG):
                report = await client.cancel(ids := some_ids(3))
    assert [outcome.share_id for outcome in report.cancelled] == ids
    (failure,) = made.failures
    assert type(failure) is ConnectionLost
    assert server.requests[-1].json() == {"shareIds": ids}
    assert all_well(server.requests[-1].body)["subResponseList"]
    assert report.counts[Status.CANCELLED] == 3
