"""Plays histories: many at a time on one event loop, each with a client, a port and books of its own."""

import asyncio
import logging
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import attrs

from koodrive_async import (
    AsyncShareClient,
    Journal,
    KooDriveError,
    Network,
    Pace,
    RetryPolicy,
    Timeout,
    TokenCredentials,
)
from tests.checker.books import BUSY, Books, Share
from tests.checker.callers import TLS, Hook, Meddler, Provider, Source, http_client
from tests.checker.histories import BACKENDS, History, history
from tests.checker.promise import judge
from tests.checker.results import Result
from tests.checker.service import Desk, Service
from tests.engine.cancelling import cancelled_after

#: Histories at the same time: most of a history is waiting.
AT_ONCE = 24
#: No history takes as long; one that does hangs.
LIMIT = 120.0
#: Nothing lasts as long, however busy the machine is: what the client says can be held against it.
WIDE = Timeout(5, 15, 5, 5, 15)
#: To run into silence quickly; anything else may run into it too.
TIGHT = Timeout(5, 0.06, 5, 5, 0.25)
#: For calls in calm weather: whatever the gate has learnt by then, there is time for it.
PATIENT = RetryPolicy(attempts=6, base=0.01, cap=0.1, patience=15.0)


@attrs.define
class Failure:
    """A history that broke the promise, and how it went."""

    seed: str
    findings: list[str]
    story: list[str]

    def about(self, wanted: str) -> bool:
        return any(re.search(wanted, finding) for finding in self.findings)

    def __str__(self) -> str:
        shown = [
            *self.findings[:8],
            *([f"... {len(self.findings) - 8} more"] if len(self.findings) > 8 else []),
        ]
        return "\n".join(
            [
                f"history {self.seed} broke the promise:",
                *(f"  - {finding}" for finding in shown),
                "its story:",
                *(f"  {line}" for line in _shortened(self.story)),
                f"to play it again: CHECKER_SEED={self.seed} pytest tests/checker -n 0 -k replay",
            ]
        )


def _shortened(story: Sequence[str]) -> Sequence[str]:
    """Of a history without end the beginning and the end."""
    return story if len(story) <= 150 else [*story[:100], "...", *story[-40:]]


def check(seeds: Sequence[str], *, most: int = 1, wanted: str = "") -> list[Failure]:
    """Play the histories of these seeds; the first failures.

    Args:
        seeds: Of which histories.
        most: Stop after so many failures.
        wanted: A pattern; failures without a finding that it matches are passed over.
    """
    logging.getLogger("koodrive_async").setLevel(logging.CRITICAL)  # thousands of warnings that nobody reads
    failures: list[Failure] = []
    with tempfile.TemporaryDirectory() as folder, Service() as service:
        for backend in BACKENDS:
            mine = [seed for seed in seeds if seed.startswith(backend)]
            if mine:
                anyio.run(_play_all, mine, service, Path(folder), failures, most, wanted, backend=backend)
        assert not service.errors, service.errors
    return failures


async def _play_all(
    seeds: Sequence[str], service: Service, folder: Path, failures: list[Failure], most: int, wanted: str
) -> None:
    waiting = iter(seeds)
    # The first request of a process imports half of an HTTP stack, for longer than a history's time-outs.
    await play(history(f"{seeds[0].partition('-')[0]}-calm-0"), service, folder)

    async def worker() -> None:
        for seed in waiting:
            if len(failures) >= most:
                return
            failure = await play(history(seed), service, folder)
            if failure is not None and failure.about(wanted):
                failures.append(failure)

    before = _tasks()
    async with anyio.create_task_group() as tasks:
        for _ in range(min(AT_ONCE, len(seeds))):
            tasks.start_soon(worker)
    for _ in range(200):
        if _tasks() <= before:
            return
        await anyio.sleep(0.005)
    failures.append(Failure(seeds[0], [f"tasks are left at the end of {len(seeds)} histories"], []))


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        import trio

        return trio.lowlevel.current_statistics().tasks_living


async def play(one: History, service: Service, folder: Path) -> Failure | None:
    """Play one history, and judge it."""
    books = Books({share.share_id: attrs.evolve(share) for share in one.shares})
    desk = service.desk(books, one.weather)
    results: list[Result] = []
    findings: list[str] = []
    try:
        with anyio.fail_after(LIMIT):
            findings += await _calls(one, desk, folder, results)
    except Exception as error:  # noqa: BLE001 - of opening or closing a client, say; the seed must be told
        if not isinstance(error, TimeoutError):
            findings.append(f"outside of a call: {error!r}")
            return Failure(one.seed, findings, _story(one, books, results))
        return Failure(one.seed, [f"hangs: not over after {LIMIT:g} s"], _story(one, books, results))
    if not await desk.quiet():
        return Failure(one.seed, ["a connection is open after the client was closed"], _story(one, books, []))
    service.give_back(desk)
    findings += judge(one, books, results)
    return Failure(one.seed, findings, _story(one, books, results)) if findings else None


