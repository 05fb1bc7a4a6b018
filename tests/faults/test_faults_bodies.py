"""Rows 20-24 and 34-37: a whole reply with a strange body; what was asked may have been done all the same."""

import gc
import logging
import tracemalloc

import pytest

from koodrive_async import BadReply, Network, ServerFault, Status
from koodrive_async.testing import (
    Body,
    Encoded,
    EndlessBody,
    HugeBody,
    TruncatedJson,
    content_type,
    empty_reply,
    html_page,
)
from koodrive_async.testing import Status as Answered
from tests.conftest import TOKEN
from tests.faults.line import statuses

pytestmark = pytest.mark.usefixtures("leaks")

MB = 1 << 20


@pytest.mark.parametrize("keep", [0.5, 0.99])
async def test_20_truncated_json_of_the_right_length(line, keep):
    failure, report = await line.suffers(TruncatedJson(keep), BadReply, acted=True)
    assert failure.status == 200
    assert failure.body.startswith('{"code":"0"')
    assert 0 < len(failure.body) <= 200
    assert report.outcomes[0].error.status == 200


async def test_21_wrong_content_type(line, caplog):
    """What it says it is does not matter, but that is worth a word; one."""
    line.emulator.inject(lambda _seen: content_type("text/html; charset=gbk"))
    with caplog.at_level(logging.WARNING, logger="koodrive_async"):
        async with line.client() as client:
            for ids in (line.passing, line.staying):
                report = await client.cancel(ids)
                assert statuses(report) == {"cancelled": 100}
                assert report.requests == 1
            await line.is_well(client)
    assert line.failures == []
    assert len(caplog.messages) == 1
    assert "text/html" in caplog.messages[0]


async def test_22_html_page_of_a_portal(line):
    failure, _ = await line.suffers(html_page(200, act=True), BadReply, acted=True)
    assert failure.status == 200
    assert "<html>" in failure.body


async def test_22_html_page_of_a_portal_that_never_passed_the_request_on(line):
    """Nobody can tell this from the other one: the id stays UNKNOWN, though nothing was done."""
    fault = html_page(200)
    await line.suffers(fault, BadReply, acted=False, seen=True)


async def test_22_html_page_of_a_portal_that_shows_what_it_was_sent(line):
    page = f"<html><body>You sent Authorization: Bearer+{TOKEN} {'x' * 5_000}</body></html>"
    line.emulator.script(Answered(200, page.encode(), [("content-type", "text/html")]))
    async with line.client() as client:
        assert await client.cancel(line.passing)
        await line.is_well(client)
    (failure,) = line.failures
    assert type(failure) is BadReply
    assert TOKEN not in failure.body
    assert TOKEN not in str(failure)
    assert TOKEN not in repr(failure)
    assert len(failure.body.encode()) <= 202  # the sign for "cut here" has three bytes


@pytest.mark.parametrize("act", [False, True])
async def test_23_html_page_of_a_gateway(line, act):
    failure, _ = await line.suffers(html_page(502, act=act), ServerFault, acted=act, seen=True)
    assert (failure.status, failure.code) == (502, "")
    assert "text/html" in failure.message


@pytest.mark.parametrize("status", [200, 204])
async def test_24_empty_body(line, status):
    failure, _ = await line.suffers(empty_reply(status), BadReply, acted=True)
    assert failure.status == status
    assert "empty" in str(failure)


# -- too large ------------------------------------------------------------------------------------

SMALL = Network(max_reply_bytes=MB)

HUGE = {
    "10 MB": HugeBody(10 * MB),
    "100 MB": HugeBody(100 * MB),
    "100 MB in chunks": HugeBody(100 * MB, announce=False),
    "endless": EndlessBody(),
}


async def peak_of(line, fault):
    """The most memory, in bytes, that client and emulator together took while they met this fault."""
    async with line.client(network=SMALL) as client:
        await client.cancel([line.spare])  # what is loaded or cached once does not count
        line.once(fault)
        gc.collect()
        tracemalloc.start()
        try:
            report = await client.cancel(line.passing)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert statuses(report) == {"already_gone": 100}
        await line.is_well(client)
    assert type(line.failures[0]) is BadReply
    return peak


