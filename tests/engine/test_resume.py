"""The journal through the client: killed, cancelled, resumed; nothing is lost, nothing asked for nothing."""

import random
import signal
import time

import anyio
import pytest

from koodrive_async import ConnectionLost, Journal, JournalFailed, KooDriveError, Pace, RetryPolicy, Status
from koodrive_async.testing import (
    Chaos,
    Fault,
    dropped,
    forbidden,
    lost_reply,
    redirect,
    refused,
    throttled,
    unauthorized,
    unavailable,
)
from koodrive_async.testing import Status as Answered
from tests.client.wire import some_ids
from tests.conftest import QUICK
from tests.engine.kit import always, asked, honest, script, statuses, unanswered
from tests.support.threaded import until

FEW = RetryPolicy(attempts=2, base=0.002, cap=0.01)

leaking = pytest.mark.usefixtures("leaks")


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / "run.journal")


async def streamed(client, ids, **options):
    async with client.open_cancel(ids, **options) as stream:
        outcomes = [outcome async for outcome in stream]
    return outcomes, stream.report


async def reported(client, ids, **options):
    report = await client.cancel(ids, **options)
    return report.outcomes, report


HOW = {"cancel": reported, "open_cancel": streamed}


@leaking
@pytest.mark.parametrize("how", HOW)
async def test_what_was_settled_is_not_sent_again(make_koodrive, connect, journal, how):
    emulator = make_koodrive(shares=1_000)
    ids = [*emulator.share_ids, *some_ids(50)]
    async with connect(emulator) as client:
        first, _ = await HOW[how](client, ids[:700], journal=journal)
        requests = emulator.requests
        second, _ = await HOW[how](client, ids[:700], journal=journal)
        assert emulator.requests == requests
        random.Random(1).shuffle(ids)  # longer, and in another order
        third, _ = await HOW[how](client, ids, journal=journal)
    by_id = {outcome.share_id: outcome.status for outcome in first}
    assert {outcome.share_id: outcome.status for outcome in second} == by_id
    honest(third, ids, emulator)
    assert by_id.items() <= {outcome.share_id: outcome.status for outcome in third}.items()
    assert set(asked(emulator).values()) == {1}


@leaking
@pytest.mark.parametrize("how", HOW)
async def test_what_is_unknown_is_asked_again(make_koodrive, connect, journal, how):
    """It was done, nobody heard of it: the next run finds it gone, which is what was wished for."""
    emulator = make_koodrive(shares=300)
    emulator.inject(lambda seen: lost_reply() if emulator.share_ids[0] in seen.share_ids else None)
    async with connect(emulator, retry=FEW) as client:
        _, report = await HOW[how](client, emulator.share_ids, journal=journal)
        assert statuses(report) == {"cancelled": 200, "unknown": 100}
        emulator.behave()
        _, report = await HOW[how](client, emulator.share_ids, journal=journal)
    assert statuses(report) == {"cancelled": 200, "already_gone": 100}
    counts = asked(emulator)
    assert {counts[share_id] for share_id in emulator.share_ids[100:]} == {1}


@leaking
async def test_doubt_sticks_across_runs(make_koodrive, connect, journal):
    """UNKNOWN in one run, certainly refused in the next: it may still have been done."""
    emulator = make_koodrive(shares=100)
    emulator.inject(always(lost_reply()))
    async with connect(emulator, retry=FEW) as client:
        report = await unanswered(client.cancel(emulator.share_ids, journal=journal), ConnectionLost)
        assert statuses(report) == {"unknown": 100}
        emulator.behave()
        url = emulator.url
        emulator.stop()
        report = await client.cancel(emulator.share_ids, journal=journal, deadline=0.1)
        assert statuses(report) == {"unknown": 100}
        report = await client.cancel(emulator.share_ids, journal=journal, deadline=0)
        assert statuses(report) == {"unknown": 100}
        emulator.start()
        assert emulator.url == url
        report = await client.cancel(emulator.share_ids, journal=journal)
    assert statuses(report) == {"already_gone": 100}


