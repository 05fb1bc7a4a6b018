import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from koodrive_async import UsageError
from koodrive_async.cli.source import FileIds, PipedIds, open_ids

LINES = b"\xef\xbb\xbf# a head\n1001\n\n  1002\t# trailing\r\n#1003\n10#04\n   \n1005"
IDS = ["1001", "1002", "10#04", "1005"]


async def piped(descriptor: int) -> list[str]:
    return [share_id async for share_id in PipedIds(descriptor, "a pipe")]


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes(LINES)
    ids = open_ids(str(path))
    assert isinstance(ids, FileIds)
    assert (ids.total, ids.read, ids.typed) == (4, False, False)
    assert list(ids) == IDS
    assert ids.read


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_pipe_in_pieces_of_any_size(backend: str, size: int) -> None:
    ours, theirs = os.pipe()

    async def write() -> None:
        for at in range(0, len(LINES), size):
            os.write(theirs, LINES[at : at + size])
            await anyio.lowlevel.checkpoint()
        os.close(theirs)

    async def both() -> list[str]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            return await piped(ours)

    assert anyio.run(both, backend=backend) == IDS
    os.close(ours)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_regular_file_as_standard_input(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "ids"
    path.write_bytes(LINES)
    with path.open("rb") as file:
        assert anyio.run(piped, file.fileno(), backend=backend) == IDS


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"10 02", "line 2: a share id contains blanks"),
        (b"10\x1b02", "line 2: a share id contains blanks or characters that don't print"),
        (b"1" * 300, "line 2: a share id has 300 characters"),
        (b"\xff\xfe1\x000", "line 2: this is not UTF-8"),
    ],
)
def test_a_line_that_is_no_id_is_named_before_anything_is_read(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    path = tmp_path / "ids"
    path.write_bytes(b"1001\n" + line + b"\n")
    with pytest.raises(UsageError, match=reason):
        open_ids(str(path))


@pytest.mark.parametrize("path", ["missing", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match=r"No such file|Is a directory"):
        open_ids(str(tmp_path / path))


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    keep = os.open(path, os.O_RDWR)  # so that nobody waits for the other end
    yield path
    os.close(keep)


def test_a_pipe_with_a_name_is_not_read_beforehand(fifo: Path) -> None:
    ids = open_ids(str(fifo))
    assert isinstance(ids, PipedIds)
    assert ids.total is None
    os.close(ids._descriptor)
