"""Middleware runs once per attempt, outside of the signing; hooks are told what happens."""

import logging

import anyio
import attrs
import pytest

from koodrive_async import (
    AttemptFailed,
    AttemptStarted,
    AttemptTimeout,
    BatchSettled,
    ClockCorrected,
    ConnectionLost,
    PaceChanged,
    Progress,
    Reply,
    Request,
    RetryPolicy,
    RetryScheduled,
    ServerFault,
    Status,
    Throttled,
    Timeout,
)
from koodrive_async.testing import Delay, dropped, html_page, throttled, unavailable
from koodrive_async.testing.answers import dump
from tests.client.wire import all_well, some_ids

pytestmark = pytest.mark.usefixtures("leaks")


async def test_the_first_is_the_outermost(koodrive, connect):
    said = []

    def named(name):
        async def middleware(request, send):
            said.append(f"{name} in")
            reply = await send(request)
            said.append(f"{name} out")
            return reply

        return middleware

    async with connect(koodrive, middleware=[named("a"), named("b"), named("c")]) as client:
        assert await client.cancel(koodrive.share_ids)
    assert said == ["a in", "b in", "c in", "c out", "b out", "a out"]


async def test_it_sees_every_attempt_and_every_status(koodrive, connect):
    seen = []

    async def watch(request, send):
        try:
            reply = await send(request)
        except ConnectionLost as error:
            seen.append((request.attempt, type(error)))
            raise
        seen.append((request.attempt, reply.status))
        return reply

    koodrive.script(unavailable(), html_page(502), throttled(), dropped())
    async with connect(koodrive, middleware=[watch]) as client:
        assert await client.cancel(koodrive.share_ids)
    assert seen == [(1, 503), (2, 502), (3, 429), (4, ConnectionLost), (5, 200)]


async def test_what_it_sees_of_a_request(koodrive, connect, by_app):
    requests = []

    async def watch(request, send):
        requests.append(request)
        return await send(request)

    async with connect(koodrive, by_app, middleware=[watch]) as client:
        await client.cancel(koodrive.share_ids[:2])
        await client.get_share_info(koodrive.share(koodrive.share_ids[3]).short_url)
    post, get = requests
    assert isinstance(post, Request)
    assert (post.operation, post.method, post.path) == (
        "batchCancel",
        "POST",
        "/koodrive/ose/v1/share/cancel",
    )
    assert (get.operation, get.method, get.body) == ("getShareInfo", "GET", b"")
    assert get.target.startswith("/koodrive/ose/v1/share/userInfo?shortUrl=")
    assert [request.trace_id for request in requests] == [seen.trace_id for seen in koodrive.log]
    names = {name.lower() for name, _ in post.headers}
    assert "authorization" not in names  # signing is inside
    assert "x-traceid" in names


async def test_what_it_changes_is_signed(koodrive, connect, by_app):
    async def change(request, send):
        if request.body:
            request = attrs.evolve(request, body=request.body.replace(b",", b" , "))
        return await send(request.with_headers(("X-Added", "1")))

    async with connect(koodrive, by_app, middleware=[change]) as client:
        report = await client.cancel(koodrive.share_ids)
    (seen,) = koodrive.log
    assert report.counts[Status.CANCELLED] == 100
    assert b" , " in seen.body
    assert seen.header("x-added") == "1"


async def test_a_changed_query_is_signed_too(koodrive, connect, by_app):
    share = koodrive.share(koodrive.share_ids[0])

    async def change(request, send):
        return await send(attrs.evolve(request, query=[*request.query, ("z", "ü+&= "), ("a", "")]))

    async with connect(koodrive, by_app, middleware=[change]) as client:
        link = await client.get_share_info(share.short_url)
    assert link.share_id == share.share_id
    assert koodrive.log[0].target.endswith("&z=%C3%BC%2B%26%3D%20&a=")


async def test_it_may_answer_itself(koodrive, connect):
    async def answer(request, send):
        return Reply(status=200, body=dump(all_well(request.body)))

    async with connect(koodrive, middleware=[answer]) as client:
        report = await client.cancel(some_ids(150))
    assert report.counts[Status.CANCELLED] == 150
    assert koodrive.requests == 0


async def test_it_may_change_the_reply(koodrive, connect):
    async def bad_day(request, send):
        reply = await send(request)
        return attrs.evolve(reply, status=503, body=b"") if request.attempt == 1 else reply

    async with connect(koodrive, middleware=[bad_day]) as client:
        report = await client.cancel(koodrive.share_ids)
    assert report.counts[Status.ALREADY_GONE] == 100


