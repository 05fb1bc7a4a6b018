"""*Shared by You*: create, list, look at and change shares of your own, and find those to clean up.

Refuses to cancel; that is ``cancelling``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from koodrive_async.api.base import Api
from koodrive_async.core import inputs, operations
from koodrive_async.core.batching import check_share_id, check_text
from koodrive_async.core.codec import read_model
from koodrive_async.core.finding import Criteria, Predicate
from koodrive_async.core.models import (
    CreatedShare,
    ShareByMeLink,
    ShareByMeLinkDetail,
    SharePermission,
    UpdatedShare,
)
from koodrive_async.core.pages import OnMalformed, Page
from koodrive_async.core.readers import read_page
from koodrive_async.core.times import ShareState
from koodrive_async.shell.finding import FoundShares
from koodrive_async.shell.pages import Listing


class MyShares(Api):
    """Shares of your own."""

    async def create_share(
        self,
        file_ids: Iterable[str],
        *,
        container_id: str,
        scope: int,
        valid_days: int,
        dept_ids: Iterable[str] | None = None,
        group_ids: Iterable[str] | None = None,
        user_ids: Iterable[str] | None = None,
        phone_numbers: Iterable[str] | None = None,
        permission: SharePermission | None = None,
        extract_code: str | None = None,
        expire_time: datetime | str | None = None,
        comment: str | None = None,
        expired_type: str | None = None,
    ) -> CreatedShare:
        """Create a share (page createShare.html).

        Sent again only when for certain nothing was done. After a lost reply the error has
        ``ambiguous=True``: look into `list_my_shares` before you try again, or there may be two.

        Args:
            file_ids: 1..100 files.
            container_id: The space they are in.
            scope: See `ShareScope`, 1..3; the carrier edition has 1 and 3.
            valid_days: 1..365.
            dept_ids: Departments that may open it, for scope 3.
            group_ids: Groups, likewise.
            user_ids: Users, likewise.
            phone_numbers: People by mobile number, likewise.
            permission: "Supported in the future".
            extract_code: An access code of 8 letters or digits.
            expire_time: An aware datetime (sent in UTC), or a text as it is; what it means beside
                `valid_days` is not documented.
            comment: A note; in the carrier edition shorter than 512 characters.
            expired_type: In some versions of the page, without explanation.

        Raises:
            UsageError: A value out of its bounds; nothing was sent.
            KooDriveError: The last error; ``.ambiguous`` says whether a share may have been made.
        """
        carrier = self._carrier
        body = inputs.body(
            scope=inputs.one_of("scope", scope, (1, 3) if carrier else (1, 2, 3)),
            file_ids=inputs.texts("file_ids", file_ids, 1, inputs.MAX_FILES),
            container_id=check_text("container_id", container_id),
            valid_days=inputs.whole("valid_days", valid_days, 1, inputs.MAX_DAYS),
            phone_numbers=None if phone_numbers is None else inputs.texts("phone_numbers", phone_numbers),
            extract_code=None if extract_code is None else inputs.extract_code(extract_code),
            expire_time=None if expire_time is None else inputs.expire_time(expire_time, inputs.CREATE_TIME),
            comment=None if comment is None else inputs.comment(comment, carrier=carrier),
            expired_type=None if expired_type is None else inputs.text("expired_type", expired_type),
            **inputs.share_settings(
                dept_ids=dept_ids, group_ids=group_ids, user_ids=user_ids, permission=permission
            ),
        )
        return await self._call(
            operations.CREATE_SHARE,
            lambda envelope: read_model(envelope, "shareLink", CreatedShare),
            body=body,
            secrets=(extract_code,),
        )

    def list_my_shares(
        self,
        *,
        page_size: int = inputs.MAX_PAGE,
        sort_direction: int | None = None,
        display_name: str | None = None,
        image_process: str | None = None,
        usage: str | None = None,
        cursor: str | None = None,
        dedupe: bool = False,
        on_malformed: OnMalformed = "skip",
    ) -> Listing[ShareByMeLink]:
        """Shares of your own, newest first (page listShareByMe.html): an async iterator.

        To cancel what it gives, hand it to `cancel` or `open_cancel` as it is: cancelling while you
        iterate may skip shares, since the cursor may be an offset.

        Args:
            page_size: 1..100.
            sort_direction: 1 oldest first, 2 newest first (see `SortDirection`).
            display_name: Part of the name, as the service matches it.
            image_process: A thumbnail directive, in the syntax of object storage.
            usage: ``minThumbnail``, ``midThumbnail``, ``largeThumbnail`` or ``superLargeThumbnail``.
            cursor: Where to begin: the `next_cursor` of an earlier listing.
            dedupe: Give each share once, also when the list shifts meanwhile; remembers all ids.
            on_malformed: "skip" items that can't be read and report them, or "raise".

        Returns:
            A `Listing`: ``async for share in ...``, ``.pages()``, ``.collect()``, ``.malformed``.

        Raises:
            UsageError: A value out of its bounds; nothing was sent.
            CursorRepeated: While iterating: the list goes in circles.
            MalformedItemFound: While iterating, for "raise".
            KooDriveError: While iterating: a page could not be had; going on asks for it again.
        """
        query = inputs.query(
            page_size=inputs.whole("page_size", page_size, 1, inputs.MAX_PAGE),
            sort_direction=None if sort_direction is None else inputs.direction(sort_direction),
            display_name=None if display_name is None else inputs.text("display_name", display_name),
            image_process=None if image_process is None else inputs.text("image_process", image_process),
            usage=None if usage is None else inputs.text("usage", usage),
        )

        async def fetch(at: str | None) -> Page[ShareByMeLink]:
            return await self._call(
                operations.LIST_SHARE_BY_ME,
                lambda envelope: read_page(envelope, "shareLinks", ShareByMeLink, "share_id"),
                query=(*query, *inputs.query(page_cursor=at)),
            )

        return Listing(
            self._source(fetch, "share_id", cursor=cursor, dedupe=dedupe, on_malformed=on_malformed)
        )

    async def get_my_share(self, share_id: str) -> ShareByMeLinkDetail:
        """One share of yours, with the people who may open it (page getShareByMeDetail.html).

        Args:
            share_id: Its id.

        Raises:
            InvalidShareId: It can't be one; nothing was sent.
            NotFound: There is no such share.
            KooDriveError: Any other error, the last one.
        """
        return await self._call(
            operations.GET_SHARE_BY_ME_DETAIL,
            lambda envelope: read_model(envelope, "shareLink", ShareByMeLinkDetail),
            check_share_id(share_id),
        )

    async def update_share(
        self,
        share_id: str,
        *,
        valid_days: int = 0,
        extract_code: str | None = None,
        comment: str | None = None,
        dept_ids: Iterable[str] | None = None,
        group_ids: Iterable[str] | None = None,
        user_ids: Iterable[str] | None = None,
        permission: SharePermission | None = None,
        expire_time: datetime | str | None = None,
    ) -> UpdatedShare:
        """Change the settings of a share (page updateShare.html); sent again on transient failures.

        Whether what is left out keeps its value, and an empty text clears it, is not documented.

        Args:
            share_id: Its id.
            valid_days: 1..365; 0 leaves the validity as it is.
            extract_code: A new access code of 8 letters or digits, or "".
            comment: A new note; in the carrier edition shorter than 512 characters.
            dept_ids: Departments that may open it, for scope 3.
            group_ids: Groups, likewise.
            user_ids: Users, likewise.
            permission: "Supported in the future".
            expire_time: An aware datetime (sent in UTC), or a text as it is.

        Raises:
            UsageError: A value out of its bounds; nothing was sent.
            NotFound: There is no such share.
            KooDriveError: Any other error, the last one.
        """
        code = None if extract_code is None else inputs.extract_code(extract_code, may_be_empty=True)
        body = inputs.body(
            valid_days=inputs.whole("valid_days", valid_days, 0, inputs.MAX_DAYS),
            extract_code=code,
            comment=None if comment is None else inputs.comment(comment, carrier=self._carrier),
            expire_time=None if expire_time is None else inputs.expire_time(expire_time, inputs.UPDATE_TIME),
            **inputs.share_settings(
                dept_ids=dept_ids, group_ids=group_ids, user_ids=user_ids, permission=permission
            ),
        )
        return await self._call(
            operations.UPDATE_SHARE,
            lambda envelope: read_model(envelope, "shareLink", UpdatedShare),
            check_share_id(share_id),
            body=body,
            secrets=(code,),
        )

    def find_shares(
        self,
        *,
        expired: bool | None = None,
        created_before: datetime | None = None,
        created_after: datetime | None = None,
        scope: int | None = None,
        status: int | ShareState | None = None,
        name: str | None = None,
        without_views: bool = False,
        where: Predicate | None = None,
        page_size: int = inputs.MAX_PAGE,
        on_malformed: OnMalformed = "skip",
    ) -> FoundShares:
        """Shares of your own that match all that is given: iterate, `plan`, or hand it to `cancel`.

        ``await client.cancel(client.find_shares(expired=True))`` cancels all expired links and skips
        none, whatever the service's cursor is: the list is read to its end before the first share is
        cancelled. So does `open_cancel`, with flat memory.

        What can't be judged (a time of unknown form, a missing counter) does not match.

        Args:
            expired: Whether their validity has passed by now.
            created_before: Shared before this aware time.
            created_after: Shared after it.
            scope: See `ShareScope`.
            status: The number of the field, or what it comes to (`ShareState`).
            name: Part of the name, whatever its case; looked for here, not by the service.
            without_views: Only what nobody ever looked at.
            where: Any function of a share; asked last.
            page_size: 1..100.
            on_malformed: "skip" items that can't be read and report them, or "raise".

        Returns:
            A `FoundShares`: ``async for share in ...``, ``.pages()``, ``.collect()``, ``.plan()``.

        Raises:
            UsageError: A value that can't be meant; nothing was sent.
            KooDriveError: While iterating, as for `list_my_shares`.
        """
        criteria = Criteria(
            expired=expired,
            created_before=created_before,
            created_after=created_after,
            scope=scope,
            status=status,
            name=name,
            without_views=without_views,
            where=where,
        )
        listing = self.list_my_shares(page_size=page_size, on_malformed=on_malformed)
        now = datetime.fromtimestamp(self._shared.clock.now(), UTC)
        return FoundShares(listing.source, criteria, now)
