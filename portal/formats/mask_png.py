"""A mask as a grey PNG of 0 and 255, and as runs (`worker.contract.outline_runs`): either way.

Only the form that `ml.images.overlay.mask_png` writes is read: 8 bits, unfiltered lines. So its
deflate stream is all there is to decode, and it is decoded some rows at a time.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final

from worker.contract.outline_runs import Run
from xray_files.bad_file import BadFile
from xray_files.streams import png

MOST_PIXELS: Final = 100_000_000
_GREY_8_BITS: Final = (8, 0, 0, 0, 0)  # depth, colour, compression, filter, interlace
_INSIDE: Final = re.compile(rb"[^\x00]+")
_ROWS_AT_ONCE: Final = 256


def read(data: bytes) -> tuple[list[Run], int, int]:
    """The runs of a mask's PNG, its rows and its columns; BadFile for any other PNG."""
    try:
        chunks = [(kind, data[at + 8 : end - 4]) for kind, at, end in png.chunks(data)]
        width, height, *form = struct.unpack(">II5B", chunks[0][1])
    except (BadFile, struct.error, IndexError):
        raise BadFile("damaged") from None
    if tuple(form) != _GREY_8_BITS or not 0 < width * height <= MOST_PIXELS:
        raise BadFile("damaged")
    stream = b"".join(body for kind, body in chunks if kind == b"IDAT")
    found = list[Run]()
    for first, lines in _lines(stream, height, width + 1):
        if any(lines[:: width + 1]):
            raise BadFile("damaged")
        if lines.count(0) == len(lines):
            continue
        rows = len(lines) // (width + 1)
        plain = b"".join(
            lines[row * (width + 1) + 1 : (row + 1) * (width + 1)] for row in range(rows)
        )
        for match in _INSIDE.finditer(plain):
            start, end = match.start() + first * width, match.end() + first * width
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, end))
    return found, height, width


def write(runs: Sequence[Run], rows: int, columns: int) -> bytes:
    """The PNG of a mask."""
    deflate = zlib.compressobj(6)
    packed, at = list[bytes](), 0
    for first in range(0, rows, _ROWS_AT_ONCE):
        count = min(_ROWS_AT_ONCE, rows - first)
        begin, end = first * columns, (first + count) * columns
        plain = bytearray(count * columns)
        while at < len(runs) and runs[at][0] < end:
            low, high = max(runs[at][0], begin) - begin, min(runs[at][1], end) - begin
            plain[low:high] = b"\xff" * (high - low)
            if runs[at][1] > end:
                break
            at += 1
        lines = bytearray()
        for row in range(count):
            lines += b"\0" + plain[row * columns : (row + 1) * columns]
        packed.append(deflate.compress(lines))
    packed.append(deflate.flush())
    header = struct.pack(">II5B", columns, rows, *_GREY_8_BITS)
    parts = ((b"IHDR", header), (b"IDAT", b"".join(packed)), (b"IEND", b""))
    return png.MARK + b"".join(_chunk(kind, body) for kind, body in parts)


def resized(runs: Sequence[Run], size: tuple[int, int], to: tuple[int, int]) -> list[Run]:
    """A mask of `size` (rows, columns) as one of another size: of each pixel the nearest one.

    As OpenCV's INTER_NEAREST_EXACT, by the pixels' centres.
    """
    if size == to:
        return list(runs)
    (rows, columns), (new_rows, new_columns) = size, to
    by_row: dict[int, list[Run]] = {}
    for start, end in runs:
        for row in range(start // columns, -(-end // columns)):
            low, high = max(start - row * columns, 0), min(end - row * columns, columns)
            ends = (ceil(x * new_columns / columns - 0.5) for x in (low, high))
            by_row.setdefault(row, []).append(tuple(ends))  # type: ignore[arg-type]
    found = list[Run]()
    for row in range(new_rows):
        for low, high in by_row.get((2 * row + 1) * rows // (2 * new_rows), ()):
            start, end = row * new_columns + low, row * new_columns + high
            if start < end and found and found[-1][1] >= start:
                start = found.pop()[0]
            if start < end:
                found.append((start, end))
    return found


def _lines(stream: bytes, rows: int, stride: int) -> Iterator[tuple[int, bytes]]:
    """The number of the first row, and some rows with their filter bytes."""
    inflate, waiting = zlib.decompressobj(), stream
    for first in range(0, rows, _ROWS_AT_ONCE):
        wanted = min(_ROWS_AT_ONCE, rows - first) * stride
        got = b""
        while len(got) < wanted:
            try:
                more = inflate.decompress(waiting, wanted - len(got))
            except zlib.error:
                raise BadFile("damaged") from None
            waiting = inflate.unconsumed_tail
            if not more and not waiting:
                raise BadFile("damaged")
            got += more
        yield first, got


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