@pytest.mark.parametrize("fault", HUGE)
async def test_34_huge_body(line, fault):
    failure, _ = await line.suffers(HUGE[fault], BadReply, acted=True, network=SMALL)
    assert "more than 1048576 bytes" in str(failure)
    assert len(failure.body) <= 200
    assert line.proxy.bytes_out < 100 * MB  # five times: the connection was closed, not read to the end


@pytest.mark.parametrize("fault", ["100 MB", "endless"])
async def test_34_huge_body_takes_little_memory(line, fault):
    assert await peak_of(line, HUGE[fault]) < 12 * MB


BOMBS = {
    "gzip": Encoded("gzip", bomb=50 * MB),
    "gzip twice": Encoded("gzip", layers=2, bomb=50 * MB),
    "gzip twice, said once": Encoded("gzip", layers=2, label="gzip", bomb=50 * MB),
    "deflate": Encoded("deflate", bomb=5 * MB),
    "brotli": Encoded("br", bomb=5 * MB),
    "zstd": Encoded("zstd", bomb=50 * MB),
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_35_bomb(line, bomb):
    failure, _ = await line.suffers(BOMBS[bomb], BadReply, acted=True, network=SMALL)
    if bomb not in ("gzip", "gzip twice, said once"):
        assert "not asked for" in str(failure)


async def test_35_bomb_takes_little_memory(line):
    """50 MB of letters arrive as 50 KB; more than the limit, 1 MB, is never unpacked."""
    assert await peak_of(line, BOMBS["gzip"]) < 12 * MB


async def test_35_gzip_of_ordinary_size_is_read(line):
    line.emulator.inject(lambda _seen: Encoded("gzip"))
    async with line.client() as client:
        report = await client.cancel(line.passing)
        assert statuses(report) == {"cancelled": 100}
        await line.is_well(client)
    assert all(seen.header("accept-encoding") == "identity" for seen in line.emulator.log)


async def test_36_bad_gzip(line):
    failure, _ = await line.suffers(Encoded("gzip", broken=True), BadReply, acted=True)
    assert "gzip" in str(failure)


async def test_36_bad_gzip_that_is_no_gzip_at_all(line):
    fault = Encoded("deflate", label="gzip")
    await line.suffers(fault, BadReply, acted=True)


# -- JSON that could be misread -------------------------------------------------------------------


def success(ids, more=""):
    items = ",".join(f'{{"shareId":"{share_id}","code":0,"msg":"success"}}' for share_id in ids)
    return f'{{"code":0,"msg":"success"{more},"subResponseList":[{items}]}}'.encode()


MISLEADING = {
    "depth 100k": ',"deep":' + "[" * 100_000 + "]" * 100_000,
    "objects, depth 100k": ',"deep":' + '{"a":' * 100_000 + "1" + "}" * 100_000,
    "5000 digits": ',"n":' + "9" * 5_000,
    "NaN": ',"n":NaN',
    "-Infinity": ',"n":-Infinity',
    "a name twice": ',"code":13000410',
    "lone surrogate": ',"text":"\\ud800"',
}


@pytest.mark.parametrize("trick", MISLEADING)
async def test_37_json_that_could_be_misread(line, trick):
    """It says that all is well, and may be right; but nobody reads success into what is ambiguous."""
    for share_id in (*line.passing, *line.staying):
        line.emulator.cancel_one(line.emulator.user_id, share_id)
    line.emulator.script(Body(success(line.passing, MISLEADING[trick])))
    async with line.client() as client:
        report = await client.cancel(line.passing)
        assert statuses(report) == {"already_gone": 100}
        assert report.requests == 2
        line.emulator.inject(lambda _seen: Body(success(line.staying, MISLEADING[trick])))
        report = await client.cancel(line.staying)
        assert statuses(report) == {"unknown": 100}
        assert {type(outcome.error) for outcome in report.outcomes} == {BadReply}
        await line.is_well(client)
    assert {type(failure) for failure in line.failures} == {BadReply}
    assert all(len(failure.body) <= 200 for failure in line.failures)


async def test_37_json_that_looks_odd_but_cannot_be_misread(line):
    more = ',"deep":' + "[" * 50 + "]" * 50 + ',"text":"\\ud83d\\ude00 \\u0000","n":1e5'
    line.emulator.script(Body(success(line.passing, more)))
    async with line.client() as client:
        report = await client.cancel(line.passing)
        assert report.counts[Status.CANCELLED] == 100
        await line.is_well(client)
    assert line.failures == []
