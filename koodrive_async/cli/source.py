"""Share ids out of a file or standard input, one a line; blank lines and # comments are skipped.

A file is read twice: to be checked to its end before anything is sent, then to be worked off; so memory
stays flat and a slip in the last line costs nothing. Standard input is read without blocking the
event loop. Refuses to repair: a line that can't be an id is an error that names it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Iterable, Iterator

import anyio
from anyio.to_thread import run_sync

from koodrive_async.core.batching import check_share_id
from koodrive_async.core.errors import InvalidShareId, UsageError

#: How much is read at once, in bytes.
_CHUNK = 65_536

#: What an editor may put at the beginning of a file.
_BOM = b"\xef\xbb\xbf"

#: A comment: the whole line, or what follows a blank.
_COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)


def id_in(line: bytes, number: int, source: str) -> str:
    """The share id that a line holds; "" if it holds none.

    Args:
        line: As it was read.
        number: Its number, from 1.
        source: What to call the file.

    Raises:
        UsageError: It can't be an id.
    """
    try:
        text = line.removeprefix(_BOM if number == 1 else b"").decode()
    except UnicodeDecodeError:
        raise UsageError(f"{source}, line {number}: this is not UTF-8 text") from None
    text = _COMMENT.sub("", text).strip()
    try:
        return check_share_id(text) if text else ""
    except InvalidShareId as error:
        raise UsageError(f"{source}, line {number}: {error}") from None


def _ids(lines: Iterable[bytes], source: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        share_id = id_in(line, number, source)
        if share_id:
            yield share_id


class FileIds:
    """The ids of a file, which was checked to its end.

    Attributes:
        total: How many there are, repeated ones included.

    Raises:
        UsageError: It can't be read, or a line can't be an id.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with open(path, "rb") as lines:  # noqa: PTH123 - a str, as the user wrote it
                self._regular = lines.seekable()
                self.total: int | None = sum(1 for _ in _ids(lines, path)) if self._regular else None
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None

    def __iter__(self) -> Iterator[str]:
        with open(self._path, "rb") as lines:  # noqa: PTH123
            yield from _ids(lines, self._path)


async def stdin_ids() -> AsyncIterator[str]:
    """The ids on standard input, as they come.

    Raises:
        UsageError: A line can't be an id.
    """
    number, rest = 0, b""
    async for chunk in _chunks(sys.stdin.fileno()):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            if share_id := id_in(line, number, "standard input"):
                yield share_id
    if share_id := id_in(rest, number + 1, "standard input"):
        yield share_id


async def _chunks(descriptor: int) -> AsyncIterator[bytes]:
    """Bytes when there are any, then the end; leaves no thread behind that waits for a terminal."""
    waits = True
    while True:
        if waits:
            try:
                await anyio.wait_readable(descriptor)
            except (OSError, NotImplementedError):
                waits = False  # a regular file (which is always ready), or Windows
        chunk = (
            os.read(descriptor, _CHUNK)
            if waits
            else await run_sync(os.read, descriptor, _CHUNK, abandon_on_cancel=True)
        )
        if not chunk:
            return
        yield chunk
