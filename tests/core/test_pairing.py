"""Rows 25 to 32 of the fault matrix, and what must hold whatever the reply."""

from __future__ import annotations

import re
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
from koodrive_async.core.pairing import Asked, Pairing, Rules, pair
from koodrive_async.core.verdict import Meaning, judge
from tests.core.builders import TRACE, reply, wild_replies

C, G, R, U, _ = Status
M, D, V = "missing", "disputed", "unproven"
RULES = Rules()
ASKED = Asked(attempts=2, trace_id=TRACE)
GONE = "13000309"


def answer(ids, body, rules=RULES, asked=ASKED) -> Pairing | Meaning:
    """What a reply settles, the whole way from its bytes; or what it means where it is no answer."""
    verdict = judge(reply(200, body), read_cancel_reply, batched=True)
    if verdict.value is None:
        return verdict.meaning
    return pair(ids, verdict.value, rules, asked)


def told(ids, made: Pairing) -> dict[str, Any]:
    """Id -> its status, or what is missing for one."""
    found: dict[str, Any] = {ids[i]: M for i in made.missing}
    found |= {ids[i]: D for i in made.disputed}
    found |= {ids[i]: V for i in made.unproven}
    found |= {ids[i]: settlement.status for settlement, indices in made.settled for i in indices}
    return found | {ids[i]: "again" for _, indices in made.again for i in indices}


def kinds(made: Pairing) -> str:
    """The kinds of oddities."""
    return " ".join(kind for kind, _ in made.oddities)


def listing(*items, code=0):
    return {"code": code, "msg": "success", "subResponseList": list(items)}


def sub(share_id, code: Any = 0, **more):
    return {"shareId": share_id, "code": code, "msg": "success", **more}


def anon(code: Any = 0, **more):
    return {"code": code, **more}


@pytest.mark.parametrize(
    ("ids", "body", "outcome", "oddity"),
    [
        pytest.param("ab", listing(sub("a"), sub("b")), [C, C], "", id="as asked"),
        pytest.param("ab", listing(sub("a"), sub("b", "13000410")), [C, R], "", id="partly"),
        pytest.param("ab", listing(sub("a", GONE), sub("b", int(GONE))), [G, G], "", id="gone"),
        pytest.param("ab", listing(sub("a"), sub("b", 5), code=13000102), [C, R], "", id="25 failed, listed"),
        pytest.param("ab", {"code": 0, "subResponseList": None}, [M, M], "", id="26 null"),
        pytest.param("ab", {"code": 0}, [M, M], "", id="26 no list"),
        pytest.param("ab", {"code": 0, "subResponseList": "all"}, [M, M], "", id="26 not a list"),
        pytest.param("ab", {"code": 0, "subResponseList": {"a": 0}}, [M, M], "", id="26 an object"),
        pytest.param("ab", listing(), [M, M], "", id="26 an empty list"),
        pytest.param("ab", listing("a", 0, None), [M, M], "unnamed", id="26 no objects in the list"),
        pytest.param("abc", listing(sub("c"), sub("a")), [C, M, C], "", id="27"),
        pytest.param("ab", listing(sub("a"), sub("b"), sub("a")), [C, C], "", id="28 the same twice"),
        pytest.param("ab", listing(sub("a"), sub("a", 5), sub("b")), [D, C], "disputed", id="28 conflict"),
        pytest.param("a", listing(sub("a", 5), sub("a")), [D], "disputed", id="28 in whichever order"),
        pytest.param("a", listing(sub("a", GONE), sub("a", 5)), [D], "disputed", id="28 gone or refused"),
        pytest.param("a", listing(sub("a"), sub("a", GONE)), [D], "disputed", id="28 both of them good"),
        pytest.param("a", listing(*map(sub, "aaa", [0, 5, 0])), [D], "disputed", id="28 two against one"),
        pytest.param("a", listing(sub("a", None), sub("a")), [D], "disputed", id="28 one unreadable"),
        pytest.param("abc", listing(sub("a"), sub("a", 5), sub("b")), [D, C, M], "disputed", id="28 and 27"),
        pytest.param("ab", listing(sub("x"), sub("b"), sub("a")), [C, C], "foreign", id="29"),
        pytest.param("ab", listing(sub("x"), sub("y")), [M, M], "foreign", id="29 only foreign"),
        pytest.param("ab", listing(sub("a"), anon()), [C, M], "unnamed", id="29 half nameless"),
        pytest.param("ab", listing(sub("a"), anon(id="b")), [C, M], "unnamed", id="29 half renamed"),
        pytest.param("abc", listing(sub("c", 5), sub("b", GONE), sub("a")), [C, G, R], "", id="30"),
        pytest.param("ab", listing(anon(), anon(5)), [C, R], "position", id="31"),
        pytest.param("ab", listing(sub(None), sub(None, GONE)), [C, G], "position", id="31 null ids"),
        pytest.param("ab", listing(anon()), [M, M], "position", id="31 too few"),
        pytest.param("a", listing(anon(), anon()), [M], "position", id="31 too many"),
        pytest.param("ab", listing(anon(), None, anon()), [M, M], "unnamed", id="31 a hole in the list"),
        pytest.param("ab", listing(sub(True), sub({})), [M, M], "unnamed", id="31 ids that can't be read"),
        pytest.param("7", listing(sub(7.0)), [M], "unnamed", id="32 a float"),
        pytest.param("7", listing(sub(7)), [C], "", id="32"),
        pytest.param(["9007199254740993"], listing(sub(2**53 + 1)), [C], "", id="32 beyond 2**53"),
        pytest.param(["9007199254740993"], listing(sub(2.0**53)), [M], "unnamed", id="32 beyond a float"),
        pytest.param("a", listing(sub("a", True)), [M], "", id="33 true"),
        pytest.param("a", listing(sub("a", 0.0)), [M], "", id="33 a float"),
        pytest.param("a", listing({"shareId": "a"}), [M], "", id="33 no code"),
        pytest.param("a", listing(sub("a", "00")), [C], "", id="33 digits"),
    ],
)
def test_every_id_gets_its_one_right_outcome(ids, body, outcome, oddity):
    made = answer(ids, body)
    assert [told(ids, made)[i] for i in ids] == outcome
    assert kinds(made) == oddity
    assert made.foreign is (oddity == "foreign")
    assert not made.unproven


