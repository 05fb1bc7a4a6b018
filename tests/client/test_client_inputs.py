"""What may be handed in; and that nothing is sent of what may not."""

import itertools
from collections import deque

import pytest

from koodrive_async import (
    AppCredentials,
    AsyncShareClient,
    ConfigurationError,
    InvalidShareId,
    KooDriveError,
    Network,
    Status,
    TokenCredentials,
    UsageError,
)
from tests.client.wire import some_ids


class Countdown:
    """An async iterable that is no generator."""

    def __init__(self, ids):
        self._ids = iter(ids)

    def __aiter__(self):
        return self

    async def __anext__(self):
        for share_id in self._ids:
            return share_id
        raise StopAsyncIteration


async def flowing(ids):
    for share_id in ids:
        yield share_id


KINDS = {
    "list": list,
    "tuple": tuple,
    "dict": dict.fromkeys,
    "deque": deque,
    "generator": lambda ids: (share_id for share_id in ids),
    "iterator": iter,
    "map": lambda ids: map(str, ids),
    "chain": lambda ids: itertools.chain(ids[:7], ids[7:]),
    "async generator": flowing,
    "async iterator": Countdown,
}


@pytest.mark.usefixtures("leaks")
@pytest.mark.parametrize("kind", KINDS)
async def test_any_iterable_of_ids(make_koodrive, connect, kind):
    emulator = make_koodrive(shares=150)
    async with connect(emulator) as client:
        report = await client.cancel(KINDS[kind](emulator.share_ids))
        assert [outcome.share_id for outcome in report.outcomes] == emulator.share_ids
        async with client.open_cancel(KINDS[kind](some_ids(150))) as stream:
            assert len([outcome async for outcome in stream]) == 150
    assert emulator.cancelled_count == 150
    assert emulator.requests == 4


@pytest.mark.usefixtures("leaks")
async def test_a_set_of_ids_in_its_own_order(make_koodrive, connect):
    emulator = make_koodrive(shares=150)
    ids = set(emulator.share_ids)
    async with connect(emulator) as client:
        report = await client.cancel(ids)
    assert [outcome.share_id for outcome in report.outcomes] == list(ids)


@pytest.mark.usefixtures("leaks")
async def test_duplicates_are_sent_once(make_koodrive, connect):
    emulator = make_koodrive(shares=130)
    ids = emulator.share_ids
    async with connect(emulator) as client:
        report = await client.cancel([*ids[:120], *ids[:50], ids[3], *ids[110:]])
    sent = [share_id for seen in emulator.log for share_id in seen.share_ids]
    assert sorted(sent) == sorted(ids)
    assert emulator.requests == 2
    assert [outcome.share_id for outcome in report.outcomes] == ids
    assert report.counts[Status.CANCELLED] == 130


@pytest.mark.usefixtures("leaks")
async def test_ids_that_look_odd_but_may_be_ids(koodrive, connect):
    ids = ["007", "7", "8f14e45f-ceea-467f-9c5b-2b7d4e1f0001", "ä-合", 'q"uote\\', "x" * 256]
    async with connect(koodrive) as client:
        report = await client.cancel(ids)
    assert [outcome.share_id for outcome in report.outcomes] == ids
    assert {outcome.status for outcome in report.outcomes} == {Status.ALREADY_GONE}
    assert list(koodrive.log[0].share_ids) == ids


