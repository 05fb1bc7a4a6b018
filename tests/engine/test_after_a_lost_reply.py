"""After a lost reply, a refusal may be the consequence of our own success: ambiguity sticks to each id."""

import json

import pytest

from koodrive_async import (
    ApiError,
    Forbidden,
    InvalidRequest,
    Journal,
    RetryPolicy,
    Status,
)
from tests.client.wire import dated, some_ids
from tests.engine.kit import statuses
from tests.engine.transports import BOTH, over
from tests.support.rawserver import RawServer
from tests.support.threaded import End

pytestmark = pytest.mark.usefixtures("leaks")

#: Codes that the service may have for "not active any more"; none is documented.
REFUSALS = ["13000410", "13000777", "13000302", "SHARE.0001"]


class Service:
    """Cancels what it is asked to; the first reply is lost, and then it refuses what it has cancelled."""

    def __init__(self, code, *, whole=False, lost=1, status=200):
        self.code, self.whole, self.lost, self.status = code, whole, lost, status
        self.executed = set()
        self.requests = []

    def __call__(self, request):
        ids = json.loads(request.body)["shareIds"]
        self.requests.append(ids)
        before = set(self.executed)
        self.executed.update(ids)
        if len(self.requests) <= self.lost:
            return End.RST
        if self.whole and before & set(ids):
            return dated({"code": self.code, "msg": "not active"}, self.status)
        codes = [self.code if i in before else 0 for i in ids]
        items = [{"shareId": i, "code": c, "msg": "not active"} for i, c in zip(ids, codes, strict=True)]
        return dated({"code": 0, "msg": "ok", "subResponseList": items})


@BOTH
@pytest.mark.parametrize("code", REFUSALS)
async def test_an_id_refused_in_a_list_is_unknown(connect, transport, code):
    ids = some_ids(150)
    service = Service(code)
    with RawServer(service) as server:
        async with over(transport, connect, server.url) as client:
            report = await client.cancel(ids)
    assert statuses(report) == {"cancelled": 50, "unknown": 100}
    for outcome in report.unknown:
        assert isinstance(outcome.error, ApiError)
        assert (outcome.code, outcome.error.code) == (code, code)
        assert outcome.error.ambiguous
        assert not outcome.ok
    assert list(report.retryable_ids) == ids[:100]


@pytest.mark.parametrize("status", [400, 200])
async def test_so_is_an_id_whose_request_is_refused_as_a_whole(connect, status):
    service = Service("13000102", whole=True, status=status)
    with RawServer(service) as server:
        async with connect(server.url) as client:
            report = await client.cancel(["77"])
    assert statuses(report) == {"unknown": 1}
    assert isinstance(report.outcomes[0].error, InvalidRequest)
    assert report.outcomes[0].code == "13000102"
    assert list(report.retryable_ids) == ["77"]


async def test_what_was_asked_once_and_refused_stays_rejected(connect):
    """Only what was under way when a reply was lost is in doubt."""
    service = Service("13000410", lost=0)
    service.executed.update(["1", "2"])
    with RawServer(service) as server:
        async with connect(server.url) as client:
            report = await client.cancel(["1", "2", "3"])
    assert statuses(report) == {"cancelled": 1, "rejected": 2}
    assert {type(outcome.error) for outcome in report.rejected} == {Forbidden}
    assert not report.retryable_ids


async def test_a_gone_code_after_a_lost_reply_is_gone(connect):
    service = Service("13000309")
    with RawServer(service) as server:
        async with connect(server.url) as client:
            report = await client.cancel(some_ids(100))
    assert statuses(report) == {"already_gone": 100}


