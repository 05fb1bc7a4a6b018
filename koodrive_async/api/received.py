"""*Shared with You*: list and look at shares received, and leave them, any number. Refuses to open a link."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from koodrive_async.api.base import Api, OnProgress, Shares
from koodrive_async.core import inputs, operations
from koodrive_async.core.batching import check_share_id
from koodrive_async.core.codec import read_model
from koodrive_async.core.pages import OnMalformed, Page
from koodrive_async.core.readers import read_page
from koodrive_async.core.received import ShareWithMeLink, ShareWithMeLinkDetail
from koodrive_async.core.report import CancelReport
from koodrive_async.shell.drain import GRACE
from koodrive_async.shell.journal import Journal
from koodrive_async.shell.pages import Listing
from koodrive_async.shell.stream import CancelStream


class ReceivedShares(Api):
    """Shares that others share with you."""

    def list_received_shares(
        self,
        *,
        page_size: int = inputs.MAX_PAGE,
        sort_direction: int | None = None,
        display_name: str | None = None,
        image_process: str | None = None,
        cursor: str | None = None,
        dedupe: bool = False,
        on_malformed: OnMalformed = "skip",
    ) -> Listing[ShareWithMeLink]:
        """Shares you received, newest first (page listShareWithMe.html): an async iterator.

        To leave what it gives, hand it to `exit` or `open_exit` as it is.

        Args:
            page_size: 1..100.
            sort_direction: 1 oldest first, 2 newest first (see `SortDirection`).
            display_name: Part of the name, as the service matches it.
            image_process: A thumbnail directive, in the syntax of object storage.
            cursor: Where to begin: the `next_cursor` of an earlier listing.
            dedupe: Give each share once, also when the list shifts meanwhile; remembers all ids.
            on_malformed: "skip" items that can't be read and report them, or "raise".

        Returns:
            A `Listing`, as for `list_my_shares`.

        Raises:
            UsageError: A value out of its bounds; nothing was sent.
            KooDriveError: While iterating, as for `list_my_shares`.
        """
        query = inputs.query(
            page_size=inputs.whole("page_size", page_size, 1, inputs.MAX_PAGE),
            sort_direction=None if sort_direction is None else inputs.direction(sort_direction),
            display_name=None if display_name is None else inputs.text("display_name", display_name),
            image_process=None if image_process is None else inputs.text("image_process", image_process),
        )

        async def fetch(at: str | None) -> Page[ShareWithMeLink]:
            return await self._call(
                operations.LIST_SHARE_WITH_ME,
                lambda envelope: read_page(envelope, "shareLinks", ShareWithMeLink, "share_id"),
                query=(*query, *inputs.query(page_cursor=at)),
            )

        return Listing(
            self._source(fetch, "share_id", cursor=cursor, dedupe=dedupe, on_malformed=on_malformed)
        )

    async def get_received_share(self, share_id: str) -> ShareWithMeLinkDetail:
        """One share you received (page getShareWithMeDetail.html).

        Args:
            share_id: Its id.

        Raises:
            InvalidShareId: It can't be one; nothing was sent.
            NotFound: There is no such share.
            KooDriveError: Any other error, the last one.
        """
        return await self._call(
            operations.GET_SHARE_WITH_ME_DETAIL,
            lambda envelope: read_model(envelope, "shareLink", ShareWithMeLinkDetail),
            check_share_id(share_id),
        )

    async def exit(
        self,
        share_ids: Shares,
        *,
        deadline: float | None = None,
        grace: float = GRACE,
        journal: Journal | None = None,
        on_progress: OnProgress | None = None,
    ) -> CancelReport:
        """Leave any number of shares you received (page exitShare.html): like `cancel`, in all respects.

        In the report CANCELLED means left, ALREADY_GONE that it was no longer among those received.
        The page names no maximum of ids; batches of 100 go, as for `cancel`.

        Args:
            share_ids: As for `cancel`; or what `list_received_shares` returns.
            deadline: As for `cancel`.
            grace: As for `cancel`.
            journal: As for `cancel`; one of its own.
            on_progress: As for `cancel`.

        Returns:
            A report with an outcome for each distinct id, in order of first sight.

        Raises:
            KooDriveError: As `cancel` does.
        """
        return await self._settle(
            self._job(operations.EXIT_SHARE, deadline, grace, journal, on_progress), share_ids
        )

    def open_exit(
        self,
        share_ids: Shares,
        *,
        deadline: float | None = None,
        grace: float = GRACE,
        journal: Journal | None = None,
        on_progress: OnProgress | None = None,
    ) -> AbstractAsyncContextManager[CancelStream]:
        """Leave shares as their ids are read and their outcomes taken (page exitShare.html).

        Like `open_cancel`, in all respects.

        Args:
            share_ids: As for `open_cancel`; or what `list_received_shares` returns.
            deadline: As for `cancel`.
            grace: As for `open_cancel`.
            journal: As for `cancel`; one of its own.
            on_progress: As for `cancel`.

        Returns:
            A context manager around a stream, as `open_cancel` does.
        """
        return self._open(self._job(operations.EXIT_SHARE, deadline, grace, journal, on_progress), share_ids)
