"""What all tests share: both event loops, credentials that fit the emulator, and a look for leaks."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from koodrive_async import AppCredentials, AsyncShareClient, RetryPolicy, TokenCredentials
from koodrive_async.testing import Emulator

pytest_plugins = ("koodrive_async.testing.pytest_plugin",)

TOKEN = "demo-token"
APP_ID = "demo-app-id"
APP_SECRET = "demo-app-secret"
USER = "1505084218764547200"

#: Back-off so short that a test need not wait for it; the number of attempts is the default one.
QUICK = RetryPolicy(base=0.002, cap=0.01)

Connect = Callable[..., AsyncShareClient]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request) -> str:
    """Every async test runs on both event loops."""
    return request.param


@pytest.fixture
def by_token() -> TokenCredentials:
    return TokenCredentials(TOKEN, USER)


@pytest.fixture
def by_app() -> AppCredentials:
    return AppCredentials(APP_ID, APP_SECRET, USER)


@pytest.fixture(params=["token", "app"])
def credentials(request, by_token, by_app) -> TokenCredentials | AppCredentials:
    """Each kind of credentials that the emulator knows."""
    return by_token if request.param == "token" else by_app


@pytest.fixture
def connect(by_token) -> Connect:
    """Makes clients of an emulator or a URL; `by_token` and `QUICK` unless told otherwise."""

    def make(where: Emulator | str | Any, who: Any = None, **options: Any) -> AsyncShareClient:
        url = where if isinstance(where, str) else where.url
        options.setdefault("retry", QUICK)
        return AsyncShareClient(url, by_token if who is None else who, **options)

    return make


@pytest.fixture
async def leaks(anyio_backend_name) -> AsyncIterator[None]:
    """After the test there are no more tasks and no more sockets than before it."""
    before = _tasks(anyio_backend_name), _sockets()
    yield
    after = (math.inf, math.inf)
    for _ in range(400):  # a socket that was closed in another thread is gone some milliseconds later
        after = _tasks(anyio_backend_name), _sockets()
        if after[0] <= before[0] and after[1] <= before[1]:
            return
        await anyio.sleep(0.005)
    pytest.fail(f"(tasks, sockets) before: {before}, after: {after}")


def _tasks(backend: str) -> int:
    if backend == "asyncio":
        return len(asyncio.all_tasks())
    import trio

    return trio.lowlevel.current_statistics().tasks_living


def _sockets() -> int:
    """Open sockets of this process; 0 where the kernel does not tell."""
    descriptors = Path("/proc/self/fd")
    return sum(map(_is_socket, descriptors.iterdir())) if descriptors.is_dir() else 0


def _is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except OSError:  # the descriptor of the directory itself, closed meanwhile
        return False
