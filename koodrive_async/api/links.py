"""*Access Link*: visit, inform, open with an access code, list files, download. Refuses to fetch files."""

from __future__ import annotations

from koodrive_async.api.base import Api, short_code, token_of
from koodrive_async.core import inputs, operations
from koodrive_async.core.batching import check_share_id, check_text
from koodrive_async.core.codec import read_model
from koodrive_async.core.models import CommonShareLink
from koodrive_async.core.objects import DownloadUrl, LinkAccess, ShareFile
from koodrive_async.core.operations import Operation
from koodrive_async.core.pages import OnMalformed, Page
from koodrive_async.core.readers import read_nothing, read_page, read_word
from koodrive_async.core.secrets import Secret
from koodrive_async.shell.pages import Listing


class LinkCalls(Api):
    """What links and public links have in common."""

    async def _visit(self, operation: Operation, short_url: str | LinkAccess) -> None:
        query = inputs.query(short_url=short_code(short_url))
        await self._call(operation, read_nothing, query=query)

    async def _verify(self, operation: Operation, short_url: str, extract_code: str) -> LinkAccess:
        code = inputs.extract_code(extract_code)
        short = short_code(short_url)
        token = await self._call(
            operation,
            lambda envelope: read_word(envelope, "kdstoken"),
            body=inputs.body(short_url=short, extract_code=code),
            secrets=(code,),
        )
        return LinkAccess(short, Secret(token))

    def _files(
        self,
        operation: Operation,
        link: str | LinkAccess,
        *,
        parent_folder: str | None,
        page_size: int,
        sort_type: int | None,
        sort_direction: int | None,
        refresh_count: bool | None,
        file_name: str | None,
        image_process: str | None,
        cursor: str | None,
        dedupe: bool,
        on_malformed: OnMalformed,
    ) -> Listing[ShareFile]:
        token = token_of(link)
        fields = {
            "short_url": short_code(link),
            "parent_folder": None if parent_folder is None else check_text("parent_folder", parent_folder),
            "page_size": inputs.whole("page_size", page_size, 1, inputs.MAX_PAGE),
            "sort_type": None if sort_type is None else inputs.one_of("sort_type", sort_type, (1, 2, 4)),
            "sort_direction": None if sort_direction is None else inputs.direction(sort_direction),
            "kdstoken": token,
            "refresh_count": None if refresh_count is None else inputs.flag("refresh_count", refresh_count),
            "file_name": None if file_name is None else inputs.text("file_name", file_name),
            "image_process": None if image_process is None else inputs.text("image_process", image_process),
        }

        async def fetch(at: str | None) -> Page[ShareFile]:
            return await self._call(
                operation,
                lambda envelope: read_page(envelope, "files", ShareFile, "id"),
                body=inputs.body(**fields, page_cursor=at),
                secrets=(token,),
            )

        return Listing(self._source(fetch, "id", cursor=cursor, dedupe=dedupe, on_malformed=on_malformed))


class Links(LinkCalls):
    """Access links, for signed-in users."""

    async def visit_share(self, short_url: str | LinkAccess) -> None:
        """Open an access link (page visitShare.html); counts as a view, perhaps as two after a lost reply.

        Args:
            short_url: The short code of the link; not a URL.

        Raises:
            UsageError: No short code; nothing was sent.
            NotFound: There is no such link, or it has expired.
            KooDriveError: Any other error, the last one.
        """
        await self._visit(operations.VISIT_SHARE, short_url)

    async def get_share_info(self, short_url: str) -> CommonShareLink:
        """The public information of an access link (page getShareInfo.html).

        Args:
            short_url: The short code of the link; not a URL.

        Raises:
            UsageError: No short code; nothing was sent.
            NotFound: There is no such link.
            KooDriveError: Any other error, the last one.
        """
        return await self._call(
            operations.GET_SHARE_INFO,
            lambda envelope: read_model(envelope, "link", CommonShareLink),
            query=inputs.query(short_url=check_text("short_url", short_url)),
        )

    async def verify_extract_code(self, short_url: str, extract_code: str) -> LinkAccess:
        """Give the access code of a link (page verifyExtractCode.html).

        Whether wrong codes lock a link is not documented, so one call is one try: it is sent again
        only when for certain the service did not look at it. After a lost reply the error has
        ``ambiguous=True``: the try may have counted.

        Args:
            short_url: The short code of the link; not a URL.
            extract_code: 8 letters or digits.

        Returns:
            What opens the link: hand it to `list_share_files`, `get_download_url`, `create_share_task`.

        Raises:
            UsageError: A code that can't be one; nothing was sent.
            KooDriveError: It is wrong (its error code is not documented), or any other error.
        """
        return await self._verify(operations.VERIFY_EXTRACT_CODE, short_url, extract_code)

    def list_share_files(
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
        """The files behind a link (page listShareFiles.html): an async iterator.

        Args:
            link: Its short code, or, where it has an access code, what `verify_extract_code` returned.
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
            A `Listing`; its pages have the ``link`` too, with the share's id.

        Raises:
            UsageError: A value out of its bounds; nothing was sent.
            KooDriveError: While iterating, as for `list_my_shares`.
        """
        return self._files(
            operations.LIST_SHARE_FILES,
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

    async def get_download_url(
        self, share_id: str, file_id: str, *, access: LinkAccess | None = None
    ) -> DownloadUrl:
        """The address of one file (page downloadShareFile.html); how long it works is not documented.

        Send none of KooDrive's headers there: the address itself is the credential.

        Args:
            share_id: The share's id.
            file_id: The file's id.
            access: What `verify_extract_code` returned, where the link has an access code.

        Raises:
            UsageError: An id that can't be one; nothing was sent.
            KooDriveError: Any other error, the last one.
        """
        token = inputs.token_of(access)
        url = await self._call(
            operations.DOWNLOAD_SHARE_FILE,
            lambda envelope: read_word(envelope, "downloadUrl"),
            body=inputs.body(
                share_id=check_share_id(share_id), file_id=check_text("file_id", file_id), kdstoken=token
            ),
            secrets=(token,),
        )
        return DownloadUrl(url)
