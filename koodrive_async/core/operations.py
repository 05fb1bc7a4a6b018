"""Every operation of the share API in one place: method, path, what repeating it does, its page.

Paths and pages: koodrive-api section 5. Refuses to know bodies and models; those are the client's.
"""

from __future__ import annotations

from enum import Enum

import attrs

from koodrive_async.core.errors import UsageError
from koodrive_async.core.wire import percent_encode

BASE = "/koodrive/ose/v1"


class Repeat(Enum):
    """When a request may be sent again after a transient failure."""

    ALWAYS = "always"
    """It reads, or the end state of two is that of one."""
    IF_NOT_DONE = "if not done"
    """Only when for certain the service did not act: nothing was sent, or the gateway refused it."""


@attrs.frozen(slots=True)
class Operation:
    """One operation of the service.

    Attributes:
        name: The service's name, also that of its page.
        method: The HTTP method.
        path: Below `BASE`; ``{}`` stands for one percent-encoded segment.
        repeat: When it may be sent again.
        page: The page that documents it.
        authenticated: Whether it takes credentials.
        batched: Whether the reply answers for single ids.
    """

    name: str
    method: str
    path: str
    repeat: Repeat
    page: str
    authenticated: bool = True
    batched: bool = False

    def url_path(self, *segments: str) -> str:
        """The absolute path, encoded as on the wire.

        Raises:
            UsageError: A segment is empty or would change the path.
        """
        for segment in segments:
            if not segment.strip(". ") or any("\ud800" <= char <= "\udfff" for char in segment):
                raise UsageError(f"{self.name}: {segment!r} can't stand in a path")
        return BASE + self.path.format(*(percent_encode(segment) for segment in segments))


BATCH_CANCEL = Operation(
    "batchCancel", "POST", "/share/cancel", Repeat.ALWAYS, "batchCancel.html", batched=True
)
GET_SHARE_INFO = Operation("getShareInfo", "GET", "/share/userInfo", Repeat.ALWAYS, "getShareInfo.html")
