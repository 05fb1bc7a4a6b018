"""What the fault tests have in common: a fault that passes, one that stays, and what must hold after both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs

from koodrive_async import (
    AsyncShareClient,
    AttemptFailed,
    CancelReport,
    Ended,
    KooDriveError,
    RetryPolicy,
    Sent,
    Status,
    TransportFailure,
)
from koodrive_async.testing import Emulator, Fault
from tests.conftest import QUICK, Connect
from tests.engine.kit import report_of
from tests.support.chaos import Behaviour, ChaosProxy, PassThrough
from tests.support.threaded import until

#: Two attempts, and so two more as a second chance: four requests for a fault that stays.
FEW = RetryPolicy(attempts=2, base=0.002, cap=0.01)

#: No test waits longer than this for a call; most are over in milliseconds.
LONG = 20


def address(url: str) -> tuple[str, int]:
    host, _, port = url.partition("://")[2].partition(":")
    return host, int(port)


def always(fault: Fault | None) -> Any:
    return lambda _seen: fault


def statuses(report: CancelReport) -> dict[str, int]:
    """The statuses that occur, and how often."""
    return {str(status): count for status, count in report.counts.items() if count}


@attrs.define
class Made:
    """Clients whose every failed attempt is noted, and who leave nothing behind."""

    connect: Connect
    failures: list[KooDriveError] = attrs.field(factory=list)

    @asynccontextmanager
    async def client(self, where: Any, who: Any = None, **options: Any) -> AsyncIterator[AsyncShareClient]:
        """A client of a server that counts its `open_connections`; none are left when it is closed."""
        hooks = (self._note, *options.pop("hooks", ()))
        async with self.connect(where, who, hooks=hooks, **options) as client:
            yield client
        if hasattr(where, "open_connections"):
            await until(lambda: not where.open_connections)

    def _note(self, event: object) -> None:
        if isinstance(event, AttemptFailed):
            self.failures.append(event.error)


class Line:
    """An emulator behind a `ChaosProxy`, and three lots of shares: for a fault that passes, for one that
    stays, and one more share to see that all is well again.
    """

    def __init__(self, emulator: Emulator, proxy: ChaosProxy, connect: Connect) -> None:
        self.emulator, self.proxy = emulator, proxy
        self.made = Made(connect)
        ids = emulator.share_ids
        self.passing, self.staying, self.spare = ids[:100], ids[100:200], ids[200]

    @property
    def failures(self) -> list[KooDriveError]:
        """Every failed attempt so far."""
        return self.made.failures

    @asynccontextmanager
    async def client(self, who: Any = None, **options: Any) -> AsyncIterator[AsyncShareClient]:
        """A client through the proxy; at its end no connection is left, on either side of it."""
        async with self.made.client(self.proxy, who, **options) as client:
            yield client
        await until(lambda: not self.emulator.open_connections)

    async def is_well(self, client: AsyncShareClient) -> None:
        """The fault is over, and this client does its next call at once."""
        self.emulator.behave()
        self.proxy.default = PassThrough()
        assert not self.proxy.scripted
        with anyio.fail_after(LONG):
            report = await client.cancel([self.spare])
        assert report.outcomes[0].status is Status.CANCELLED or self.emulator.is_cancelled(self.spare)
        assert report.requests == 1

    def once(self, fault: Behaviour | Fault) -> None:
        if isinstance(fault, Behaviour):
            self.proxy.script(fault)
        else:
            self.emulator.script(fault)

    def always(self, fault: Behaviour | Fault) -> None:
        if isinstance(fault, Behaviour):
            self.proxy.default = fault
        else:
            self.emulator.inject(always(fault))

    async def suffers(
        self,
        fault: Behaviour | Fault,
        error: type[KooDriveError],
        *,
        acted: bool,
        seen: bool | None = None,
        sent: Sent = Sent.MAYBE,
        finally_: Status = Status.UNKNOWN,
        **options: Any,
    ) -> tuple[KooDriveError, CancelReport]:
        """The fault passes: all ends well at the second attempt. It stays: all ends honestly.

        Where it was never answered at all the call raises that error, else its outcomes have it.

        Args:
            fault: On the line, or in the emulator.
            error: What each attempt fails with, exactly.
            acted: Whether the service cancels the shares all the same.
            seen: Whether the service sees the request; None: as `acted`.
            sent: What a `TransportFailure` says.
            finally_: What every id ends in when the fault stays.
            **options: Of the client.

        Returns:
            The error of the attempt that failed in the first part, and the report of the second.
        """
        failure = await self._passes(fault, acted=acted, seen=acted if seen is None else seen, **options)
        assert type(failure) is error, failure
        if isinstance(failure, TransportFailure):
            assert (failure.sent, failure.permanent) == (sent, False)
        report = await self._stays(fault, error, acted=acted, finally_=finally_, **options)
        for outcome in report.outcomes:
            assert type(outcome.error) is error
            assert outcome.error.ambiguous is (finally_ is Status.UNKNOWN)
            assert outcome.error.gave_up == "attempts"
            assert outcome.error.attempts == 2  # those of the second chance
        return failure, report

    async def _passes(self, fault: Any, *, acted: bool, seen: bool, **options: Any) -> KooDriveError:
        self.once(fault)
        async with self.client(**{"retry": QUICK, **options}) as client:
            with anyio.fail_after(LONG):
                report = await client.cancel(self.passing)
            failures = list(self.failures)
            assert statuses(report) == {"already_gone" if acted else "cancelled": 100}
            assert report
            assert {outcome.attempts for outcome in report.outcomes} == {2}
            assert report.requests == 2
            assert self.emulator.requests == 1 + seen
            assert self.emulator.cancelled == set(self.passing)
            assert len({entry.trace_id for entry in self.emulator.log}) == 1 + seen
            if seen:
                first, second = self.emulator.log
                assert first.body == second.body
            await self.is_well(client)
        (failure,) = failures
        assert len(failure.trace_id) == 58
        return failure

    async def _stays(
        self, fault: Any, error: type[KooDriveError], *, acted: bool, finally_: Status, **options: Any
    ) -> CancelReport:
        self.always(fault)
        before = self.emulator.cancelled_count
        async with self.client(**{**options, "retry": FEW}) as client:
            with anyio.fail_after(LONG):
                report, raised = await report_of(client.cancel(self.staying))
            answered = not issubclass(error, TransportFailure)
            assert type(raised) is (type(None) if answered else error), raised
            assert (report.complete, report.ended) == (True, Ended.EXHAUSTED if answered else Ended.FAILED)
            assert statuses(report) == {str(finally_): 100}
            assert not report
            assert list(report.retryable_ids) == self.staying
            assert {outcome.attempts for outcome in report.outcomes} == {report.requests} == {4}
            assert self.emulator.cancelled_count - before == (100 if acted else 0)
            self.emulator.behave()
            self.proxy.default = PassThrough()
            with anyio.fail_after(LONG):
                again = await client.cancel(report.retryable_ids)
            assert statuses(again) == {"already_gone" if acted else "cancelled": 100}
            assert again.requests == 1
        return report