BAD = {
    "bare string": "1234567890",
    "bytes": b"123",
    "bytearray": bytearray(b"123"),
    "memoryview": memoryview(b"123"),
    "None": None,
    "number": 5,
    "object": object(),
    "a function": some_ids,
    "numbers": [1, 2],
    "a float": ["1", 2.0],
    "a bool": [True],
    "bytes inside": ["1", b"2"],
    "None inside": ["1", None],
    "nested": [["1"]],
    "empty": ["1", ""],
    "blank": [" "],
    "padded left": [" 1"],
    "padded right": ["1 "],
    "blank inside": ["1 2"],
    "newline": ["1\n"],
    "CR LF": ["1\r\nX-Evil: 1"],
    "NUL": ["1\0"],
    "DEL": ["1\x7f"],
    "escape": ["\x1b[31m"],
    "no-break blank": ["1\u00a02"],
    "zero width": ["1\u200b2"],
    "surrogate": ["\ud800"],
    "too long": ["x" * 257],
    "megabyte": ["x" * 1_000_000],
    "last of many": [*some_ids(250), ""],
}


@pytest.mark.usefixtures("leaks")
@pytest.mark.parametrize("kind", BAD)
async def test_what_is_no_id_is_refused_and_nothing_is_sent(koodrive, connect, kind):
    async with connect(koodrive) as client:
        with pytest.raises(InvalidShareId) as caught:
            await client.cancel(BAD[kind])
        error = caught.value
        assert isinstance(error, ValueError)
        assert isinstance(error, UsageError)
        assert len(str(error)) < 300
        assert str(error).isprintable()
        if isinstance(BAD[kind], list):
            assert error.position == len(BAD[kind]) - (2 if kind == "numbers" else 1)
    assert koodrive.requests == 0
    assert koodrive.connections_opened == 0


@pytest.mark.usefixtures("leaks")
@pytest.mark.parametrize("kind", ["async generator", "generator"])
async def test_a_bad_id_out_of_a_generator_too(koodrive, connect, kind):
    async with connect(koodrive) as client:
        with pytest.raises(InvalidShareId):
            await client.cancel(KINDS[kind]([*some_ids(300), "a b"]))
    assert koodrive.requests == 0


@pytest.mark.usefixtures("leaks")
@pytest.mark.parametrize("kind", ["bare string", "bytes", "None", "number"])
async def test_a_stream_refuses_what_is_no_source_at_once(koodrive, connect, kind):
    async with connect(koodrive) as client:
        with pytest.raises(InvalidShareId):
            async with client.open_cancel(BAD[kind]):
                raise AssertionError("the block must not be entered")
    assert koodrive.connections_opened == 0


class Broken(Exception):
    """A source's own error."""


@pytest.mark.usefixtures("leaks")
@pytest.mark.parametrize("kind", ["generator", "async generator"])
async def test_a_sources_own_error_is_raised_as_itself(koodrive, connect, kind):
    def ids():
        yield from some_ids(250)
        raise Broken

    async def ids_async():
        for share_id in some_ids(250):
            yield share_id
        raise Broken

    async with connect(koodrive) as client:
        with pytest.raises(Broken):
            await client.cancel(ids() if kind == "generator" else ids_async())
    assert koodrive.requests == 0


@pytest.mark.usefixtures("leaks")
@pytest.mark.parametrize(
    "option", [{"deadline": -1}, {"deadline": "1"}, {"deadline": True}, {"grace": -1}, {"grace": None}]
)
async def test_times_that_are_none_are_refused(koodrive, connect, option):
    async with connect(koodrive) as client:
        with pytest.raises(ConfigurationError):
            await client.cancel(some_ids(1), **option)
    assert koodrive.requests == 0


