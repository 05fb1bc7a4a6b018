"""Each operation on the wire: method, path, query, body, headers, and what is done with its reply.

The table is `calls.ROWS`, written from the API facts; replies are canned, so that nothing but it decides.
"""

import json
from contextlib import suppress
from urllib.parse import parse_qsl

import pytest

from koodrive_async import (
    ApiError,
    AppCredentials,
    BadReply,
    CancelReport,
    ConnectionLost,
    Forbidden,
    KooDriveError,
    PublicAccess,
    Sent,
    ServerFault,
    TokenCredentials,
    UsageError,
)
from koodrive_async.core import operations
from koodrive_async.testing import Body, Drop, Status
from tests.api.calls import ROWS, Row
from tests.api.conftest import AGENT, client_of
from tests.conftest import APP_ID, APP_SECRET, USER

pytestmark = pytest.mark.usefixtures("leaks")

PUBLIC = [row for row in ROWS if row.public]
PLAIN = [row for row in ROWS if not row.label]


def good(row: Row) -> Body:
    return Body(json.dumps({"code": 0, "msg": "success", **row.reply}).encode())


def test_every_operation_of_the_service_has_its_row():
    names = {
        value.name
        for value in vars(operations).values()
        if isinstance(value, operations.Operation) and value.path.startswith("/share")
    }
    assert {row.operation for row in ROWS} == names
    assert len(names) == 18


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_a_request_is_what_the_pages_ask_for(row, service, client):
    service.script(good(row))
    result = await row.call(client)
    (seen,) = service.log
    path, _, query = seen.target.partition("?")
    assert (seen.method, path) == (row.method, f"/koodrive/ose/v1{row.path}")
    assert dict(parse_qsl(query, keep_blank_values=True)) == row.query
    assert (json.loads(seen.body) if seen.body else None) == row.body
    assert seen.header("content-type") == ("application/json" if row.body else None)
    assert len(seen.trace_id) == 58
    assert seen.header("x-hw-agentname") == (AGENT if service.edition == "carrier" else None)
    credentials = [seen.authorization, seen.user_id, seen.date]
    assert credentials == [None] * 3 if row.public else None not in credentials
    if row.operation == "exitShare":
        assert isinstance(result, CancelReport)
        assert result
    else:
        assert result is None if row.result is None else isinstance(result, row.result)


@pytest.mark.parametrize("row", [row for row in ROWS if "odd" not in row.label], ids=str)
async def test_a_signature_covers_what_is_sent(row, make_koodrive):
    """The emulator redoes the signature of whatever is not canned; a refusal by it would be a 401."""
    emulator = make_koodrive(edition="carrier", shares=1, received=1)
    who = AppCredentials(APP_ID, APP_SECRET, USER, AGENT)
    async with client_of(emulator, credentials=who) as client:
        with suppress(ApiError):
            await row.call(client)
    assert 401 not in emulator.statuses
    assert emulator.app_calls[APP_ID] == (0 if row.public else emulator.requests)


# -- repeating ------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", PLAIN, ids=str)
@pytest.mark.parametrize("fault", [Drop(), Status(503), Body(b"<html>")], ids=["lost", "503", "odd"])
async def test_after_a_failure_that_may_have_acted(row, fault, service, client):
    service.script(fault, good(row))
    if not row.once:
        await row.call(client)
        assert service.requests == 2
        first, second = service.log
        assert (first.target, first.body) == (second.target, second.body)
        assert first.trace_id != second.trace_id
        return
    with pytest.raises(KooDriveError) as caught:
        await row.call(client)
    error = caught.value
    assert type(error) is {Drop: ConnectionLost, Status: ServerFault, Body: BadReply}[type(fault)]
    assert service.requests == 1
    assert error.attempts == 1
    assert error.ambiguous
    assert "the service may have acted" in str(error)
    if isinstance(error, ConnectionLost):
        assert error.sent is Sent.MAYBE


@pytest.mark.parametrize("row", PLAIN, ids=str)
async def test_after_a_refusal_by_429_it_is_sent_again(row, service, client):
    service.script(
        Status(429, json.dumps({"error_code": "APIG.0308", "error_msg": "wait"}).encode()), good(row)
    )
    await row.call(client)
    assert service.requests == 2


