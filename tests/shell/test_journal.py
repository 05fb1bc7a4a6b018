import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint

from koodrive_async.core.errors import ConfigurationError, ConnectionLost, Forbidden, JournalFailed, Throttled
from koodrive_async.core.outcomes import UNSENT, Settlement, Status
from koodrive_async.shell import journalfile
from koodrive_async.shell.journal import Journal, OpenJournal, open_journal
from koodrive_async.shell.journalfile import Order

OK = Settlement(Status.CANCELLED, "0", "success", attempts=1, trace_id="t-1-1", answered=True)
GONE = Settlement(Status.ALREADY_GONE, "13000309", "no such", attempts=2, trace_id="t-2-2", answered=True)
UNKNOWN = Settlement(Status.UNKNOWN, attempts=6, trace_id="t-3-6", error=ConnectionLost("gone"))


def refused() -> Settlement:
    error = Forbidden("not yours", status=200, code="13000410", trace_id="t-4-1", attempts=1)
    error.retryable = False
    return Settlement(Status.REJECTED, "13000410", "not yours", attempts=1, trace_id="t-4-1", error=error)


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / "run.journal")


def opened(journal: Journal, **identity: str) -> OpenJournal:
    whose = {"endpoint": "https://koodrive.test", "user_id": "u-1", "operation": "batchCancelShare"}
    return open_journal(journal, **(whose | identity))


def ids(count: int, start: int = 0) -> list[str]:
    return [str(700_000_000_000_000_000 + number) for number in range(start, start + count)]


async def remembered(journal: Journal, asked: Iterable[str]) -> dict[str, Settlement]:
    async with opened(journal) as keeper:
        return await keeper.known(list(asked))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def fill(journal: Journal, content: bytes) -> None:
    Path(journal.path).write_bytes(content)


def content_of(journal: Journal) -> bytes:
    return Path(journal.path).read_bytes()


def its_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "koodrive-journal"]


def same(one: Settlement, other: Settlement) -> bool:
    bare = [attrs.evolve(settlement, error=None) for settlement in (one, other)]
    return bare[0] == bare[1] and (type(one.error), str(one.error)) == (type(other.error), str(other.error))


# -- what is remembered ---------------------------------------------------------------------------


async def test_an_empty_journal_knows_nothing(journal):
    async with opened(journal) as keeper:
        assert await keeper.known(ids(100)) == {}
        assert await keeper.known([]) == {}
    assert await remembered(journal, ids(100)) == {}


@pytest.mark.parametrize("settlement", [OK, GONE, refused(), UNKNOWN], ids=lambda kept: kept.status)
async def test_what_was_settled_is_known_at_once_and_to_the_next_run(journal, settlement):
    async with opened(journal) as keeper:
        await keeper.intend(ids(100))
        assert await keeper.known(ids(100)) == {}
        await keeper.settle([(settlement, ids(100))])
        now = await keeper.known(ids(100))
    then = await remembered(journal, ids(100))
    assert list(now) == list(then) == ids(100)
    assert all(same(kept, settlement) for kept in (*now.values(), *then.values()))
    assert {kept.retryable for kept in then.values()} == {settlement.retryable}


@pytest.mark.parametrize(
    "settlement",
    [UNSENT, Settlement(Status.REJECTED, "APIG.0308", error=Throttled("later"))],
    ids=lambda kept: kept.status,
)
async def test_what_may_pass_is_asked_again_as_if_for_the_first_time(journal, settlement):
    async with opened(journal) as keeper:
        await keeper.intend(ids(100))
        await keeper.settle([(settlement, ids(100))])
        assert await keeper.known(ids(100)) == {}
    assert await remembered(journal, ids(100)) == {}


