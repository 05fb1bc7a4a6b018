"""Takes a stream of outcomes to its end, whatever ends it: the source, a failure, or Ctrl-C.

The first signal stops sending and waits for what is under way; the second one waits for the grace
period only. Refuses to decide what an outcome looks like, and what the exit status is.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio
import attrs
from anyio import CancelScope
from rich.text import Text

from koodrive_async.cli import show
from koodrive_async.cli.board import Board
from koodrive_async.core.errors import KooDriveError
from koodrive_async.core.outcomes import ShareOutcome
from koodrive_async.core.report import CancelSummary
from koodrive_async.shell.drain import GRACE
from koodrive_async.shell.stream import CancelStream

#: Seconds between two looks at the progress.
_TICK = 0.1

Take = Callable[[ShareOutcome], Awaitable[None]]


@attrs.frozen
class Ending:
    """How it ended.

    Attributes:
        report: What became of everything that was read.
        error: What stopped it: the client's error, or the trouble of reading and writing; or None.
        signal: The number of the signal that stopped it, or 0.
    """

    report: CancelSummary
    error: KooDriveError | OSError | None = None
    signal: int = 0


async def follow(
    opening: AbstractAsyncContextManager[CancelStream], take: Take, board: Board, *, read: Callable[[], bool]
) -> Ending:
    """Hand every outcome to `take`, keep the board up to date, heed signals.

    Args:
        opening: The stream, not entered yet.
        take: Gets each outcome; an `OSError` of its own ends it all.
        board: Shows the progress.
        read: Whether the source was read to its end; until then its size is not known.

    Raises:
        KooDriveError: The stream could not be opened: the journal's fault.
    """
    signals: list[int] = []
    stream: CancelStream | None = None
    error: KooDriveError | OSError | None = None
    async with anyio.create_task_group() as tasks:
        try:
            async with opening as stream:
                tasks.start_soon(_tick, stream, board, read)
                if _signals_arrive():
                    tasks.start_soon(_heed, stream, board, signals, tasks.cancel_scope)
                error = await _take_all(stream, take)
        except KooDriveError as caught:  # here, so that no group is made of it
            error = caught
        tasks.cancel_scope.cancel()
    if stream is None:
        assert error is not None
        raise error
    if len(signals) > 1:
        error = await _take_all(stream, take)  # what was drained after the second signal
    _look(stream, board, read)
    return Ending(stream.report, error, signals[0] if signals else 0)


async def _take_all(stream: CancelStream, take: Take) -> KooDriveError | OSError | None:
    try:
        async for outcome in stream:
            await take(outcome)
    except (KooDriveError, OSError) as error:
        return error
    return None


def _look(stream: CancelStream, board: Board, read: Callable[[], bool]) -> None:
    progress = stream.progress
    board.update(progress if read() else attrs.evolve(progress, total=None))


async def _tick(stream: CancelStream, board: Board, read: Callable[[], bool]) -> None:
    while True:
        _look(stream, board, read)
        await anyio.sleep(_TICK)


async def _heed(stream: CancelStream, board: Board, signals: list[int], everything: CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async for number in received:
            signals.append(number)
            if len(signals) > 1:
                everything.cancel()
                return
            stream.stop()
            board.say(_farewell(stream.progress.in_flight))


def _signals_arrive() -> bool:
    """Python delivers signals to the main thread, and Windows' event loops hear none."""
    return sys.platform != "win32" and threading.current_thread() is threading.main_thread()


def _farewell(in_flight: int) -> Text:
    if not in_flight:
        return Text(" stopping: nothing is under way", style=show.UNSURE)
    what = "1 request" if in_flight == 1 else f"{in_flight} requests"
    again = f"Ctrl-C again: for {GRACE:.0f} s at most"
    return Text(f" stopping: {what} under way may end ({again})", style=show.UNSURE)
