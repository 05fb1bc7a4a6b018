"""No token, secret or signature in any repr, str, log record, pickle or traceback text."""

import ast
import io
import json
import logging
import pickle
import re
import threading
import traceback

import hpack
import pytest

from koodrive_async import (
    AppCredentials,
    AuthFailed,
    BadReply,
    KooDriveError,
    Network,
    RetryPolicy,
    TokenCredentials,
)
from tests.client.wire import all_well, dated, some_ids, well
from tests.conftest import USER
from tests.support.h2server import H2Server
from tests.support.http1 import reply
from tests.support.rawserver import RawServer
from tests.support.threaded import End
from tests.support.tls import client_context, tls_server

pytestmark = pytest.mark.usefixtures("leaks")

TOKEN = "tKn-Zq83hfGeHeIm7716xYwLongEnough"
SECRET = "aSc-Qp19dkVeRtRaUt2845bNmLongEnough"
APP = "app-id-4711"

WHO = {
    "token": TokenCredentials(TOKEN, USER),
    "token with scheme": TokenCredentials(f"Bearer {TOKEN}", USER),
    "app": AppCredentials(APP, SECRET, USER),
}
ONCE = RetryPolicy(attempts=1, base=0.001)


class Everything(logging.Handler):
    """All that is logged in the test's own thread: a test server logs in its own."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.text = io.StringIO()
        self.names = set()
        self._thread = threading.get_ident()

    def emit(self, record):
        if record.thread == self._thread:
            self.names.add(record.name.split(".")[0])
            self.text.write(f"{logging.Formatter().format(record)}\n{record.__dict__!r}\n")


@pytest.fixture
def logged():
    """Whatever any logger says, at DEBUG."""
    handler, root = Everything(), logging.getLogger()
    loggers = [root, *map(logging.getLogger, list(root.manager.loggerDict))]
    before = [(logger, logger.level, logger.disabled, logger.propagate) for logger in loggers]
    root.addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.disabled, logger.propagate = False, True
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        for logger, level, disabled, propagate in before:
            logger.setLevel(level)
            logger.disabled, logger.propagate = disabled, propagate


def leaked(text: str, *more: str) -> list[str]:
    """Which secrets stand in a text: whole, or enough of them to be of use."""
    found = [secret for secret in (TOKEN, SECRET, *more) if secret and secret[:12] in text]
    return found + re.findall(r"[Ss]ignature=[0-9a-f]{8,}", text)


def pictures(error: BaseException) -> str:
    """All texts of an error."""
    report = getattr(error, "report", None)
    outcomes = [] if report is None else list(report.outcomes)
    shown = map(repr, (error, report, vars(error), outcomes))
    return "\n".join([str(error), *shown, *traceback.format_exception(error)])


def signature_of(request) -> str:
    return (request.header("authorization") or "").rpartition("Signature=")[2]


@pytest.mark.parametrize("who", WHO)
def test_credentials_do_not_print_or_pickle_their_secret(who):
    credentials = WHO[who]
    for text in (repr(credentials), str(credentials), f"{credentials}", f"{credentials!r}"):
        assert leaked(text) == []
        assert "***" in text
    with pytest.raises(Exception, match="secret"):
        pickle.dumps(credentials)


@pytest.mark.parametrize("who", WHO)
async def test_a_call_that_goes_well(connect, who, logged):
    events = []
    with RawServer(well) as server:
        async with connect(server, WHO[who], hooks=[events.append]) as client:
            report = await client.cancel(some_ids(150))
            link = await client.get_share_info("abc")
            texts = [
                repr(client),
                str(client),
                repr(report),
                repr(list(report.outcomes)),
                repr(link),
                repr(events),
            ]
    signatures = [signature_of(request) for request in server.requests]
    assert all(signatures)
    assert leaked("\n".join(texts), *signatures) == []
    assert leaked(pickle.dumps(report).decode("latin-1"), *signatures) == []
    assert "httpcore" in logged.names
    assert leaked(logged.text.getvalue(), *signatures) == []


@pytest.mark.parametrize("who", WHO)
async def test_http2_neither(connect, who, logged):
    """hpack says at DEBUG what it packs."""

    def handler(method, path, headers, body):
        return 200, [("content-type", "application/json")], json.dumps(all_well(body)).encode()

    network = Network(tls=client_context(), http2=True)
    with H2Server(handler) as server:
        async with connect(server.url, WHO[who], network=network) as client:
            assert await client.cancel(some_ids(150))
    assert "httpcore" in logged.names
    sent = [dict(request.headers)["authorization"] for request in server.processed]
    assert leaked(logged.text.getvalue(), *(value.rpartition("Signature=")[2] for value in sent)) == []


async def test_http2_not_even_huffman_coded(connect, logged):
    """hpack at DEBUG shows each encoded block; whoever has the log can decode it."""
    with H2Server(lambda *_: (200, [], b'{"code":0,"link":{}}')) as server:
        async with connect(
            server.url, WHO["token"], network=Network(tls=client_context(), http2=True)
        ) as client:
            await client.get_share_info("abc")
    start = "Encoded header block to "
    lines = logged.text.getvalue().splitlines()
    blocks = [ast.literal_eval(line.removeprefix(start)) for line in lines if line.startswith(start)]
    decoder = hpack.Decoder()
    assert leaked(repr([decoder.decode(block) for block in blocks])) == []


def echo(status, shape):
    """A server that repeats in its answer what it was shown."""

    def answer(request):
        shown = request.header("authorization")
        bare = shown.removeprefix("Bearer+").removeprefix("Bearer ")
        text = f"header {shown} / token {bare} / {request.head.decode()}"
        match shape:
            case "gateway":
                return dated({"error_code": "APIG.0301", "error_msg": text, "request_id": "r1"}, status)
            case "service":
                return dated({"code": 13000102, "msg": text}, status)
            case "html":
                return reply(f"<html>{bare} {text}</html>".encode(), status, (("Content-Type", "text/html"),))
            case "cut":  # the excerpt ends within the token
                return reply(b"x" * 185 + bare.encode(), status)
            case "no code":
                return dated({"a": bare, "b": text}, status)
            case "no link":
                return dated({"code": 0, "token": bare, "text": text}, status)
            case "items":
                items = [{"shareId": i, "code": 13000410, "msg": text} for i in request.json()["shareIds"]]
                return dated({"code": 0, "subResponseList": items}, status)
            case "huge":
                return reply(f"{bare} {text}".encode() + b" " * 10_000, status)
        raise AssertionError(shape)

    return answer


ECHOES = [
    *((status, shape) for status in (400, 401, 403, 404, 500) for shape in ("gateway", "service", "html")),
    (200, "service"),
    (200, "html"),
    (200, "cut"),
    (200, "no code"),
    (200, "no link"),
    (200, "items"),
    (200, "huge"),
    (429, "huge"),
]


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("status", "shape"), ECHOES)
async def test_a_reply_that_echoes_the_credentials(connect, who, status, shape, logged):
    events = []
    texts = []
    options = {"retry": ONCE, "network": Network(max_reply_bytes=4096), "hooks": [events.append]}
    with RawServer(echo(status, shape)) as server:
        async with connect(server, WHO[who], **options) as client:
            texts.append(await told(lambda: client.cancel(some_ids(3), deadline=0.3)))
            if shape != "items":
                texts.append(await told(lambda: client.get_share_info("abc")))
    signatures = [signature_of(request) for request in server.requests]
    assert server.requests
    assert leaked("\n".join(texts), *signatures) == []
    assert leaked("\n".join(map(repr, events)), *signatures) == []
    assert leaked(logged.text.getvalue(), *signatures) == []


async def told(call) -> str:
    """All texts of what a call gives or raises, its pickle among them."""
    try:
        report = await call()
    except KooDriveError as error:
        return pictures(error) + pickle.dumps(error).decode("latin-1")
    texts = [repr(report), repr(list(report.outcomes)), repr(list(report.sub_responses))]
    texts += [pictures(outcome.error) for outcome in report.outcomes if outcome.error]
    return "\n".join(texts) + pickle.dumps(report).decode("latin-1")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("fault", ["lost", "refused TLS"])
async def test_a_failure_of_the_line(connect, who, fault, logged):
    make = (
        (lambda: RawServer(lambda _: End.RST)) if fault == "lost" else (lambda: tls_server(well, "expired"))
    )
    network = Network(tls=client_context()) if fault != "lost" else Network()
    with make() as server:
        async with connect(server.url, WHO[who], retry=ONCE, network=network) as client:
            text = await told(lambda: client.cancel(some_ids(3)))
    assert leaked(text) == []
    assert leaked(logged.text.getvalue()) == []


async def test_a_provider_that_fails_with_the_token_in_its_text(koodrive, connect, logged):
    async def provider(stale):
        raise ValueError(f"could not refresh with token={TOKEN} Bearer {TOKEN}")

    async with connect(koodrive, TokenCredentials(provider, USER)) as client:
        with pytest.raises(AuthFailed) as caught:
            await client.cancel(koodrive.share_ids)
    assert leaked(str(caught.value)) == []
    assert leaked(pickle.dumps(caught.value).decode("latin-1")) == []
    assert leaked(logged.text.getvalue()) == []


async def test_a_stale_token_in_the_text_of_its_provider(koodrive, connect, logged):
    async def provider(stale):
        if stale is None:
            return TOKEN
        raise ValueError(f"{stale} can't be refreshed")

    async with connect(koodrive, TokenCredentials(provider, USER)) as client:
        with pytest.raises(AuthFailed) as caught:
            await client.cancel(koodrive.share_ids)
    assert leaked(str(caught.value)) == []
    assert leaked(pickle.dumps(caught.value).decode("latin-1")) == []
    assert leaked(logged.text.getvalue()) == []


async def test_the_emulators_explanation_of_a_refused_signature_is_kept_without_the_secret(koodrive, connect):
    async with connect(koodrive, AppCredentials("demo-app-id", SECRET, USER)) as client:
        with pytest.raises(AuthFailed) as caught:
            await client.cancel(koodrive.share_ids)
    signature = koodrive.log[0].authorization.rpartition("Signature=")[2]
    assert leaked(pictures(caught.value), signature) == []
    assert "verify signature fail" in str(caught.value)


async def test_a_middleware_sees_requests_that_do_not_print_secrets(connect, logged):
    shown = []

    async def look(request, send):
        shown.append(repr(request))
        answer = await send(request)
        shown.append(repr(answer))
        return answer

    with RawServer(well) as server:
        async with connect(server, WHO["app"], middleware=[look]) as client:
            await client.cancel(some_ids(1))
    assert leaked("\n".join(shown)) == []


async def test_a_hook_that_fails_is_logged_without_secrets(connect, logged):
    def hook(event):
        raise RuntimeError("hook")

    with RawServer(well) as server:
        async with connect(server, WHO["token"], hooks=[hook]) as client:
            assert await client.cancel(some_ids(1))
    assert "hook" in logged.text.getvalue()
    assert leaked(logged.text.getvalue()) == []


async def test_bad_replies_are_quoted_shortly(connect):
    with RawServer(lambda _: reply(b"<html>" + b"x\x1b[31m" * 1000)) as server:
        async with connect(server, retry=ONCE) as client:
            with pytest.raises(BadReply) as caught:
                await client.get_share_info("abc")
    assert 0 < len(caught.value.body) <= 200
    assert caught.value.body.isprintable()
    assert str(caught.value).isprintable()