async def test_a_batch_settled_in_groups_and_by_and_by(journal):
    async with opened(journal) as keeper:
        await keeper.intend(["a", "b", "c", "d", "e", "f"])
        await keeper.settle([(OK, ["a"]), (refused(), ["c", "b"]), (GONE, [])])
        await keeper.settle([(GONE, ["e"]), (UNSENT, ["f"])])
        await keeper.settle([])
    known = await remembered(journal, "abcdefg")
    assert {share_id: kept.status.value for share_id, kept in known.items()} == {
        "a": "cancelled",
        "b": "rejected",
        "c": "rejected",
        "d": "unknown",  # about to be sent, and nothing was heard of it since
        "e": "already_gone",
        "f": "unknown",  # its intent goes with that of its whole batch: on the safe side
    }


async def test_an_intent_without_an_outcome_may_have_reached_the_service(journal):
    async with opened(journal) as keeper:
        await keeper.intend(ids(100))
        assert await keeper.known(ids(100)) == {}
    for _ in range(2):  # and opening the journal settles nothing
        known = await remembered(journal, ids(101))
        assert list(known) == ids(100)
        assert {kept.status for kept in known.values()} == {Status.UNKNOWN}
        assert all(isinstance(kept.error, ConnectionLost) for kept in known.values())


async def test_doubt_stays_until_an_answer_settles_it(journal):
    async with opened(journal) as keeper:
        await keeper.intend(["a", "b"])
    async with opened(journal) as keeper:
        await keeper.intend(["a", "b"])
        await keeper.settle([(UNSENT, ["a", "b"])])
    assert {kept.status for kept in (await remembered(journal, "ab")).values()} == {Status.UNKNOWN}
    async with opened(journal) as keeper:
        await keeper.intend(["a", "b"])
        await keeper.settle([(GONE, ["a"]), (UNKNOWN, ["b"])])
    known = await remembered(journal, "ab")
    assert same(known["a"], GONE)
    assert same(known["b"], UNKNOWN)


async def test_the_last_word_counts(journal):
    async with opened(journal) as keeper:
        await keeper.settle([(UNKNOWN, ["a", "b"]), (OK, ["a"])])
        await keeper.settle([(GONE, ["b"])])
        now = await keeper.known(["a", "b"])
    then = await remembered(journal, "ab")
    assert [kept.status for kept in (*now.values(), *then.values())] == [OK.status, GONE.status] * 2


async def test_a_longer_and_shuffled_input(journal):
    done = ids(1_000)
    async with opened(journal) as keeper:
        for start in range(0, 1_000, 100):
            await keeper.settle([(OK, done[start : start + 100])])
    everything = [*ids(3_000), "0700000000000000001", "7e17", "a'b\"c", "é", "\U0001f600"]
    random.Random(7).shuffle(everything)
    async with opened(journal) as keeper:
        assert set(await keeper.known(everything)) == set(done)
        await keeper.settle([(OK, everything[-200:])])
        await keeper.settle([(GONE, ["a'b\"c", "é", "\U0001f600"])])
    known = await remembered(journal, everything)
    assert set(known) == {*done, *everything[-200:], "a'b\"c", "é", "\U0001f600"}


async def test_merging_into_the_index_changes_nothing(journal, monkeypatch):
    monkeypatch.setattr(journalfile, "_MERGE_AT", 250)
    everything = ids(2_000)
    random.Random(7).shuffle(everything)
    async with opened(journal) as keeper:
        await keeper.settle([(UNKNOWN, everything)])
        for start in range(0, 2_000, 100):
            batch = everything[start : start + 100]
            assert {kept.status for kept in (await keeper.known(batch)).values()} == {Status.UNKNOWN}
            await keeper.intend(batch)
            await keeper.settle([(OK, batch[:90]), (GONE, batch[90:])])
            known = await keeper.known(everything[: start + 100])
            assert [known[share_id] for share_id in batch] == [OK] * 90 + [GONE] * 10
            assert UNKNOWN not in known.values()
    known = await remembered(journal, everything)
    assert len(known) == 2_000
    assert {kept.status for kept in known.values()} == {Status.CANCELLED, Status.ALREADY_GONE}


