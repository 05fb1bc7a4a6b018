"""Replies of many shapes: every id still gets its one right outcome."""

import logging

import pytest

from koodrive_async import BadReply, Forbidden, Status
from koodrive_async.testing import Body, Rewrite, content_type, rewrites
from koodrive_async.testing.answers import dump
from tests.client.wire import some_ids

pytestmark = pytest.mark.usefixtures("leaks")

SHAPES = {
    "integer codes": rewrites.integer_codes,
    "string codes": rewrites.string_codes,
    "message for msg": rewrites.message_for_msg,
    "numeric ids": rewrites.numeric_ids,
    "shuffled": rewrites.shuffled,
    "duplicated": rewrites.duplicated,
    "foreign": rewrites.with_foreign,
    "without ids": rewrites.without_ids,
    "unknown fields": rewrites.unknown_fields,
    "all at once": rewrites.chained(
        rewrites.string_codes,
        rewrites.message_for_msg,
        rewrites.duplicated,
        rewrites.with_foreign,
        rewrites.unknown_fields,
        rewrites.numeric_ids,
        rewrites.shuffled,
    ),
}


def always(fault):
    return lambda _seen: fault


@pytest.fixture
def mixed(make_koodrive):
    """An emulator with ids of every kind: live, cancelled before, unknown, somebody else's."""
    emulator = make_koodrive(shares=8, received=2)
    for share_id in emulator.share_ids[:2]:
        emulator.cancel_one(emulator.user_id, share_id)
    return emulator


def expected(emulator):
    return {
        **dict.fromkeys(emulator.share_ids[:2], Status.ALREADY_GONE),
        **dict.fromkeys(emulator.share_ids[2:], Status.CANCELLED),
        "4711": Status.ALREADY_GONE,
        **dict.fromkeys(emulator.received_ids, Status.REJECTED),
    }


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_id_gets_its_one_right_outcome(mixed, connect, shape):
    mixed.inject(always(Rewrite(SHAPES[shape])))
    wanted = expected(mixed)
    async with connect(mixed) as client:
        report = await client.cancel(wanted)
    assert {outcome.share_id: outcome.status for outcome in report.outcomes} == wanted
    assert [outcome.share_id for outcome in report.outcomes] == list(wanted)
    assert mixed.requests == 1
    assert {type(outcome.error) for outcome in report.rejected} == {Forbidden}
    assert {outcome.code for outcome in report.outcomes} == {"0", "13000309", "13000410"}
    for outcome in report.cancelled:
        assert outcome.message == "success"


async def test_ids_that_always_get_two_answers_are_unknown(mixed, connect):
    """Neither counts. The two answers for what is not ours are alike: those do."""
    mixed.inject(always(Rewrite(rewrites.conflicting)))
    wanted = expected(mixed)
    async with connect(mixed) as client:
        report = await client.cancel(wanted)
    assert {outcome.share_id: outcome.status for outcome in report.outcomes} == {
        share_id: Status.REJECTED if status is Status.REJECTED else Status.UNKNOWN
        for share_id, status in wanted.items()
    }
    assert {type(outcome.error) for outcome in report.unknown} == {BadReply}
    assert {outcome.attempts for outcome in report.unknown} == {3}
    assert mixed.requests == report.requests == 1 + 2 * len(report.unknown)  # each of them twice, alone


async def test_what_is_odd_is_said_in_the_log(mixed, connect, caplog):
    mixed.script(Rewrite(rewrites.conflicting), Rewrite(rewrites.with_foreign), Rewrite(rewrites.without_ids))
    with caplog.at_level(logging.WARNING, logger="koodrive_async"):
        async with connect(mixed) as client:
            for share_id in mixed.share_ids[2:5]:
                await client.cancel([share_id])
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert "two answers" in caplog.messages[0]
    assert "not asked for" in caplog.messages[1]
    assert "position" in caplog.messages[2]


async def test_ids_that_a_reply_left_out_are_asked_for_again_alone(make_koodrive, connect):
    emulator = make_koodrive(shares=200)
    ids = emulator.share_ids
    emulator.script(Rewrite(rewrites.losing(3)))
    async with connect(emulator) as client:
        report = await client.cancel(ids)
    assert emulator.requests == 3
    assert list(emulator.log[-1].share_ids) == ids[:3]
    assert {outcome.share_id for outcome in report.already_gone} == set(ids[:3])  # the first request did it
    assert [outcome.attempts for outcome in report.outcomes] == [2] * 3 + [1] * 197
    assert report.counts[Status.CANCELLED] == 197
    assert report


async def test_an_id_that_is_always_left_out_is_unknown(make_koodrive, connect):
    emulator = make_koodrive(shares=100)
    lost = emulator.share_ids[41]
    emulator.inject(always(Rewrite(rewrites.losing_ids(lost))))
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert [outcome.share_id for outcome in report.unknown] == [lost]
    assert report.counts[Status.CANCELLED] == 99
    assert list(report.retryable_ids) == [lost]
    assert 2 <= emulator.requests <= 4
    assert {seen.share_ids for seen in list(emulator.log)[1:]} == {(lost,)}


