"""Sockets: reused, closed at the end, and none to where a redirect points."""

import gc
import socket

import anyio
import httpx
import pytest

from koodrive_async import ApiError, AttemptTimeout, ClientClosed, Network, Pace, Status, Timeout
from koodrive_async.shell.departure import Departure
from koodrive_async.testing import Drop, EndlessBody, HugeBody, TruncatedBody, redirect, unavailable
from tests.client.sending import request_for, wire_to
from tests.client.wire import dated, some_ids, well, well_and_closing
from tests.conftest import _sockets
from tests.support.http1 import reply
from tests.support.rawserver import Pause, RawServer
from tests.support.threaded import until

pytestmark = pytest.mark.usefixtures("leaks")


# -- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_error_and_its_target_sees_nothing(
    make_koodrive, connect, status, credentials
):
    emulator = make_koodrive(shares=500)
    with RawServer(well) as other:
        emulator.inject(lambda _seen: redirect(f"{other.url}/koodrive/ose/v1/share/cancel", status))
        async with connect(emulator, credentials) as client:
            with pytest.raises(ApiError, match="redirect") as caught:
                await client.cancel(emulator.share_ids)
            with pytest.raises(ApiError):
                await client.get_share_info("abc")
        assert other.connections == 0
    assert caught.value.status == status
    assert len(caught.value.report.outcomes) == 500
    assert emulator.requests == 2
    assert emulator.cancelled_count == 0


async def test_a_redirect_is_not_followed_by_a_borrowed_client_either(koodrive, connect):
    with RawServer(well) as other:
        koodrive.inject(lambda _seen: redirect(f"{other.url}/x"))
        async with httpx.AsyncClient(follow_redirects=True) as http, connect(koodrive, http=http) as client:
            with pytest.raises(ApiError):
                await client.cancel(koodrive.share_ids)
        assert other.connections == 0


async def test_a_redirect_to_the_same_host_neither(koodrive, connect):
    koodrive.script(redirect("/koodrive/ose/v1/share/cancel"))
    async with connect(koodrive) as client:
        with pytest.raises(ApiError):
            await client.cancel(koodrive.share_ids)
    assert koodrive.requests == 1


# -- reuse ----------------------------------------------------------------------------------------


async def test_five_calls_of_3000_ids_reuse_the_connections(make_koodrive, connect):
    emulator = make_koodrive(shares=15_000)
    ids = emulator.share_ids
    async with connect(emulator, pace=Pace(concurrency=16)) as client:
        for start in range(0, 15_000, 3_000):
            assert await client.cancel(ids[start : start + 3_000])
        assert emulator.connections_opened <= 16
        assert 0 < emulator.open_connections <= 16
    assert emulator.settled()
    assert emulator.cancelled_count == 15_000
    assert emulator.requests == 150


async def test_one_request_after_another_needs_one_connection(koodrive, connect):
    async with connect(koodrive) as client:
        for share_id in koodrive.share_ids[:20]:
            await client.cancel([share_id])
    assert koodrive.connections_opened == 1


async def test_a_service_that_closes_each_connection(connect):
    with RawServer(well_and_closing) as server:
        async with connect(server) as client:
            assert await client.cancel(some_ids(1_000))
        await until(lambda: server.open_connections == 0)
    assert server.connections == len(server.requests) == 10


async def test_connections_idle_for_too_long_are_closed(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.01)
    async with connect(emulator, network=Network(keepalive_expiry=0.1)) as client:
        await client.cancel(emulator.share_ids[:900])
        assert emulator.open_connections > 1
        await anyio.sleep(0.15)
        await client.cancel(emulator.share_ids[900:])
        await until(lambda: emulator.open_connections <= 1)


async def test_cookies_of_the_service_are_not_sent_back(connect):
    with RawServer(lambda _: dated({"code": 0, "link": {}}, 200, ("Set-Cookie", "a=b; Path=/"))) as server:
        async with connect(server) as client:
            await client.get_share_info("x")
            await client.get_share_info("x")
    assert [request.header("cookie") for request in server.requests] == [None, None]


# -- closing --------------------------------------------------------------------------------------


async def test_after_aclose_no_socket_is_open(make_koodrive, connect):
    emulator = make_koodrive(shares=3_000, latency=0.005)
    client = connect(emulator)
    await client.cancel(emulator.share_ids)
    assert emulator.open_connections > 1
    await client.aclose()
    assert emulator.settled()
    await client.aclose()


