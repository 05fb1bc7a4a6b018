"""The server around it: threads, sockets, start and stop, in process, asyncio and trio, TLS, the plug-in."""

import builtins
import inspect
import io
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import anyio
import httpx
import pytest
import trustme

import koodrive_async.testing
from koodrive_async.testing import (
    BlackHole,
    Delay,
    Drip,
    Emulator,
    EndlessBody,
    NeedsSocket,
    dropped,
    lost_reply,
    server_error,
    throttled,
)
from koodrive_async.testing.__main__ import main
from koodrive_async.testing.settings import Settings
from koodrive_async.testing.world import World

CANCEL = "/koodrive/ose/v1/share/cancel"


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "koodrive-emulator"]


def test_it_starts_and_stops_quickly_and_leaves_nothing():
    start = time.perf_counter()
    for _ in range(5):
        with Emulator() as emulator:
            assert len(threads()) == 1
            assert emulator.url.startswith("http://127.0.0.1:")
    assert time.perf_counter() - start < 5
    assert not threads()
    with pytest.raises(httpx.ConnectError):
        httpx.get(emulator.url, trust_env=False)


def test_it_stops_at_once_whatever_is_under_way(caller):
    emulator = Emulator(shares=1, latency=30.0)
    with emulator:
        call = caller(emulator, timeout=0.2)
        emulator.script(None, Delay(30.0), BlackHole(), Drip(10.0), EndlessBody(0.5))
        for index in range(5):
            emulator.latency = 30.0 if index == 0 else 0.0
            errors = []

            def run(errors=errors):
                try:
                    call.cancel("x")
                except httpx.TransportError as error:
                    errors.append(error)

            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            thread.join(0.25)
        start = time.perf_counter()
    assert time.perf_counter() - start < 5
    assert not threads()


def test_a_restart_keeps_port_and_state(caller):
    emulator = Emulator(shares=2)
    with pytest.raises(RuntimeError, match="not started"):
        _ = emulator.url
    with emulator:
        url = emulator.url
        call = caller(emulator)
        call.cancel(emulator.share_ids[0])
        with pytest.raises(RuntimeError, match="running already"):
            emulator.start()
        emulator.stop()
        emulator.stop()
        with pytest.raises(httpx.ConnectError):
            caller(emulator).cancel("x")
        emulator.start()
        assert emulator.url == url
        assert caller(emulator).codes(*emulator.share_ids) == [13000309, 0]


def test_a_port_in_use_is_an_error():
    with Emulator() as emulator, pytest.raises(OSError, match="in use"):
        Emulator(port=int(emulator.url.rpartition(":")[2])).start()


def test_connections_are_counted(caller):
    call = caller()
    for _ in range(3):
        call.cancel("x")
    emulator = call.emulator
    assert (emulator.connections_opened, emulator.open_connections) == (1, 1)
    assert not emulator.settled(0.01)
    call.client.close()
    assert emulator.settled()
    assert (emulator.connections_opened, emulator.open_connections) == (1, 0)


def test_idle_connections_are_closed(caller):
    call = caller(keep_alive=0.05)
    call.cancel("x")
    assert call.emulator.settled(2)


def test_half_a_request_is_no_request(caller):
    call = caller(shares=1)
    port = int(call.emulator.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(b"POST /koodrive/ose/v1/share/cancel HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
        time.sleep(0.05)
    assert call.emulator.settled()
    assert call.emulator.requests == 0


def test_pieces_of_a_body_are_put_together(caller):
    call = caller(shares=1)
    body = b'{"shareIds":["%s"]}' % call.emulator.share_ids[0].encode()

    def pieces():
        for byte in body:
            time.sleep(0.0005)
            yield bytes([byte])

    assert call.client.post(CANCEL, content=pieces(), headers=call.headers()).status_code == 200
    assert call.emulator.log[-1].body == body


def test_requests_in_flight_are_counted_and_limited(caller):
    call = caller(latency=lambda: 0.6, max_concurrency=2)
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(caller(call.emulator).cancel("x").status_code))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 200, 429]
    assert call.emulator.max_in_flight == 3
    assert call.emulator.in_flight == 0


def test_what_breaks_inside_is_raised_at_the_end():
    emulator = Emulator()
    emulator.inject(lambda seen: 1 / 0)
    emulator.start()
    assert httpx.post(emulator.url + CANCEL, trust_env=False).status_code == 500
    with pytest.raises(ExceptionGroup, match="inside the emulator") as caught:
        emulator.__exit__(None, None, None)
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


def test_an_error_of_the_block_comes_first():
    emulator = Emulator()
    emulator.inject(lambda seen: 1 / 0)
    emulator.start()
    httpx.post(emulator.url + CANCEL, trust_env=False)
    emulator.__exit__(KeyError, KeyError(), None)
    assert emulator.errors


async def test_async_block_and_many_at_once():
    async with Emulator(shares=2000, latency=0.01) as emulator:
        ids = emulator.share_ids
        headers = {"authorization": "demo-token", "x-user-id": emulator.user_id}
        replies = []

        async def one(client, start):
            date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            body = {"shareIds": ids[start : start + 100]}
            replies.append(await client.post(CANCEL, json=body, headers={**headers, "x-date": date}))

        async with (
            httpx.AsyncClient(base_url=emulator.url, trust_env=False, timeout=10) as client,
            anyio.create_task_group() as group,
        ):
            for start in range(0, 2000, 100):
                group.start_soon(one, client, start)
        assert {reply.status_code for reply in replies} == {200}
        assert emulator.cancelled == set(ids)
        assert emulator.max_in_flight > 1
        assert emulator.settled()