@pytest.mark.parametrize("shape", [rewrites.null_list, rewrites.no_list, rewrites.list_is_an_object])
async def test_success_without_a_list_is_asked_again(koodrive, connect, shape):
    koodrive.script(Rewrite(shape))
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids)
    assert report.counts[Status.ALREADY_GONE] == 100
    assert koodrive.requests == 2


@pytest.mark.parametrize("shape", [rewrites.null_list, rewrites.no_list, rewrites.list_is_an_object])
async def test_success_that_never_has_a_list_is_no_success(koodrive, connect, shape):
    koodrive.inject(always(Rewrite(shape)))
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids)
    assert report.counts[Status.UNKNOWN] == 100
    assert koodrive.requests <= 4


@pytest.mark.parametrize("count", [99, 101])
async def test_nameless_answers_of_another_number_are_not_matched(koodrive, connect, count):
    def change(reply):
        items = [{"code": 0, "msg": "success"}] * count
        return {**reply, "subResponseList": items}

    koodrive.script(Rewrite(change))
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids)
    assert report.counts[Status.ALREADY_GONE] == 100
    assert koodrive.requests == 2


@pytest.mark.parametrize("code", [True, False, None, 0.0, "", "0x0", [], {}], ids=repr)
async def test_what_is_no_code_is_no_success(koodrive, connect, code):
    lost = koodrive.share_ids[0]
    koodrive.inject(always(Rewrite(rewrites.item_code(code, lost))))
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids)
    assert report.counts[Status.CANCELLED] == 99
    assert report.outcomes[0].status in (Status.UNKNOWN, Status.REJECTED)
    assert not report


async def test_items_that_are_no_objects_harm_nobody(koodrive, connect):
    koodrive.script(
        Rewrite(lambda reply: {**reply, "subResponseList": [None, 5, "x", [], *reply["subResponseList"]]})
    )
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids)
    assert report.counts[Status.CANCELLED] == 100


async def test_a_wrong_content_type_is_accepted(koodrive, connect):
    koodrive.script(content_type("text/html; charset=gbk"))
    async with connect(koodrive) as client:
        assert await client.cancel(koodrive.share_ids)
    assert koodrive.requests == 1


async def test_a_byte_order_mark_is_accepted(koodrive, connect):
    items = [{"shareId": share_id, "code": 0} for share_id in koodrive.share_ids]
    body = dump({"code": "0", "msg": "", "subResponseList": items})
    koodrive.script(Body(b"\xef\xbb\xbf" + body))
    async with connect(koodrive) as client:
        assert await client.cancel(koodrive.share_ids)
    assert koodrive.requests == 1


async def test_numbers_beyond_double_precision_stay_exact(make_koodrive, connect):
    ids = [str(2**53 + 1), str(2**63 - 1), "9" * 19, "0"]
    emulator = make_koodrive(shares=ids)
    emulator.script(Rewrite(rewrites.numeric_ids))
    async with connect(emulator) as client:
        report = await client.cancel(ids)
    assert report.counts[Status.CANCELLED] == 4
    assert emulator.requests == 1


async def test_the_codes_for_gone_are_a_setting(koodrive, connect):
    koodrive.inject(always(Rewrite(rewrites.item_code(999, *koodrive.share_ids[:5]))))
    async with connect(koodrive, gone_codes=["999"]) as client:
        report = await client.cancel([*koodrive.share_ids, "4711"])
    assert report.counts[Status.ALREADY_GONE] == 5
    assert [outcome.code for outcome in report.rejected] == ["13000309"]


async def test_the_codes_to_ask_again_for_are_a_setting(koodrive, connect):
    busy = koodrive.share_ids[:5]
    koodrive.item_codes.update(dict.fromkeys(busy, (999, 0)))
    async with connect(koodrive, item_retry_codes=["999"]) as client:
        report = await client.cancel(koodrive.share_ids)
    assert report.counts[Status.CANCELLED] == 100
    assert [len(seen.share_ids) for seen in koodrive.log] == [100, 5]
    assert report.outcomes[0].attempts == 2


async def test_a_code_that_is_not_declared_is_final(koodrive, connect):
    koodrive.item_codes[koodrive.share_ids[0]] = 999
    async with connect(koodrive) as client:
        report = await client.cancel(koodrive.share_ids)
    assert [outcome.code for outcome in report.rejected] == ["999"]
    assert koodrive.requests == 1


async def test_a_failure_said_with_http_200_is_a_failure_of_the_request(koodrive, connect):
    koodrive.inject(always(Rewrite(rewrites.top_code("13000409", "space is frozen"))))
    ids = some_ids(10)
    async with connect(koodrive) as client:
        report = await client.cancel(ids)
    assert report.counts[Status.REJECTED] == 10
    assert report.outcomes[0].code == "13000409"
    assert "space is frozen" in report.outcomes[0].message
    assert koodrive.requests == 1
