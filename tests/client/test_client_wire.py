"""What goes over the wire: paths, queries, agents, signed headers, dates; read with the emulator's eyes."""

from urllib.parse import quote, unquote_to_bytes

import anyio
import pytest

from koodrive_async import (
    AppCredentials,
    CommonShareLink,
    KooDriveError,
    NotFound,
    Pace,
    Status,
    TokenCredentials,
)
from koodrive_async.testing import Headers
from koodrive_async.testing import Status as Answered
from koodrive_async.testing import signature as theirs
from koodrive_async.testing.rules import read_date
from tests.client.wire import some_ids
from tests.conftest import APP_ID, APP_SECRET, TOKEN, USER

pytestmark = pytest.mark.usefixtures("leaks")

# -- get_share_info -------------------------------------------------------------------------------

AWKWARD = [
    "abc",
    "a b",
    "a+b",
    "a%2Fb",
    "100%",
    "a&b=c",
    "=",
    "a=b=c",
    "~*'()!",
    "../../etc",
    "a/b?c#d",
    "?",
    "#",
    "&&",
    "ü",
    "合同",
    "🐨",
    '"<>\\^`{|}',
    "a;b,c:d@e$",
    "0" * 300,
    "8f14e45f-ceea-467f-9c5b-2b7d4e1f0001",
]


@pytest.mark.parametrize("short_url", AWKWARD)
async def test_any_short_code_arrives_as_it_is_and_well_signed(koodrive, connect, by_app, short_url):
    async with connect(koodrive, by_app) as client:
        with pytest.raises(NotFound):  # which is said only after the signature was found right
            await client.get_share_info(short_url)
    (seen,) = koodrive.log
    path, _, query = seen.target.partition("?")
    assert path == "/koodrive/ose/v1/share/userInfo"
    assert query == f"shortUrl={quote(short_url, safe='-_.~')}"
    assert unquote_to_bytes(query.removeprefix("shortUrl=")) == short_url.encode()
    canonical = theirs.canonical_request(
        "GET",
        raw_path=path.encode(),
        raw_query=query.encode(),
        headers=seen.headers,
        signed=("x-date", "x-user-id"),
        body=b"",
    )
    signed = theirs.signature(APP_SECRET, theirs.string_to_sign(canonical))
    assert seen.authorization == (
        f"HMAC-SHA256 AppId={APP_ID},SignedHeaders=x-date;x-user-id,Signature={signed}"
    )
    assert seen.body == b""
    assert seen.header("content-type") is None


async def test_the_information_of_a_link(koodrive, connect, credentials):
    share = koodrive.share(koodrive.share_ids[0])
    async with connect(koodrive, credentials) as client:
        link = await client.get_share_info(share.short_url)
    assert isinstance(link, CommonShareLink)
    assert (link.share_id, link.short_url, link.owner_id) == (share.share_id, share.short_url, USER)
    assert link.status == share.status
    assert link.owner_name


async def test_a_link_that_is_not_there(koodrive, connect):
    async with connect(koodrive) as client:
        with pytest.raises(NotFound) as caught:
            await client.get_share_info("nowhere")
    assert caught.value.code == "13000309"
    assert caught.value.attempts == 1
    assert caught.value.trace_id == koodrive.log[0].trace_id


# -- the body -------------------------------------------------------------------------------------


async def test_the_body_is_exactly_what_was_signed(koodrive, connect, by_app):
    ids = ['q"uote\\', "ä", "合", "a/b"]
    async with connect(koodrive, by_app) as client:
        report = await client.cancel(ids)
    (seen,) = koodrive.log
    assert report.counts[Status.ALREADY_GONE] == 4
    assert seen.body == '{"shareIds":["q\\"uote\\\\","ä","合","a/b"]}'.encode()
    assert seen.header("content-length") == str(len(seen.body))


# -- agents and signed headers --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["token", "app", "app, all signed"])
async def test_the_carrier_edition_wants_an_agents_name(make_koodrive, connect, kind):
    emulator = make_koodrive(shares=150, edition="carrier", agent_name="some-carrier")
    who = {
        "token": TokenCredentials(TOKEN, USER, "some-carrier"),
        "app": AppCredentials(APP_ID, APP_SECRET, USER, "some-carrier"),
        "app, all signed": AppCredentials(
            APP_ID,
            APP_SECRET,
            USER,
            "some-carrier",
            signed_headers=("x-date", "x-user-id", "host", "x-hw-agentname", "content-type", "x-traceid"),
        ),
    }[kind]
    async with connect(emulator, who) as client:
        assert await client.cancel(emulator.share_ids)
    assert {seen.header("x-hw-agentname") for seen in emulator.log} == {"some-carrier"}


async def test_a_wrong_agent_is_refused(make_koodrive, connect):
    emulator = make_koodrive(shares=150, edition="carrier")
    async with connect(emulator, TokenCredentials(TOKEN, USER, "wrong")) as client:
        try:
            report = await client.cancel(emulator.share_ids)
        except KooDriveError as error:
            report = error.report
    assert report.counts[Status.CANCELLED] == 0
    assert len(report.outcomes) == 150


