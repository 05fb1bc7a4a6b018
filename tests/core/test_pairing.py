"""Rows 25 to 32 of the fault matrix, and what must hold whatever the reply."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from koodrive_async.core.codec import read_cancel_reply
from koodrive_async.core.errors import (
    ApiError,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerFault,
    Throttled,
)
from koodrive_async.core.models import CancelReply, ShareSubResponse
from koodrive_async.core.outcomes import Status
from koodrive_async.core.pairing import Pairing, Rules, pair
from koodrive_async.core.verdict import Meaning, judge
from tests.core.builders import TRACE, reply, wild_replies

C, G, R, *_ = Status
RULES = Rules()
GONE = "13000309"


def answer(ids, body, rules=RULES, secrets=()) -> Pairing | Meaning:
    """What a reply settles, the whole way from its bytes; or what it means where it is no answer."""
    verdict = judge(reply(200, body), read_cancel_reply, batched=True)
    if verdict.value is None:
        return verdict.meaning
    return pair(ids, verdict.value, rules, attempts=2, trace_id=TRACE, secrets=secrets)


def told(ids, made: Pairing) -> dict[str, Any]:
    """Id -> its status, "missing" or "again"."""
    found: dict[str, Any] = {ids[i]: "missing" for i in made.missing}
    found |= {ids[i]: settlement.status for settlement, indices in made.settled for i in indices}
    return found | {ids[i]: "again" for _, indices in made.again for i in indices}


def listing(*items, code=0):
    return {"code": code, "msg": "success", "subResponseList": list(items)}


def sub(share_id, code: Any = 0, **more):
    return {"shareId": share_id, "code": code, "msg": "success", **more}


@pytest.mark.parametrize(
    ("ids", "body", "outcome", "oddity"),
    [
        pytest.param("ab", listing(sub("a"), sub("b")), [C, C], None, id="as asked"),
        pytest.param("ab", listing(sub("a"), sub("b", "13000410")), [C, R], None, id="partly"),
        pytest.param("ab", listing(sub("a", GONE), sub("b", int(GONE))), [G, G], None, id="gone"),
        pytest.param(
            "ab", listing(sub("a"), sub("b", 5), code=13000102), [C, R], None, id="25 failed but listed"
        ),
        pytest.param("ab", {"code": 0, "subResponseList": None}, ["missing"] * 2, None, id="26 null"),
        pytest.param("ab", {"code": 0}, ["missing"] * 2, None, id="26 no list"),
        pytest.param("ab", {"code": 0, "subResponseList": "all"}, ["missing"] * 2, None, id="26 not a list"),
        pytest.param(
            "ab", {"code": 0, "subResponseList": {"a": 0}}, ["missing"] * 2, None, id="26 an object"
        ),
        pytest.param("ab", listing(), ["missing"] * 2, None, id="26 an empty list"),
        pytest.param("ab", listing("a", 0, None), ["missing"] * 2, "", id="26 no objects in the list"),
        pytest.param("abc", listing(sub("c"), sub("a")), [C, "missing", C], None, id="27"),
        pytest.param("ab", listing(sub("a"), sub("b"), sub("a")), [C, C], None, id="28 the same twice"),
        pytest.param("a", listing(sub("a"), sub("a", 5)), [C], "two answers for one id", id="28 conflict"),
        pytest.param(
            "a", listing(sub("a", 5), sub("a")), [R], "two answers for one id", id="28 the first counts"
        ),
        pytest.param(
            "a", listing(sub("a", None), sub("a")), ["missing"], "two answers", id="28 the first unreadable"
        ),
        pytest.param("ab", listing(sub("x"), sub("b"), sub("a")), [C, C], "1 answers for ids", id="29"),
        pytest.param(
            "ab", listing(sub("x"), sub("y")), ["missing"] * 2, "2 answers for ids", id="29 only foreign"
        ),
        pytest.param(
            "ab", listing(sub("a"), {"code": 0}), [C, "missing"], "1 answers for ids", id="29 half nameless"
        ),
        pytest.param("abc", listing(sub("c", 5), sub("b", GONE), sub("a")), [C, G, R], None, id="30"),
        pytest.param("ab", listing({"code": 0}, {"code": 5}), [C, R], "by position", id="31"),
        pytest.param("ab", listing(sub(None), sub(None, GONE)), [C, G], "by position", id="31 null ids"),
        pytest.param("ab", listing({"code": 0}), ["missing"] * 2, "1 answers without ids", id="31 too few"),
        pytest.param(
            "a", listing({"code": 0}, {"code": 0}), ["missing"], "2 answers without", id="31 too many"
        ),
        pytest.param(
            "ab", listing({"code": 0}, None, {"code": 0}), ["missing"] * 2, "", id="31 a hole in the list"
        ),
        pytest.param("ab", listing(sub(True), sub({})), ["missing"] * 2, "", id="31 ids that can't be read"),
        pytest.param("7", listing(sub(7.0)), ["missing"], "", id="32 a float"),
        pytest.param("7", listing(sub(7)), [C], None, id="32"),
        pytest.param(["9007199254740993"], listing(sub(2**53 + 1)), [C], None, id="32 beyond 2**53"),
        pytest.param(["9007199254740993"], listing(sub(2.0**53)), ["missing"], "", id="32 beyond a float"),
        pytest.param("a", listing(sub("a", True)), ["missing"], None, id="33 true"),
        pytest.param("a", listing(sub("a", 0.0)), ["missing"], None, id="33 a float"),
        pytest.param("a", listing({"shareId": "a"}), ["missing"], None, id="33 no code"),
        pytest.param("a", listing(sub("a", "00")), [C], None, id="33 digits"),
    ],
)
def test_every_id_gets_its_one_right_outcome(ids, body, outcome, oddity):
    made = answer(ids, body)
    assert [told(ids, made)[i] for i in ids] == outcome
    if oddity is not None:
        assert oddity in "; ".join(made.oddities)
        assert made.oddities
    else:
        assert not made.oddities


@pytest.mark.parametrize(
    "body", [{"code": 13000102, "msg": "bad"}, listing(code=5), {"code": "5", "subResponseList": None}]
)
def test_25_a_code_that_is_not_zero_without_a_list_is_no_answer(body):
    assert answer("ab", body) in (Meaning.INVALID, Meaning.REFUSED)


def test_an_answer_says_all_that_is_known():
    ((settlement, indices),) = answer(
        "a", listing({"shareId": "a", "code": 13000410, "message": "not yours"})
    ).settled
    assert indices == [0]
    assert (settlement.status, settlement.code, settlement.message) == (R, "13000410", "not yours")
    assert (settlement.attempts, settlement.trace_id, settlement.answered) == (2, TRACE, True)
    error = settlement.error
    assert isinstance(error, Forbidden)
    assert (error.code, error.attempts, error.trace_id, error.retryable) == ("13000410", 2, TRACE, False)


def test_ids_settled_alike_share_one_settlement():
    ids = [str(n) for n in range(100)]
    made = answer(ids, listing(*(sub(i, GONE if n % 2 else 0) for n, i in enumerate(ids))))
    assert [(settlement.status, len(indices)) for settlement, indices in made.settled] == [(C, 50), (G, 50)]
    assert all(settlement.error is None for settlement, _ in made.settled)


@pytest.mark.parametrize(
    ("code", "cls", "again"),
    [
        ("13000102", InvalidRequest, False),
        ("13000410", Forbidden, False),
        ("13000301", ApiError, False),
        ("5", ApiError, False),
        ("APIG.0303", ApiError, False),
        ("APIG.0308", Throttled, True),
        ("APIGW.0202", ServerFault, True),
    ],
)
def test_an_id_refused_for_a_passing_reason_is_asked_again(code, cls, again):
    made = answer("a", listing(sub("a", code, msg="no")))
    ((settlement, indices),) = made.again if again else made.settled
    assert (settlement.status, settlement.retryable, list(indices)) == (R, again, [0])
    assert isinstance(settlement.error, cls)


def test_which_codes_mean_gone_and_which_mean_again_are_settings():
    rules = Rules(gone={"5", "6"}, again={"7", "6"})
    body = listing(sub("a", 5), sub("b", 6), sub("c", "7"), sub("d", GONE), sub("e"))
    made = answer("abcde", body, rules)
    assert told("abcde", made) == {"a": G, "b": G, "c": "again", "d": R, "e": C}
    assert made.again[0][0].retryable
    assert isinstance(made.settled[-2][0].error, NotFound)
    assert told("a", answer("a", listing(sub("a", 0)), Rules(gone={"0"}, again={"0"}))) == {"a": C}


@pytest.mark.parametrize(
    "item",
    [
        sub("a", 5, msg="Bearer+s3cr3t\x1b[2J" + "x" * 100_000),
        sub("a", 5, msg="the token h1dden\r\n"),
        sub("a", "h1dden"),
        sub("a", "5\x1b[2J"),
    ],
)
def test_what_an_id_is_told_is_fit_to_be_printed(item):
    """A reply may echo what must not be shown, and megabytes of it."""
    made = answer("a", listing(item), secrets=("h1dden",))
    ((settlement, _),) = made.settled
    outcome = settlement.of("a")
    for shown in (outcome.code, outcome.message, repr(outcome), str(settlement.error)):
        assert "s3cr3t" not in shown
        assert "h1dden" not in shown
        assert len(shown) < 2_000
        assert shown.isprintable()


def says_cancelled(ids, index, listed) -> bool:
    """The rule once more, over the raw list: code 0 for this very id, or at its very place."""
    if not isinstance(listed, list):
        return False
    objects = [item for item in listed if isinstance(item, dict)]
    zero = [
        item
        for item in objects
        if type(item.get("code")) in (int, str) and str(item["code"]).strip() in ("0", "00")
    ]
    if any(type(item.get("shareId")) in (int, str) and str(item["shareId"]) == ids[index] for item in zero):
        return True
    nameless = all(
        isinstance(item, dict) and item.get("shareId") is None for item in listed if item is not None
    )
    return nameless and len(listed) == len(ids) and listed[index] in zero


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "7"]), min_size=1, unique=True), wild_replies)
@example(["a", "b"], listing({"code": 0}, {"code": 0}))
@example(["a", "b"], listing({"code": 0}, None, {"code": 0}))
@example(["a"], listing(sub({})))
@example(["a", "7"], listing(sub(7), sub("a"), sub("a", 5)))
def test_whatever_the_reply_each_id_has_one_outcome_and_none_is_cancelled_without_an_answer(ids, body):
    made = answer(ids, body)
    if isinstance(made, Meaning):
        return
    groups = [indices for _, indices in (*made.settled, *made.again)]
    assert sorted(i for indices in (*groups, made.missing) for i in indices) == list(range(len(ids)))
    for settlement, indices in made.settled:
        for index in indices:
            if settlement.status is Status.CANCELLED:
                assert says_cancelled(ids, index, body["subResponseList"])
            assert settlement.status in (C, G, R)
            assert settlement.code not in ("", None)
    assert all(settlement.status is R for settlement, _ in made.again)


@given(
    st.permutations([*"abcdefgh"]), st.integers(0, 8), st.lists(st.sampled_from(["0", GONE, "5"]), min_size=8)
)
def test_the_order_of_a_reply_changes_nothing(order, answered, codes):
    ids = [*"abcdefgh"]
    code = dict(zip(ids, codes, strict=False))
    subs = [ShareSubResponse(i, code[i]) for i in order[:answered]]
    expected = {i: {"0": C, GONE: G, "5": R}[code[i]] if i in order[:answered] else "missing" for i in ids}
    assert told(ids, pair(ids, CancelReply("0", "", subs), Rules())) == expected


def test_an_answer_for_no_id_at_all_is_harmless():
    assert pair([], CancelReply("0", "", [ShareSubResponse(None, "0")]), Rules()).settled == []
