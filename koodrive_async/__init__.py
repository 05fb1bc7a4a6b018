"""Async client for the share APIs of Huawei Cloud KooDrive: every id ends in exactly one honest outcome."""

from koodrive_async.client import AsyncShareClient
from koodrive_async.core.credentials import AppCredentials, Credentials, TokenCredentials
from koodrive_async.core.errors import (
    ApiError,
    AttemptTimeout,
    AuthFailed,
    BadReply,
    CancelIncomplete,
    ClientClosed,
    ClockSkewed,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    Forbidden,
    InvalidRequest,
    InvalidShareId,
    JournalFailed,
    KooDriveError,
    NotFound,
    Sent,
    ServerFault,
    Throttled,
    TransportFailure,
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
from koodrive_async.core.models import CancelReply, CommonShareLink, SharePermission, ShareSubResponse
from koodrive_async.core.outcomes import ShareOutcome, Status
from koodrive_async.core.report import CancelReport, CancelSummary
from koodrive_async.core.settings import Network, Pace, RetryPolicy, Timeout
from koodrive_async.core.wire import Middleware, Reply, Request, Send
from koodrive_async.shell.journal import Journal
from koodrive_async.shell.stream import CancelStream

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "AppCredentials",
    "AsyncShareClient",
    "AttemptFailed",
    "AttemptStarted",
    "AttemptTimeout",
    "AuthFailed",
    "BadReply",
    "BatchSettled",
    "CancelIncomplete",
    "CancelReply",
    "CancelReport",
    "CancelStream",
    "CancelSummary",
    "ClientClosed",
    "ClockCorrected",
    "ClockSkewed",
    "CommonShareLink",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectionLost",
    "Credentials",
    "Event",
    "Forbidden",
    "Hook",
    "InvalidRequest",
    "InvalidShareId",
    "Journal",
    "JournalFailed",
    "KooDriveError",
    "Middleware",
    "Network",
    "NotFound",
    "Pace",
    "PaceChanged",
    "Progress",
    "Reply",
    "Request",
    "RetryPolicy",
    "RetryScheduled",
    "Send",
    "Sent",
    "ServerFault",
    "ShareOutcome",
    "SharePermission",
    "ShareSubResponse",
    "Status",
    "Throttled",
    "Timeout",
    "TokenCredentials",
    "TransportFailure",
    "UsageError",
    "WrongEventLoop",
]
