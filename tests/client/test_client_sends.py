"""What left once has left, however often a middleware sends: NOT_SENT and REJECTED stay true."""

from contextlib import suppress

import httpx
import pytest

from koodrive_async import (
    AsyncShareClient,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    Reply,
    RetryPolicy,
    Sent,
    ServerFault,
)
from koodrive_async.testing import dropped, lost_reply, refused, unauthorized
from tests.client.sending import report_of
from tests.engine.kit import honest, statuses
from tests.support.blackhole import closed_port

pytestmark = pytest.mark.usefixtures("leaks")

#: Held from now on, so that no test is blamed for its socket.
CLOSED = closed_port()

FEW = RetryPolicy(attempts=1, base=0.001, cap=0.002)


@pytest.fixture
def deaf(make_koodrive):
    """Executes every request, and loses each reply."""
    emulator = make_koodrive(shares=100)
    emulator.inject(lambda _seen: lost_reply())
    return emulator


async def test_sent_and_lost_then_stopped_before_it_could_connect(deaf, connect):
    """The second send of the same attempt meets a closed port: the first one was executed all the same."""

    async def twice(request, send):
        try:
            return await send(request)
        except ConnectionLost:
            raise ConnectFailed("the second way is closed", sent=Sent.NO) from None

    async with connect(deaf, middleware=[twice], retry=FEW) as client:
        report = await report_of(client, deaf.share_ids)
    assert statuses(report) == {"unknown": 100}
    assert deaf.cancelled_count == 100
    honest(report.outcomes, deaf.share_ids, deaf)


async def test_sent_twice_the_second_time_refused(make_koodrive, connect):
    """The refusal of the second may be the consequence of the first."""
    emulator = make_koodrive(shares=1)
    emulator.script(lost_reply(), refused("13000410"), refused("13000410"))

    async def twice(request, send):
        try:
            return await send(request)
        except ConnectionLost:
            return await send(request)

    async with connect(emulator, middleware=[twice], retry=FEW) as client:
        report = await report_of(client, emulator.share_ids)
    assert statuses(report) == {"unknown": 1}
    assert report.outcomes[0].code == "13000410"


async def test_sent_twice_for_no_reason_the_second_time_refused(make_koodrive, connect):
    """The first went well: what the second is told is its consequence."""
    emulator = make_koodrive(shares=1)
    emulator.script(None, refused("13000102"))

    async def twice(request, send):
        await send(request)
        return await send(request)

    async with connect(emulator, middleware=[twice], retry=FEW) as client:
        report = await report_of(client, emulator.share_ids)
    assert statuses(report) == {"unknown": 1}
    assert isinstance(report.outcomes[0].error, InvalidRequest)


async def test_refused_first_and_sent_again_is_not_in_doubt(make_koodrive, connect):
    """A middleware that renews its own token: the 401 did nothing."""
    emulator = make_koodrive(shares=0, received=3)
    emulator.script(unauthorized())

    async def renewing(request, send):
        reply = await send(request)
        return await send(request) if reply.status == 401 else reply

    async with connect(emulator, middleware=[renewing], retry=FEW) as client:
        report = await client.cancel(emulator.received_ids)
    assert statuses(report) == {"rejected": 3}
    assert emulator.requests == 2


async def test_the_first_answer_is_handed_on(make_koodrive, connect):
    """The second send is lost: what is executed twice is cancelled, what is refused once may not be."""
    emulator = make_koodrive(shares=2, received=1)
    emulator.script(None, dropped())

    async def shadow(request, send):
        reply = await send(request)
        with suppress(ConnectionLost):
            await send(request)
        return reply

    async with connect(emulator, middleware=[shadow], retry=FEW) as client:
        report = await client.cancel([*emulator.share_ids, *emulator.received_ids])
    assert statuses(report) == {"cancelled": 2, "unknown": 1}


@pytest.mark.parametrize("answer", [503, 429, 200])
async def test_a_middleware_that_answers_by_itself_has_sent_nothing(koodrive, connect, answer):
    async def breaker(_request, _send):
        return Reply(answer, body=b'{"code": "1", "msg": "open"}')

    async with connect(
        koodrive, middleware=[breaker], retry=RetryPolicy(attempts=2, base=0, patience=0.2)
    ) as client:
        report = await report_of(client, koodrive.share_ids)
    assert set(statuses(report)) <= {"not_sent", "rejected"}
    assert koodrive.requests == 0
    assert all(outcome.error for outcome in report.outcomes)


