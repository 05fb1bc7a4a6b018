"""The settings of an `Emulator`, one by one. Most can also be changed on the running emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from koodrive_async.testing.limits import RateLimit
    from koodrive_async.testing.routing import Edition


class Settings(TypedDict, total=False):
    """Keyword arguments of `Emulator`; every one has a default."""

    edition: Edition
    """`"enterprise"` (default) or `"carrier"`: headers, shapes, public calls, sessions."""
    shares: int | Iterable[str]
    """Shares of `user_id`: how many realistic ones, or their ids. Default 0."""
    received: int | Iterable[str]
    """Shares that a colleague shares with `user_id`, likewise. Default 0."""
    seed: int
    """Of all variety: the same seed makes the same ids and shares. Default 0."""
    tokens: Collection[str]
    """Access tokens in force, without scheme. Default `("demo-token",)`."""
    token_lifetime: float | None
    """Seconds (by the server's clock) a token lives after its last use; None (default): for ever."""
    apps: Mapping[str, str]
    """AppSecret by AppId. Default `{"demo-app-id": "demo-app-secret"}`."""
    user_id: str
    """Who owns the shares. Default `"1505084218764547200"`."""
    agent_name: str
    """The carrier's X-Hw-Agentname. Default `"demo-carrier"`."""
    clock: Callable[[], float]
    """The server's clock. Default `time.time`."""
    clock_offset: float
    """Seconds the server's clock is ahead of that. Default 0."""
    date_tolerance: float
    """Seconds an X-Date may lie in the future. Default 0."""
    latency: float | Callable[[], float]
    """Seconds between a request's arrival and its handling. Default 0."""
    rate_limit: float | RateLimit | None
    """Requests a second that the gateway grants. Default None: all."""
    max_concurrency: int | None
    """Requests in flight beyond which the gateway answers 429. Default None."""
    max_log: int
    """How many requests `log` keeps. Default 10,000."""
    cursor: Literal["stable", "offset"]
    """What a list's cursor is: see `koodrive_async.testing.paging`. Default `"stable"`."""
    empty_page_every: int
    """Every so many pages of a list an empty one comes first. Default 0: never."""
    task_seconds: float
    """How long a share task takes, by the server's clock. Default 0.05."""
