"""Content codings made by hand, bombs included: a gigabyte of letters costs milliseconds to build."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Literal, assert_never

Coding = Literal["gzip", "deflate", "br", "zstd"]

_MEGABYTE = 1 << 20
_PIECE = 1 << 16


def encode(coding: Coding, head: bytes, fill: int, tail: bytes) -> bytes:
    """Encode `head`, then `fill` times the letter a, then `tail`."""
    match coding:
        case "gzip":
            return _gzip(head, fill, tail)
        case "deflate":
            return zlib.compress(head + b"a" * fill + tail)
        case "br":
            return _brotli_stored(head + b"a" * fill + tail)
        case "zstd":
            return _zstd(head, fill, tail)
    assert_never(coding)


@lru_cache(maxsize=1)
def _letters() -> bytes:
    """A megabyte of letters, deflated, ending on a byte boundary: it can be repeated."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(b"a" * _MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)


def _gzip(head: bytes, fill: int, tail: bytes) -> bytes:
    whole, rest = divmod(fill, _MEGABYTE)
    first, last = zlib.compressobj(wbits=-15), zlib.compressobj(wbits=-15)
    data = first.compress(head) + first.flush(zlib.Z_FULL_FLUSH)
    data += _letters() * whole
    data += last.compress(b"a" * rest + tail) + last.flush(zlib.Z_FINISH)
    check = zlib.crc32(head)
    block = b"a" * _MEGABYTE
    for _ in range(whole):
        check = zlib.crc32(block, check)
    check = zlib.crc32(b"a" * rest + tail, check)
    size = (len(head) + fill + len(tail)) & 0xFFFFFFFF
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + data + struct.pack("<II", check, size)


def _brotli_stored(data: bytes) -> bytes:
    """Brotli with stored blocks only (RFC 7932, section 9.2): valid, and needs no library."""
    out = bytearray()
    bits, used = 0, 1  # WBITS = 16 is the single bit 0, before the first block
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        # ISLAST 0, MNIBBLES 4 (0, 2 bits), MLEN - 1 (16 bits), ISUNCOMPRESSED 1
        bits |= (((len(piece) - 1) << 3) | (1 << 19)) << used
        out += bits.to_bytes(3, "little")
        out += piece
        bits, used = 0, 0
    bits |= 0b11 << used  # ISLAST, ISLASTEMPTY
    out.append(bits)
    return bytes(out)


def _zstd(head: bytes, fill: int, tail: bytes) -> bytes:
    """Zstandard with raw and run-length blocks only (RFC 8878): a tiny bomb."""
    out = bytearray(b"\x28\xb5\x2f\xfd\x00\x38")  # magic, no options, a window of 128 KiB

    def block(kind: int, size: int, content: bytes, *, last: bool = False) -> None:
        out.extend(((size << 3) | (kind << 1) | last).to_bytes(3, "little") + content)

    for start in range(0, len(head), _PIECE):
        piece = head[start : start + _PIECE]
        block(0, len(piece), piece)
    for start in range(0, fill, _PIECE):
        block(1, min(_PIECE, fill - start), b"a")
    block(0, len(tail), tail, last=True)
    return bytes(out)
