"""Share ids out of a file or standard input, one a line; blank lines and # comments are skipped.

A file is read twice: to be checked to its end before anything is sent, then to be worked off; so memory
stays flat and a slip in the last line costs nothing. Standard input is read without blocking the
event loop. Refuses to repair: a line that can't be an id is an error that names it.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

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


def open_ids(path: str) -> FileIds | PipedIds:
    """The ids of a file; of ``-`` those on standard input.

    Raises:
        UsageError: It can't be read, or a line of a regular file can't be an id.
    """
    if path == "-":
        return PipedIds(sys.stdin.fileno(), "standard input")
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a str, as the user wrote it
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # opening a directory says what is wrong with it
            return FileIds(path)
        return PipedIds(os.open(path, os.O_RDONLY), path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None


class FileIds:
    """The ids of a file, which was checked to its end.

    Attributes:
        total: How many there are, repeated ones included.
        read: Whether all of them were taken.
        typed: Whether a human types them.
    """

    typed = False

    def __init__(self, path: str) -> None:
        self._path = path
        self.total: int | None = sum(1 for _ in self._ids())
        self.read = False

    def __iter__(self) -> Iterator[str]:
        yield from self._ids()
        self.read = True

    def _ids(self) -> Iterator[str]:
        with open(self._path, "rb") as lines:  # noqa: PTH123
            for number, line in enumerate(lines, 1):
                if share_id := id_in(line, number, self._path):
                    yield share_id


class PipedIds:
    """The ids that come out of a pipe or a terminal, as they come.

    Attributes:
        total: Not known.
        read: Whether it was read to its end.
        typed: Whether a human types them.
    """

    total: int | None = None

    def __init__(self, descriptor: int, source: str) -> None:
        self._descriptor, self._source = descriptor, source
        self.typed = os.isatty(descriptor)
        self.read = False

    async def __aiter__(self) -> AsyncIterator[str]:
        number, rest = 0, b""
        async with aclosing(_chunks(self._descriptor)) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    number += 1
                    if share_id := id_in(line, number, self._source):
                        yield share_id
        if share_id := id_in(rest, number + 1, self._source):
            yield share_id
        self.read = True


async def _chunks(descriptor: int) -> AsyncGenerator[bytes, None]:
    """Bytes when there are any, then the end; leaves no thread behind that waits for a terminal."""
    waits = True
    while True:
        if waits:
            try:
                await anyio.wait_readable(descriptor)
            except (OSError, NotImplementedError):
                waits = False  # a regular file (which is always ready), or Windows
        if waits:
            chunk = os.read(descriptor, _CHUNK)
        else:
            chunk = await run_sync(os.read, descriptor, _CHUNK, abandon_on_cancel=True)
        if not chunk:
            return
        yield chunk
