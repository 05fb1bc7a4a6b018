"""The share service in a box, for demos and for the tests of your own code.

    with Emulator(shares=1_000) as emulator:
        emulator.script(throttled(retry_after=1), lost_reply())
        ...  # a client against emulator.url, with the token "demo-token"
        assert len(emulator.cancelled) == 1_000

It needs the extra: `pip install 'koodrive-async[emulator]'`. Nothing here uses the client's code: paths,
checks and the signature are read anew from the service's pages, so that one mistake cannot pass on both
sides. What the pages leave open is guessed, and said here:

| Behaviour | Documented (page) | Guessed |
|---|---|---|
| 18 operations: method, path, fields | their own pages, `batchCancel.html` ... | carrier twins of the operations whose carrier page was not found |
| signature, step by step | koodrive_05_0035, 0029, 0030, 0031 | payload hash of the exact body; `+` in a query is a plus sign; repeated names sort by value |
| X-Date within 15 minutes; not in the future | koodrive_05_0010; carrier pages | the second rule in the enterprise edition too |
| refusal of a stale date or a wrong signature | API Gateway: APIG.0303, "signature time:..,server time:.." | 401; the same text under APIG.0301 for token calls; the canonical request in the text |
| bad token: 401, APIG.0301; expired token: APIG.0307 | API Gateway's error list | that KooDrive's gateway uses them |
| access token: 20 minutes, sliding; carrier 1800 s | koodrive_05_0010, Login.html | off unless `token_lifetime` is set |
| X-User-Id, X-Date mandatory; X-Traceid of 58; X-Hw-Agentname (carrier) | tables of the share pages | 400 13000102 when missing or malformed, 403 13000410 when unknown |
| 1..100 ids; bad parameters: HTTP 400, 13000102 | batchCancel.html (carrier), error codes | the same in the enterprise edition |
| cancel: one sub-response per id, in order, with `shareId` | example of batchCancel.html | unknown or cancelled: 13000309; another's: 13000410; top-level code 0 all the same |
| `code` as string or integer, counters as strings | tables of each page | which of the contradicting versions is shown |
| exit: `code` and `message`, no `shareId` | newest example of exitShare.html | `exit_names_ids = True` for the older form |
| lists: absent `nextCursor` is the end; empty pages in between | paging rule of the list pages | both kinds of cursor, their text |
| access code -> kdstoken for files, download, tasks | verifyExtractCode.html and theirs | wrong code or token: 13000410; a kdstoken never expires |
| expired, invalid, cancelled link: not to be opened | user guide kd_03_0045 | 13000309; `getShareInfo` still answers for expired ones |
| scope 3 opens for named users only | createShare.html | 13000410 for others; public calls open scope 1 only |
| tasks: waiting, running, completed | getBatchTask.html | how long they take; `jobInfo` and `taskInfos` both present |
| public calls take no credentials | carrier pages | sending them all the same is refused |
| session refresh, login, token refresh | refreshSession.html, Login.html, RefreshToken.html | 401 APIG.0305 on refusal; an expired token may still refresh |
| throttling: 429, APIG.0308, its text | ocr_01_0041 | limits: only the ones you set |

Own code against it: `Emulator.app` is an ASGI application; `pytest` users find the fixture `koodrive` in
`koodrive_async.testing.pytest_plugin`; `python -m koodrive_async.testing` serves one from a shell.
"""  # noqa: E501 - the table

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koodrive_async.testing import rewrites
    from koodrive_async.testing.answers import Answer
    from koodrive_async.testing.emulator import Emulator
    from koodrive_async.testing.exchange import Exchange, NeedsSocket
    from koodrive_async.testing.faults import (
        BlackHole,
        Body,
        Delay,
        Drip,
        Drop,
        Encoded,
        EndlessBody,
        Fault,
        Headers,
        HugeBody,
        LateEffect,
        Raw,
        Rewrite,
        Status,
        TruncatedBody,
        TruncatedJson,
    )
    from koodrive_async.testing.limits import RateLimit
    from koodrive_async.testing.recipes import (
        Chaos,
        content_type,
        dropped,
        empty_reply,
        forbidden,
        gateway_timeout,
        html_page,
        lost_reply,
        redirect,
        refused,
        server_error,
        throttled,
        unauthorized,
        unavailable,
    )
    from koodrive_async.testing.seeding import Share
    from koodrive_async.testing.seen import RequestSeen

__all__ = [
    "Answer",
    "BlackHole",
    "Body",
    "Chaos",
    "Delay",
    "Drip",
    "Drop",
    "Emulator",
    "Encoded",
    "EndlessBody",
    "Exchange",
    "Fault",
    "Headers",
    "HugeBody",
    "LateEffect",
    "NeedsSocket",
    "RateLimit",
    "Raw",
    "RequestSeen",
    "Rewrite",
    "Share",
    "Status",
    "TruncatedBody",
    "TruncatedJson",
    "content_type",
    "dropped",
    "empty_reply",
    "forbidden",
    "gateway_timeout",
    "html_page",
    "lost_reply",
    "redirect",
    "refused",
    "rewrites",
    "server_error",
    "throttled",
    "unauthorized",
    "unavailable",
]

_HOMES = {
    "answers": ("Answer",),
    "emulator": ("Emulator",),
    "exchange": ("Exchange", "NeedsSocket"),
    "faults": (
        "BlackHole",
        "Body",
        "Delay",
        "Drip",
        "Drop",
        "Encoded",
        "EndlessBody",
        "Fault",
        "Headers",
        "HugeBody",
        "LateEffect",
        "Raw",
        "Rewrite",
        "Status",
        "TruncatedBody",
        "TruncatedJson",
    ),
    "limits": ("RateLimit",),
    "seeding": ("Share",),
    "seen": ("RequestSeen",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import on first use: the pytest plug-in is loaded where the extra may be missing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        if name == "rewrites":
            return importlib.import_module(f"{__name__}.rewrites")
        return getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'recipes')}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("koodrive_async"):
            raise
        text = f"the emulator needs {error.name}: pip install 'koodrive-async[emulator]'"
        raise ImportError(text, name=error.name) from error


def __dir__() -> list[str]:
    return __all__