async def test_in_process():
    emulator = Emulator(shares=1, latency=0.001)
    headers = {"authorization": "demo-token", "x-user-id": emulator.user_id}
    headers["x-date"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    transport = httpx.ASGITransport(app=emulator.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://koodrive.test") as client:

        async def send():
            return await client.post(CANCEL, json={"shareIds": emulator.share_ids}, headers=headers)

        emulator.script(server_error(), throttled(1), Drip(0.0, size=50))
        assert [(await send()).status_code for _ in range(3)] == [500, 429, 200]
        assert emulator.cancelled
        assert emulator.log[-1].connection == ("127.0.0.1", 123)
        emulator.script(lost_reply(), dropped("fin"))
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await send()
        for fault in (EndlessBody(), Drip(0.0, head=True)):
            emulator.script(fault)
            with pytest.raises(NeedsSocket, match="with Emulator"):
                await send()
        emulator.script(BlackHole())
        with anyio.move_on_after(0.05) as scope:
            await send()
        assert scope.cancelled_caught
        assert emulator.in_flight == 0
    assert emulator.errors == []


def test_tls():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with Emulator(tls=context) as emulator, httpx.Client(verify=trusting, trust_env=False) as client:
        assert emulator.url.startswith("https://")
        assert client.post(emulator.url + CANCEL).status_code == 401
        emulator.script(lost_reply(), lost_reply("fin"))
        for _ in range(2):
            with pytest.raises(httpx.TransportError):
                client.post(emulator.url + CANCEL)


def test_environ():
    with Emulator(edition="carrier") as emulator:
        assert emulator.environ() == {
            "KOODRIVE_ENDPOINT": emulator.url,
            "KOODRIVE_USER_ID": emulator.user_id,
            "KOODRIVE_AGENT_NAME": "demo-carrier",
            "KOODRIVE_ACCESS_TOKEN": "demo-token",
        }
        assert emulator.environ("app")["KOODRIVE_APP_SECRET"] == "demo-app-secret"


def test_public_names():
    assert (
        sorted(koodrive_async.testing.__all__)
        == koodrive_async.testing.__all__
        == dir(koodrive_async.testing)
    )
    for name in koodrive_async.testing.__all__:
        assert getattr(koodrive_async.testing, name) is not None
    with pytest.raises(AttributeError, match="no_such"):
        _ = koodrive_async.testing.no_such


def test_a_missing_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("koodrive_async.testing.")]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def without_starlette(name, *rest):
        if name.startswith("starlette"):
            raise ModuleNotFoundError("No module named 'starlette'", name="starlette")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_starlette)
    with pytest.raises(ImportError, match=r"pip install 'koodrive-async\[emulator\]'"):
        koodrive_async.testing.__getattr__("Emulator")
    assert koodrive_async.testing.__getattr__("Drop")


def test_the_fixtures(koodrive, make_koodrive, koodrive_env):
    assert len(koodrive.share_ids) == 100
    assert koodrive_env is koodrive
    assert os.environ["KOODRIVE_ENDPOINT"] == koodrive.url
    assert make_koodrive(shares=1).url != koodrive.url


def test_the_settings_are_those_of_the_world():
    names = set(inspect.signature(World.__init__).parameters) - {"self"}
    assert set(Settings.__annotations__) == names


def test_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    main(["--edition", "carrier", "--shares", "3"])
    assert "KOODRIVE_AGENT_NAME=demo-carrier" in capsys.readouterr().out


def test_the_plug_in(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        """
import os, httpx, pytest

@pytest.mark.koodrive(shares=3, edition="carrier")
async def test_one(koodrive, make_koodrive, koodrive_env):
    assert len(koodrive.share_ids) == 3 and koodrive.edition == "carrier" and koodrive_env is koodrive
    assert os.environ["KOODRIVE_ENDPOINT"] == koodrive.url
    assert make_koodrive(shares=1).url != koodrive.url

def test_two(koodrive):
    assert len(koodrive.share_ids) == 100
"""
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "--strict-markers",
        "-p",
        "no:cacheprovider",
    ]
    command += ["-p", "koodrive_async.testing.pytest_plugin", "-o", "anyio_mode=auto", str(tmp_path)]
    root = os.fspath(next(iter(koodrive_async.__path__))).removesuffix("koodrive_async")
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_from_a_shell():
    root = os.fspath(next(iter(koodrive_async.__path__))).removesuffix("koodrive_async")
    command = [sys.executable, "-m", "koodrive_async.testing", "--shares", "3", "--app"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        assert process.stdout is not None
        name, _, url = process.stdout.readline().strip().partition("=")
        assert name == "KOODRIVE_ENDPOINT"
        assert httpx.post(url + CANCEL, trust_env=False).status_code == 401
        rest = [process.stdout.readline().strip() for _ in range(3)]
        assert "KOODRIVE_APP_ID=demo-app-id" in rest
        process.communicate(timeout=10)
    assert process.returncode == 0
