"""Each fault, then a success at the second attempt with a fresh date and signature."""

import anyio
import pytest

from koodrive_async import AttemptFailed, BadReply, RetryPolicy, RetryScheduled, Status, Timeout
from koodrive_async.testing import (
    BlackHole,
    Body,
    Delay,
    Drip,
    Encoded,
    HugeBody,
    Raw,
    Rewrite,
    TruncatedBody,
    TruncatedJson,
    dropped,
    empty_reply,
    gateway_timeout,
    html_page,
    lost_reply,
    rewrites,
    server_error,
    throttled,
    unavailable,
)
from koodrive_async.testing import (
    Status as Answered,
)
from tests.client.wire import some_ids, well
from tests.support.chaos import (
    CONFLICTING_LENGTHS,
    ILLEGAL_CHUNKS,
    AtAccept,
    Canned,
    ChaosProxy,
    CutReply,
    MidRequest,
    oversized_header,
)
from tests.support.rawserver import RawServer
from tests.support.threaded import End

pytestmark = pytest.mark.usefixtures("leaks")

NOT_DONE = {
    "429": throttled(),
    "429 with another body": Answered(429, b"slow down"),
    "503": unavailable(),
    "503 without a body": Answered(503),
    "502 with an HTML page": html_page(502),
    "504": gateway_timeout(),
    "500 with an empty body": server_error(),
    "408": Answered(408),
    "425": Answered(425),
    "RST before the service acted": dropped("rst"),
    "FIN before the service acted": dropped("fin"),
}

DONE = {
    "504 after the service acted": gateway_timeout(act=True),
    "500 after the service acted": server_error(act=True),
    "RST after the service acted": lost_reply("rst"),
    "FIN after the service acted": lost_reply("fin"),
    "truncated JSON": TruncatedJson(),
    "truncated body": TruncatedBody(),
    "an empty 200": empty_reply(200),
    "a 204": empty_reply(204),
    "a portal's HTML 200": html_page(200, act=True),
    "JSON that is no object": Body(b"[]"),
    "JSON without a code": Body(b"{}"),
    "NaN": Body(b'{"code": NaN}'),
    "a deep nest": Body(b"[" * 100_000),
    "a broken gzip": Encoded("gzip", broken=True),
    "a coding nobody asked for": Encoded("br"),
    "a gzip bomb": Encoded("gzip", bomb=100_000_000),
    "ten megabytes": HugeBody(10_000_000),
    "half a status line": Raw(b"HTTP/1.1 2", act=True),
    "no HTTP at all": Raw(b"220 smtp.example.com ESMTP\r\n", act=True),
    "a top code that can't be read": Rewrite(rewrites.top_code("")),
}


def passing(clock):
    """A hook: between two attempts three seconds pass."""
    return lambda event: clock.advance(3) if isinstance(event, AttemptFailed) else None


async def succeeds_at_the_second(emulator, client, status):
    ids = emulator.share_ids
    with anyio.fail_after(10):
        report = await client.cancel(ids)
    assert report.counts[status] == len(ids)
    assert {outcome.attempts for outcome in report.outcomes} == {2}
    assert report.requests == emulator.requests == 2
    assert emulator.cancelled == set(ids)
    first, second = emulator.log
    assert first.body == second.body
    assert first.date < second.date
    assert first.trace_id != second.trace_id
    assert len(second.trace_id) == 58
    assert first.trace_id[:45] == second.trace_id[:45]  # the same call and batch
    if first.authorization.startswith("HMAC"):
        assert first.authorization != second.authorization
    assert second.status == 200  # the emulator has checked the signature


@pytest.mark.parametrize("fault", NOT_DONE)
async def test_a_fault_before_the_service_acted(make_koodrive, connect, credentials, clock, fault):
    emulator = make_koodrive(shares=3, clock=clock.time)
    emulator.script(NOT_DONE[fault])
    async with connect(emulator, credentials, hooks=[passing(clock)]) as client:
        await succeeds_at_the_second(emulator, client, Status.CANCELLED)


@pytest.mark.parametrize("fault", DONE)
async def test_after_a_lost_reply_no_such_share_is_what_was_wished(
    make_koodrive, connect, by_app, clock, fault
):
    emulator = make_koodrive(shares=3, clock=clock.time)
    emulator.script(DONE[fault])
    async with connect(emulator, by_app, hooks=[passing(clock)]) as client:
        await succeeds_at_the_second(emulator, client, Status.ALREADY_GONE)


@pytest.mark.parametrize(
    "fault", [throttled(), unavailable(), html_page(502), dropped(), TruncatedJson(), server_error()]
)
async def test_reading_is_tried_again_too(koodrive, connect, fault):
    share = koodrive.share(koodrive.share_ids[0])
    koodrive.script(fault)
    async with connect(koodrive) as client:
        link = await client.get_share_info(share.short_url)
    assert link.share_id == share.share_id
    assert koodrive.requests == 2


LATE = {
    "silence": BlackHole(act=True),
    "a reply that comes too late": Delay(5),
    "a reply that drips": Drip(interval=0.05),
    "a reply whose head drips": Drip(interval=0.05, head=True),
}


