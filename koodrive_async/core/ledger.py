"""What a journal keeps of outcomes, and of ids that are under way; the pure half of ``shell/journal.py``.

A settlement becomes one line of JSON and comes back equal, with an error of the same class. Refuses
to bring back anything but the classes listed here: a journal is data, whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from koodrive_async.core import errors
from koodrive_async.core.errors import ApiError, ConnectionLost, KooDriveError, Sent, TransportFailure
from koodrive_async.core.outcomes import Settlement, Status
from koodrive_async.core.secrets import scrub

_KINDS: Mapping[str, type[KooDriveError]] = MappingProxyType(
    {
        cls.__name__: cls
        for cls in (
            KooDriveError,
            TransportFailure,
            errors.ConnectFailed,
            errors.AttemptTimeout,
            ConnectionLost,
            ApiError,
            errors.AuthFailed,
            errors.ClockSkewed,
            errors.Forbidden,
            errors.NotFound,
            errors.InvalidRequest,
            errors.Throttled,
            errors.ServerFault,
            errors.BadReply,
            errors.CallEnded,
            errors.JournalFailed,
            errors.UnexpectedCancellation,
        )
    }
)

#: Of ids that were about to be sent when their process died: perhaps they were, perhaps just not.
INTERRUPTED = Settlement(
    Status.UNKNOWN,
    error=ConnectionLost("an earlier run ended before the answer came", sent=Sent.MAYBE),
)


def lasting(settlement: Settlement) -> bool:
    """Whether it says something that the next run must know.

    What is final is not asked again; what is UNKNOWN is, and stays UNKNOWN until an answer settles
    it. The rest (NOT_SENT, refused for a passing reason) is asked again as if for the first time.
    """
    return settlement.status is Status.UNKNOWN or not settlement.retryable


def write(settlement: Settlement) -> str:
    """One line of JSON; what is empty is left out."""
    error = settlement.error
    record = {
        "status": settlement.status.value,
        "code": settlement.code,
        "message": scrub(settlement.message),
        "attempts": settlement.attempts,
        "trace_id": settlement.trace_id,
        "answered": settlement.answered,
        "told": settlement.told,
        "error": None if error is None else _write_error(error),
    }
    kept = {name: value for name, value in record.items() if value}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def _write_error(error: KooDriveError) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": next(cls.__name__ for cls in type(error).__mro__ if cls in _KINDS.values()),
        "trace_id": error.trace_id,
        "attempts": error.attempts,
        "retryable": error.retryable,
        "ambiguous": error.ambiguous,
        "gave_up": error.gave_up,
    }
    if isinstance(error, ApiError):
        record |= {
            "message": scrub(error.message),
            "status": error.status,
            "code": error.code,
            "request_id": error.request_id,
        }
    else:
        record["message"] = scrub(str(error.args[0])) if error.args else ""
    if isinstance(error, TransportFailure):
        record["sent"] = error.sent.value
    return record


def read(text: str) -> Settlement:
    """The settlement that was written.

    Raises:
        ValueError: The text was not made by `write`.
    """
    try:
        record = json.loads(text)
        error = record.get("error")
        return Settlement(
            status=Status(record["status"]),
            code=str(record.get("code", "")),
            message=str(record.get("message", "")),
            attempts=int(record.get("attempts", 0)),
            trace_id=str(record.get("trace_id", "")),
            error=None if error is None else _read_error(error),
            answered=bool(record.get("answered", False)),
            told=bool(record.get("told", False)),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a settlement: {type(error).__name__}") from None


def _read_error(record: Mapping[str, Any]) -> KooDriveError:
    cls = _KINDS[record["kind"]]
    details: dict[str, Any] = {}
    if issubclass(cls, ApiError):
        details = {name: record[name] for name in ("status", "code", "request_id")}
    elif issubclass(cls, TransportFailure):
        details = {"sent": Sent(record["sent"])}
    error = cls(
        str(record["message"]),
        trace_id=str(record["trace_id"]),
        attempts=int(record["attempts"]),
        **details,
    )
    error.ambiguous = bool(record["ambiguous"])
    error.gave_up = str(record["gave_up"])
    retryable = bool(record["retryable"])
    if retryable is not error.retryable:
        error.retryable = retryable  # said of this very id, not of the class
    return error


class Intents:
    """Batches that were about to be sent, by number, until each of their ids has its outcome."""

    __slots__ = ("_last", "_left", "_of")

    def __init__(self) -> None:
        self._of: dict[str, int] = {}
        self._left: dict[int, int] = {}
        self._last = 0

    def open(self, ids: Iterable[str]) -> tuple[int, Sequence[str]]:
        """Those of the ids that are not under way already, and their number: one more than the last one."""
        new = [share_id for share_id in dict.fromkeys(ids) if share_id not in self._of]
        if new:
            self._last += 1
            self._of.update(dict.fromkeys(new, self._last))
            self._left[self._last] = len(new)
        return self._last, new

    def close(self, ids: Iterable[str]) -> Sequence[int]:
        """The numbers of which nothing is left now that these ids have their outcome."""
        over = []
        for share_id in ids:
            number = self._of.pop(share_id, None)
            if number is None:
                continue
            self._left[number] -= 1
            if not self._left[number]:
                del self._left[number]
                over.append(number)
        return over
