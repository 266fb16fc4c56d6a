"""PNG files by their chunks (ISO/IEC 15948): size, kind and true end. No pixel is decoded."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from xray_files.bad_file import BadFile

MARK: Final = b"\x89PNG\r\n\x1a\n"
# libpng cuts pixels into chunks of 8 KB. Nobody walks through the millions of empty ones that a
# small ZIP unfolds to.
_MOST_CHUNKS: Final = 20_000


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, and where it begins and ends, to the one that ends the picture."""
    at = len(MARK)
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            raise BadFile("truncated")
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if not kind.isalpha():
            raise BadFile("damaged")
        if end > len(data):
            raise BadFile("truncated")
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise BadFile("too_many_parts")


def whole(data: bytes, at: int, end: int) -> memoryview:
    """A chunk's kind and content, checked against its sum."""
    body = memoryview(data)[at + 4 : end - 4]
    if zlib.crc32(body) != int.from_bytes(data[end - 4 : end], "big"):
        raise BadFile("damaged")
    return body


def trimmed(data: bytes) -> bytes:
    """The file up to the end of its picture; BadFile where it is cut off or damaged."""
    last = 0
    for _, at, end in chunks(data):
        whole(data, at, end)
        last = end
    return data[:last]


def size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) from a PNG's IHDR, or None when it is not all there."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    columns, rows = struct.unpack(">II", data[16:24])
    return rows, columns
