from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.models import CommonShareLink, parse_time

MOMENT = datetime(2024, 6, 3, 2, 20, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-06-03T02:20:24.274Z", MOMENT + timedelta(milliseconds=274)),
        ("2024-06-03T10:20:24+08:00", MOMENT),
        ("2024-06-03 02:20:24", MOMENT),
        (" 2024-06-03 02:20:24 ", MOMENT),
        ("20240603022024", MOMENT),
        ("1717381224000", MOMENT),
        ("1717381224274", MOMENT + timedelta(milliseconds=274)),
    ],
)
def test_every_form_of_the_pages_is_read(text, time):
    assert parse_time(text) == time
    assert CommonShareLink(share_time=text).shared_at == time
    assert CommonShareLink(expire_time=text).expires_at == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "never",
        "3",
        "0",
        "20241399999999",
        "2024-02-30",
        "9" * 19,
        "\uff11\uff17" * 7,
        "\ud800",
    ],
)
def test_another_form_is_no_time(text):
    assert parse_time(text) is None


@given(st.text(max_size=30) | st.from_regex(r"\A[0-9]{8,20}\Z") | st.datetimes().map(str))
def test_any_text_is_an_aware_time_or_none(text):
    found = parse_time(text)
    assert found is None or found.tzinfo is not None


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=8))])))
def test_iso_times_are_read_exactly(moment):
    assert parse_time(moment.isoformat()) == moment