async def test_many_workers_at_once(journal):
    batches = [ids(100, start) for start in range(0, 20_000, 100)]
    todo = iter(batches)

    async def work(keeper: OpenJournal) -> None:
        for batch in todo:
            assert await keeper.known(batch) == {}
            await keeper.intend(batch)
            await keeper.settle([(OK, batch)])
            assert set(await keeper.known(batch)) == set(batch)

    async with opened(journal) as keeper, anyio.create_task_group() as tasks:
        for _ in range(32):
            tasks.start_soon(work, keeper)
    assert len(await remembered(journal, ids(20_000))) == 20_000


@pytest.mark.heavy
@pytest.mark.parametrize("shuffled", [False, True])
async def test_a_batch_costs_less_than_a_millisecond(journal, shuffled):
    """Processor time, of both threads: what else the machine does must not matter."""
    everything = ids(100_000)
    if shuffled:
        random.Random(7).shuffle(everything)
    batches = [everything[start : start + 100] for start in range(0, 100_000, 100)]
    todo = iter(batches)

    async def work(keeper: OpenJournal) -> None:
        for batch in todo:
            await keeper.known(batch)
            await keeper.intend(batch)
            await keeper.settle([(OK, batch)])

    begun = time.process_time()
    async with opened(journal) as keeper, anyio.create_task_group() as tasks:
        for _ in range(16):
            tasks.start_soon(work, keeper)
    assert (time.process_time() - begun) / len(batches) < 0.001


async def test_nothing_is_left_beside_the_file_after_closing(journal):
    async with opened(journal) as keeper:
        await keeper.settle([(OK, ids(100))])
    assert names(Path(journal.path).parent) == ["run.journal"]
    for thread in its_threads():  # at most one, on its last lines
        thread.join(0.5)
    assert its_threads() == []


async def test_what_cannot_be_written_is_not_written_at_all(journal):
    async with opened(journal) as keeper:
        await keeper.settle([(OK, ["a"])])
        with pytest.raises(JournalFailed, match="can't be used"):
            await keeper.settle([(OK, ["b"]), (OK, ["\ud800"])])
        assert list(await keeper.known(["a", "b"])) == ["a"]
        await keeper.settle([(OK, ["c"])])
    assert list(await remembered(journal, "abc")) == ["a", "c"]


async def test_a_transaction_is_whole(journal):
    file = journalfile.JournalFile(Path(journal.path), {"endpoint": "e"})
    orders = [Order(intent=(1, ["a"])), Order(groups=[(OK, ["b"])]), Order(groups=[(OK, ["\ud800"])])]
    with pytest.raises(UnicodeError):
        file.carry_out(orders)
    file.carry_out(orders[:1])
    file.close()
    base = sqlite3.connect(journal.path)
    assert base.execute("SELECT n, ids FROM intents").fetchall() == [(1, '["a"]')]
    assert base.execute("SELECT ids FROM settled WHERE n > 0").fetchall() == []
    base.close()


async def test_each_caller_gets_an_error_of_its_own(journal):
    errors: list[JournalFailed] = []

    async def fail(keeper: OpenJournal) -> None:
        with pytest.raises(JournalFailed) as caught:
            await keeper.settle([(OK, ["\ud800"])])
        errors.append(caught.value)

    async with opened(journal) as keeper, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(fail, keeper)
    assert len(set(map(id, errors))) == 5


async def test_used_after_closing(journal):
    async with opened(journal) as keeper:
        pass
    with pytest.raises(JournalFailed, match="not open"):
        await keeper.known(["a"])


# -- who may read it ------------------------------------------------------------------------------


async def test_only_its_owner_may_read_it(journal):
    before = os.umask(0)
    try:
        async with opened(journal) as keeper:
            await keeper.settle([(OK, ids(100))])
            files = sorted(Path(journal.path).parent.iterdir())
            modes = [stat.S_IMODE(file.stat().st_mode) for file in files]
    finally:
        os.umask(before)
    assert [file.name for file in files] == ["run.journal", "run.journal-wal"]
    assert modes == [0o600, 0o600]


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", 7, None, b"x", "a\0b", ["x"]])
def test_a_path_that_is_none(path):
    with pytest.raises(ConfigurationError, match="path"):
        Journal(path)