@pytest.mark.parametrize("kind", [RuntimeError, ServerFault])
async def test_a_middleware_that_fails_before_it_sends_has_sent_nothing(koodrive, connect, kind):
    async def broken(_request, _send):
        raise kind("made up")

    async with connect(koodrive, middleware=[broken], retry=FEW) as client:
        with pytest.raises(kind) as caught:
            await client.cancel(koodrive.share_ids)
    assert statuses(caught.value.report) == {"not_sent": 100}


async def test_a_middleware_that_fails_after_it_sent_has_sent(koodrive, connect):
    async def broken(request, send):
        await send(request)
        raise RuntimeError("bug")

    async with connect(koodrive, middleware=[broken], retry=FEW) as client:
        with pytest.raises(RuntimeError) as caught:
            await client.cancel(koodrive.share_ids)
    assert statuses(caught.value.report) == {"unknown": 100}


# -- the same below: an httpx client that sends more than once ------------------------------------


class Again(httpx.AsyncBaseTransport):
    """A transport that retries by itself, the second time at another port if one is given."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port
        self.inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request):
        try:
            return await self.inner.handle_async_request(request)
        except httpx.TransportError:
            if self.port is not None:
                request.url = request.url.copy_with(port=self.port)
            return await self.inner.handle_async_request(request)

    async def aclose(self):
        await self.inner.aclose()


async def test_a_borrowed_client_that_retries_by_itself(deaf, by_token):
    async with (
        httpx.AsyncClient(transport=Again(CLOSED)) as http,
        AsyncShareClient(deaf.url, by_token, http=http, retry=FEW) as client,
    ):
        report = await report_of(client, deaf.share_ids)
    assert statuses(report) == {"unknown": 100}
    assert deaf.cancelled_count == 100


async def test_a_borrowed_client_that_never_connects(by_token):
    async with (
        httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=2)) as http,
        AsyncShareClient(f"http://127.0.0.1:{CLOSED}", by_token, http=http, retry=FEW) as client,
    ):
        report = await report_of(client, ["1", "2"])
    assert statuses(report) == {"not_sent": 2}


async def test_a_borrowed_client_that_tells_nothing(by_token):
    """Whether a transport of the caller's sent anything can't be seen: it may have."""

    def fail(request):
        raise httpx.ConnectError("so it says", request=request)

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(fail)) as http,
        AsyncShareClient("http://127.0.0.1:1", by_token, http=http, retry=FEW) as client,
    ):
        report = await report_of(client, ["1", "2"])
    assert statuses(report) == {"unknown": 2}


@pytest.mark.parametrize("code", ["13000410", "13000102"])
async def test_a_borrowed_client_that_sends_again_and_is_refused(make_koodrive, by_token, code):
    """The refusal may be the consequence of the request whose reply it kept to itself."""
    emulator = make_koodrive(shares=1)
    emulator.script(lost_reply(), refused(code), refused(code))
    async with (
        httpx.AsyncClient(transport=Again()) as http,
        AsyncShareClient(emulator.url, by_token, http=http, retry=FEW) as client,
    ):
        report = await report_of(client, emulator.share_ids)
    assert statuses(report) == {"unknown": 1}
    assert emulator.cancelled_count == 1


@pytest.mark.parametrize("code", ["13000410", "13000302", "13000102"])
async def test_a_stray_refusal_over_a_borrowed_client_settles_nothing(make_koodrive, by_token, code):
    """The refusal may be the answer to another request, so it is asked twice."""
    emulator = make_koodrive(shares=1)
    emulator.script(refused(code))
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        AsyncShareClient(emulator.url, by_token, http=http, retry=FEW) as client,
    ):
        report = await client.cancel(emulator.share_ids)
        assert statuses(report) == {"cancelled": 1}
        emulator.script(refused(code), refused(code))
        report = await client.cancel(emulator.share_ids)
        assert statuses(report) == {"rejected": 1}