@leaking
async def test_passing_refusals_are_asked_again(make_koodrive, connect, journal):
    emulator = make_koodrive(shares=300)
    busy = emulator.share_ids[5]
    emulator.item_codes[busy] = ["13009999"] * 4
    async with connect(emulator, item_retry_codes={"13009999"}) as client:
        report = await client.cancel(emulator.share_ids, journal=journal)
        assert statuses(report) == {"cancelled": 299, "rejected": 1}
        report = await client.cancel(emulator.share_ids, journal=journal)
    assert statuses(report) == {"cancelled": 300}


SAYS_NOTHING_OF_IDS = {
    "401": unauthorized(),
    "403": forbidden(),
    "a redirect": redirect("https://elsewhere.invalid/"),
    "404 of the gateway": refused("APIG.0101", status=404),
    "404 without a body": Answered(404),
    "405": Answered(405),
    "413": Answered(413),
    "400 for everything": refused("13000102"),
    "429 for a day": throttled(86_400),
}


@leaking
@pytest.mark.parametrize("fault", SAYS_NOTHING_OF_IDS)
async def test_what_was_refused_without_a_look_at_the_ids_is_asked_again(
    make_koodrive, connect, journal, fault
):
    emulator = make_koodrive(shares=600)
    emulator.inject(lambda seen: SAYS_NOTHING_OF_IDS[fault] if seen.number > 2 else None)
    async with connect(emulator) as client:
        try:
            report = await client.cancel(emulator.share_ids, journal=journal)
        except KooDriveError as error:
            report = error.report
    assert report.counts[Status.CANCELLED] == 200
    assert len(report.retryable_ids) == 400
    emulator.behave()
    async with connect(emulator) as client:
        assert await client.cancel(emulator.share_ids, journal=journal)
    assert emulator.cancelled_count == 600


@leaking
async def test_final_refusals_are_not(make_koodrive, connect, journal):
    emulator = make_koodrive(shares=100, received=1)
    ids = [*emulator.share_ids, *emulator.received_ids]
    async with connect(emulator) as client:
        reports = [await client.cancel(ids, journal=journal) for _ in range(2)]
    assert [statuses(report) for report in reports] == [{"cancelled": 100, "rejected": 1}] * 2
    assert reports[1].rejected[0].code == reports[0].rejected[0].code != ""
    assert emulator.requests == 2


@leaking
async def test_a_cancelled_call_keeps_what_landed(make_koodrive, connect, journal):
    emulator = make_koodrive(shares=3_000, latency=0.03)
    async with connect(emulator, pace=Pace(concurrency=4)) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.cancel(emulator.share_ids, journal=journal))
            await until(lambda: emulator.cancelled_count >= 400)
            tasks.cancel_scope.cancel()
        landed = emulator.cancelled_count
        emulator.latency = 0
        report = await client.cancel(emulator.share_ids, journal=journal)
    assert 400 <= landed < 3_000
    assert statuses(report) == {"cancelled": 3_000}
    assert set(asked(emulator).values()) == {1}


@leaking
async def test_a_service_that_dies_and_comes_back(make_koodrive, connect, journal):
    emulator = make_koodrive(shares=5_000)
    emulator.inject(lambda seen: unavailable() if seen.number > 20 else None)
    retry = RetryPolicy(base=0.002, cap=0.01, patience=0.3)
    async with connect(emulator, retry=retry) as client:
        with pytest.raises(Exception, match="patience"):
            await client.cancel(emulator.share_ids, journal=journal)
        emulator.behave()
        report = await client.cancel(emulator.share_ids, journal=journal)
    assert statuses(report) == {"cancelled": 5_000}
    assert emulator.cancelled_count == 5_000


@leaking
async def test_it_belongs_to_one_service_and_user(make_koodrive, connect, journal, by_app):
    one, other = make_koodrive(shares=10), make_koodrive(shares=10)
    async with connect(one) as client:
        await client.cancel(one.share_ids, journal=journal)
    async with connect(other) as client:
        for call in (streamed, reported):
            with pytest.raises(JournalFailed, match="belongs to another endpoint"):
                await call(client, other.share_ids, journal=journal)
    assert other.requests == 0
    async with connect(one, by_app) as client:  # other credentials of the same user are welcome
        assert await client.cancel(one.share_ids, journal=journal)
    assert one.requests == 1