@pytest.mark.parametrize(
    ("ids", "items", "outcome", "oddity"),
    [
        pytest.param("ab", [anon(5, id="b"), anon(id="a")], [C, R], "renamed", id="in another field"),
        pytest.param("ab", [anon(5, share={"id": "b"}), anon(id="a")], [C, R], "renamed", id="deeper"),
        pytest.param("ab", [anon(5, ids=["b"]), anon(ids=["a"])], [C, R], "renamed", id="in a list"),
        pytest.param("ab", [anon(5, msg="no: b!"), anon(msg="(a) too")], [C, R], "renamed", id="in a text"),
        pytest.param(["7", "8"], [anon(5, id=8), anon(id=7)], [C, R], "renamed", id="as a number"),
        pytest.param(
            ["1-2", "1-3"], [anon(5, msg="id=1-3"), anon(id="1-2")], [C, R], "renamed", id="hyphens"
        ),
        pytest.param("abc", [anon(5, id="b"), anon(id="a")], [C, R, M], "renamed", id="too few"),
        pytest.param("a", [anon(id="a"), anon(msg="a")], [C], "renamed", id="the same twice"),
        pytest.param("ab", [anon(id="a"), anon(5, id="a")], [D, M], "renamed disputed", id="a conflict"),
        pytest.param("ab", [anon(id="a"), anon()], [M, M], "unclear", id="one names none"),
        pytest.param("ab", [anon(id="a"), anon(id="x")], [M, M], "unclear", id="one names a foreign one"),
        pytest.param("ab", [anon(id="a"), anon(msg="a or b")], [M, M], "unclear", id="one names two"),
        pytest.param("ab", [anon(id="a"), anon(id="b", msg="a")], [M, M], "unclear", id="two fields differ"),
        pytest.param("ab", [anon(id="a"), None], [M, M], "unnamed", id="one is no object"),
        pytest.param(["1", "3"], [anon(id="12"), anon(5, x="34")], [C, R], "position", id="part of a word"),
        pytest.param("ab", [anon(a=1), anon(5, b=1)], [C, R], "position", id="the names of fields are none"),
        pytest.param(["0", "1"], [anon(), anon(5)], [C, R], "position", id="nor is a code"),
    ],
)
def test_31_ids_that_stand_elsewhere_count_and_the_place_does_not(ids, items, outcome, oddity):
    made = answer(ids, listing(*items))
    assert [told(ids, made)[i] for i in ids] == outcome
    assert kinds(made) == oddity


