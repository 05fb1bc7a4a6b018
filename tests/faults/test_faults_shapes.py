"""Rows 25-33: JSON, but not the reply that one expects. What it says of an id holds; nothing is guessed."""

import json
import logging

import attrs
import pytest

from koodrive_async import ApiError, BadReply, Forbidden, Status
from koodrive_async.testing import Body, Rewrite, rewrites
from koodrive_async.testing.answers import dump
from tests.faults.line import statuses

pytestmark = pytest.mark.usefixtures("leaks")


@attrs.define
class Case:
    """One call whose first reply was rewritten, or all of them."""

    report: object
    requests: int
    warnings: list[str]


@attrs.frozen
class Failing(Rewrite):
    """A reply rewritten, with another HTTP status too."""

    status: int = 500

    async def play(self, exchange):
        answer = exchange.act()
        changed = dump(self.change(json.loads(answer.body)))
        await exchange.reply(attrs.evolve(answer, status=self.status, body=changed))


@pytest.fixture
def told(line, caplog):
    """Rewrites replies and makes the call; checks what holds whatever they look like."""

    async def tell(change, *, stays=False, ids=None, **options):
        ids = line.passing if ids is None else ids
        fault = change if isinstance(change, Body | Rewrite) else Rewrite(change)
        (line.always if stays else line.once)(fault)
        with caplog.at_level(logging.WARNING, logger="koodrive_async"):
            async with line.client(**options) as client:
                report = await client.cancel(ids)
                requests = line.emulator.requests
                await line.is_well(client)
        assert [outcome.share_id for outcome in report.outcomes] == list(ids)
        assert sum(report.counts.values()) == len(ids)
        assert report.requests == requests
        return Case(report, requests, caplog.messages)

    return tell


# -- 25: a failure said with HTTP 200 -------------------------------------------------------------


@pytest.mark.parametrize("code", [13000409, "13000409"])
async def test_25_http_200_code_not_0_and_no_list(told, code):
    case = await told(rewrites.top_code(code, "space is frozen"), stays=True)
    assert statuses(case.report) == {"rejected": 100}
    assert case.requests == 1
    for outcome in case.report.outcomes:
        assert type(outcome.error) is ApiError
        assert (outcome.error.status, outcome.code, outcome.message) == (200, "13000409", "space is frozen")
        assert not outcome.error.ambiguous
    # Said of the request, not of any of its ids: a later run may ask for them again.
    assert list(case.report.retryable_ids) == [outcome.share_id for outcome in case.report.rejected]


@pytest.mark.parametrize("status", [200, 400])
async def test_25_a_failure_that_lists_nothing_but_successes(told, status):
    """It contradicts itself: asked again, and the second answer counts."""

    def change(reply):
        return {**reply, "code": 13000409, "msg": "partly failed"}

    case = await told(Failing(change, status))
    assert statuses(case.report) == {"already_gone": 100}
    assert {outcome.attempts for outcome in case.report.outcomes} == {2}
    assert case.requests == 2


async def test_25_a_failure_that_always_lists_nothing_but_successes(told):
    def change(reply):
        items = [{**item, "code": 0} for item in reply["subResponseList"]]
        return {"code": 13000409, "msg": "partly failed", "subResponseList": items}

    case = await told(change, stays=True)
    assert statuses(case.report) == {"unknown": 100}
    assert len(case.report.retryable_ids) == 100
    assert {type(outcome.error) for outcome in case.report.outcomes} == {BadReply}
    assert "beside a list of nothing but successes" in str(case.report.outcomes[0].error)


@pytest.mark.parametrize("status", [200, 207, 400])
async def test_25_a_failure_that_lists_ids_is_believed_item_by_item(told, line, status):
    """What the code of the whole is where some of it failed, is not documented."""
    gone = line.passing[7]
    line.emulator.cancel_one(line.emulator.user_id, gone)
    case = await told(Failing(lambda reply: {**reply, "code": 13000409, "msg": "partly"}, status))
    assert statuses(case.report) == {"cancelled": 99, "already_gone": 1}
    assert [outcome.share_id for outcome in case.report.already_gone] == [gone]
    assert case.requests == 1


async def test_25_a_failure_that_lists_some_ids(told, line):
    """The other ids were not answered for, and are asked for again."""
    line.emulator.cancel_one(line.emulator.user_id, line.passing[0])

    def change(reply):
        return {"code": 13000409, "msg": "failed", "subResponseList": reply["subResponseList"][:60]}

    case = await told(change)
    assert statuses(case.report) == {"cancelled": 59, "already_gone": 41}
    assert case.requests == 2
    assert list(line.emulator.log[1].share_ids) == line.passing[60:]


@pytest.mark.parametrize("status", [500, 503])
async def test_25_a_list_in_a_5xx_is_not_believed(told, line, status):
    """It failed, and says that it did not: asked again."""
    case = await told(Failing(rewrites.item_code(13000410, line.passing[5]), status))
    assert statuses(case.report) == {"already_gone": 100}
    assert case.requests == 2


