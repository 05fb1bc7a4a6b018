"""What the client notices of the weather, in a line: a hook that counts. Refuses to advise."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from koodrive_async.cli import show
from koodrive_async.core import errors, events


class Barometer:
    """A hook.

    Attributes:
        failures: Attempts that failed, by what one would call it.
        again: Requests that were not the first with their ids.
        closed: Whether the gate is closed now: all wait, because of an outage or a 429.
    """

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self.again = 0
        self.closed = False

    def __call__(self, event: events.Event) -> None:
        """Take an event in."""
        match event:
            case events.AttemptStarted(attempt=attempt) if attempt > 1:
                self.again += 1
            case events.AttemptFailed(error=error):
                self.failures[_name(error)] += 1
            case events.PaceChanged(closed=closed):
                self.closed = closed

    def line(self, to: Console) -> str:
        """All of it; empty as long as there is nothing to tell."""
        parts = [show.times(to, number, name) for name, number in sorted(self.failures.items())]
        if self.again:
            parts.append(f"{self.again:,} sent again")
        if not (parts or self.closed):
            return ""
        label = "waiting" if self.closed else "weather"
        return f" {label:<12}{show.dot(to).join(parts)}"


def _name(error: errors.KooDriveError) -> str:
    match error:
        case errors.ApiError(status=status) if status:
            return str(status)
        case errors.ConnectFailed():
            return "no connection"
        case errors.AttemptTimeout():
            return "timed out"
        case errors.TransportFailure():
            return "connection lost"
    return "bad reply"