def test_paths(tmp_path):
    assert Journal(tmp_path).path == tmp_path
    assert Journal(str(tmp_path)) == Journal(str(tmp_path))


@pytest.mark.parametrize("name", ["a b?c#d%20.db", "é.journal", ":memory:", "file:x"])
async def test_odd_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    async with opened(Journal(name)) as keeper:
        await keeper.settle([(OK, ["a"])])
    assert names(tmp_path) == [name]
    assert list(await remembered(Journal(tmp_path / name), "a")) == ["a"]


async def test_an_empty_file_is_a_new_journal(journal):
    fill(journal, b"")
    async with opened(journal) as keeper:
        await keeper.settle([(OK, ["a"])])
    assert list(await remembered(journal, "a")) == ["a"]


@contextmanager
def refusal(journal: Journal, match: str) -> Iterator[None]:
    """It is refused with this text and its path, and left as it is."""
    path = Path(journal.path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JournalFailed, match=match) as caught:
        yield
    assert repr(str(path)) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert not path.with_name(f"{path.name}-wal").exists()


@pytest.mark.parametrize(
    ("identity", "text"),
    [
        ({"endpoint": "https://other.test"}, "another endpoint: 'https://koodrive.test', not 'https://other"),
        ({"user_id": "u-2"}, "another user"),
        ({"operation": "batchExitShare"}, "another operation"),
    ],
)
async def test_somebody_elses(journal, identity, text):
    async with opened(journal) as keeper:
        await keeper.settle([(OK, ["a"])])
    with refusal(journal, text):
        async with opened(journal, **identity):
            pytest.fail("opened")
    assert list(await remembered(journal, "a")) == ["a"]


@pytest.mark.parametrize("content", [b"x", b"1\n2\n3\n", b"not a journal\n" * 1_000, bytes(5_000)])
async def test_no_journal(journal, content):
    fill(journal, content)
    with refusal(journal, "is no journal"):
        async with opened(journal):
            pytest.fail("opened")


async def test_somebody_elses_database(journal):
    base = sqlite3.connect(journal.path)
    base.execute("CREATE TABLE precious (x)")
    base.close()
    with refusal(journal, "no journal"):
        async with opened(journal):
            pytest.fail("opened")


async def test_another_version(journal):
    await remembered(journal, "a")
    base = sqlite3.connect(journal.path)
    base.execute("PRAGMA user_version = 99")
    base.close()
    with refusal(journal, "another version"):
        async with opened(journal):
            pytest.fail("opened")


