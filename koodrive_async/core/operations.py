"""Every operation of the API in one place: method, path, what repeating it does, its page.

Paths and pages: koodrive-api sections 5 and 3. Refuses to know bodies and models; those are the client's.
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


# -- shared by you --------------------------------------------------------------------------------

CREATE_SHARE = Operation("createShare", "POST", "/share", Repeat.IF_NOT_DONE, "createShare.html")
LIST_SHARE_BY_ME = Operation("listShareByMe", "GET", "/share", Repeat.ALWAYS, "listShareByMe.html")
GET_SHARE_BY_ME_DETAIL = Operation(
    "getShareByMeDetail", "GET", "/share/{}", Repeat.ALWAYS, "getShareByMeDetail.html"
)
#: The same settings twice are the settings.
UPDATE_SHARE = Operation("updateShare", "PUT", "/share/{}", Repeat.ALWAYS, "updateShare.html")
BATCH_CANCEL = Operation(
    "batchCancel", "POST", "/share/cancel", Repeat.ALWAYS, "batchCancel.html", batched=True
)

# -- shared with you ------------------------------------------------------------------------------

LIST_SHARE_WITH_ME = Operation(
    "listShareWithMe", "GET", "/share/received", Repeat.ALWAYS, "listShareWithMe.html"
)
GET_SHARE_WITH_ME_DETAIL = Operation(
    "getShareWithMeDetail", "GET", "/share/received/{}", Repeat.ALWAYS, "getShareWithMeDetail.html"
)
EXIT_SHARE = Operation("exitShare", "POST", "/share/exit", Repeat.ALWAYS, "exitShare.html", batched=True)

# -- access links ---------------------------------------------------------------------------------

#: A visit that is repeated after a lost reply may count as two views.
VISIT_SHARE = Operation("visitShare", "GET", "/share/visit", Repeat.ALWAYS, "visitShare.html")
GET_SHARE_INFO = Operation("getShareInfo", "GET", "/share/userInfo", Repeat.ALWAYS, "getShareInfo.html")
#: Whether wrong codes lock a link is not documented, so one call is at most one try that counts.
VERIFY_EXTRACT_CODE = Operation(
    "verifyExtractCode", "POST", "/share/verify", Repeat.IF_NOT_DONE, "verifyExtractCode.html"
)
LIST_SHARE_FILES = Operation("listShareFiles", "POST", "/share/files", Repeat.ALWAYS, "listShareFiles.html")
DOWNLOAD_SHARE_FILE = Operation(
    "downloadShareFile", "POST", "/share/download", Repeat.ALWAYS, "downloadShareFile.html"
)
CREATE_BATCH_TASK = Operation(
    "createBatchTask", "POST", "/share/tasks", Repeat.IF_NOT_DONE, "createBatchTask.html"
)
GET_BATCH_TASK = Operation("getBatchTask", "POST", "/share/taskDetail", Repeat.ALWAYS, "getBatchTask.html")

# -- the carrier's public calls -------------------------------------------------------------------

VERIFY_EXTRACT_CODE_PUBLIC = Operation(
    "verifyExtractCodePublic",
    "POST",
    "/share/public/verify",
    Repeat.IF_NOT_DONE,
    "verifyExtractCodePublic.html",
    authenticated=False,
)
LIST_SHARE_FILES_PUBLIC = Operation(
    "listShareFilesPublic",
    "POST",
    "/share/public/files",
    Repeat.ALWAYS,
    "listShareFilesPublic.html",
    authenticated=False,
)
VISIT_SHARE_PUBLIC = Operation(
    "visitSharePublic",
    "GET",
    "/share/public/visit",
    Repeat.ALWAYS,
    "visitSharePublic.html",
    authenticated=False,
)

# -- sessions: what the token providers ask -------------------------------------------------------

REFRESH_SESSION = Operation(
    "refreshSession",
    "POST",
    "/session/refresh",
    Repeat.ALWAYS,
    "refreshSession.html",
    authenticated=False,
)
#: A verification code serves once, and wrong passwords may lock an account.
LOGIN = Operation("Login", "POST", "/auth/login", Repeat.IF_NOT_DONE, "Login.html", authenticated=False)
#: If a lost reply took the refresh token with it, the second one is refused, and a login follows.
REFRESH_TOKEN = Operation(
    "RefreshToken", "POST", "/auth/refreshToken", Repeat.ALWAYS, "RefreshToken.html", authenticated=False
)
