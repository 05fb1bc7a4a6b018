"""Rows 25-33: JSON, but not the reply that one expects. What it says of an id holds; nothing is guessed."""

import json
import logging

import attrs
import pytest

from koodrive_async import ApiError, Forbidden, Status
from koodrive_async.testing import Body, Rewrite, rewrites
from tests.faults.line import statuses

pytestmark = pytest.mark.usefixtures("leaks")


@attrs.define
class Case:
    """One call whose first reply was rewritten, or all of them."""

    report: object
    requests: int
    warnings: list[str]


@pytest.fixture
def told(line, caplog):
    """Rewrites replies and makes the call; checks what holds whatever they look like."""

    async def tell(change, *, stays=False, ids=None, **options):
        ids = line.passing if ids is None else ids
        fault = change if isinstance(change, Body) else Rewrite(change)
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


async def test_25_http_200_code_not_0_but_ids_are_listed(told):
    """The list says it better than the code above it."""
    case = await told(lambda reply: {**reply, "code": 13000409, "msg": "partly failed"})
    assert statuses(case.report) == {"cancelled": 100}
    assert case.requests == 1


async def test_25_http_200_code_not_0_and_some_ids_are_listed(told, line):
    """The other ids were not answered for, and are asked for again."""

    def change(reply):
        return {"code": 13000409, "msg": "failed", "subResponseList": reply["subResponseList"][:60]}

    case = await told(change)
    assert statuses(case.report) == {"cancelled": 60, "already_gone": 40}
    assert case.requests == 2
    assert list(line.emulator.log[1].share_ids) == line.passing[60:]


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


async def test_28_duplicate_ids_that_conflict(told):
    """The first answer counts."""
    case = await told(rewrites.conflicting)
    assert statuses(case.report) == {"cancelled": 100}
    assert case.requests == 1
    assert len(case.warnings) == 1  # mentioned once, not for each id
    assert "two answers for one id" in case.warnings[0]


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
