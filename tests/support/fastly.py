"""`pytest --transport fast`: the same tests over the other transport, wherever it can do what they ask.

What it does otherwise is listed, test by test, with the reason. Those must fail, so that the list stays true.
"""

from typing import Any

import pytest

from koodrive_async import client

_BLIND = "it does not tell when a request leaves: what was cut while connecting is UNKNOWN, not NOT_SENT"
_STALE = "it does not tell whether a connection served before: a stale one costs an attempt"
_RESOLVER = "it looks names up itself, so Python's resolver, which the test plays, is not asked"

DIFFERENCES = {
    "test_client_giving_up.py::test_an_attempt_cut_by_its_total_while_connecting_was_not_sent": _BLIND,
    "test_deadlines.py::test_what_was_connecting_was_not_sent": _BLIND,
    "test_faults_connect.py::test_03_dns_failure": _RESOLVER,
    "test_faults_connect.py::test_03_dns_failure_for_good": _RESOLVER,
    "test_faults_broken_replies.py::test_15_stale_keep_alive_only_once_for_free": _STALE,
    "test_faults_broken_replies.py::test_19_oversized_header": "hyper takes larger headers: a good reply",
    "test_faults_resources.py::test_80_no_more_file_descriptors_for_the_certificates": (
        "it reads certificates in Rust, when its first client is made"
    ),
    "test_client_secrets.py::test_a_call_that_goes_well": "httpx and httpcore log nothing",
}


def use_it() -> None:
    """Make every client that could be a fast one a fast one."""
    wire_to = client.wire_to

    def fast_where_it_can(endpoint: Any, kind: Any, network: Any, http: Any) -> Any:
        beyond_it = http or network.tls or network.proxy or network.trust_env or network.http2
        return wire_to(endpoint, kind if kind != "default" or beyond_it else "fast", network, http)

    client.wire_to = fast_where_it_can  # type: ignore[assignment]


def choose(items: list[pytest.Item]) -> None:
    """Leave out trio, which it does not run on; mark what differs."""
    items[:] = [item for item in items if "trio" not in _parameters(item).values()]
    for item in items:
        name = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
        if name in DIFFERENCES:
            item.add_marker(pytest.mark.xfail(reason=DIFFERENCES[name], strict=True))


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}
