"""What the engine's tests have in common: what must hold of a run, and processes of their own."""

import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

from koodrive_async import (
    AsyncShareClient,
    CancelReport,
    CancelStream,
    CancelSummary,
    Ended,
    KooDriveError,
    ShareOutcome,
    Status,
    TransportFailure,
)
from koodrive_async.testing import Emulator

ROOT = Path(__file__).resolve().parents[2]


def always(fault: Any) -> Any:
    """A rule: this fault for every request."""
    return lambda _seen: fault


def statuses(report: CancelReport | CancelSummary) -> dict[str, int]:
    """The statuses that occur, and how often."""
    return {str(status): count for status, count in report.counts.items() if count}


def asked(emulator: Emulator) -> Counter[str]:
    """How often each id came in; needs a log that is long enough."""
    assert emulator.requests <= (emulator.log.maxlen or 0)
    return Counter(share_id for seen in list(emulator.log) for share_id in seen.share_ids)


async def collect(opened: AbstractAsyncContextManager[CancelStream], into: list[ShareOutcome]) -> None:
    """Take everything from a stream; what came before an error is in the list."""
    async with opened as stream:
        async for outcome in stream:
            into.append(outcome)  # noqa: PERF401 - an error must not lose them


async def report_of(call: Awaitable[CancelReport]) -> tuple[CancelReport, KooDriveError | None]:
    """What a call reports, and the error that it raised with the report, if it did."""
    raised = None
    try:
        report = await call
    except KooDriveError as error:
        report, raised = error.report, error  # type: ignore[assignment]  # checked in the next line
    assert isinstance(report, CancelReport)
    return report, raised


async def unanswered(call: Awaitable[CancelReport], error: type[TransportFailure]) -> CancelReport:
    """The report of a call that raises this very error, since nothing that it sent was ever answered."""
    report, raised = await report_of(call)
    assert type(raised) is error, raised
    assert raised.gave_up == "attempts"
    assert (report.complete, report.ended, report.all_well) == (True, Ended.FAILED, False)
    assert {type(outcome.error) for outcome in report.outcomes} == {error}
    return report


async def perform(
    client: AsyncShareClient, how: str, ids: Any, into: list[ShareOutcome] | None = None, **options: Any
) -> None:
    """Call `cancel` or `open_cancel`; the outcomes of a stream are put into the list."""
    if how == "cancel":
        await client.cancel(ids, **options)
    else:
        await collect(client.open_cancel(ids, **options), [] if into is None else into)


def honest(outcomes: Iterable[ShareOutcome], ids: Sequence[str], emulator: Emulator) -> None:
    """One outcome for each distinct id, and none that claims what did not happen."""
    found: dict[str, Status] = {}
    for outcome in outcomes:
        assert outcome.share_id not in found, "two outcomes for one id"
        found[outcome.share_id] = outcome.status
    assert set(found) == set(ids)
    came_in, cancelled = asked(emulator), emulator.cancelled
    for share_id, status in found.items():
        if status is Status.NOT_SENT:
            assert not came_in[share_id], "NOT_SENT, but it was"
        else:
            assert came_in[share_id], f"{status}, but it never came in"
        if status is Status.CANCELLED:
            assert share_id in cancelled, "CANCELLED, but it is not"


def most_in_a_second(moments: Iterable[float]) -> int:
    """The most of these moments (sorted) within any one second."""
    times = sorted(moments)
    first = most = 0
    for last, moment in enumerate(times):
        while moment - times[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@contextmanager
def python(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own, killed at the end of the block if it still runs."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def script(source: str, *arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A script in a process of its own."""
    with python("-W", "error", "-c", source, *map(str, arguments), **options) as process:
        yield process


@contextmanager
def served(*arguments: object) -> Iterator[Mapping[str, str]]:
    """`python -m koodrive_async.testing` in a process of its own; the environment it prints."""
    with python("-m", "koodrive_async.testing", *map(str, arguments)) as process:
        assert process.stdout is not None
        lines = (process.stdout.readline().strip() for _ in range(3))
        yield dict(line.split("=", 1) for line in lines)
