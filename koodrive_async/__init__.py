"""Async client for the share APIs of Huawei Cloud KooDrive: every id ends in exactly one honest outcome.

The names are loaded when they are first asked for: who imports the package for its errors, say, or for a
command's help does not wait for an HTTP stack.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koodrive_async.client import AsyncShareClient
    from koodrive_async.core.credentials import (
        AccessToken,
        AppCredentials,
        Credentials,
        PublicAccess,
        TokenCredentials,
    )
    from koodrive_async.core.errors import (
        ApiError,
        AttemptTimeout,
        AuthFailed,
        BadReply,
        CallEnded,
        CancelIncomplete,
        ClientClosed,
        ClockSkewed,
        ConfigurationError,
        ConnectFailed,
        ConnectionLost,
        CursorRepeated,
        Forbidden,
        InvalidRequest,
        InvalidShareId,
        JournalFailed,
        KooDriveError,
        MalformedItemFound,
        NotFound,
        Sent,
        ServerFault,
        TaskNotDone,
        Throttled,
        TransportFailure,
        UnexpectedCancellation,
        UsageError,
        WrongEventLoop,
    )
    from koodrive_async.core.events import (
        AttemptFailed,
        AttemptStarted,
        BatchSettled,
        ClockCorrected,
        Event,
        Hook,
        PaceChanged,
        Progress,
        RetryScheduled,
    )
    from koodrive_async.core.finding import Age, CancelPlan
    from koodrive_async.core.models import (
        CancelReply,
        CommonShareLink,
        CreatedShare,
        Recipient,
        ShareByMeLink,
        ShareByMeLinkDetail,
        ShareFileInfo,
        SharePermission,
        ShareScope,
        ShareSubResponse,
        UpdatedShare,
    )
    from koodrive_async.core.objects import (
        CreatedTask,
        DownloadUrl,
        LinkAccess,
        ShareFile,
        ShareTask,
        TaskResult,
        TaskStatus,
        TaskTarget,
        TaskType,
    )
    from koodrive_async.core.outcomes import Ended, ShareOutcome, Status
    from koodrive_async.core.pages import MalformedItem, Page, SortDirection, SortType
    from koodrive_async.core.received import ShareWithMeLink, ShareWithMeLinkDetail
    from koodrive_async.core.report import CancelReport, CancelSummary
    from koodrive_async.core.settings import Network, Pace, RetryPolicy, Timeout
    from koodrive_async.core.times import ShareState, share_state
    from koodrive_async.core.wire import Middleware, Reply, Request, Send
    from koodrive_async.shell.finding import FoundShares
    from koodrive_async.shell.journal import Journal
    from koodrive_async.shell.pages import Listing, PageIterator
    from koodrive_async.shell.providers import CarrierLogin, EnterpriseSession
    from koodrive_async.shell.stream import CancelStream

__version__ = "0.1.0"

__all__ = [
    "AccessToken",
    "Age",
    "ApiError",
    "AppCredentials",
    "AsyncShareClient",
    "AttemptFailed",
    "AttemptStarted",
    "AttemptTimeout",
    "AuthFailed",
    "BadReply",
    "BatchSettled",
    "CallEnded",
    "CancelIncomplete",
    "CancelPlan",
    "CancelReply",
    "CancelReport",
    "CancelStream",
    "CancelSummary",
    "CarrierLogin",
    "ClientClosed",
    "ClockCorrected",
    "ClockSkewed",
    "CommonShareLink",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectionLost",
    "CreatedShare",
    "CreatedTask",
    "Credentials",
    "CursorRepeated",
    "DownloadUrl",
    "Ended",
    "EnterpriseSession",
    "Event",
    "Forbidden",
    "FoundShares",
    "Hook",
    "InvalidRequest",
    "InvalidShareId",
    "Journal",
    "JournalFailed",
    "KooDriveError",
    "LinkAccess",
    "Listing",
    "MalformedItem",
    "MalformedItemFound",
    "Middleware",
    "Network",
    "NotFound",
    "Pace",
    "PaceChanged",
    "Page",
    "PageIterator",
    "Progress",
    "PublicAccess",
    "Recipient",
    "Reply",
    "Request",
    "RetryPolicy",
    "RetryScheduled",
    "Send",
    "Sent",
    "ServerFault",
    "ShareByMeLink",
    "ShareByMeLinkDetail",
    "ShareFile",
    "ShareFileInfo",
    "ShareOutcome",
    "SharePermission",
    "ShareScope",
    "ShareState",
    "ShareSubResponse",
    "ShareTask",
    "ShareWithMeLink",
    "ShareWithMeLinkDetail",
    "SortDirection",
    "SortType",
    "Status",
    "TaskNotDone",
    "TaskResult",
    "TaskStatus",
    "TaskTarget",
    "TaskType",
    "Throttled",
    "Timeout",
    "TokenCredentials",
    "TransportFailure",
    "UnexpectedCancellation",
    "UpdatedShare",
    "UsageError",
    "WrongEventLoop",
    "share_state",
]

#: Where the names live; what loads quickly first. A name is looked for from the left.
_HOMES = (
    "core.errors",
    "core.outcomes",
    "core.report",
    "core.times",
    "core.settings",
    "core.credentials",
    "core.wire",
    "core.events",
    "core.models",
    "core.objects",
    "core.received",
    "core.pages",
    "core.finding",
    "shell.journal",
    "shell.pages",
    "shell.finding",
    "shell.providers",
    "shell.stream",
    "client",
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"{__name__}.{home}")
            if hasattr(module, name):
                value = globals()[name] = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