@pytest.mark.parametrize("fault", LATE)
async def test_an_attempt_that_takes_too_long(make_koodrive, connect, fault):
    emulator = make_koodrive(shares=3)
    emulator.script(LATE[fault])
    async with connect(emulator, timeout=Timeout(read=2, total=0.25)) as client:
        with anyio.fail_after(5):
            report = await client.cancel(emulator.share_ids)
    assert report
    assert {outcome.attempts for outcome in report.outcomes} == {2}
    assert emulator.requests == 2


async def test_read_has_its_own_limit(koodrive, connect):
    koodrive.script(BlackHole())
    async with connect(koodrive, timeout=Timeout(read=0.1)) as client:
        with anyio.fail_after(5):
            report = await client.cancel(koodrive.share_ids)
    assert report.counts[Status.CANCELLED] == 100
    assert koodrive.requests == 2


CHAOS = {
    "RST at accept": AtAccept(End.RST),
    "FIN at accept": AtAccept(End.FIN),
    "RST mid request": MidRequest(64, End.RST),
    "half a status line": CutReply(8, End.FIN, forward=True),
    "the head alone": CutReply(0, End.FIN, of="body", forward=True),
    "RST mid body": CutReply(20, End.RST, of="body", forward=True),
    "illegal chunks": Canned(ILLEGAL_CHUNKS, End.CLOSE),
    "two lengths": Canned(CONFLICTING_LENGTHS, End.CLOSE),
    "a header without end": Canned(oversized_header(), End.CLOSE),
}


@pytest.mark.parametrize("fault", CHAOS)
async def test_a_line_that_breaks(koodrive, connect, fault):
    host, _, port = koodrive.url.removeprefix("http://").partition(":")
    with ChaosProxy((host, int(port))).script(CHAOS[fault]) as proxy:
        async with connect(proxy.url) as client:
            with anyio.fail_after(10):
                report = await client.cancel(koodrive.share_ids)
    assert report
    assert {outcome.attempts for outcome in report.outcomes} == {2}
    assert koodrive.cancelled_count == 100


async def test_only_what_has_no_answer_is_sent_again(make_koodrive, connect):
    emulator = make_koodrive(shares=500)
    lost = emulator.share_ids[200:300]
    emulator.inject(
        lambda seen: lost_reply() if lost[0] in seen.share_ids and emulator.requests <= 5 else None
    )
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert emulator.requests == 6
    assert [outcome.share_id for outcome in report.already_gone] == lost
    assert report.counts[Status.CANCELLED] == 400


async def test_a_connection_kept_too_long_costs_no_attempt(connect):
    """The server closes the idle connection just when it is used again: nobody's fault."""
    with RawServer(lambda request: End.RST if request.number == 2 else well(request)) as server:
        async with connect(server, retry=RetryPolicy(attempts=1)) as client:
            assert await client.cancel(some_ids(1))
            report = await client.cancel(some_ids(1))
    assert report
    assert report.outcomes[0].attempts == 2
    assert server.connections == 2


async def test_several_faults_in_a_row(koodrive, connect):
    koodrive.script(unavailable(), lost_reply(), html_page(502), server_error(), throttled())
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids)
    assert report.counts[Status.ALREADY_GONE] == 100
    assert {outcome.attempts for outcome in report.outcomes} == {6}


async def test_the_back_off_grows_and_is_announced(koodrive, connect):
    delays = []
    koodrive.script(*[unavailable()] * 4)
    hooks = [lambda event: delays.append(event.delay) if isinstance(event, RetryScheduled) else None]
    async with connect(koodrive, retry=RetryPolicy(base=0.01, cap=0.04), hooks=hooks) as client:
        assert await client.cancel(koodrive.share_ids)
    longest = [0.01, 0.02, 0.04, 0.04]
    assert len(delays) == 4
    for delay, most in zip(delays, longest, strict=True):
        assert most / 4 <= delay <= most * 1.25
    times = [seen.monotonic for seen in koodrive.log]
    for before, after, delay in zip(times[:-1], times[1:], delays, strict=True):
        assert after - before >= delay


async def test_the_last_attempt_that_is_allowed_may_still_succeed(koodrive, connect):
    koodrive.script(*[unavailable()] * 2)
    async with connect(koodrive, retry=RetryPolicy(attempts=3, base=0.001)) as client:
        assert await client.cancel_batch(koodrive.share_ids)
    assert koodrive.requests == 3


async def test_the_primitive_raises_the_last_error_itself(koodrive, connect):
    koodrive.script(unavailable(), TruncatedJson())
    async with connect(koodrive, retry=RetryPolicy(attempts=2, base=0.001)) as client:
        with pytest.raises(BadReply) as caught:
            await client.cancel_batch(koodrive.share_ids)
    error = caught.value
    assert (error.attempts, error.gave_up, error.ambiguous) == (2, "attempts", True)
    assert error.trace_id == koodrive.log[-1].trace_id
    assert "attempts" in str(error)
    assert koodrive.requests == 2
