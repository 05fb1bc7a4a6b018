"""What callers hand in, checked before anything is sent, and the bodies and queries made of it.

Limits: koodrive-api section 7. An argument that is None is left out of the request; an empty list is sent.
Refuses to correct anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from koodrive_async.core.batching import check_text
from koodrive_async.core.codec import camel
from koodrive_async.core.errors import UsageError
from koodrive_async.core.jsontext import dump
from koodrive_async.core.models import SharePermission
from koodrive_async.core.objects import LinkAccess, TaskTarget, TaskType

Query = tuple[tuple[str, str], ...]

#: Page createShare.html (carrier): "length 1..100"; createBatchTask.html (carrier): 1..1000.
MAX_FILES, MAX_TASK_FILES = 100, 1000
#: Page createShare.html: 1..365; updateShare.html: 0..365, 0 = leave unchanged.
MAX_DAYS = 365
#: Page createShare.html (carrier): "< 512 characters".
MAX_COMMENT = 511
#: Page listShareByMe.html.
MAX_PAGE = 100

_EXTRACT_CODE = re.compile(r"[0-9a-zA-Z]{8}")


# -- checks ---------------------------------------------------------------------------------------


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number within bounds.

    Raises:
        UsageError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{name} must be a whole number of {low}..{high}, not {value!r}")
    return int(value)


def one_of(name: str, value: object, allowed: Sequence[int]) -> int:
    """One of some numbers.

    Raises:
        UsageError: It is none of them.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise UsageError(f"{name} must be one of {', '.join(map(str, allowed))}, not {value!r}")
    return int(value)


def direction(value: object) -> int:
    """A direction of sorting.

    Raises:
        UsageError: It is none.
    """
    return one_of("sort_direction", value, (1, 2))


def seconds(name: str, value: object) -> float:
    """A time above 0.

    Raises:
        UsageError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UsageError(f"{name} must be seconds above 0, not {value!r}")
    return float(value)


def flag(name: str, value: object) -> bool:
    """Yes or no.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be True or False, not {value!r}")
    return value


def text(name: str, value: object) -> str:
    """Any text that can be sent, the empty one too.

    Raises:
        UsageError: It is no string, or has lone surrogates.
    """
    if not isinstance(value, str) or any("\ud800" <= char <= "\udfff" for char in value):
        raise UsageError(f"{name} must be a str that can be encoded")
    return str.__str__(value)


def texts(name: str, values: object, low: int = 0, high: int | None = None) -> list[str]:
    """A list of non-empty texts; not one ``str``.

    Raises:
        UsageError: It is none, or has too few or too many.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UsageError(f"{name} must be a collection of texts, not {type(values).__name__}")
    made = [check_text(f"{name}[{place}]", value) for place, value in enumerate(values)]
    if len(made) < low or (high is not None and len(made) > high):
        bounds = f"{low}..{high}" if high is not None else f"at least {low}"
        raise UsageError(f"{name} must have {bounds} items, not {len(made)}")
    return made


def extract_code(value: object, *, may_be_empty: bool = False) -> str:
    """An access code: 8 letters or digits. The value is not repeated in the error: it is a secret.

    Raises:
        UsageError: It is none.
    """
    if may_be_empty and value == "":
        return ""
    if not isinstance(value, str) or not _EXTRACT_CODE.fullmatch(value):
        raise UsageError("extract_code must have exactly 8 characters of 0-9, a-z, A-Z")
    return value


def comment(value: object, *, carrier: bool) -> str:
    """A note; in the carrier edition shorter than 512 characters.

    Raises:
        UsageError: It is no text, or too long.
    """
    note = text("comment", value)
    if carrier and len(note) > MAX_COMMENT:
        raise UsageError(f"comment must have at most {MAX_COMMENT} characters, not {len(note)}")
    return note


def moment(name: str, value: object) -> datetime:
    """An aware time.

    Raises:
        UsageError: It is none: without a zone it could mean several.
    """
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise UsageError(f"{name} must be an aware datetime, such as datetime.now(UTC)")
    return value


def expire_time(value: object, form: str) -> str:
    """An expiry time: an aware datetime in the form of a page, or a text as it is.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(value, str):
        return check_text("expire_time", value)
    return moment("expire_time", value).astimezone(UTC).strftime(form)


#: Page createShare.html (carrier): "yyyy-MM-dd HH:mm:ss"; it names no zone, UTC is assumed.
CREATE_TIME = "%Y-%m-%d %H:%M:%S"
#: The example of page updateShare.html (carrier).
UPDATE_TIME = "%Y-%m-%dT%H:%M:%S.000Z"


# -- bodies ---------------------------------------------------------------------------------------


def body(**fields: Any) -> bytes:
    """The JSON of the fields that are not None, under their names on the wire."""
    return dump({camel(name): value for name, value in fields.items() if value is not None})


def query(**fields: str | int | None) -> Query:
    """The query of the fields that are not None, likewise."""
    return tuple((camel(name), str(value)) for name, value in fields.items() if value is not None)


def share_settings(
    *,
    dept_ids: Iterable[str] | None,
    group_ids: Iterable[str] | None,
    user_ids: Iterable[str] | None,
    permission: SharePermission | None,
) -> dict[str, Any]:
    """What createShare and updateShare have in common, checked.

    Raises:
        UsageError: A value that can't be one.
    """
    if permission is not None and not isinstance(permission, SharePermission):
        raise UsageError(f"permission must be a SharePermission, not {type(permission).__name__}")
    return {
        "dept_ids": None if dept_ids is None else texts("dept_ids", dept_ids),
        "group_ids": None if group_ids is None else texts("group_ids", group_ids),
        "user_ids": None if user_ids is None else texts("user_ids", user_ids),
        "permission": None if permission is None else _permission(permission),
    }


def _permission(permission: SharePermission) -> dict[str, bool]:
    rights = {
        "preview": permission.preview,
        "edit": permission.edit,
        "download": permission.download,
    }
    return {name: right for name, right in rights.items() if right is not None}


def token_of(access: LinkAccess | None) -> str | None:
    """The ``kdstoken`` to send, if there is one.

    Raises:
        UsageError: It is something else than what `verify_extract_code` returns.
    """
    if access is None:
        return None
    if not isinstance(access, LinkAccess):
        raise UsageError(f"access must be what verify_extract_code returns, not {type(access).__name__}")
    return access.kdstoken.reveal()


def target(value: TaskTarget | None, task_type: int, *, carrier: bool) -> dict[str, str] | None:
    """Where a task saves to; the carrier edition must be told.

    Raises:
        UsageError: It is missing there, or something else.
    """
    if value is None:
        if carrier and task_type == TaskType.SAVE:
            raise UsageError("a task that saves needs a target in the carrier edition")
        return None
    if not isinstance(value, TaskTarget):
        raise UsageError(f"target must be a TaskTarget, not {type(value).__name__}")
    return {
        "fileId": check_text("target.file_id", value.file_id),
        "containerId": check_text("target.container_id", value.container_id),
    }
