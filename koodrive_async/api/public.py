"""The carrier's public calls, for whitelisted tenants: no credentials go with them.

Refuses to send any; a token that is missing or expired does not hold them up.
"""

from __future__ import annotations

from koodrive_async.api.links import LinkCalls
from koodrive_async.core import inputs, operations
from koodrive_async.core.objects import LinkAccess, ShareFile
from koodrive_async.core.pages import OnMalformed
from koodrive_async.shell.pages import Listing


class PublicLinks(LinkCalls):
    """Access links, for everybody (carrier edition)."""

    async def visit_share_public(self, short_url: str | LinkAccess) -> None:
        """Open a public link (page visitSharePublic.html): see `visit_share`; sends no credentials.

        Args:
            short_url: The short code of the link; not a URL.

        Raises:
            UsageError: No short code; nothing was sent.
            KooDriveError: Any other error, the last one.
        """
        await self._visit(operations.VISIT_SHARE_PUBLIC, short_url)

    async def verify_extract_code_public(self, short_url: str, extract_code: str) -> LinkAccess:
        """Give the access code of a public link (page verifyExtractCodePublic.html).

        One call is one try, as for `verify_extract_code`.

        Args:
            short_url: The short code of the link; not a URL.
            extract_code: 8 letters or digits.

        Returns:
            What opens the link: hand it to `list_share_files_public`.

        Raises:
            UsageError: A code that can't be one; nothing was sent.
            KooDriveError: It is wrong (its error code is not documented), or any other error.
        """
        return await self._verify(operations.VERIFY_EXTRACT_CODE_PUBLIC, short_url, extract_code)

    def list_share_files_public(
        self,
        link: str | LinkAccess,
        *,
        parent_folder: str | None = None,
        page_size: int = inputs.MAX_PAGE,
        sort_type: int | None = None,
        sort_direction: int | None = None,
        refresh_count: bool | None = None,
        file_name: str | None = None,
        image_process: str | None = None,
        cursor: str | None = None,
        dedupe: bool = False,
        on_malformed: OnMalformed = "skip",
    ) -> Listing[ShareFile]:
        """The files behind a public link (page listShareFilesPublic.html): see `list_share_files`.

        Args:
            link: Its short code, or what `verify_extract_code_public` returned.
            parent_folder: The id of a folder to look into.
            page_size: 1..100.
            sort_type: 1 name, 2 size, 4 time of change (see `SortType`).
            sort_direction: 1 ascending, 2 descending (see `SortDirection`).
            refresh_count: Whether this counts as a view, for each page and each attempt.
            file_name: Part of the name, as the service matches it.
            image_process: A thumbnail directive, in the syntax of object storage.
            cursor: Where to begin: the `next_cursor` of an earlier listing.
            dedupe: Give each file once, also when the list shifts meanwhile; remembers all ids.
            on_malformed: "skip" items that can't be read and report them, or "raise".

        Returns:
            A `Listing`, as for `list_share_files`.

        Raises:
            UsageError: A value out of its bounds; nothing was sent.
            KooDriveError: While iterating, as for `list_my_shares`.
        """
        return self._files(
            operations.LIST_SHARE_FILES_PUBLIC,
            link,
            parent_folder=parent_folder,
            page_size=page_size,
            sort_type=sort_type,
            sort_direction=sort_direction,
            refresh_count=refresh_count,
            file_name=file_name,
            image_process=image_process,
            cursor=cursor,
            dedupe=dedupe,
            on_malformed=on_malformed,
        )
