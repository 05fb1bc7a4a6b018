"""What a bulk call gives its caller: a whole report, or a stream of outcomes.

Not here: making requests (see ``bulk``).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress
from types import TracebackType
from typing import Any, NoReturn, Self

import anyio
import attrs
from anyio.abc import TaskGroup

from koodrive_async.core.batching import BATCH_SIZE, Batch, refuse_single
from koodrive_async.core.errors import (
    ClientClosed,
    ConfigurationError,
    JournalFailed,
    KooDriveError,
    UsageError,
)
from koodrive_async.core.events import Progress
from koodrive_async.core.operations import Operation
from koodrive_async.core.outcomes import UNSENT, Ended, Settlement, ShareOutcome, Status
from koodrive_async.core.pairing import Rules
from koodrive_async.core.report import CancelReport, CancelSummary, Tally
from koodrive_async.core.settings import check_callables, optional_seconds, seconds
from koodrive_async.shell.bulk import Engine, ended_by
from koodrive_async.shell.call import Caller
from koodrive_async.shell.drain import GRACE, Drain
from koodrive_async.shell.journal import Journal, open_journal
from koodrive_async.shell.lifecycle import Lifecycle
from koodrive_async.shell.log import say
from koodrive_async.shell.progress import Meter
from koodrive_async.shell.recording import Keeper, Sink
from koodrive_async.shell.supply import ListSupply, ShareIds, StreamSupply, Supply, read_all

#: How much longer than the grace period an engine may take to end, in seconds: time to settle what is left.
_SLACK = 1.0


class ReportSink:
    """Fills the columns of a report; what nothing is known of stays NOT_SENT, so nothing is ever dropped."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self.tally = Tally(keep=0)
        self._settlements = [UNSENT] * len(ids)

    def settle(self, settlement: Settlement, batch: Batch) -> None:
        """These ids have their outcome."""
        self.tally.add(batch.ids, settlement)
        places = batch.places
        if isinstance(places, range):
            self._settlements[places.start : places.stop] = [settlement] * len(places)
        else:
            for place in places:
                self._settlements[place] = settlement

    def report(self, **details: Any) -> CancelReport:
        """Make the report as of now; `details` as for `CancelReport`."""
        return CancelReport.of_columns(self.ids, self._settlements, **details)