@pytest.mark.parametrize(
    ("ids", "items", "outcome", "oddity"),
    [
        pytest.param("ab", [sub("a"), sub("b", 5)], [C, R], "", id="as asked"),
        pytest.param("ab", [sub("b", GONE), sub("a")], [C, G], "", id="in any order"),
        pytest.param("abc", [sub("a"), sub("c", 5)], [V, M, V], "", id="one is missing"),
        pytest.param("ab", [sub("a", "APIG.0308"), sub("x")], [V, M], "foreign", id="one was exchanged"),
        pytest.param("abc", [*map(sub, "abbc", [0, 0, 5, 0])], [V, D, V], "disputed", id="a conflict"),
        pytest.param("ab", [sub("a"), sub("b"), sub("x")], [C, C], "foreign", id="one is too many"),
        pytest.param("ab", [anon(), anon()], [M, M], "nameless", id="nameless"),
        pytest.param("ab", [anon(id="b"), anon(id="a")], [M, M], "nameless", id="renamed"),
        pytest.param("a", [anon(GONE)], [M], "nameless", id="nameless and gone"),
    ],
)
def test_over_a_borrowed_client_only_a_list_that_names_every_id_settles_anything(ids, items, outcome, oddity):
    made = answer(ids, listing(*items), asked=Asked(exclusive=False))
    assert [told(ids, made)[i] for i in ids] == outcome
    assert kinds(made) == oddity


@pytest.mark.parametrize(
    ("code", "before", "status", "cls"),
    [
        ("0", {}, C, None),
        (GONE, {}, G, None),
        ("13000102", {}, U, InvalidRequest),
        ("13000410", {}, U, Forbidden),
        ("13000301", {}, U, ApiError),
        ("5", {"b": "5"}, U, ApiError),
        ("5", {"a": "6"}, U, ApiError),
        ("5", {"a": "5"}, R, ApiError),
        ("0", {"a": "0"}, C, None),
        (GONE, {"a": GONE}, G, None),
    ],
)
def test_after_a_lost_reply_a_refusal_is_no_last_word_unless_it_was_said_before(code, before, status, cls):
    """It may be the consequence of our own success: kept, with its code, and to be asked again last."""
    asked = Asked(attempts=2, ambiguous=True, refused_before=before)
    ((settlement, indices),) = answer("a", listing(sub("a", code)), asked=asked).settled
    assert (settlement.status, settlement.code, list(indices)) == (status, code, [0])
    assert settlement.retryable is settlement.refused is (status is U)
    if cls is None:
        assert settlement.error is None
    else:
        assert type(settlement.error) is cls
        assert (settlement.error.code, settlement.error.attempts) == (code, 2)
        assert settlement.error.ambiguous


def test_of_ids_refused_alike_only_those_that_were_refused_before_are_settled():
    asked = Asked(ambiguous=True, refused_before={"b": "5", "d": "6"})
    made = answer("abcde", listing(*map(sub, "abcde", [5, 5, 5, 5, 0])), asked=asked)
    assert told("abcde", made) == {"a": U, "b": R, "c": U, "d": U, "e": C}
    assert [indices for _, indices in made.settled] == [[1], [0, 2, 3], [4]]
    asked = Asked(refused_before={"a": "5"})  # no reply was lost: it says nothing
    assert told("ab", answer("ab", listing(sub("a", 5), sub("b", 5)), asked=asked)) == {"a": R, "b": R}


def test_an_oddity_has_a_kind_and_a_text_with_its_numbers():
    made = answer("ab", listing(sub("x"), sub("a"), sub("y"), anon(), sub("a", 5)))
    assert list(made.oddities) == [
        ("foreign", "2 answers for ids that were not asked for"),
        ("unnamed", "1 answers without an id among others with one: not matched"),
        ("disputed", "two answers that differ for each of 1 ids: asked again"),
    ]
    assert [text for _, text in answer("ab", listing(anon())).oddities] == [
        "1 answers without ids for 2 ids: none can be matched"
    ]


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
    made = answer("a", listing(item), asked=Asked(secrets=("h1dden",)))
    ((settlement, _),) = made.settled
    outcome = settlement.of("a")
    for shown in (outcome.code, outcome.message, repr(outcome), str(settlement.error)):
        assert "s3cr3t" not in shown
        assert "h1dden" not in shown
        assert len(shown) < 2_000
        assert shown.isprintable()