@leaking
async def test_two_calls_at_once_on_one_journal(koodrive, connect, journal):
    koodrive.latency = 0.05
    async with connect(koodrive) as client, client.open_cancel(koodrive.share_ids, journal=journal) as stream:
        with pytest.raises(JournalFailed, match="in use"):
            await client.cancel(koodrive.share_ids, journal=journal)
        assert {outcome.status async for outcome in stream} == {Status.CANCELLED}
    assert koodrive.requests == 1


@leaking
async def test_in_bad_weather_with_cancellations(make_koodrive, connect, journal):
    """Over and over cut short, until a run comes through: every id settled, few asked for nothing."""
    emulator = make_koodrive(shares=3_000, latency=0.003)
    weather = {lost_reply(): 0.08, unavailable(): 0.08, throttled(): 0.02, dropped(): 0.05}
    emulator.inject(Chaos(2, weather))
    chance = random.Random(3)
    async with connect(emulator, retry=QUICK) as client:
        for turn in range(10):
            with anyio.move_on_after(chance.random() * 0.15):
                await (reported, streamed)[turn % 2](client, emulator.share_ids, journal=journal)
        report = await client.cancel(emulator.share_ids, journal=journal)
    assert report, statuses(report)
    assert report.counts[Status.CANCELLED] + report.counts[Status.ALREADY_GONE] == 3_000
    answered = {share_id for seen in emulator.log if seen.status == 200 for share_id in seen.share_ids}
    assert len(answered) == 3_000
    good = [share_id for seen in emulator.log if seen.status == 200 for share_id in seen.share_ids]
    assert len(good) == len(answered)  # no id was asked again once it had its answer


# -- processes ------------------------------------------------------------------------------------

RUN = """
import sys, time, anyio
from koodrive_async import AsyncShareClient, Journal, Pace, TokenCredentials
url, path, backend, count, user = sys.argv[1:]
ids = [str(number) for number in range(10**17, 10**17 + int(count))]
async def main():
    pace = Pace(concurrency=4)
    async with AsyncShareClient(url, TokenCredentials("demo-token", user), pace=pace) as client:
        print("go", flush=True)
        report = await client.cancel(ids, journal=Journal(path))
        print(dict(report.counts), flush=True)
        assert len(report.outcomes) == len(ids)
        assert report
anyio.run(main, backend=backend)
"""


def run(emulator, journal, backend, count):
    return script(RUN, emulator.url, journal.path, backend, count, emulator.user_id)


def killed_and_resumed(make_koodrive, journal, rounds):
    count = 10_000
    ids = some_ids(count, 10**17)
    emulator = make_koodrive(shares=ids, latency=0.005, max_log=100_000)
    chance = random.Random()
    kills = 0
    for turn in range(rounds):
        with run(emulator, journal, ("asyncio", "trio")[turn % 2], count) as process:
            process.stdout.readline()
            time.sleep(chance.random() * 0.35)
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
        assert emulator.settled()
    emulator.latency = 0
    with run(emulator, journal, "asyncio", count) as process:
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    assert emulator.cancelled_count == count
    counts = asked(emulator)
    assert set(counts) == set(ids)
    assert sum(counts.values()) - count <= kills * 4 * 100  # the batches that were in flight
    return kills


def test_kill_9_at_any_moment(make_koodrive, journal):
    assert killed_and_resumed(make_koodrive, journal, 4)


@pytest.mark.heavy
def test_kill_9_many_times(make_koodrive, journal):
    assert killed_and_resumed(make_koodrive, journal, 25) > 5


class Held(Fault):
    """Answers well, but not before it is told to."""

    released = False

    async def play(self, exchange):
        while not Held.released:
            await exchange.sleep(0.02)
        await exchange.reply(exchange.act())


def test_a_second_process_is_refused_and_the_first_goes_on(make_koodrive, journal, monkeypatch):
    monkeypatch.setattr(Held, "released", False)
    emulator = make_koodrive(shares=some_ids(500, 10**17))
    emulator.inject(always(Held()))
    with run(emulator, journal, "asyncio", 500) as first:
        first.stdout.readline()
        while not emulator.requests:
            time.sleep(0.01)
        with run(emulator, journal, "trio", 500) as second:
            _, complaints = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "in use by another call or process" in complaints
        Held.released = True
        first.communicate(timeout=60)
    assert first.returncode == 0
    assert set(asked(emulator).values()) == {1}
