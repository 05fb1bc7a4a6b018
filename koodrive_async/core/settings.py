"""The policies a caller may set: frozen values, composed with ``attrs.evolve``.

Each refuses a value that can't work when it is made. Times are seconds.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterable
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any

import attrs
from attrs.validators import optional

from koodrive_async.core.errors import ConfigurationError

Validator = Any


def _number(*, above: float | None = None, at_least: float | None = None) -> Validator:
    def check(owner: object, field: attrs.Attribute[Any], value: object) -> None:
        bad = isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value)
        if bad or (above is not None and value <= above) or (at_least is not None and value < at_least):  # type: ignore[operator]
            bound = f"above {above}" if above is not None else f"at least {at_least}"
            called = type(owner).__name__  # a Job's fields are arguments of a call
            name = field.name if called == "Job" else f"{called}({field.name}=...)"
            raise ConfigurationError(f"{name} must be a number {bound}, got {value!r}")

    return check


def _whole(*, at_least: int) -> Validator:
    def check(owner: object, field: attrs.Attribute[Any], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise ConfigurationError(
                f"{type(owner).__name__}({field.name}=...) must be a whole number of at least {at_least},"
                f" got {value!r}"
            )

    return check


def _flag(owner: object, field: attrs.Attribute[Any], value: object) -> None:
    check_kind(f"{type(owner).__name__}({field.name}=...)", value, bool)


def _context(owner: object, field: attrs.Attribute[Any], value: object) -> None:
    check_kind(f"{type(owner).__name__}({field.name}=...)", value, ssl.SSLContext)


def _text(owner: object, field: attrs.Attribute[Any], value: object) -> None:
    check_kind(f"{type(owner).__name__}({field.name}=...)", value, str)


def check_kind(name: str, value: object, *kinds: type) -> None:
    """Refuse a setting of the wrong kind before it does harm somewhere deep.

    Raises:
        ConfigurationError: It is.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ConfigurationError(f"{name} must be {wanted}, not {type(value).__name__}")


def is_async(function: object) -> bool:
    """Whether calling it runs nothing until somebody awaits it: an async function, or an object with one."""
    while isinstance(function, partial):
        function = function.func
    calls = [function]
    if callable(function):
        calls.append(type(function).__call__)  # an object whose calls are async
    return any(iscoroutinefunction(call) or isasyncgenfunction(call) for call in calls)


def check_callables(name: str, values: object, *, awaited: bool = False) -> tuple[Any, ...]:
    """The functions of a sequence.

    Raises:
        ConfigurationError: If it is not a sequence of functions, or if nobody would await an async one.
    """
    if isinstance(values, Iterable) and not isinstance(values, str):
        functions = tuple(values)
        if not awaited and any(map(is_async, functions)):
            raise ConfigurationError(f"{name} must be plain functions: nobody would await an async one")
        if all(callable(function) for function in functions):
            return functions
    raise ConfigurationError(f"{name} must be a sequence of functions")


seconds = _number(at_least=0)
optional_seconds = optional(seconds)


@attrs.frozen(slots=True)
class Timeout:
    """The limits of one attempt.

    Attributes:
        connect: For a connection to be opened, TCP and TLS each. A connection that is not ready after two
            seconds gets a second one beside it, which has the same time; not with an `http=` client of your
            own.
        read: For each piece of the reply.
        write: For each piece of the request.
        pool: For a free connection; the gate hands out no more permits than there are connections,
            so it matters only with an `http=` client of your own.
        total: For everything together. A reply that drips defeats `read`, never this.
    """

    connect: float = attrs.field(default=5.0, validator=_number(above=0))
    read: float = attrs.field(default=20.0, validator=_number(above=0))
    write: float = attrs.field(default=10.0, validator=_number(above=0))
    pool: float = attrs.field(default=5.0, validator=_number(above=0))
    total: float = attrs.field(default=30.0, validator=_number(above=0))


@attrs.frozen(slots=True)
class RetryPolicy:
    """How long to keep trying.

    Attributes:
        attempts: The most requests one logical call (a batch, say) sends for transient failures.
        budget: The seconds after which it begins no further attempt and no sleep that can't fit;
            time spent waiting at the gate does not count.
        base: The back-off before the second attempt is up to this long, and doubles from there.
        cap: No back-off is longer, but for what the service asks for.
        patience: How long the gate may stay closed without a success before all waiting calls end.
    """

    attempts: int = attrs.field(default=6, validator=_whole(at_least=1))
    budget: float = attrs.field(default=60.0, validator=_number(above=0))
    base: float = attrs.field(default=0.1, validator=_number(at_least=0))
    cap: float = attrs.field(default=5.0, validator=_number(at_least=0))
    patience: float = attrs.field(default=120.0, validator=_number(above=0))


@attrs.frozen(slots=True)
class Pace:
    """How fast to go.

    Attributes:
        concurrency: The most requests in flight, and the number of connections.
        adaptive: Learn the service's limits from its refusals. False: `concurrency` is a fixed number.
        per_second: A ceiling of requests per second that is never exceeded; None for no such ceiling.
    """

    concurrency: int = attrs.field(default=16, validator=_whole(at_least=1))
    adaptive: bool = attrs.field(default=True, validator=_flag)
    per_second: float | None = attrs.field(default=None, validator=optional(_number(above=0)))


@attrs.frozen(slots=True)
class Network:
    """How connections are made.

    Attributes:
        tls: The TLS context; None for one that verifies against httpx's default bundle, made once.
        proxy: The URL of a proxy, or None. May hold a password, so it is not shown.
        trust_env: Honour the environment's proxy settings. Off, since a proxy named by the
            environment sees whatever is sent to an ``http://`` endpoint.
        http2: Speak HTTP/2 where the server does (needs the package ``h2``).
        keepalive_expiry: How long an idle connection is kept.
        max_reply_bytes: A reply that is larger, decoded, is cut off and is a `BadReply`.
    """

    tls: ssl.SSLContext | None = attrs.field(default=None, repr=False, validator=optional(_context))
    proxy: str | None = attrs.field(
        default=None, validator=optional(_text), repr=lambda proxy: repr(proxy and "***")
    )
    trust_env: bool = attrs.field(default=False, validator=_flag)
    http2: bool = attrs.field(default=False, validator=_flag)
    keepalive_expiry: float = attrs.field(default=30.0, validator=_number(at_least=0))
    max_reply_bytes: int = attrs.field(default=8 * 1024 * 1024, validator=_whole(at_least=1024))
