from __future__ import annotations

import math
import ssl

import attrs
import pytest

from koodrive_async.core.errors import ConfigurationError
from koodrive_async.core.settings import (
    Network,
    Pace,
    RetryPolicy,
    Timeout,
    check_callables,
    check_kind,
    optional_seconds,
    seconds,
)

NO_NUMBERS = ["1", None, True, math.nan, [], 1j, -1, -0.001, -math.inf]
ABOVE_ZERO = [
    *((Timeout, name) for name in ("connect", "read", "write", "pool", "total")),
    *((RetryPolicy, name) for name in ("budget", "patience")),
]
FROM_ZERO = [(RetryPolicy, "base"), (RetryPolicy, "cap"), (Network, "keepalive_expiry")]
WHOLE = [(RetryPolicy, "attempts", 1), (Pace, "concurrency", 1), (Network, "max_reply_bytes", 1024)]


def refused(cls, name, value):
    with pytest.raises(ConfigurationError, match=rf"^{cls.__name__}\({name}=\.\.\.\) must be"):
        cls(**{name: value})


@pytest.mark.parametrize(("cls", "name"), [*ABOVE_ZERO, (Pace, "per_second")])
def test_times_and_rates_are_above_zero(cls, name):
    for value in [*NO_NUMBERS, 0]:
        if (name, value) != ("per_second", None):
            refused(cls, name, value)
    for value in (0.001, 1, 1e9):
        assert getattr(cls(**{name: value}), name) == value


@pytest.mark.parametrize(("cls", "name"), FROM_ZERO)
def test_some_times_may_be_nothing(cls, name):
    for value in NO_NUMBERS:
        refused(cls, name, value)
    for value in (0, 0.0, 2.5):
        assert getattr(cls(**{name: value}), name) == value


@pytest.mark.parametrize(("cls", "name", "least"), WHOLE)
def test_counts_are_whole_numbers(cls, name, least):
    for value in [*NO_NUMBERS, least - 1, least + 0.5, float(least), math.inf]:
        refused(cls, name, value)
    for value in (least, least + 1, 10**6):
        assert getattr(cls(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        *((Pace, "adaptive", value) for value in (None, 1, "no")),
        *((Network, name, value) for name in ("trust_env", "http2") for value in (None, 1, "no")),
        *((Network, "tls", value) for value in (True, "cert.pem")),
        *((Network, "proxy", value) for value in (7, b"http://p:1")),
    ],
)
def test_what_can_t_work_is_refused_when_it_is_made(cls, name, value):
    with pytest.raises(ConfigurationError, match=name):
        cls(**{name: value})


def test_what_works_is_taken():
    context = ssl.create_default_context()
    network = Network(tls=context, proxy="http://proxy.example:3128", trust_env=True, http2=True)
    assert (network.tls, network.proxy, network.trust_env, network.http2) == (
        context,
        "http://proxy.example:3128",
        True,
        True,
    )
    assert Pace(per_second=None).per_second is None


def test_the_defaults_are_those_of_the_design():
    assert attrs.astuple(Timeout()) == (5, 20, 10, 5, 30)
    assert attrs.astuple(RetryPolicy()) == (6, 60, 0.1, 5, 120)
    assert attrs.astuple(Pace()) == (16, True, None)
    assert Network() == Network(tls=None, proxy=None, trust_env=False, http2=False)


def test_a_policy_is_composed_and_checked_again():
    assert attrs.evolve(RetryPolicy(), attempts=2) == RetryPolicy(attempts=2)
    with pytest.raises(ConfigurationError):
        attrs.evolve(RetryPolicy(), attempts=0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Pace().concurrency = 2


def test_a_proxy_s_password_is_not_shown():
    assert "hunter2" not in repr(Network(proxy="http://me:hunter2@proxy.example:3128"))
    assert "proxy='***'" in repr(Network(proxy="http://proxy.example:3128"))
    assert "proxy=None" in repr(Network())


@attrs.frozen
class Grace:
    grace: float = attrs.field(default=5.0, validator=seconds)
    deadline: float | None = attrs.field(default=None, validator=optional_seconds)


def test_seconds_are_checked_alike_wherever_they_are_asked_for():
    assert Grace(0, None) == Grace(0.0)
    for name in ("grace", "deadline"):
        refused(Grace, name, -1)
        refused(Grace, name, "1")
    refused(Grace, "grace", None)


def test_a_setting_of_the_wrong_kind_is_named():
    check_kind("retry", RetryPolicy(), RetryPolicy)
    check_kind("tls", None, str, type(None))
    with pytest.raises(ConfigurationError, match=r"^retry must be RetryPolicy, not dict$"):
        check_kind("retry", {}, RetryPolicy)
    with pytest.raises(ConfigurationError, match=r"^x must be str or bytes, not int$"):
        check_kind("x", 7, str, bytes)


def test_functions_come_in_a_sequence():
    assert check_callables("hooks", [print, repr]) == (print, repr)
    assert check_callables("hooks", (hook for hook in [print])) == (print,)
    assert check_callables("hooks", ()) == ()
    for wrong in (None, print, "abc", [print, None], 7):
        with pytest.raises(ConfigurationError, match=r"^hooks must be a sequence of functions$"):
            check_callables("hooks", wrong)
