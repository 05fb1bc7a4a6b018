"""A reply's body, put together from its pieces: decoded, and never larger than allowed.

Nothing but ``identity`` is asked for; a gzip reply is decoded all the same, by a decompressor that
stops at the limit (half a megabyte can unfold to a gigabyte), other codings are refused.
Refuses to read from anywhere.
"""

from __future__ import annotations

import zlib

from koodrive_async.core.errors import BadReply


class Body:
    """Collects pieces.

    Args:
        coding: The reply's ``Content-Encoding``, or "".
        limit: The most bytes it may have, decoded.
        status: The reply's HTTP status, for the errors.

    Raises:
        BadReply: A coding that was not asked for.
    """

    def __init__(self, coding: str, limit: int, status: int) -> None:
        coding = coding.strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip"):
            raise BadReply(f"a reply coded as {coding[:40]!r}, which was not asked for", status=status)
        self._inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if "gzip" in coding else None
        self._left = limit
        self._limit = limit
        self._status = status
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """Take a piece in.

        Raises:
            BadReply: It is no gzip though it should be, or one too many.
        """
        if self._inflater is not None:
            try:
                piece = self._inflater.decompress(piece, self._left + 1)
            except zlib.error:
                raise BadReply("a reply that is no gzip, though it says so", status=self._status) from None
        self._left -= len(piece)
        if self._left < 0:
            raise BadReply(f"a reply of more than {self._limit} bytes", status=self._status)
        self._pieces.append(piece)

    def whole(self) -> bytes:
        """Everything.

        Raises:
            BadReply: A gzip that is cut short.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise BadReply("a gzip reply that is cut short", status=self._status)
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