@pytest.mark.usefixtures("leaks")
@pytest.mark.parametrize("short_url", ["", " ", None, 5, b"x", "a\nb", "\ud800"])
async def test_a_short_code_that_is_none(koodrive, connect, short_url):
    async with connect(koodrive) as client:
        with pytest.raises(UsageError):
            await client.get_share_info(short_url)
    assert koodrive.connections_opened == 0


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        None,
        5,
        b"https://example.com",
        "example.com",
        "//example.com",
        "https://",
        "https:///path",
        "ftp://example.com",
        "ws://localhost",
        "file:///etc/passwd",
        "http://example.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://192.168.0.1:8080",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://localhost\\@example.com",
        "http://xn--127.0.0.1-x",
        "https://user@example.com",
        "https://user:password@example.com",
        "https://example.com/path",
        "https://example.com?x=1",
        "https://example.com#x",
        "https://example.com:99999",
        "https://example.com:port",
        "https://exam ple.com",
        "https://example.com\r\nX-Evil: 1",
        "https://example.com\n",
        "https://exämple.com",
        "https://[::1",
    ],
)
def test_an_endpoint_must_be_an_https_url(endpoint, by_token):
    with pytest.raises(ConfigurationError) as caught:
        AsyncShareClient(endpoint, by_token)
    assert isinstance(caught.value, ValueError)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://intl.myhuaweicloud-koodrive.com",
        "https://example.com/",
        "https://example.com:8443",
        "https://10.0.0.1",
        "https://[2001:db8::1]:8443",
        "http://localhost",
        "http://localhost:8000",
        "http://127.0.0.1:8000",
        "http://127.1.2.3",
        "http://[::1]:8000",
    ],
)
def test_https_anywhere_and_http_for_loopback(endpoint, by_token):
    assert endpoint.rstrip("/") in repr(AsyncShareClient(endpoint, by_token))


BAD_HEADERS = [
    "a\r\nX-Evil: 1",
    "a\nb",
    "a\rb",
    "a\0b",
    "ä",
    "合",
    "",
    " ",
    " a",
    "a ",
    "\t",
    "\x7f",
    5,
    b"a",
]


@pytest.mark.parametrize("value", [*BAD_HEADERS, None])
@pytest.mark.parametrize("field", ["user_id", "token"])
def test_token_credentials_that_cannot_stand_in_a_header(field, value):
    with pytest.raises(ConfigurationError, match=field):
        TokenCredentials(**{"token": "t", "user_id": "u", field: value})


@pytest.mark.parametrize("value", [*BAD_HEADERS, None])
@pytest.mark.parametrize("field", ["user_id", "app_id", "app_secret"])
def test_app_credentials_that_cannot_stand_in_a_header(field, value):
    with pytest.raises(ConfigurationError, match=field):
        AppCredentials(**{"app_id": "i", "app_secret": "s", "user_id": "u", field: value})


@pytest.mark.parametrize("value", BAD_HEADERS)
@pytest.mark.parametrize(
    "make",
    [lambda agent: TokenCredentials("t", "u", agent), lambda agent: AppCredentials("i", "s", "u", agent)],
)
def test_an_agent_name_that_cannot_stand_in_a_header(make, value):
    with pytest.raises(ConfigurationError, match="agent_name"):
        make(value)


def test_the_value_of_a_bad_secret_is_not_repeated():
    for make in (
        lambda: TokenCredentials("geheim\r\n", "u"),
        lambda: AppCredentials("i", "geheim\r\n", "u"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("who", ["token", None, ("id", "secret"), TokenCredentials])
def test_credentials_of_another_kind(who):
    with pytest.raises(ConfigurationError):
        AsyncShareClient("https://example.com", who)


@pytest.mark.parametrize(
    "options",
    [
        {"transport": "fast"},
        {"http": object()},
        {"gone_codes": "13000309"},
        {"item_retry_codes": "1"},
        {"timeout": 5},
        {"retry": 3},
        {"pace": 16},
        {"network": "proxy"},
        {"middleware": lambda request, send: send(request)},
        {"middleware": [None]},
        {"hooks": print},
        {"hooks": ["print"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_settings_of_the_wrong_kind_are_found_when_the_client_is_made(by_token, options):
    with pytest.raises(ConfigurationError):
        AsyncShareClient("https://example.com", by_token, **options)


def test_a_proxy_that_is_none(by_token):
    for proxy in ("socks9://x", "not a url", "ftp://x:1"):
        with pytest.raises(KooDriveError):
            AsyncShareClient("https://example.com", by_token, network=Network(proxy=proxy))