# -- 26, 27: ids without an answer ----------------------------------------------------------------

NO_LIST = {
    "null": rewrites.null_list,
    "missing": rewrites.no_list,
    "an object": rewrites.list_is_an_object,
    "a string": lambda reply: {**reply, "subResponseList": "[]"},
    "empty": lambda reply: {**reply, "subResponseList": []},
    "of strings": lambda reply: {**reply, "subResponseList": ["success"] * 100},
}


@pytest.mark.parametrize("shape", NO_LIST)
async def test_26_no_list(told, shape):
    case = await told(NO_LIST[shape])
    assert statuses(case.report) == {"already_gone": 100}
    assert case.requests == 2


@pytest.mark.parametrize("shape", ["null", "missing", "an object"])
async def test_26_never_a_list(told, shape):
    """The code above says success, of no id in particular: that is no outcome."""
    case = await told(NO_LIST[shape], stays=True)
    assert statuses(case.report) == {"unknown": 100}
    assert case.requests <= 3
    assert len(case.report.retryable_ids) == 100


async def test_27_missing_ids(told, line):
    case = await told(rewrites.losing_ids(*line.passing[10:13]))
    assert statuses(case.report) == {"cancelled": 97, "already_gone": 3}
    assert case.requests == 2
    assert list(line.emulator.log[1].share_ids) == line.passing[10:13]
    assert [outcome.attempts for outcome in case.report.already_gone] == [2, 2, 2]


async def test_27_always_missing_ids(told, line):
    lost = line.passing[10:13]
    case = await told(rewrites.losing_ids(*lost), stays=True)
    assert statuses(case.report) == {"cancelled": 97, "unknown": 3}
    assert list(case.report.retryable_ids) == lost
    assert case.requests <= 3
    assert {seen.share_ids for seen in list(line.emulator.log)[1 : case.requests]} == {tuple(lost)}


# -- 28-31: answers that are too many, foreign, mixed up, nameless --------------------------------


async def test_28_duplicate_ids_that_say_the_same(told):
    case = await told(rewrites.duplicated)
    assert statuses(case.report) == {"cancelled": 100}
    assert case.requests == 1
    assert case.warnings == []


async def test_28_duplicate_ids_that_conflict(told, line):
    """Neither answer counts: more of them than one would ask alone are asked again together."""
    case = await told(rewrites.conflicting)
    assert statuses(case.report) == {"already_gone": 100}
    assert case.requests == 2
    assert list(line.emulator.log[1].share_ids) == line.passing
    assert len(case.warnings) == 1  # mentioned once, not for each id
    assert "two answers that differ for each of 100 ids" in case.warnings[0]


def disputing(*share_ids):
    """Each of these ids is answered for twice: as it was, and then as refused."""

    def change(reply):
        items = reply["subResponseList"]
        more = [{**item, "code": 13000410, "msg": "no"} for item in items if item["shareId"] in share_ids]
        return {**reply, "subResponseList": [*items, *more]}

    return change


async def test_28_few_ids_that_conflict_are_asked_again_alone(told, line):
    odd = line.passing[10:13]
    case = await told(disputing(*odd))
    assert statuses(case.report) == {"cancelled": 97, "already_gone": 3}
    assert [outcome.share_id for outcome in case.report.already_gone] == odd
    assert sorted(seen.share_ids for seen in list(line.emulator.log)[1:4]) == [
        (share_id,) for share_id in odd
    ]
    assert case.requests == 4


async def test_28_ids_that_always_conflict_are_not_known(told, line):
    odd = line.passing[10:13]
    case = await told(disputing(*odd), stays=True)
    assert statuses(case.report) == {"cancelled": 97, "unknown": 3}
    assert list(case.report.retryable_ids) == odd
    assert case.requests <= 1 + 2 * 3
    assert {type(outcome.error) for outcome in case.report.unknown} == {BadReply}


async def test_29_extra_ids(told):
    case = await told(rewrites.with_foreign)
    assert statuses(case.report) == {"cancelled": 100}
    assert case.requests == 1
    (warning,) = case.warnings
    assert "not asked for" in warning
    assert case.report.sub_responses is not None
    assert len(case.report.sub_responses) == 100


async def test_29_only_extra_ids(told, line):
    """As many answers as ids, and not one of them for these: none counts."""

    def change(reply):
        return {**reply, "subResponseList": [{"shareId": str(n), "code": 0} for n in range(100)]}

    case = await told(change, stays=True)
    assert statuses(case.report) == {"unknown": 100}
    assert line.emulator.cancelled_count >= 100


async def test_30_reordered(told, line):
    gone = line.passing[7]
    line.emulator.cancel_one(line.emulator.user_id, gone)
    case = await told(rewrites.shuffled)
    assert statuses(case.report) == {"cancelled": 99, "already_gone": 1}
    assert [outcome.share_id for outcome in case.report.already_gone] == [gone]
    assert case.requests == 1


