"""Batches refused as invalid: the culprits are found, or the refusal is recognised as everybody's."""

import pytest

from koodrive_async import Ended, InvalidRequest, NotFound, Pace, Status
from koodrive_async.core.suspicion import CROSS_CHECK, HOPELESS, SAMPLES
from koodrive_async.testing import Chaos, lost_reply, refused, throttled, unavailable
from tests.engine.kit import always, asked, honest, statuses

pytestmark = pytest.mark.usefixtures("leaks")


@pytest.mark.parametrize("http", [400, 200], ids=["HTTP 400", "HTTP 200"])
@pytest.mark.parametrize("concurrency", [1, 16])
async def test_four_among_a_thousand(make_koodrive, connect, concurrency, http):
    emulator = make_koodrive(shares=1_000)
    emulator.poison_status = http
    ids = emulator.share_ids
    culprits = {ids[7], ids[450], ids[451], ids[999]}
    emulator.poison.update(culprits)
    async with connect(emulator, pace=Pace(concurrency=concurrency)) as client:
        report = await client.cancel(ids)
    assert statuses(report) == {"cancelled": 996, "rejected": 4}
    assert {outcome.share_id for outcome in report.rejected} == culprits
    assert emulator.requests == report.requests < 80
    assert emulator.cancelled_count == 996
    for outcome in report.rejected:
        assert isinstance(outcome.error, InvalidRequest)
        assert outcome.code == "13000102"
    assert not report.retryable_ids


async def test_in_a_stream_too(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000)
    culprits = set(emulator.share_ids[::250])
    emulator.poison.update(culprits)
    async with connect(emulator) as client, client.open_cancel(emulator.share_ids) as stream:
        outcomes = [outcome async for outcome in stream]
    honest(outcomes, emulator.share_ids, emulator)
    assert statuses(stream.report) == {"cancelled": 996, "rejected": 4}
    assert {outcome.share_id for outcome in outcomes if outcome.status is Status.REJECTED} == culprits
    assert emulator.requests < 80


@pytest.mark.parametrize("place", [0, 99, 250, 4_999])
async def test_one_bad_id_wherever_it_is(make_koodrive, connect, place):
    emulator = make_koodrive(shares=5_000)
    emulator.poison.add(emulator.share_ids[place])
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert [outcome.share_id for outcome in report.rejected] == [emulator.share_ids[place]]
    assert emulator.requests <= 50 + 14


async def test_a_batch_that_is_bad_from_end_to_end_spoils_no_other(make_koodrive, connect):
    emulator = make_koodrive(shares=3_000)
    bad = emulator.share_ids[1_200:1_300]
    emulator.poison.update(bad)
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 2_900, "rejected": 100}
    assert [outcome.share_id for outcome in report.rejected] == bad


@pytest.mark.parametrize("code", ["13000102", "APIG.0201"])
@pytest.mark.parametrize("concurrency", [1, 16, 64])
@pytest.mark.parametrize("proven", [False, True], ids=["at once", "after a success"])
async def test_a_refusal_that_hits_everything(make_koodrive, connect, proven, concurrency, code):
    emulator = make_koodrive(shares=20_100, latency=0.002)
    ids, first = emulator.share_ids[:20_000], emulator.share_ids[20_000:]
    async with connect(emulator, pace=Pace(concurrency=concurrency, adaptive=False)) as client:
        if proven:
            assert await client.cancel(first)
        before = emulator.requests
        emulator.inject(always(refused(code)))
        with pytest.raises(InvalidRequest) as caught:
            await client.cancel(ids)
    report = caught.value.report
    # That many were under way before the first refusal came back; then single ids, one by one.
    under_way = concurrency if proven else 1
    assert HOPELESS <= emulator.requests - before == report.requests <= max(CROSS_CHECK, under_way) + SAMPLES
    assert "20 single ids from all over the input among them" in str(caught.value)
    singles = [seen.share_ids[0] for seen in list(emulator.log)[-SAMPLES:] if len(seen.share_ids) == 1]
    assert len(set(singles)) == SAMPLES
    assert {*range(1, 10)} <= {ids.index(share_id) // 2_000 for share_id in singles} <= {*range(10)}
    assert (report.complete, report.ended) == (True, Ended.FAILED)
    assert len(report.outcomes) == 20_000
    honest(report.outcomes, [*ids], emulator)
    assert report.counts[Status.NOT_SENT] > 10_000
    assert report.counts[Status.CANCELLED] == report.counts[Status.UNKNOWN] == 0
    assert len(report.retryable_ids) == sum(map(len, (report.rejected, report.not_sent)))


async def test_it_begins_in_mid_run(make_koodrive, connect):
    """A refusal of everything that begins when much was done already: recognised likewise."""
    emulator = make_koodrive(shares=20_000)
    emulator.inject(lambda seen: refused("13000102") if seen.number > 30 else None)
    async with connect(emulator, pace=Pace(concurrency=4)) as client:
        with pytest.raises(InvalidRequest) as caught:
            await client.cancel(emulator.share_ids)
    # Up to three were refused before the last good reply came in, and three more were under way after it.
    assert 30 + HOPELESS <= emulator.requests <= 30 + HOPELESS + 2 * 3
    report = caught.value.report
    assert report.counts[Status.UNKNOWN] == 0
    assert report.counts[Status.CANCELLED] == emulator.cancelled_count == 3_000
    honest(report.outcomes, emulator.share_ids, emulator)


async def test_a_batch_refused_as_gone_is_halved_to_the_ids_that_are(make_koodrive, connect):
    """13000309 for a whole batch says that one of its ids is gone: the others must not suffer."""
    emulator = make_koodrive(shares=1_000)
    gone = set(emulator.share_ids[100:103])

    def rule(seen):
        return refused("13000309") if gone & set(seen.share_ids) else None

    emulator.inject(rule)
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"cancelled": 997, "already_gone": 3}
    assert {outcome.share_id for outcome in report.already_gone} == gone
    assert report
    assert emulator.requests < 50


