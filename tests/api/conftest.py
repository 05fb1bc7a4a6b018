"""Fixtures of the tests of all operations: both editions, each with credentials that fit."""

import pytest

from koodrive_async import AsyncShareClient, Pace, TokenCredentials
from tests.client.conftest import clock as clock  # noqa: PLC0414 - fixtures, taken over
from tests.client.conftest import no_proxies as no_proxies  # noqa: PLC0414
from tests.conftest import QUICK, TOKEN, USER

AGENT = "demo-carrier"


@pytest.fixture
def edition(anyio_backend_name) -> str:
    """Each edition of the service, on an event loop of its own."""
    return {"asyncio": "enterprise", "trio": "carrier"}[anyio_backend_name]


@pytest.fixture
def service(make_koodrive, edition):
    """An emulator of the edition, with shares of both kinds."""
    return make_koodrive(edition=edition, shares=230, received=120, task_seconds=0.02)


@pytest.fixture
async def client(service):
    """A client of `service` that retries quickly."""
    async with client_of(service) as made:
        yield made


def client_of(emulator, **options) -> AsyncShareClient:
    who = TokenCredentials(TOKEN, USER, AGENT if emulator.edition == "carrier" else None)
    options.setdefault("retry", QUICK)
    options.setdefault("pace", Pace(adaptive=False))
    return AsyncShareClient(emulator.url, options.pop("credentials", who), **options)