async def test_31_no_ids_and_as_many_answers(told, line):
    gone = line.passing[7]
    line.emulator.cancel_one(line.emulator.user_id, gone)
    case = await told(rewrites.without_ids)
    assert [outcome.share_id for outcome in case.report.already_gone] == [gone]
    assert case.report.counts[Status.CANCELLED] == 99
    assert case.requests == 1
    (warning,) = case.warnings
    assert "position" in warning


def renamed(items):
    return [{"id": item["shareId"], "code": item["code"], "msg": item["msg"]} for item in items]


def in_a_text(items):
    return [{"code": item["code"], "msg": f"share {item['shareId']}: {item['msg']}"} for item in items]


@pytest.mark.parametrize("elsewhere", [renamed, in_a_text])
async def test_31_ids_in_another_field_count_and_the_place_does_not(told, line, elsewhere):
    gone = line.passing[7]
    line.emulator.cancel_one(line.emulator.user_id, gone)
    case = await told(lambda reply: {**reply, "subResponseList": elsewhere(reply["subResponseList"])[::-1]})
    assert [outcome.share_id for outcome in case.report.already_gone] == [gone]
    assert statuses(case.report) == {"cancelled": 99, "already_gone": 1}
    assert case.requests == 1
    (warning,) = case.warnings
    assert "matched by an id in another field" in warning


async def test_31_ids_in_some_other_fields_count_for_nothing(told, line):
    """One item names its id by another name: who knows what the places of the others mean."""

    def change(reply):
        items = reply["subResponseList"][::-1]
        return {**reply, "subResponseList": [*renamed(items[:1]), *({"code": 0} for _ in items[1:])]}

    case = await told(change)
    assert statuses(case.report) == {"already_gone": 100}
    assert case.requests == 2
    assert "not matched" in case.warnings[0]


@pytest.mark.parametrize("count", [1, 99, 101])
async def test_31_no_ids_and_another_number_of_answers(told, count):
    def change(reply):
        return {**reply, "subResponseList": [{"code": 0, "msg": "success"}] * count}

    case = await told(change)
    assert statuses(case.report) == {"already_gone": 100}
    assert case.requests == 2
    assert "none can be matched" in case.warnings[0]


# -- 32, 33: numbers ------------------------------------------------------------------------------


async def test_32_share_id_as_a_number_beyond_2_to_the_53(told, line):
    """Neighbours that a float can't tell apart."""
    near = [str(int(line.passing[0]) + offset) for offset in (1, 2, 3)]
    case = await told(rewrites.numeric_ids, ids=[line.passing[0], *near])
    assert [str(outcome.status) for outcome in case.report.outcomes] == ["cancelled", *["already_gone"] * 3]
    assert case.requests == 1


async def test_32_share_id_as_a_float_is_nobodys(told, line):
    """1.6897598414441958e18 is many ids: it answers for none."""

    def change(reply):
        items = [{**item, "shareId": float(item["shareId"])} for item in reply["subResponseList"]]
        return {**reply, "subResponseList": items}

    case = await told(change)
    assert statuses(case.report) == {"already_gone": 100}
    assert case.requests == 2


ZEROS = {"0": 0, '"0"': "0", '"00"': "00", '" 0 "': " 0 "}
NO_CODES = ["0.0", "null", "false", '""', "[0]"]


@pytest.mark.parametrize("zero", ZEROS)
async def test_33_codes_that_are_success(told, zero):
    case = await told(rewrites.item_code(ZEROS[zero]))
    assert statuses(case.report) == {"cancelled": 100}
    assert case.requests == 1


@pytest.mark.parametrize("code", NO_CODES)
async def test_33_codes_that_are_none(told, line, code):
    """No number that one could take for success, so no success: asked again, and in the end not known."""
    odd = line.passing[5]
    items = [
        {"shareId": share_id, "code": 0, "msg": "success"} for share_id in line.passing if share_id != odd
    ]
    listed = f'{json.dumps(items)[:-1]}, {{"shareId": "{odd}", "code": {code}, "msg": "success"}}]'
    case = await told(Body(f'{{"code": 0, "msg": "", "subResponseList": {listed}}}'.encode()), stays=True)
    assert case.report.counts[Status.CANCELLED] == 99
    assert case.report.outcomes[5].status in (Status.UNKNOWN, Status.REJECTED)
    assert not case.report


@pytest.mark.parametrize("code", NO_CODES)
async def test_33_top_codes_that_are_none(told, code):
    """Without a list there is nothing else to go by."""
    case = await told(Body(f'{{"code": {code}, "msg": "success"}}'.encode()))
    assert statuses(case.report) in ({"already_gone": 100}, {"rejected": 100})


@pytest.mark.parametrize("code", [13000410, "13000410"])
async def test_33_codes_of_failures_as_number_or_text(told, line, code):
    case = await told(rewrites.item_code(code, line.passing[5]))
    (rejected,) = case.report.rejected
    assert (rejected.share_id, rejected.code) == (line.passing[5], "13000410")
    assert type(rejected.error) is Forbidden