async def test_the_refused_ones_are_asked_again_last(connect):
    """Should they be refused again, what can go has gone."""

    def service(request):
        ids = json.loads(request.body)["shareIds"]
        if len(server.requests) == 1:
            return End.RST
        if "3" in ids:
            return dated(
                {
                    "code": 0,
                    "msg": "ok",
                    "subResponseList": [
                        {"shareId": i, "code": "13000410", "msg": "no"} for i in ids if int(i) < 50
                    ],
                }
            )
        return End.RST

    with RawServer(service) as server:
        async with connect(server.url, retry=RetryPolicy(attempts=2, base=0.001, cap=0.002)) as client:
            report = await client.cancel([str(n) for n in range(100)])
    assert statuses(report) == {"unknown": 100}
    again = list(report.retryable_ids)
    assert set(again[:50]) == {str(n) for n in range(50, 100)}
    assert set(again[50:]) == {str(n) for n in range(50)}


@pytest.mark.parametrize("whole", [False, True], ids=["in a list", "as a whole"])
@pytest.mark.parametrize("settle", [False, True])
async def test_a_journal_settles_a_repeated_refusal_where_a_setting_says_so(connect, tmp_path, settle, whole):
    ids = ["1"] if whole else some_ids(20)
    journal = Journal(tmp_path / "j", settle_repeated_refusals=settle)
    service = Service("13000102" if whole else "13000410", whole=whole)
    with RawServer(service) as server:
        runs = []
        for _ in range(3):
            async with connect(server.url) as client:
                runs.append(await client.cancel(ids, journal=journal))
        asked = len(service.requests)
    first, second, third = map(statuses, runs)
    assert first == {"unknown": len(ids)}
    assert second == third == {"rejected" if settle else "unknown": len(ids)}
    assert asked == (3 if settle else 4)  # the lost one, and one a run until it is settled
    assert bool(runs[1].retryable_ids) is not settle
    assert {outcome.error.code for outcome in runs[1].outcomes} == {service.code}


async def test_another_refusal_is_no_repetition(connect, tmp_path):
    journal = Journal(tmp_path / "j", settle_repeated_refusals=True)
    service = Service("13000410")
    with RawServer(service) as server:
        async with connect(server.url) as client:
            await client.cancel(["1"], journal=journal)
            service.code = "13000777"
            second = await client.cancel(["1"], journal=journal)
            third = await client.cancel(["1"], journal=journal)
    assert statuses(second) == {"unknown": 1}
    assert statuses(third) == {"rejected": 1}


async def test_refused_for_now_to_the_end_is_unknown_too(connect):
    """A code that is worth asking again (a setting), after a lost reply."""
    service = Service("13000777")
    with RawServer(service) as server:
        async with connect(server.url, item_retry_codes={"13000777"}) as client:
            report = await client.cancel(some_ids(5))
    assert statuses(report) == {"unknown": 5}
    assert {outcome.error.code for outcome in report.outcomes} == {"13000777"}
    assert len(service.requests) == 2 + 3


@pytest.mark.parametrize("status", [500, 503, 504, 408])
async def test_an_answer_that_failed_is_as_good_as_lost(connect, status):
    """The service may have acted behind a 5xx."""

    class Failing(Service):
        def __call__(self, request):
            answer = super().__call__(request)
            return dated({"code": "13000500", "msg": "oops"}, status) if answer is End.RST else answer

    service = Failing("13000410")
    with RawServer(service) as server:
        async with connect(server.url) as client:
            report = await client.cancel(some_ids(10))
    assert statuses(report) == {"unknown": 10}
    assert {outcome.status for outcome in report.outcomes} == {Status.UNKNOWN}


async def test_the_refusal_of_a_whole_batch_is_not_that_of_each_id(connect, tmp_path):
    """The first run ends while it still looks for the bad one: of the others nothing was ever said."""
    ids = some_ids(8)
    journal = Journal(tmp_path / "j", settle_repeated_refusals=True)
    service = Service("13000102", whole=True, status=400)

    def hurried(request):
        return service(request) if len(service.requests) < 2 else End.RST

    retry = RetryPolicy(attempts=1, base=0.001, cap=0.002)
    with RawServer(hurried) as server:
        async with connect(server.url, retry=retry) as client:
            first = await client.cancel(ids, journal=journal)
            server.handler = service
            second = await client.cancel(ids, journal=journal)
    assert statuses(first) == statuses(second) == {"unknown": 8}
