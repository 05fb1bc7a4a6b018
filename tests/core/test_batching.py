from __future__ import annotations

from enum import Enum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.batching import (
    BATCH_SIZE,
    MAX_ID_LENGTH,
    Batch,
    check_share_id,
    check_text,
    refuse_single,
)
from koodrive_async.core.errors import InvalidShareId, UsageError
from koodrive_async.shell.supply import ListSupply


@pytest.mark.parametrize(
    "share_id",
    ["1689759841444195840", "123e4567-e89b-12d3-a456-426614174000", "a", "é", "x" * MAX_ID_LENGTH, "a/b?c"],
)
def test_what_may_be_an_id_passes_as_it_is(share_id):
    assert check_share_id(share_id) == share_id


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1689759841444195840, "must be a str, not int"),
        (None, "not NoneType"),
        (True, "not bool"),
        (b"1", "not bytes"),
        (1.5, "not float"),
        ("", "is empty"),
        (" 1", "contains blanks"),
        ("1 ", "contains blanks"),
        ("1 2", "contains blanks"),
        ("1\r\n", "don't print"),
        ("1\x00", "don't print"),
        ("\ud800", "don't print"),
        ("\u00a0", "don't print"),
        ("\u200b7", "don't print"),
        pytest.param("x" * (MAX_ID_LENGTH + 1), "has 257 characters, more than 256", id="long"),
        pytest.param("-" * 1_000_000, "has 1000000 characters", id="huge"),
    ],
)
def test_what_can_be_no_id_is_refused_with_its_place_and_reason(value, reason):
    with pytest.raises(InvalidShareId, match=reason) as caught:
        check_share_id(value, 7)
    assert caught.value.position == 7
    assert "at position 7" in str(caught.value)
    assert len(str(caught.value)) < 200
    str(caught.value).encode()


def test_a_place_that_is_not_known_is_not_named():
    with pytest.raises(InvalidShareId, match=r"^a share id is empty$") as caught:
        check_share_id("")
    assert caught.value.position is None


class Shares(StrEnum):
    ONE = "1-1"


class OldShares(str, Enum):  # noqa: UP042 - the spelling whose str() is another text
    ONE = "1-1"


@pytest.mark.parametrize("share_id", [Shares.ONE, OldShares.ONE])
def test_a_kind_of_str_is_taken_for_the_text_that_it_is(share_id):
    checked = check_share_id(share_id)
    assert checked == "1-1"
    assert type(checked) is str


@given(st.text() | st.integers() | st.binary() | st.none())
def test_a_value_is_an_id_unchanged_or_a_typed_error(value):
    try:
        assert check_share_id(value) == value
    except InvalidShareId as error:
        assert not (isinstance(value, str) and value.isalnum() and len(value) <= MAX_ID_LENGTH)
        str(error).encode()


@pytest.mark.parametrize("value", ["1", b"1", bytearray(b"1"), memoryview(b"1"), None, 7])
def test_one_thing_is_no_collection(value):
    with pytest.raises(InvalidShareId, match=f"not (one )?{type(value).__name__}"):
        refuse_single(value)


@pytest.mark.parametrize("value", [[], (), {"a"}, {"a": 1}, iter("ab"), (i for i in "ab")])
def test_collections_pass(value):
    refuse_single(value)


def test_an_asynchronous_collection_passes():
    async def ids():
        yield "1"

    refuse_single(ids())


@pytest.mark.parametrize("value", [None, 7, b"x", "", "  ", "a\nb", "\ud800"])
def test_a_text_argument_must_be_one(value):
    with pytest.raises(UsageError, match=r"^short_url must be"):
        check_text("short_url", value)
    assert check_text("short_url", "18 08") == "18 08"