async def _calls(one: History, desk: Desk, folder: Path, results: list[Result]) -> list[str]:
    """The calls, one after the other; of a journal each with a client of its own, as after a restart."""
    books = desk.books
    ids = list(books.shares)
    share = len(ids) if one.journal else -(-len(ids) // len(one.calls))
    findings: list[str] = []
    client = await _client(one, desk)
    for run, call in enumerate(one.calls, 1):
        if run > 1 and one.journal:
            await _close(client)
            await desk.quiet()
            client = await _client(one, desk)
        if one.between_strays:
            await desk.strays_have_come()
        mine = ids if one.journal else ids[(run - 1) * share : run * share]
        if one.together:
            books.owners.update(dict.fromkeys(mine, run))
        if one.repeated and call.how == "cancel":  # a stream knows those that it has in hand only
            mine = [*mine, *mine[:3]]
        books.run = run
        results.append(Result(call, Source(mine, call), run))
        if not one.together:
            await _call(one, client[0], results[-1], books, folder)
    if one.together:
        async with anyio.create_task_group() as tasks:
            for result in results:
                tasks.start_soon(_call, one, client[0], result, books, folder)
    if one.afterwards:
        findings += await _afterwards(client[0], books)
    await _close(client)
    return findings


async def _client(one: History, desk: Desk) -> tuple[AsyncShareClient, Any]:
    books = desk.books
    provider = Provider(one.provider, books) if one.provider else "token"
    http = http_client(one.http)
    client = AsyncShareClient(
        desk.url,
        TokenCredentials(provider, "user"),
        network=Network(tls=TLS),
        http=http,
        pace=Pace(concurrency=one.concurrency),
        retry=RetryPolicy(attempts=one.attempts, base=0.001, cap=0.004, patience=0.5),
        timeout=TIGHT if one.tight else WIDE,
        item_retry_codes={BUSY},
        middleware=[Meddler(one, books)] if one.middleware else [],
        hooks=[Hook(one.hook, books)] if one.hook else [],
    )
    return client, http


async def _close(client: tuple[AsyncShareClient, Any]) -> None:
    await client[0].aclose()
    if client[1] is not None:
        await client[1].aclose()


async def _call(one: History, client: AsyncShareClient, result: Result, books: Books, folder: Path) -> None:
    call = result.call
    options: dict[str, Any] = {"deadline": call.deadline, "grace": call.grace}
    if one.journal:
        file = folder / f"{one.seed}.journal"
        options["journal"] = Journal(file, settle_repeated_refusals=one.settles)
    if call.progress:
        options["on_progress"] = Hook(call.progress, books)
    run = _cancel if call.how == "cancel" else _stream
    books.tell(f"call {result.run}: {call}")
    if call.cut_after is not None:

        async def cut() -> None:
            await run(client, result, options)

        result.cut = True  # whether or not it comes in time
        await cancelled_after(call.cut_after, cut, way=call.cut_way, backend=one.backend)
    else:
        try:
            await run(client, result, options)
        except anyio.get_cancelled_exc_class() as error:
            if one.backend == "trio" or _being_cancelled():
                raise
            result.error = error
    books.tell(f"call {result.run} ends: {result.report!r}, {result.error!r}")


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _cancel(client: AsyncShareClient, result: Result, options: dict[str, Any]) -> None:
    try:
        result.report = await client.cancel(result.source.given(), **options)
        result.returned = True
    except Exception as error:  # noqa: BLE001 - the oracle's to judge
        result.error, result.report = error, getattr(error, "report", None)


async def _stream(client: AsyncShareClient, result: Result, options: dict[str, Any]) -> None:
    opened = client.open_cancel(result.source.given(), **options)
    stream: Any = None
    try:
        async with opened as stream:
            await _take(stream, result)
    except Exception as error:  # noqa: BLE001 - likewise
        result.error = error
        if isinstance(error, KooDriveError) and error.report is None:
            return
    finally:
        if stream is not None:
            result.report = stream.report


async def _take(stream: Any, result: Result) -> None:
    call = result.call
    if call.leave_after == 0:
        result.left = True
        return
    async for outcome in stream:
        result.taken.append(outcome)
        if len(result.taken) == call.leave_after:
            result.left = True
            return
        if len(result.taken) == call.stop_after:
            result.stopped = True
            stream.stop()
        if call.consumer_waits:
            await anyio.sleep(call.consumer_waits)
    result.returned = True


async def _afterwards(client: AsyncShareClient, books: Books) -> list[str]:
    """In calm weather the client works, whatever it has been through."""
    books.calm = True
    books.run += 1
    fresh = [Share(str(8 * 10**18 + number)) for number in range(3)]
    books.shares.update({share.share_id: share for share in fresh})
    view = client.with_options(retry=PATIENT, timeout=WIDE)
    try:
        report = await view.cancel([share.share_id for share in fresh])
    except KooDriveError as error:
        return [f"afterwards: {error!r}"]
    if not report or any(share.done_by is None for share in fresh):
        return [f"afterwards: {report!r}"]
    return []


def _story(one: History, books: Books, results: Sequence[Result]) -> list[str]:
    drawn = attrs.asdict(one, recurse=False, filter=lambda field, _: field.name not in ("shares", "calls"))
    lines = [str(drawn), f"shares: {books.kinds()}", *books.story]
    for result in results:
        told: dict[str, list[str]] = {}
        for outcome in result.outcomes():
            text = f"{outcome.status.name} {outcome.code} after {outcome.attempts}: {outcome.error!r}"
            told.setdefault(text, []).append(outcome.share_id)
        lines += [f"call {result.run} says {books.short(ids)} {text}" for text, ids in told.items()]
    done = [share.share_id for share in books.shares.values() if share.done_by]
    return [*lines, f"the books say carried out: {books.short(done)}"]
