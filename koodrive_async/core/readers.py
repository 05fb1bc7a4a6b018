"""The readers of replies that are a word, nothing at all, or a page of a list.

Refuses to know cattrs; that is ``codec``'s.
"""

from __future__ import annotations

from typing import TypeVar

from koodrive_async.core.batching import check_share_id
from koodrive_async.core.codec import Envelope, read_text, structure
from koodrive_async.core.errors import BadReply, InvalidShareId
from koodrive_async.core.models import CommonShareLink
from koodrive_async.core.pages import MalformedItem, Page
from koodrive_async.core.secrets import EXCERPT, scrub

T = TypeVar("T")


def read_word(envelope: Envelope, key: str) -> str:
    """The text under `key`.

    Raises:
        BadReply: There is none.
    """
    text = read_text(envelope.data.get(key)).strip()
    if not text:
        raise BadReply(f"the reply has no text {key!r}")
    return text


def read_nothing(_: Envelope) -> None:
    """The code and its text were all."""


def read_page(envelope: Envelope, key: str, cls: type[T], id_field: str) -> Page[T]:
    """A page of a list: single items that can't be read are reported, not fatal.

    Absent and null are an empty list and, for ``nextCursor``, the end (so is an empty text).

    Args:
        envelope: The reply.
        key: Where the list is.
        cls: What its items are.
        id_field: The field of `cls` without which an item is useless.

    Raises:
        BadReply: There is something else where the list or the cursor should be.
    """
    listed = envelope.data.get(key)
    cursor = envelope.data.get("nextCursor")
    if listed is not None and not isinstance(listed, list):
        raise BadReply(f"{key!r} is no list")
    if cursor is not None and (isinstance(cursor, bool) or not isinstance(cursor, str | int)):
        raise BadReply("'nextCursor' is no text, so there may be more")
    items: list[T] = []
    malformed: list[MalformedItem] = []
    for index, raw in enumerate(listed or ()):
        try:
            if not isinstance(raw, dict):
                raise InvalidShareId("is no object")  # noqa: TRY301 - handled like every other bad item
            item = structure(raw, cls)
            check_share_id(getattr(item, id_field))
        except InvalidShareId as error:
            malformed.append(MalformedItem(index, scrub(str(error), limit=EXCERPT), raw))
        else:
            items.append(item)
    link = envelope.data.get("link")
    return Page(
        items=items,
        next_cursor=(read_text(cursor).strip() if cursor is not None else "") or None,
        malformed=malformed,
        link=structure(link, CommonShareLink) if isinstance(link, dict) else None,
    )