@pytest.mark.parametrize("how", ["overwritten", "one page", "cut", "header"])
async def test_a_damaged_file(journal, how):
    everything = ids(30_000)
    async with opened(journal) as keeper:
        for start in range(0, 30_000, 1_000):
            await keeper.settle([(OK, everything[start : start + 1_000])])
    content = bytearray(content_of(journal))
    assert len(content) > 100 * 4_096
    match how:
        case "overwritten":
            for page in range(5, len(content) // 4_096, 10):
                content[page * 4_096 : page * 4_096 + 64] = b"\xa5" * 64
        case "one page":  # of the index on disk, which opening it does not read
            leaves = [at for at in range(0, len(content), 4_096) if content[at] == 0x0A]
            at = leaves[len(leaves) // 2]
            content[at : at + 64] = b"\xa5" * 64
        case "cut":
            del content[len(content) // 2 :]
        case "header":
            content[:16] = b"\0" * 16
    fill(journal, content)
    with refusal(journal, "no journal" if how == "header" else "is damaged"):
        async with opened(journal):
            pytest.fail("opened")


async def test_a_table_that_is_missing(journal):
    await remembered(journal, "a")
    base = sqlite3.connect(journal.path)
    base.execute("DROP TABLE settled")
    base.close()
    with pytest.raises(JournalFailed, match="is damaged"):
        await remembered(journal, "a")


async def test_a_settlement_that_is_none(journal):
    async with opened(journal) as keeper:
        await keeper.settle([(OK, ["a"])])
    base = sqlite3.connect(journal.path)
    base.execute("UPDATE settled SET settlement = '{}'")
    base.commit()
    base.close()
    async with opened(journal) as keeper:
        with pytest.raises(JournalFailed, match="can't be used"):
            await keeper.known(["a"])
        assert await keeper.known(["b"]) == {}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".", "is a directory"),
        ("missing/run.journal", "No such file or directory"),
        ("dangling", "No such file or directory"),
        ("file/run.journal", "Not a directory"),
        ("pipe", "is no regular file"),
    ],
)
async def test_places_where_no_file_can_be(tmp_path, path, text):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JournalFailed, match=text):
        await remembered(Journal(tmp_path / path), "a")
    assert names(tmp_path) == ["dangling", "file", "pipe"]


# -- one at a time --------------------------------------------------------------------------------


async def test_a_second_call_is_refused_at_once(journal):
    async with opened(journal) as keeper:
        await keeper.settle([(OK, ["a"])])
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises(JournalFailed, match="is in use"):
                await remembered(journal, "a")
            assert time.monotonic() - begun < 1.0
        await keeper.settle([(OK, ["b"])])
    assert set(await remembered(journal, "ab")) == {"a", "b"}


async def test_of_many_that_make_the_same_file_one_gets_it(journal):
    got: list[OpenJournal] = []
    lost: list[str] = []
    over = anyio.Event()

    async def claim() -> None:
        try:
            async with opened(journal) as keeper:
                got.append(keeper)
                await over.wait()
        except JournalFailed as error:
            lost.append(str(error))
            if len(lost) == 9:
                over.set()

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(claim)
    assert len(got) == 1
    assert all("is in use" in text for text in lost)


# -- processes ------------------------------------------------------------------------------------

PRELUDE = """
import os, sys, anyio
from koodrive_async.core.errors import JournalFailed
from koodrive_async.core.outcomes import Settlement, Status
from koodrive_async.shell.journal import Journal, open_journal
OK = Settlement(Status.CANCELLED, "0", attempts=1)
def opened(path):
    return open_journal(
        Journal(path), endpoint="https://koodrive.test", user_id="u-1", operation="batchCancelShare"
    )
def batch(number):
    return [str(700_000_000_000_000_000 + i) for i in range(number * 100, number * 100 + 100)]
"""