async def test_after_an_error_in_the_block_no_socket_is_open(koodrive, connect):
    async def fail():
        async with connect(koodrive) as client:
            await client.cancel(koodrive.share_ids)
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        await fail()
    assert koodrive.settled()


async def test_after_failures_of_every_kind_no_socket_is_open(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000)
    emulator.script(None, Drop(), HugeBody(), unavailable(), TruncatedBody(), Drop(act=True), EndlessBody())
    async with connect(emulator) as client:
        assert await client.cancel(emulator.share_ids)
    assert emulator.settled()


async def test_a_body_without_end_is_cut_at_once(koodrive, connect):
    def endless(request):
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"10000\r\n" + b" " * 65536 + b"\r\n"

    def handler(request):
        return endless(request) if len(server.requests) == 1 else well(request)

    with RawServer(handler) as server:
        async with connect(server, network=Network(max_reply_bytes=100_000)) as client:
            with anyio.fail_after(5):
                report = await client.cancel(some_ids(3))
        await until(lambda: server.open_connections == 0)
    assert report.outcomes[0].attempts == 2


async def test_closing_while_a_call_runs_lets_its_sends_end(make_koodrive, connect):
    emulator = make_koodrive(shares=5_000, latency=0.1)
    client = connect(emulator)
    raised = []

    async def run():
        try:
            await client.cancel(emulator.share_ids)
        except ClientClosed as error:
            raised.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(lambda: emulator.in_flight > 1)
        with anyio.fail_after(3):
            await client.aclose()
    assert emulator.settled()
    (error,) = raised
    report = error.report
    assert len(report.outcomes) == 5_000
    assert report.counts[Status.UNKNOWN] == 0
    assert report.counts[Status.CANCELLED] == emulator.cancelled_count > 0
    assert report.counts[Status.NOT_SENT] == 5_000 - emulator.cancelled_count


async def test_a_cancelled_call_leaves_the_client_in_order(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000, latency=0.05)
    async with connect(emulator) as client:
        with anyio.move_on_after(0.12):
            await client.cancel(emulator.share_ids)
        done = emulator.cancelled_count
        assert emulator.in_flight == 0  # what was sent has ended
        assert 0 < done < 1_000
        report = await client.cancel(emulator.share_ids)
        assert report.counts[Status.ALREADY_GONE] == done
        assert report.counts[Status.CANCELLED] == 1_000 - done
    assert emulator.settled()


async def test_a_handshake_that_is_cut_off_leaves_no_socket_behind():
    """Without waiting for the garbage collector."""
    with socket.create_server(("127.0.0.1", 0)) as mute:  # the kernel accepts, nobody answers
        wire = wire_to(f"https://127.0.0.1:{mute.getsockname()[1]}")
        gc.disable()
        try:
            before = _sockets()
            for _ in range(3):
                with anyio.move_on_after(0.05):
                    await wire.send(request_for(), Timeout(), Departure())
                await until(lambda: _sockets() == before)
            with pytest.raises(AttemptTimeout):
                await wire.send(request_for(), Timeout(connect=0.05), Departure())
            await until(lambda: _sockets() == before)
        finally:
            gc.enable()
        await wire.aclose()


async def test_a_reply_is_never_taken_for_another_ones(connect):
    """What stands behind a reply must not answer the next request."""
    trap = dated({"code": 0, "link": {"shareId": "wrong"}})
    with RawServer(lambda request: (well(request) + trap,)) as server:
        async with connect(server) as client:
            for _ in range(3):
                assert (await client.get_share_info("x")).share_id == "1"
    assert server.connections == 3


async def test_early_answers_are_read(connect):
    """413 before the body was read: a definite refusal."""
    with RawServer(lambda _: reply(status=413)) as server:
        async with connect(server) as client:
            report = await client.cancel(some_ids(1))
    assert report.counts[Status.REJECTED] == 1
    assert report.outcomes[0].error.status == 413
    assert len(server.requests) == 1


async def test_slow_replies_do_not_hold_back_each_other(connect):
    with RawServer(lambda request: iter([Pause(0.1), well(request)])) as server:
        async with connect(server, pace=Pace(concurrency=50, adaptive=False)) as client:
            await client.cancel(some_ids(1))
            report = await client.cancel(some_ids(3_000))
    assert report
    assert report.elapsed < 1.0
    assert server.max_in_flight > 10