@pytest.mark.parametrize("http", [400, 404, 200])
@pytest.mark.parametrize(
    ("total", "requests"), [(20_000, 30), (300, 30), (100, 30), (30, 30), (20, 27), (2, 5)]
)
async def test_every_request_refused_as_gone(make_koodrive, connect, total, requests, http):
    """A wrong user id, or a wrong endpoint: nothing was accepted, so nothing is taken for gone."""
    emulator = make_koodrive(shares=total)
    emulator.inject(always(refused("13000309", status=http)))
    async with connect(emulator) as client:
        with pytest.raises(NotFound) as caught:
            await client.cancel(emulator.share_ids)
    assert "either all of it is gone already, or the user id or the endpoint is wrong" in str(caught.value)
    report = caught.value.report
    assert (report.complete, report.ended) == (True, Ended.FAILED)
    honest(report.outcomes, emulator.share_ids, emulator)
    # The first batch was halved until one id was alone; then single ids from all over.
    sent = min(total, 100 + SAMPLES)
    assert report.counts[Status.REJECTED] == len(asked(emulator)) == sent
    assert report.counts[Status.NOT_SENT] == total - sent
    assert set(report.retryable_ids) == set(emulator.share_ids)
    assert {type(outcome.error) for outcome in report.outcomes} == {NotFound}
    assert emulator.requests == report.requests == requests


@pytest.mark.parametrize("http", [400, 404, 200])
async def test_a_single_id_refused_as_gone_is_asked_twice(make_koodrive, connect, http):
    """The reply names no id, so it may be that of another request: told twice, over two connections."""
    emulator = make_koodrive(shares=101)
    emulator.inject(always(refused("13000309", status=http)))
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids[:1])
        assert statuses(report) == {"already_gone": 1}
        assert emulator.connections_opened == 2
        assert (
            {outcome.attempts for outcome in report.outcomes}
            == {report.requests}
            == {emulator.requests}
            == {2}
        )
        # Told once only, it was not gone.
        emulator.behave()
        emulator.script(refused("13000309", status=http))
        report = await client.cancel(emulator.share_ids[1:2])
        assert statuses(report) == {"cancelled": 1}
        assert report.requests == 2
        emulator.behave()
        emulator.inject(lambda seen: refused("13000309") if emulator.share_ids[2] in seen.share_ids else None)
        report = await client.cancel(emulator.share_ids[2:])
    assert statuses(report) == {"cancelled": 98, "already_gone": 1}


@pytest.mark.parametrize("http", [400, 200])
@pytest.mark.parametrize("accepted", [1, 2, 10])
async def test_whole_requests_refused_as_gone_beside_accepted_ones(make_koodrive, connect, accepted, http):
    """Something was accepted: so the user is right, and what is said to be gone is."""
    emulator = make_koodrive(shares=20)
    good = set(emulator.share_ids[-accepted:])
    fault = refused("13000309", status=http)
    emulator.inject(lambda seen: None if good.issuperset(seen.share_ids) else fault)
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert statuses(report) == {"already_gone": 20 - accepted, "cancelled": accepted}
    assert {outcome.share_id for outcome in report.cancelled} == good
    assert min(count for share_id, count in asked(emulator).items() if share_id not in good) >= 2
    assert report.requests == emulator.requests


async def test_poison_in_bad_weather(make_koodrive, connect):
    """After a lost reply a refusal settles nothing: such an id is UNKNOWN, and says what it was told."""
    emulator = make_koodrive(shares=2_000)
    culprits = set(emulator.share_ids[::400])
    emulator.poison.update(culprits)
    emulator.inject(Chaos(3, {lost_reply(): 0.1, unavailable(): 0.1, throttled(): 0.02}))
    async with connect(emulator) as client:
        report = await client.cancel(emulator.share_ids)
    assert {outcome.share_id for outcome in report.outcomes if not outcome.ok} == culprits
    for outcome in (*report.rejected, *report.unknown):
        assert type(outcome.error) is InvalidRequest
        assert outcome.code == "13000102"
        assert outcome.error.ambiguous is (outcome.status is Status.UNKNOWN)
    assert {*report.retryable_ids} == {outcome.share_id for outcome in report.unknown}
    assert report.counts[Status.CANCELLED] + report.counts[Status.ALREADY_GONE] == 1_995
    assert emulator.cancelled_count == 1_995


async def test_no_id_is_sent_again_once_it_was_settled(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000)
    emulator.poison.add(emulator.share_ids[555])
    async with connect(emulator, pace=Pace(concurrency=1)) as client:
        await client.cancel(emulator.share_ids)
    answered = set()
    for seen in emulator.log:
        assert not answered & set(seen.share_ids)
        if seen.status == 200:
            answered.update(seen.share_ids)
    assert max(asked(emulator).values()) <= 8