# -- a list is cut into batches -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "sizes"),
    [(0, []), (1, [1]), (100, [100]), (101, [100, 1]), (200, [100, 100]), (1234, [100] * 12 + [34])],
)
def test_the_fewest_batches_are_cut(number, sizes):
    supply = ListSupply([str(n) for n in range(number)])
    assert [len(batch.ids) for batch in supply.drop()] == sizes
    assert supply.exhausted
    assert supply.take() is supply.sample(0.5) is None


@pytest.mark.parametrize("complete", [True, False])
def test_a_list_knows_how_many_there_are_and_whether_those_are_all(complete):
    supply = ListSupply(["a", "b"], complete=complete)
    assert (supply.total, supply.complete, supply.exhausted) == (2, complete, False)
    assert (supply.failure, supply.patience()) == (None, None)


@pytest.mark.parametrize(
    ("where", "sampled", "left"),
    [
        ([0.0], [0], [99, 100, 50]),
        ([0.5], [125], [100, 99, 50]),
        ([0.999], [249], [100, 100, 49]),
        ([0.5, 0.5, 0.5], [125, 126, 127], [100, 97, 50]),
        ([0.999, 0.999], [249, 0], [99, 100, 49]),  # round the end
        ([n / 50 for n in range(50)] * 2, [*range(0, 250, 5), *range(1, 250, 5)], [60, 60, 30]),
        ([0.4] * 100, [*range(100, 200)], [100, 50]),  # a batch of nothing is none
        ([0.0] * 250, [*range(250)], []),
        ([0.7] * 250, [*range(175, 250), *range(175)], []),
    ],
)
def test_a_sample_is_missing_from_the_batch_it_would_have_been_in(where, sampled, left):
    supply = ListSupply([str(n) for n in range(250)])
    assert [supply.sample(place).places for place in where] == [[place] for place in sampled]
    assert [len(batch.ids) for batch in supply.drop()] == left
    assert supply.sample(0.0) is None


@given(st.integers(0, 350), st.lists(st.none() | st.floats(0, 1, exclude_max=True), max_size=60))
def test_each_id_is_given_once_in_order_and_at_its_place(number, steps):
    """Whatever is taken in between (None: a batch, else: a sample from there)."""
    ids = [str(n) for n in range(number)]
    supply, taken, samples = ListSupply(ids), [], []
    for step in steps:
        if step is None:
            taken.append(supply.take())
        else:
            samples.append(supply.sample(step))
    taken = [batch for batch in taken if batch is not None]
    taken += supply.drop()
    samples = [sample for sample in samples if sample is not None]
    assert all(len(sample.ids) == 1 for sample in samples)
    assert all(1 <= len(batch.ids) <= BATCH_SIZE for batch in taken)
    found = [*zip(*([i for b in taken for i in getattr(b, what)] for what in ("ids", "places")), strict=True)]
    assert found == sorted(found, key=lambda pair: pair[1])
    found += [(*sample.ids, *sample.places) for sample in samples]
    assert sorted(found, key=lambda pair: pair[1]) == [(share_id, n) for n, share_id in enumerate(ids)]
    assert supply.sample(0.0) is supply.take() is None


@given(st.integers(2, BATCH_SIZE))
def test_halving_ends_with_every_id_alone_after_the_fewest_cuts(number):
    todo, alone, cuts = [Batch([str(n) for n in range(number)], range(number))], [], 0
    while todo:
        piece = todo.pop()
        if len(piece.ids) == 1:
            alone.append((piece.ids[0], piece.places[0]))
            continue
        left, right = piece.halves()
        assert 0 <= len(left.ids) - len(right.ids) <= 1
        todo += [right, left]
        cuts += 1
    assert alone == [(str(n), n) for n in range(number)]
    assert cuts == number - 1


def test_part_of_a_batch_keeps_the_places_and_prints_no_ids():
    batch = Batch(["a", "b", "c"], [10, 11, 12]).only([2, 0])
    assert (batch.ids, batch.places) == (["c", "a"], [12, 10])
    assert repr(batch) == "Batch(ids=<2>)"
