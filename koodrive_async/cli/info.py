"""`koodrive info`: what the service tells everybody about an access link. Refuses to interpret it."""

from __future__ import annotations

import argparse
import json
from datetime import datetime

import anyio
import attrs
from rich.text import Text

from koodrive_async import AsyncShareClient, CommonShareLink
from koodrive_async.cli import DONE, show

#: Page getShareInfo.html, field ``status``.
_STATUSES = {0: "0: valid until it expires", 1: "1: the file was deleted", 2: "2: invalid or expired"}


def run(chosen: argparse.Namespace) -> int:
    """Ask and show.

    Returns:
        The exit status.

    Raises:
        KooDriveError: There is no such link, or no answer.
    """
    link = anyio.run(_ask, AsyncShareClient.from_env(), _short_code(chosen.short_url))
    if chosen.json:
        print(json.dumps(attrs.asdict(link), default=dict))
        return DONE
    to = show.console()
    show.paragraph(to, Text.assemble("share ", (show.clean(link.share_id), show.HEAD)))
    show.fact_table(to, ((name, show.clean(value)) for name, value in _facts(link) if value))
    return DONE


async def _ask(client: AsyncShareClient, short_url: str) -> CommonShareLink:
    async with client:
        return await client.get_share_info(short_url)


def _short_code(text: str) -> str:
    """The code; of a whole link (``https://.../cloudfile/#/sharelink/i/CODE``) its last part."""
    return text.rstrip("/").rpartition("/")[2].partition("?")[0] if "://" in text else text


def _facts(link: CommonShareLink) -> list[tuple[str, str]]:
    may = link.permission
    rights = [] if may is None else [n for n in ("preview", "edit", "download") if getattr(may, n)]
    return [
        ("short code", link.short_url),
        (
            "shared by",
            " ".join(filter(None, (link.owner_name, f"({link.owner_id})" if link.owner_id else ""))),
        ),
        ("shared at", _time(link.share_time, link.shared_at)),
        ("expires at", _time(link.expire_time, link.expires_at)),
        ("expireDate", link.expire_date),
        ("status", "" if link.status is None else _STATUSES.get(link.status, str(link.status))),
        ("permits", ", ".join(rights)),
        *(
            (name, value if isinstance(value, str) else json.dumps(value))
            for name, value in link.extra.items()
        ),
    ]


def _time(text: str, read: datetime | None) -> str:
    return read.strftime("%Y-%m-%d %H:%M:%S %Z") if read is not None else text
