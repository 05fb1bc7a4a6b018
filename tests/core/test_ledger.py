from __future__ import annotations

import json
import pickle

import pytest

from koodrive_async.core import errors
from koodrive_async.core.errors import (
    ApiError,
    BadReply,
    ConnectFailed,
    Forbidden,
    InvalidRequest,
    KooDriveError,
    Sent,
    ServerFault,
    Throttled,
    UsageError,
)
from koodrive_async.core.ledger import INTERRUPTED, Intents, lasting, read, write
from koodrive_async.core.outcomes import UNSENT, Settlement, Status
from koodrive_async.core.secrets import MASK

OUTCOMES = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type)
    and issubclass(cls, KooDriveError)
    and not issubclass(cls, UsageError | errors.JournalFailed | errors.CancelIncomplete)
    # of lists and tasks: no share's outcome has them
    and not issubclass(cls, errors.MalformedItemFound | errors.CursorRepeated | errors.TaskNotDone)
]


def forbidden_id() -> Forbidden:
    error = Forbidden("not yours", status=200, code="13000410", request_id="r", trace_id="t-1", attempts=2)
    error.retryable = False
    return error


def rejected(error: KooDriveError | None) -> Settlement:
    return Settlement(
        Status.REJECTED, "13000410", "not yours", attempts=2, trace_id="t-1", error=error, answered=True
    )


@pytest.mark.parametrize("status", Status)
def test_a_settlement_without_error_comes_back_equal(status):
    settlement = Settlement(status, "0", 'é "quoted" 成功', attempts=3, trace_id="t-1-1", answered=True)
    assert read(write(settlement)) == settlement
    assert read(write(Settlement(status))) == Settlement(status)


@pytest.mark.parametrize("cls", OUTCOMES)
def test_errors_come_back_as_their_class(cls):
    error = cls("why", trace_id="t-1", attempts=3)
    error.ambiguous, error.gave_up = True, "budget"
    back = read(write(Settlement(Status.UNKNOWN, error=error))).error
    assert type(back) is cls
    assert str(back) == str(error)
    assert back.retryable == error.retryable
    assert pickle.loads(pickle.dumps(back)).trace_id == "t-1"


def test_what_an_api_error_says_comes_back():
    back = read(write(rejected(forbidden_id()))).error
    assert isinstance(back, Forbidden)
    assert (back.status, back.code, back.message) == (200, "13000410", "not yours")
    assert (back.request_id, back.trace_id, back.attempts) == ("r", "t-1", 2)


def test_a_refusal_for_good_stays_for_good():
    settlement = rejected(forbidden_id())
    assert not settlement.retryable
    assert not read(write(settlement)).retryable
    assert "retryable" not in vars(read(write(rejected(InvalidRequest("no", code="1")))).error)


def test_whether_it_was_sent_comes_back():
    back = read(write(Settlement(Status.UNKNOWN, error=ConnectFailed("no", sent=Sent.NO)))).error
    assert isinstance(back, ConnectFailed)
    assert back.sent is Sent.NO


def test_a_class_of_the_users_comes_back_as_ours():
    class Mine(ServerFault):
        pass

    assert type(read(write(rejected(Mine("no")))).error) is ServerFault
    assert type(read(write(rejected(errors.ConfigurationError("no")))).error) is KooDriveError


def test_secrets_are_not_written():
    error = ApiError("access_token=hush")
    text = write(Settlement(Status.REJECTED, message="Bearer+hush", error=error))
    assert "hush" not in text
    assert text.count(MASK) == 2
    assert "hush" not in write(Settlement(Status.UNKNOWN, error=BadReply("odd", body="hush")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '{"status": "sold"}',
        '{"status": []}',
        '{"status": "rejected", "error": 1}',
        '{"status": "rejected", "error": {"kind": "ValueError"}}',
        '{"status": "rejected", "error": {"kind": "CancelIncomplete"}}',
        '{"status": "rejected", "error": {"kind": "ApiError"}}',
        '{"status": "rejected", "attempts": "many"}',
        "[" * 100_000,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError):
        read(text)


def test_a_line_is_small():
    settlement = Settlement(Status.CANCELLED, "0", "", attempts=1, trace_id="t", answered=True)
    assert json.loads(write(settlement)) == {
        "status": "cancelled",
        "code": "0",
        "attempts": 1,
        "trace_id": "t",
        "answered": True,
    }


@pytest.mark.parametrize(
    ("settlement", "expected"),
    [
        (Settlement(Status.CANCELLED), True),
        (Settlement(Status.ALREADY_GONE), True),
        (Settlement(Status.UNKNOWN), True),
        (INTERRUPTED, True),
        (UNSENT, False),
        (rejected(None), True),
        (rejected(forbidden_id()), True),
        (rejected(Throttled("later")), False),
    ],
)
def test_what_lasts(settlement, expected):
    assert lasting(settlement) is expected


# -- intents --------------------------------------------------------------------------------------


def test_an_intent_is_over_with_its_last_id():
    intents = Intents()
    assert intents.open("abc") == (1, ["a", "b", "c"])
    assert intents.open("de") == (2, ["d", "e"])
    assert intents.close("ad") == []
    assert intents.close("x") == []
    assert intents.close("cbb") == [1]
    assert intents.close("abcde") == [2]


def test_an_id_is_under_way_once():
    intents = Intents()
    assert intents.open("aab") == (1, ["a", "b"])
    assert intents.open("ba") == (1, [])
    assert intents.open("bc") == (2, ["c"])
    assert intents.close("c") == [2]
    assert intents.close("ab") == [1]


def test_numbers_have_no_gaps():
    intents = Intents()
    numbers = [intents.open(ids)[0] for ids in ("a", "a", "b", "ab", "c")]
    assert numbers == [1, 1, 2, 2, 3]