class StreamSink:
    """Holds outcomes until the consumer takes them; the supply's window bounds how many."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.waiting: deque[tuple[Settlement, Batch]] = deque()
        self.bell = anyio.Event()

    def settle(self, settlement: Settlement, batch: Batch) -> None:
        """These ids have their outcome."""
        self.tally.add(batch.ids, settlement)
        self.waiting.append((settlement, batch))
        self.ring()

    def ring(self) -> None:
        """Something changed: whoever waits looks again."""
        self.bell.set()
        self.bell = anyio.Event()


class CancelStream:
    """Outcomes as they come; an async iterator inside ``async with client.open_cancel(...)``.

    Each id that was read from the source gets one outcome. Leaving the block stops sending and lets what is
    being sent end, for the grace period at most; then `report` has the outcome of every id that was read.

    The block must be left by the task that entered it. An async generator around it, for a streaming
    response, say, is closed by another task if its reader leaves early. To prevent this, close the generator
    yourself (``async with contextlib.aclosing(generator)``).
    """

    def __init__(
        self, engine: Engine, supply: StreamSupply, sink: StreamSink, drain: Drain, meter: Meter
    ) -> None:
        self._engine, self._supply, self._sink, self._drain, self._meter = engine, supply, sink, drain, meter
        self._at: Iterator[ShareOutcome] = iter(())
        self._taken: Batch | None = None
        self._elapsed: float | None = None
        self._tasks: TaskGroup | None = None
        self._home = 0
        supply.ring = engine.ring
        engine.recorder.on_delivery = self._tell

    @property
    def report(self) -> CancelSummary:
        """What became of the ids read so far, and whether the source was read to its end.

        After the block every id that was read has its outcome in the report, however the block was left. Ids
        that were never read are not in it, and ``report.complete`` is False.
        """
        elapsed = self._meter.elapsed if self._elapsed is None else self._elapsed
        return self._sink.tally.summary(
            requests=self._engine.requests,
            elapsed=elapsed,
            complete=self._supply.complete,
            ended=self._engine.ended,
            unjournaled=self._engine.recorder.unjournaled,
        )

    @property
    def progress(self) -> Progress:
        """Where the call stands now."""
        return self._meter.snapshot(
            self._sink.tally.counts,
            total=self._supply.total,
            in_flight=self._drain.sending,
            requests=self._engine.requests,
            pace=self._engine.pace,
        )

    def stop(self) -> None:
        """Begin nothing new. The outcomes of what was read still come; what was not sent is NOT_SENT."""
        self._engine.stop(Ended.STOPPED)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ShareOutcome:
        while True:
            for outcome in self._at:
                return outcome
            if self._taken is not None:
                self._supply.consumed(self._taken.ids)
                self._taken = None
            if self._sink.waiting:
                settlement, self._taken = self._sink.waiting.popleft()
                self._at = map(settlement.of, self._taken.ids)
            elif self._engine.over:
                self._raise_failure()
                raise StopAsyncIteration
            else:
                await self._sink.bell.wait()

    async def __aenter__(self) -> Self:
        self._home = anyio.get_current_task().id
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._engine.run, self._supply.feed)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        if not self._engine.over:
            cancelled = kind is not None and issubclass(kind, anyio.get_cancelled_exc_class())
            self._engine.stop(Ended.CANCELLED if cancelled else Ended.LEFT)
            self._drain.begin()
        try:
            if anyio.get_current_task().id != self._home:
                await self._leave_from_elsewhere()
            # Told of no error, so that the task group does not wrap the caller's in an exception group.
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._elapsed = self._meter.elapsed

    async def _leave_from_elsewhere(self) -> NoReturn:
        """Wait for the engine, then raise, since another task than the one that entered leaves the block.

        This happens when a generator around the block is dropped: the event loop closes it. The task group
        can't be left from here, but nothing is left running in it.

        Raises:
            UsageError: If the wait is over. Its text says what to write instead, and its ``.report`` has
                every id that was read.
        """
        with anyio.move_on_after(self._drain.grace + _SLACK, shield=True):
            await self._engine.finished.wait()
        say(logging.WARNING, "a stream's block was left by another task than entered it: %r", self.report)
        raise _with_report(
            UsageError(
                "the block of open_cancel was left by another task than the one that entered it; around an"
                " async generator write: async with contextlib.aclosing(generator) as outcomes: ..."
            ),
            self.report,
        )

    def _tell(self) -> None:
        self._sink.ring()
        self._meter.tell(lambda: self.progress, last=self._engine.over)

    def _raise_failure(self) -> None:
        if self._engine.failure is not None:
            raise _with_report(self._engine.failure, self.report)


def _with_report(failure: Exception, report: CancelReport | CancelSummary) -> Exception:
    """The failure, which tells what was settled before it; a middleware's bug or a source's error too."""
    with suppress(Exception):  # a foreign class need not let itself be written on
        failure.report = report  # type: ignore[attr-defined]
        if not isinstance(failure, KooDriveError):
            failure.add_note(f"what was settled before is in this error's .report: {report!r}")
    return failure


def _check_journal(_: object, __: object, journal: Any) -> None:
    if journal is not None and not isinstance(journal, Journal):
        raise ConfigurationError(f"journal must be a Journal, not {type(journal).__name__}: Journal(path)")


def _check_callback(_: object, __: object, on_progress: Any) -> None:
    if on_progress is not None:
        check_callables("on_progress", [on_progress])


@attrs.frozen(slots=True)
class Job:
    """What all bulk calls have in common.

    Attributes:
        caller: Who makes the requests.
        operation: A batched one.
        rules: How codes of single ids are read.
        deadline: Seconds until nothing new begins, or None.
        grace: Seconds that sends may run on after a cancellation or the deadline.
        on_progress: Told how far it is, or None.
        journal: What remembers outcomes beyond the process, or None.
    """

    caller: Caller
    operation: Operation
    rules: Rules
    deadline: float | None = attrs.field(default=None, validator=optional_seconds)
    grace: float = attrs.field(default=GRACE, validator=seconds)
    on_progress: Callable[[Progress], None] | None = attrs.field(default=None, validator=_check_callback)

    journal: Journal | None = attrs.field(default=None, validator=_check_journal)

    def _engine(
        self, supply: Supply, sink: Sink, drain: Drain, keeper: Keeper | None, deadline: float | None
    ) -> Engine:
        return Engine(
            self.caller,
            self.operation,
            self.rules,
            supply,
            sink,
            drain,
            deadline=deadline,
            journal=keeper,
        )

    def keeper(self) -> AbstractAsyncContextManager[Keeper | None]:
        """The journal, open; None where there is none."""
        if self.journal is None:
            return nullcontext()
        sender = self.caller.sender
        return open_journal(
            self.journal,
            endpoint=str(sender.wire.endpoint),
            user_id=sender.gate.auth.credentials.user_id,
            operation=self.operation.name,
        )

    async def report(self, share_ids: ShareIds, drain: Drain) -> CancelReport:
        """Read and check all ids, then settle them. The deadline covers both.

        Raises:
            InvalidShareId: An id that can't be one; nothing was sent.
            KooDriveError: What stopped it, with a complete ``report``.
        """
        meter = Meter(self.on_progress, self.caller.now)
        ids, complete = await self._read(share_ids, meter)
        sink = ReportSink(ids)
        deadline = None if self.deadline is None else max(0.0, self.deadline - meter.elapsed)
        supply = ListSupply(ids, complete=complete)
        try:
            async with self.keeper() as keeper:
                engine = self._engine(supply, sink, drain, keeper, deadline)

                def snapshot() -> Progress:
                    return meter.snapshot(
                        sink.tally.counts,
                        total=len(ids) if complete else None,
                        in_flight=drain.sending,
                        requests=engine.requests,
                        pace=engine.pace,
                    )

                engine.recorder.on_delivery = lambda: meter.tell(snapshot, last=engine.over)
                await engine.run()
        except JournalFailed as error:  # on opening
            raise _with_report(error, unsent(ids, error, complete=complete)) from error.__cause__
        report = sink.report(
            requests=engine.requests,
            elapsed=meter.elapsed,
            complete=complete,
            ended=engine.ended,
            unjournaled=engine.recorder.unjournaled,
        )
        if engine.failure is not None:
            raise _with_report(engine.failure, report)
        return report

    async def attach_unread(self, error: KooDriveError, share_ids: ShareIds) -> None:
        """Attach a report to the error of a call that could not begin: with every id of a collection."""
        distinct: dict[str, None] = {}
        complete = isinstance(share_ids, Collection)
        if complete:  # reading anything else would run the source's code in vain
            with suppress(UsageError):
                await read_all(share_ids, distinct)
        _with_report(error, unsent(list(distinct), error, complete=complete))

    async def _read(self, share_ids: ShareIds, meter: Meter) -> tuple[list[str], bool]:
        """Return the ids, checked and distinct, and whether the deadline left time to read all of them."""
        distinct: dict[str, None] = {}
        complete = False
        # A collection is read in no time, and belongs in the report whatever the deadline.
        reading = None if isinstance(share_ids, Collection) else self.deadline
        try:
            with anyio.move_on_after(reading):
                await read_all(share_ids, distinct)
                complete = True
        except Exception as error:
            _with_report(error, unsent(list(distinct), error, complete=False, elapsed=meter.elapsed))
            raise
        return list(distinct), complete

    def stream(self, share_ids: ShareIds, drain: Drain, keeper: Keeper | None) -> CancelStream:
        """Settle ids as they are read and their outcomes taken."""
        sink = StreamSink()
        window = (self.caller.gate.pace.concurrency + 1) * BATCH_SIZE
        supply = StreamSupply(share_ids, window, self.caller.now)
        engine = self._engine(supply, sink, drain, keeper, self.deadline)
        return CancelStream(engine, supply, sink, drain, Meter(self.on_progress, self.caller.now))


def unsent(ids: list[str], error: Exception, *, complete: bool, elapsed: float = 0.0) -> CancelReport:
    """Make the report of a call that ended before it sent anything."""
    settlement = Settlement(Status.NOT_SENT, error=ended_by(error))
    return CancelReport.of_columns(
        ids, [settlement] * len(ids), elapsed=elapsed, complete=complete, ended=Ended.FAILED
    )


class OpenStream(AbstractAsyncContextManager[CancelStream]):
    """``async with`` around a stream: the client's life, the journal, the engine's tasks."""

    def __init__(self, job: Job, share_ids: ShareIds, life: Lifecycle) -> None:
        refuse_single(share_ids)
        self._job, self._share_ids, self._life = job, share_ids, life
        self._exits = AsyncExitStack()

    def __aiter__(self) -> NoReturn:
        raise UsageError(
            "open it first: `async with client.open_...(ids) as stream: async for outcome in stream`"
        )

    async def __aenter__(self) -> CancelStream:
        drain = Drain(self._job.grace)
        async with AsyncExitStack() as exits:
            try:
                exits.enter_context(self._life.using(drain))
                keeper = await exits.enter_async_context(self._job.keeper())
            except (JournalFailed, ClientClosed) as error:
                _with_report(error, CancelSummary(complete=False, ended=Ended.FAILED))
                raise
            stream = await exits.enter_async_context(self._job.stream(self._share_ids, drain, keeper))
            self._exits = exits.pop_all()
        return stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._exits.__aexit__(kind, error, trace)