@pytest.mark.parametrize(
    "signed",
    [
        ("x-date", "x-user-id"),
        ("X-User-Id", "X-Date"),
        ("x-date", "x-user-id", "host"),
        ("host", "x-traceid", "x-user-id", "x-date"),
    ],
)
async def test_which_headers_are_signed_is_a_setting(koodrive, connect, signed):
    who = AppCredentials(APP_ID, APP_SECRET, USER, signed_headers=signed)
    async with connect(koodrive, who) as client:
        assert await client.cancel(koodrive.share_ids)
        with pytest.raises(NotFound):
            await client.get_share_info("a b")
    names = ";".join(sorted(name.lower() for name in signed))
    for seen in koodrive.log:
        assert f"SignedHeaders={names}," in seen.authorization
        assert seen.header("host") == koodrive.url.removeprefix("http://")  # with its port


async def test_a_host_by_name_is_signed_as_sent(koodrive, connect):
    who = AppCredentials(APP_ID, APP_SECRET, USER, signed_headers=("host", "x-date", "x-user-id"))
    url = koodrive.url.replace("127.0.0.1", "LOCALHOST")
    async with connect(url, who) as client:
        assert await client.cancel(koodrive.share_ids)
    assert koodrive.log[0].header("host").lower().startswith("localhost:")


# -- the clock ------------------------------------------------------------------------------------

HOURS = 3600.0


@pytest.mark.parametrize("offset", [14 * HOURS, -14 * HOURS, 20 * 60, -20 * 60, 1, -1, 0, -4, -30, 890])
async def test_a_server_whose_clock_differs(make_koodrive, connect, credentials, offset):
    emulator = make_koodrive(shares=500, clock_offset=offset)
    async with connect(emulator, credentials) as client:
        report = await client.cancel(emulator.share_ids)
    assert report.counts[Status.CANCELLED] == 500
    assert emulator.requests <= 5 + 2
    if -5 <= offset <= 890:
        assert emulator.requests == 5
    answered = [seen for seen in emulator.log if seen.status == 200]
    assert len(answered) == 5
    for seen in answered:
        assert 0 <= seen.at - read_date(seen.date) < 900
    if offset > -5:
        assert all(read_date(seen.date) <= seen.at for seen in emulator.log)


async def test_a_hundred_in_parallel_correct_the_clock_at_little_cost(make_koodrive, connect, by_app):
    emulator = make_koodrive(shares=200, clock_offset=-14 * HOURS, latency=0.02)
    reports = []
    async with connect(emulator, by_app, pace=Pace(concurrency=100, adaptive=False)) as client:

        async def ask(share_id):
            reports.append(await client.cancel([share_id]))

        async with anyio.create_task_group() as tasks:
            for share_id in emulator.share_ids[:100]:
                tasks.start_soon(ask, share_id)
        assert emulator.statuses[401] <= 2

        emulator.clock_offset = 14 * HOURS  # and with everything under way it jumps
        async with anyio.create_task_group() as tasks:
            for share_id in emulator.share_ids[100:]:
                tasks.start_soon(ask, share_id)
    assert all(reports)
    assert emulator.cancelled_count == 200
    assert emulator.requests <= 200 + 2 + 100  # each at most once more


async def test_a_jump_of_the_servers_clock_while_a_call_runs(make_koodrive, connect, by_app):
    emulator = make_koodrive(shares=3_000)

    def jump(seen):
        if seen.number == 10:
            emulator.clock_offset = -2 * HOURS

    emulator.inject(jump)
    async with connect(emulator, by_app) as client:
        report = await client.cancel(emulator.share_ids)
    assert report.counts[Status.CANCELLED] == 3_000
    assert emulator.requests == 30 + emulator.statuses[401]
    assert emulator.statuses[401] <= 20


async def test_a_jump_of_our_own_clock_does_no_harm(make_koodrive, connect, by_app, clock, monkeypatch):
    """Once the server's time is known, dates go by the monotonic clock, which does not jump."""
    emulator = make_koodrive(shares=300)
    async with connect(emulator, by_app) as client:
        assert await client.cancel(emulator.share_ids[:100])
        wall = clock.time
        for jump in (20 * 60, -20 * 60, 14 * HOURS):
            monkeypatch.setattr(clock, "time", lambda jump=jump: wall() + jump)
            assert await client.cancel(emulator.share_ids[100:])
    assert emulator.statuses[401] == 0


async def test_a_proxys_error_page_teaches_no_time(make_koodrive, connect, by_app):
    emulator = make_koodrive(shares=100)
    emulator.script(Answered(502, b"<html>", {"date": "Mon, 01 Jan 2001 00:00:00 GMT"}))
    async with connect(emulator, by_app) as client:
        assert await client.cancel(emulator.share_ids)
    assert emulator.requests == 2
    assert emulator.statuses[401] == 0


async def test_replies_without_a_date_are_no_problem(make_koodrive, connect, by_app):
    emulator = make_koodrive(shares=300)
    emulator.inject(lambda _seen: Headers({"date": None}))
    async with connect(emulator, by_app) as client:
        assert await client.cancel(emulator.share_ids)
    assert emulator.requests == 3


async def test_a_refusals_own_text_outranks_a_date_header_that_lies(make_koodrive, connect, by_app):
    """The text is written by whoever checked the signature."""
    emulator = make_koodrive(shares=500, clock_offset=-14 * HOURS)
    emulator.inject(lambda _seen: Headers({"date": "Mon, 01 Jan 2035 00:00:00 GMT"}))
    async with connect(emulator, by_app) as client:
        with anyio.fail_after(3):
            assert await client.cancel(emulator.share_ids)
    assert emulator.requests == 5 + 1


async def test_ids_go_out_as_strings(koodrive, connect):
    async with connect(koodrive) as client:
        await client.cancel(some_ids(2))
    assert koodrive.log[0].body == b'{"shareIds":["100000","100001"]}'