def script(body: str, *arguments: object, **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PRELUDE + body, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def run_script(body: str, *arguments: object) -> str:
    with script(body, *arguments) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.strip()


OPEN_ONCE = """
async def main():
    try:
        async with opened(sys.argv[1]) as keeper:
            await keeper.settle([(OK, batch(0))])
    except JournalFailed as error:
        print(error)
    else:
        print("opened")
"""


async def test_a_second_process_is_refused(journal):
    body = OPEN_ONCE + "anyio.run(main)"
    async with opened(journal) as keeper:
        await keeper.settle([(OK, ["a"])])
        assert "is in use by another call or process" in await anyio.to_thread.run_sync(
            run_script, body, journal.path
        )
    assert run_script(body, journal.path) == "opened"
    assert len(await remembered(journal, ["a", *ids(100)])) == 101


UNPRIVILEGED = """
import asyncio, sqlite3
anyio.run(anyio.sleep, 0)  # what is imported late, while it may be read
if os.getuid() == 0:
    os.setuid(65534)
"""


def test_no_right_to_write():
    # Somewhere that a process which gave up being root can get to, unlike pytest's directories.
    with tempfile.TemporaryDirectory() as name:
        Path(name, "shut").mkdir(mode=0o555)
        file = Path(name, "run.journal")
        assert run_script(OPEN_ONCE + "anyio.run(main)", file) == "opened"
        before = file.read_bytes()
        Path(name).chmod(0o755)
        file.chmod(0o444)
        body = OPEN_ONCE + UNPRIVILEGED + "anyio.run(main)"
        assert "can't be opened: Permission denied" in run_script(body, Path(name, "shut", "run.journal"))
        assert "may not be read and written" in run_script(body, file)
        assert file.read_bytes() == before


FULL = """
import resource
async def main():
    number = 0
    async with opened(sys.argv[1]) as keeper:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
        try:
            while True:
                await keeper.intend(batch(number))
                await keeper.settle([(OK, batch(number))])
                number += 1
        except JournalFailed as error:
            text = str(error)
        assert len(await keeper.known(batch(number - 1))) == 100  # it can still be read
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await keeper.settle([(OK, batch(1_000_000))])  # and written, once there is room
    print(number, text)
anyio.run(main)
"""


@pytest.mark.parametrize("limit", [100_000, 300_001, 1_000_000])
async def test_a_full_disk_stops_it_and_loses_nothing(journal, limit):
    number, _, text = run_script(FULL, journal.path, limit).partition(" ")
    assert "can't be read or written" in text or "the disk is full" in text
    settled = int(number) * 100
    assert settled > 0
    known = await remembered(journal, [*ids(settled + 200), *ids(100, 100_000_000)])
    assert sum(kept.status is Status.CANCELLED for kept in known.values()) == settled + 100
    assert {kept.status for kept in known.values()} <= {Status.CANCELLED, Status.UNKNOWN}


def test_no_room_for_the_file_itself(journal):
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    assert "can't be read or written" in run_script(OPEN_ONCE + limit + "anyio.run(main)", journal.path)
    assert run_script(OPEN_ONCE + "anyio.run(main)", journal.path) == "opened"


KILLED = """
numbers = iter(range(int(sys.argv[2]), 1_000_000))
def say(what, number):
    os.write(1, f"{what} {number}\\n".encode())
async def work(keeper):
    for number in numbers:
        say("begun", number)
        await keeper.known(batch(number))
        await keeper.intend(batch(number))
        say("sent", number)
        await keeper.settle([(OK, batch(number)[:50])])
        await keeper.settle([(OK, batch(number)[50:])])
        say("settled", number)
async def main():
    async with opened(sys.argv[1]) as keeper, anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(work, keeper)
anyio.run(main, backend=sys.argv[3])
"""


def test_kill_9_at_any_moment(journal):
    settled: set[int] = set()
    in_doubt: set[int] = set()
    chance = random.Random()
    start = 0

    for turn in range(4):
        backend = ("asyncio", "trio")[turn % 2]
        with script(KILLED, journal.path, start, backend) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            time.sleep(chance.random() * 0.2)
            process.send_signal(signal.SIGKILL)
            lines = [line, *process.stdout]
        said = [(what, int(number)) for what, number in map(str.split, lines)]
        settled |= {number for what, number in said if what == "settled"}
        in_doubt |= {number for what, number in said if what == "sent"} - settled
        begun = {number for what, number in said}
        start = max(begun) + 2
        known = anyio.run(remembered, journal, ids(start * 100))
        for number in range(start):
            found = [known.get(share_id, UNSENT).status for share_id in ids(100, number * 100)]
            if number in settled:
                assert set(found) == {Status.CANCELLED}
            elif number in in_doubt:
                assert set(found) <= {Status.CANCELLED, Status.UNKNOWN}
            else:  # nobody heard that it was written, which does not mean that it was not
                assert set(found) <= {Status.CANCELLED, Status.UNKNOWN, Status.NOT_SENT}
    assert settled


# -- cancellation ---------------------------------------------------------------------------------


async def test_cancelled_in_the_middle_of_an_operation(journal):
    """Whatever returned is there; whatever was cut is there or is not, but whole."""
    settled: list[int] = []
    intended: list[int] = []
    todo = iter(range(100_000))

    async def work(keeper: OpenJournal) -> None:
        for number in todo:
            batch = ids(100, number * 100)
            await keeper.intend(batch)
            intended.append(number)
            await keeper.settle([(OK, batch)])
            settled.append(number)

    async with opened(journal) as keeper:
        for turn in range(60):
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(work, keeper)
                for _ in range(turn):
                    await checkpoint()
                if turn % 3:
                    await anyio.sleep(0.0002 * turn)
                tasks.cancel_scope.cancel()
        last = next(todo)
        assert set(await keeper.known(ids(100, last * 100))) == set()
        await keeper.settle([(OK, ["end"])])
    assert settled
    known = await remembered(journal, [*ids(last * 100), "end"])
    assert known["end"] == OK
    for number in range(last):
        found = {known.get(share_id, UNSENT).status for share_id in ids(100, number * 100)}
        assert len(found) == 1
        if number in settled:
            assert found == {Status.CANCELLED}
        elif number in intended:
            assert found <= {Status.CANCELLED, Status.UNKNOWN}


async def test_closed_while_cancelled(journal):
    for turn in range(20):
        with anyio.CancelScope() as scope:
            async with opened(journal) as keeper:
                await keeper.settle([(OK, [f"id-{turn}"])])
                scope.cancel()
                await keeper.settle([(OK, [f"cut-{turn}"])])
        assert scope.cancelled_caught
    known = await remembered(journal, [f"{what}-{turn}" for turn in range(20) for what in ("id", "cut")])
    assert len(known) == 40  # an order that was placed is carried out
    assert {kept.status for kept in known.values()} == {Status.CANCELLED}


async def test_cancelled_while_opening(journal):
    await remembered(journal, "a")
    for turn in range(20):
        with anyio.CancelScope() as scope:
            if not turn:
                scope.cancel()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(remembered, journal, "a")
                for _ in range(turn):
                    await checkpoint()
                scope.cancel()
    assert await remembered(journal, "a") == {}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancellation(journal):
    import asyncio

    async def forever() -> None:
        async with opened(journal) as keeper:
            for number in range(1_000_000):
                await keeper.intend(ids(100, number * 100))
                await keeper.settle([(OK, ids(100, number * 100))])
                done.append(number)

    for turn in range(4):
        done: list[int] = []
        task = asyncio.get_running_loop().create_task(forever())
        await asyncio.sleep(0.01 + turn * 0.003)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        known = await remembered(journal, ids(len(done) * 100))
        assert len(known) == len(done) * 100


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_event_loop_that_ends_without_closing(journal, backend):
    async def main() -> None:
        keeper = opened(journal)
        await keeper.__aenter__()
        await keeper.settle([(OK, ["a"])])
        keepers.append(keeper)

    keepers: list[OpenJournal] = []
    anyio.run(main, backend=backend)
    keepers[0]._orders.put(None)
    for thread in its_threads():
        thread.join(5.0)
    assert list(anyio.run(remembered, journal, "a")) == ["a"]


async def test_a_close_that_takes_too_long_goes_on_in_the_background(journal, monkeypatch):
    monkeypatch.setattr("koodrive_async.shell.journal._CLOSING", 0.01)
    held = threading.Event()
    close = journalfile.JournalFile.close

    def slow(file: journalfile.JournalFile) -> None:
        held.wait(5.0)
        close(file)

    monkeypatch.setattr(journalfile.JournalFile, "close", slow)
    begun = time.monotonic()
    async with opened(journal) as keeper:
        await keeper.settle([(OK, ["a"])])
    assert time.monotonic() - begun < 2.0
    held.set()
    with anyio.fail_after(5.0):
        while True:
            try:
                assert list(await remembered(journal, "a")) == ["a"]
            except JournalFailed:
                await anyio.sleep(0.01)
            else:
                break
