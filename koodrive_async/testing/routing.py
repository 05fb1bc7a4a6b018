"""What an operation is, and what its handler sees of a request."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

import attrs

from koodrive_async.testing.answers import refusal
from koodrive_async.testing.rules import BAD_PARAMETER

if TYPE_CHECKING:
    from collections.abc import Callable

    from koodrive_async.testing.answers import Answer
    from koodrive_async.testing.seen import RequestSeen
    from koodrive_async.testing.world import World

Edition = Literal["enterprise", "carrier"]
MAX_IDS = 100


def bad(detail: str) -> Exception:
    """The service's `parameter check failed`."""
    return refusal(BAD_PARAMETER, detail)


class Call:
    """A request that passed the header checks: path parameters, query, body, acting user."""

    def __init__(self, seen: RequestSeen, params: dict[str, str], user: str) -> None:
        self.seen, self.params, self.user = seen, params, user

    @cached_property
    def query(self) -> dict[str, str]:
        """Query parameters; a repeated one is refused, `+` is a plus sign."""
        found: dict[str, str] = {}
        for piece in self.seen.target.partition("?")[2].split("&"):
            name, _, value = piece.partition("=")
            if not name:
                continue
            name = unquote(name)
            if name in found:
                raise bad(f"query parameter {name} occurs more than once")
            found[name] = unquote(value)
        return found

    @cached_property
    def body(self) -> dict[str, Any]:
        """The body: a JSON object."""
        try:
            value = json.loads(self.seen.body)
        except (ValueError, RecursionError) as error:
            raise bad("the body is not JSON") from error
        if not isinstance(value, dict):
            raise bad("the body is not a JSON object")
        return value

    def text(self, name: str, *, required: bool = True) -> str:
        """A string of the body; empty if absent and not required."""
        value = self.body.get(name)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or (required and not value):
            raise bad(f"{name} must be a string{' and not empty' if required else ''}")
        return value

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """An integer of the body within bounds; a numeric string passes, as examples have them."""
        return self._within(name, self.body.get(name), low, high, default)

    def query_number(self, name: str, low: int, high: int, default: int) -> int:
        """An integer of the query within bounds."""
        return self._within(name, self.query.get(name), low, high, default)

    def strings(self, name: str, low: int = 0, high: int = 10**6) -> list[str]:
        """A list of non-empty strings of the body; empty if absent and nothing is required."""
        value = self.body.get(name)
        if value is None and low == 0:
            return []
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise bad(f"{name} must be a list of {low}..{high} strings")
        for item in value:
            if not isinstance(item, str) or not item:
                raise bad(f"{name} must hold non-empty strings")
        return value

    @staticmethod
    def _within(name: str, value: Any, low: int, high: int, default: int | None) -> int:
        if value is None:
            if default is None:
                raise bad(f"{name} is missing")
            return default
        if isinstance(value, str) and value.lstrip("-").isdigit() and value.isascii():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise bad(f"{name} must be a whole number of {low}..{high}")
        return value


@attrs.frozen
class Operation:
    """One row of the API."""

    name: str
    """The documentation's name of the operation and of its page."""
    method: str
    path: str
    handler: Callable[[World, Call], Answer] = attrs.field(repr=False)
    admit: Callable[[World, RequestSeen], str] = attrs.field(repr=False)
    """The header checks; returns the acting user."""
    editions: tuple[Edition, ...] = ("enterprise", "carrier")
