"""A plain httpx caller for the emulator: it signs with the standard library, and knows no SDK."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from koodrive_async.testing import Emulator

BASE = "/koodrive/ose/v1"


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


class Caller:
    """Says what a well-behaved client says; each call may change headers (None: leave out)."""

    def __init__(self, emulator: Emulator, client: httpx.Client) -> None:
        self.emulator, self.client = emulator, client

    def headers(self, **changes: str | None) -> dict[str, str]:
        found: dict[str, str | None] = {
            "authorization": "Bearer+demo-token",
            "x-user-id": self.emulator.user_id,
            "x-date": stamp(self.emulator.now()),
        }
        if self.emulator.edition == "carrier":
            found["x-hw-agentname"] = self.emulator.agent_name
        found.update({name.replace("_", "-"): value for name, value in changes.items()})
        return {name: value for name, value in found.items() if value is not None}

    def send(
        self, method: str, path: str, body: Any = None, params: Any = None, **changes: str | None
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body).encode()
        return self.client.request(
            method, BASE + path, content=content, params=params, headers=self.headers(**changes)
        )

    def cancel(self, *share_ids: str, **changes: str | None) -> httpx.Response:
        return self.send("POST", "/share/cancel", {"shareIds": list(share_ids)}, **changes)

    def codes(self, *share_ids: str) -> list[Any]:
        return [item["code"] for item in self.cancel(*share_ids).json()["subResponseList"]]


def sign(
    secret: str,
    method: str,
    uri: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
) -> str:
    """The signature of a canonical request whose parts are given ready-made."""
    block = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    names = ";".join(sorted(headers))
    canonical = f"{method}\n{uri}\n{query}\n{block}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    text = f"HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


@pytest.fixture
def signer() -> Callable[..., str]:
    return sign


@pytest.fixture
def caller() -> Iterator[Callable[..., Caller]]:
    """`caller(shares=5)` starts an emulator; `caller(emulator)` talks to a running one."""
    with ExitStack() as stack:

        def make(emulator: Emulator | None = None, *, timeout: float = 5.0, **settings: Any) -> Caller:
            if emulator is None:
                emulator = stack.enter_context(Emulator(**settings))
            client = stack.enter_context(
                httpx.Client(base_url=emulator.url, timeout=timeout, trust_env=False)
            )
            return Caller(emulator, client)

        yield make