WORDS = re.compile(r"[\w-]+")


def mentioned(item, ids, depth=4) -> set[str]:
    """The ids that stand somewhere in an item, the names of its fields left out."""
    if isinstance(item, str) or type(item) is int:
        return {word for word in (str(item), *WORDS.findall(str(item))) if word in ids}
    parts = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return {word for part in parts for word in mentioned(part, ids, depth - 1)} if depth else set()


def items_of(ids, index, listed) -> list[Any]:
    """The rule once more, over the raw list: what is about this very id, or stands at its very place."""
    if not isinstance(listed, list):
        return []
    if any(not isinstance(item, dict) or item.get("shareId") is not None for item in listed):
        objects = [item for item in listed if isinstance(item, dict)]
        name = ids[index]
        return [
            item
            for item in objects
            if type(i := item.get("shareId")) in (int, str) and str(i).strip() == name
        ]
    names = [mentioned(item, ids) for item in listed]
    if any(names):
        alone = all(len(each) == 1 for each in names)
        return [item for item, each in zip(listed, names, strict=True) if alone and ids[index] in each]
    return [listed[index]] if len(listed) == len(ids) else []


def code_of(item) -> str:
    code = item.get("code")
    text = str(code).strip() if type(code) in (int, str) else ""
    return "0" if text == "00" else text


_nameless = st.fixed_dictionaries(
    {"code": st.sampled_from([0, "0", 5, GONE, "APIG.0308", None])},
    optional={
        "id": st.sampled_from([*"abcd", 7, "x"]),
        "msg": st.sampled_from(["", "a", "b", "a and b", "no"]),
    },
)
nameless_replies = st.builds(lambda items: listing(*items), st.lists(_nameless, max_size=5))

all_asked = st.builds(
    Asked,
    ambiguous=st.booleans(),
    exclusive=st.booleans(),
    refused_before=st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["5", "13000102"])),
)


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "7"]), min_size=1, unique=True),
    wild_replies | nameless_replies,
    all_asked,
)
@example(["a", "b"], listing(anon(), anon()), ASKED)
@example(["a", "b"], listing(anon(), None, anon()), ASKED)
@example(["a"], listing(sub({})), ASKED)
@example(["a", "7"], listing(sub(7), sub("a"), sub("a", 5)), ASKED)
@example(["a", "b"], listing(anon(id="b"), anon(5, id="a")), ASKED)
@example(["a", "b"], listing(sub("a", 5), sub("b", "5")), Asked(ambiguous=True, refused_before={"a": "5"}))
def test_whatever_the_reply_each_id_has_one_outcome_and_none_is_settled_without_an_answer(ids, body, asked):
    made = answer(ids, body, asked=asked)
    if isinstance(made, Meaning):
        return
    groups = [indices for _, indices in (*made.settled, *made.again)]
    rest = (made.missing, made.disputed, made.unproven)
    assert sorted(i for indices in (*groups, *rest) for i in indices) == list(range(len(ids)))
    listed = body.get("subResponseList")
    for settlement, indices in (*made.settled, *made.again):
        assert settlement.code not in ("", None)
        assert (settlement.error is None) is settlement.well
        for index in indices:
            answers = items_of(ids, index, listed)
            assert answers
            assert len({code_of(item) for item in answers}) == 1
            if settlement.status is C:
                assert code_of(answers[0]) == "0"
            assert asked.exclusive or all(item.get("shareId") is not None for item in answers)
            if settlement.status is R and asked.ambiguous:
                assert settlement.code == asked.refused_before[ids[index]]
            else:
                assert settlement.status in (C, G, U if asked.ambiguous else R)
    assert all(settlement.status is (U if asked.ambiguous else R) for settlement, _ in made.again)
    if not asked.exclusive:
        assert not any(rest) or not groups
    else:
        assert not made.unproven


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
