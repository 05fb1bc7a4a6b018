from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core import operations
from koodrive_async.core.errors import UsageError
from koodrive_async.core.operations import BASE, BATCH_CANCEL, GET_SHARE_INFO, Operation, Repeat

DETAIL = Operation("getShareByMeDetail", "GET", "/share/{}", Repeat.ALWAYS, "getShareByMeDetail.html")
ALL = [thing for thing in vars(operations).values() if isinstance(thing, Operation)]


@pytest.mark.parametrize(
    ("operation", "method", "path"),
    [
        (BATCH_CANCEL, "POST", "/koodrive/ose/v1/share/cancel"),
        (GET_SHARE_INFO, "GET", "/koodrive/ose/v1/share/userInfo"),
    ],
)
def test_methods_and_paths_as_documented(operation, method, path):
    assert (operation.method, operation.url_path()) == (method, path)
    assert operation.repeat is Repeat.ALWAYS


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_every_operation_names_its_page(operation):
    assert operation.page.startswith(operation.name)
    assert operation.page.endswith(".html")
    assert operation.path.startswith(("/share", "/session/", "/auth/"))


@pytest.mark.parametrize(
    ("segment", "path"),
    [
        ("1689759841444195840", "1689759841444195840"),
        ("a/b", "a%2Fb"),
        ("../x", "..%2Fx"),
        ("..x", "..x"),
        ("a b", "a%20b"),
        ("a?b#c", "a%3Fb%23c"),
        ("%2e%2e", "%252e%252e"),
        ("a+b*c~d", "a%2Bb%2Ac~d"),
        ("成", "%E6%88%90"),
        ("{}", "%7B%7D"),
    ],
)
def test_a_segment_is_encoded_into_one_segment(segment, path):
    assert DETAIL.url_path(segment) == f"{BASE}/share/{path}"


@pytest.mark.parametrize("segment", ["", ".", "..", "...", " ", " .. ", "\ud800"])
def test_a_segment_that_would_change_the_path_is_refused(segment):
    with pytest.raises(UsageError, match="getShareByMeDetail"):
        DETAIL.url_path(segment)


@given(st.text())
def test_no_text_escapes_its_place_in_the_path(segment):
    try:
        path = DETAIL.url_path(segment)
    except UsageError:
        return
    assert path.isascii()
    assert path.startswith(f"{BASE}/share/")
    assert path.count("/") == f"{BASE}/share/".count("/")
    assert not {"?", "#", " ", "\r", "\n", "\\"} & {*path}
    assert path.rpartition("/")[2] not in ("", ".", "..")
