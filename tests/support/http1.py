"""Just enough HTTP/1.1 to find where a message ends. It never judges what is inside."""

import asyncio
import json
import time
from typing import Any

import attrs

HEAD_END = b"\r\n\r\n"
MAX_HEAD = 1 << 20


@attrs.frozen
class SeenRequest:
    """A request as it arrived. `received_at`: seconds of `time.monotonic()`, when its last byte was in."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    head: bytes = attrs.field(repr=False)  # raw
    connection: int  # from 1, in order of arrival
    number: int  # on this connection, from 1
    received_at: float

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    def header(self, name: str) -> str | None:
        """The first value of that name, in any case."""
        wanted = name.lower().encode()
        return next((v.decode("latin-1") for n, v in self.headers if n.lower() == wanted), None)

    def json(self) -> Any:
        return json.loads(self.body)


class RequestParser:
    """Cuts a stream of bytes into requests with Content-Length or without body.

    Anything else is a ValueError, chunked requests included.
    """

    def __init__(self, connection: int = 1) -> None:
        self.heads = 0  # seen complete
        self._connection = connection
        self._buffer = bytearray()
        self._head: tuple[bytes, list[bytes], list[tuple[bytes, bytes]], int] | None = None

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def scan_head(self) -> bool:
        """Whether the head of the next request is complete."""
        if self._head is None:
            end = self._buffer.find(HEAD_END)
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    raise ValueError("this is no HTTP/1.1 request: endless head")
                return False
            head = bytes(self._buffer[: end + 4])
            self._head = _parse_head(head)
            del self._buffer[: end + 4]
            self.heads += 1
        return True

    def pop(self) -> SeenRequest | None:
        """The next complete request."""
        if not self.scan_head():
            return None
        assert self._head is not None
        head, line, headers, length = self._head
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._head = None
        return SeenRequest(
            method=line[0].decode("latin-1"),
            target=line[1],
            headers=headers,
            body=body,
            head=head,
            connection=self._connection,
            number=self.heads,
            received_at=time.monotonic(),
        )


def _parse_head(head: bytes) -> tuple[bytes, list[bytes], list[tuple[bytes, bytes]], int]:
    first, *lines = head[:-4].split(b"\r\n")
    line = first.split(b" ")
    if len(line) != 3 or not line[2].startswith(b"HTTP/1."):
        raise ValueError(f"this is no HTTP/1.1 request: {first[:80]!r}")
    headers, length = [], 0
    for field in lines:
        name, _, value = field.partition(b":")
        value = value.strip()
        headers.append((name, value))
        match name.lower():
            case b"content-length":
                length = int(value)
            case b"transfer-encoding":
                raise ValueError("requests with Transfer-Encoding are not supported")
    return head, line, headers, length


async def read_reply(reader: asyncio.StreamReader, method: str) -> bytes:
    """The raw bytes of one final reply; 1xx replies before it are dropped."""
    head = await reader.readuntil(HEAD_END)
    while head[9:10] == b"1":
        head = await reader.readuntil(HEAD_END)
    fields = dict(line.lower().split(b":", 1) for line in head[:-4].split(b"\r\n")[1:])
    if method == "HEAD" or head[9:12] in (b"204", b"304"):
        return head
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        return head + await _read_chunks(reader)
    if b"content-length" in fields:
        return head + await reader.readexactly(int(fields[b"content-length"]))
    return head + await reader.read()


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    raw, size = b"", 1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        raw += line + await reader.readexactly(size + 2)  # no trailers: a test server sends none
    return raw


def reply(
    body: bytes = b"", status: int = 200, headers: tuple[tuple[str, str], ...] = (), *, reason: str = "Reason"
) -> bytes:
    """A well-formed reply with Content-Length."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {reason}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def json_reply(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    body = json.dumps(value).encode()
    return reply(body, status, (("Content-Type", "application/json"), *headers))