@pytest.mark.parametrize("row", [row for row in PLAIN if row.once], ids=str)
async def test_when_for_certain_nothing_was_sent_it_is_sent_again(row, make_koodrive, edition):
    emulator = make_koodrive(edition=edition)
    emulator.stop()
    failures = []

    def restart(event):
        if hasattr(event, "error") and hasattr(event, "delay"):
            failures.append(event.error)
            if len(failures) == 1:
                emulator.start()
                emulator.script(good(row))

    async with client_of(emulator, hooks=[restart]) as client:
        await row.call(client)
    assert failures
    assert not failures[0].ambiguous
    assert failures[0].sent is Sent.NO
    assert emulator.requests == 1


# -- hostile replies ------------------------------------------------------------------------------

HOSTILE = {
    "nothing": b"",
    "a list": b"[]",
    "no code": b"{}",
    "null": b'{"code":null}',
    "true": b'{"code":true}',
    "nan": b'{"code":0,"x":NaN}',
    "twice": b'{"code":1,"code":0}',
    "deep": b'{"code":0,"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("row", PLAIN, ids=str)
async def test_a_hostile_reply_is_a_typed_error(row, make_koodrive):
    emulator = make_koodrive(edition="carrier")
    for kind, body in HOSTILE.items():
        emulator.behave()
        emulator.inject(lambda _seen, body=body: Body(body))
        async with client_of(emulator) as client:  # a new one, which knows of no outage
            if row.operation == "exitShare":
                report = await row.call(client)
                assert report.counts["unknown"] == 1, kind
            else:
                with pytest.raises(BadReply) as caught:
                    await row.call(client)
                assert caught.value.ambiguous, kind


@pytest.mark.parametrize(
    "row", [row for row in PLAIN if row.reply and "subResponseList" not in row.reply], ids=str
)
async def test_another_shape_than_the_one_expected(row, make_koodrive):
    """A list may be absent; an object with none of its fields is one; all else is a typed error."""
    emulator = make_koodrive(edition="carrier")
    for wrong in (None, 7, "", [], True, [7], {"a": 1}):
        body = json.dumps({"code": 0, **dict.fromkeys(row.reply, wrong)}).encode()
        emulator.behave()
        emulator.inject(lambda _seen, body=body: Body(body))
        result = None
        async with client_of(emulator) as client:
            with suppress(BadReply):
                result = await row.call(client)
        assert result is None or type(result) is row.result, wrong


@pytest.mark.parametrize("row", PLAIN, ids=str)
async def test_a_refusal_with_http_200(row, make_koodrive):
    emulator = make_koodrive(edition="carrier")
    emulator.inject(lambda _seen: Body(b'{"code":"13000410","msg":"no"}'))
    async with client_of(emulator) as client:
        if row.operation == "exitShare":
            assert (await row.call(client)).counts["rejected"] == 1
            return
        with pytest.raises(Forbidden) as caught:
            await row.call(client)
    assert emulator.requests == 1
    assert not caught.value.ambiguous


# -- public calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize("row", PUBLIC, ids=str)
async def test_a_public_call_needs_no_token(row, make_koodrive):
    emulator = make_koodrive(edition="carrier")
    emulator.script(good(row))

    async def never(_stale):
        raise AssertionError("no token is needed")

    async with client_of(emulator, credentials=TokenCredentials(never, USER, AGENT)) as client:
        await row.call(client)


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_without_credentials_there_are_public_calls_only(row, make_koodrive):
    emulator = make_koodrive(edition="carrier")
    emulator.script(good(row))
    async with client_of(emulator, credentials=PublicAccess(AGENT)) as client:
        if row.public:
            await row.call(client)
        else:
            with pytest.raises(UsageError, match=f"{row.operation} needs credentials"):
                await row.call(client)
    assert emulator.requests == row.public


async def test_a_public_success_proves_no_credentials(make_koodrive):
    """Wrong credentials go one request at a time, whatever public calls met."""
    emulator = make_koodrive(edition="carrier", shares=300)
    async with client_of(emulator, credentials=TokenCredentials("wrong", USER, AGENT)) as client:
        short = next(
            share.short_url
            for share in map(emulator.share, emulator.share_ids)
            if share.scope == 1 and share.opens(emulator.now())
        )
        await client.visit_share_public(short)
        with pytest.raises(ApiError):
            await client.cancel(emulator.share_ids)
    assert emulator.counts["batchCancel"] == 1