class Mine(Exception):
    """A middleware's own error."""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_its_own_error_is_raised_as_itself(make_koodrive, connect, when):
    async def broken(request, send):
        if when == "after":
            await send(request)
        raise Mine

    emulator = make_koodrive(shares=1_000)
    async with connect(emulator, middleware=[broken]) as client:
        with pytest.raises(Mine):
            await client.cancel(emulator.share_ids)
        with pytest.raises(Mine):
            await client.get_share_info("abc")
    assert emulator.requests <= 2


async def test_a_middleware_that_waits_is_within_the_attempts_time(koodrive, connect):
    async def slow(request, send):
        await anyio.sleep(5)
        return await send(request)

    options = {"timeout": Timeout(total=0.05), "retry": RetryPolicy(attempts=1)}
    async with connect(koodrive, middleware=[slow], **options) as client:
        with pytest.raises(AttemptTimeout):
            await client.get_share_info("abc")
    assert koodrive.requests == 0


# -- hooks ----------------------------------------------------------------------------------------


async def test_hooks_are_told_in_order(make_koodrive, connect):
    emulator = make_koodrive(shares=150)
    events = []
    emulator.script(unavailable())
    async with connect(emulator, hooks=[events.append, lambda event: events.append(type(event))]) as client:
        await client.cancel(emulator.share_ids[:100])
    kinds = [event for event in events if isinstance(event, type)]
    assert kinds == [AttemptStarted, AttemptFailed, RetryScheduled, AttemptStarted, BatchSettled] or (
        PaceChanged in kinds
    )
    started, failed, scheduled, settled = (
        next(event for event in events if isinstance(event, kind))
        for kind in (AttemptStarted, AttemptFailed, RetryScheduled, BatchSettled)
    )
    assert started.trace_id == failed.trace_id == emulator.log[0].trace_id
    assert (started.operation, started.attempt) == ("batchCancel", 1)
    assert isinstance(failed.error, ServerFault)
    assert scheduled.delay >= 0
    assert settled.counts[Status.CANCELLED] == 100
    assert settled.trace_id == emulator.log[1].trace_id


async def test_a_closed_gate_is_told(koodrive, connect):
    events = []
    koodrive.script(throttled())
    async with connect(koodrive, hooks=[events.append]) as client:
        await client.cancel(koodrive.share_ids)
    closed = [event.closed for event in events if isinstance(event, PaceChanged)]
    assert closed[0] is True
    assert closed[-1] is False
    failed = next(event for event in events if isinstance(event, AttemptFailed))
    assert isinstance(failed.error, Throttled)


async def test_a_corrected_clock_is_told(make_koodrive, connect):
    events = []
    emulator = make_koodrive(shares=1, clock_offset=-3600)
    async with connect(emulator, hooks=[events.append]) as client:
        assert await client.cancel(emulator.share_ids)
    (corrected,) = [event for event in events if isinstance(event, ClockCorrected)]
    assert -3610 < corrected.seconds < -3590


async def test_a_hook_that_raises_is_logged_and_harms_nobody(koodrive, connect, caplog):
    others = []

    def broken(event):
        raise Mine(type(event).__name__)

    koodrive.script(unavailable())
    with caplog.at_level(logging.ERROR, logger="koodrive_async"):
        async with connect(koodrive, hooks=[broken, others.append]) as client:
            assert await client.cancel(koodrive.share_ids)
    assert len(others) >= 5
    assert len(caplog.records) == len(others)
    assert all(record.exc_info for record in caplog.records)


async def test_progress_is_told_to_the_end(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000)
    emulator.inject(lambda seen: Delay(0.05))
    told: list[Progress] = []
    async with connect(emulator) as client:
        await client.cancel(emulator.share_ids, on_progress=told.append)
    assert [snapshot.settled for snapshot in told] == sorted(snapshot.settled for snapshot in told)
    last = told[-1]
    assert (last.settled, last.total, last.requests, last.in_flight) == (1_000, 1_000, 10, 0)
    assert last.counts[Status.CANCELLED] == 1_000
    assert last.eta == 0.0


async def test_a_progress_callback_that_raises_harms_nobody(koodrive, connect, caplog):
    def broken(snapshot):
        raise Mine

    with caplog.at_level(logging.ERROR, logger="koodrive_async"):
        async with connect(koodrive) as client:
            assert await client.cancel(koodrive.share_ids, on_progress=broken)
    assert caplog.records
