"""JPEG 2000 codestreams by their markers (ISO/IEC 15444-1 annex A) and the boxes around them.

High-Throughput JPEG 2000 (15444-15) has the same markers. No pixel is decoded.
"""

from __future__ import annotations

import struct
from typing import Final

from xray_files.bad_file import BadFile

MARK: Final = b"\xff\x4f\xff\x51"
"""Start of codestream, and the marker of its size that follows."""
BOXES: Final = b"\0\0\0\x0cjP  "
_SOT, _SOD, _EOC, _SOC = 0xFF90, 0xFF93, 0xFFD9, 0xFF4F
_END: Final = b"\xff\xd9"
_MOST_SEGMENTS: Final = 20_000


def size(data: bytes | memoryview) -> tuple[int, int] | None:
    """(rows, columns) from a codestream's SIZ segment; None when there is none."""
    if bytes(data[:4]) != MARK or len(data) < 24:
        return None
    right, bottom, left, top = struct.unpack(">IIII", data[8:24])
    return bottom - top, right - left


def codestream(data: bytes | memoryview) -> bytes | memoryview:
    """The codestream of a JP2 file, or the data itself where it has no boxes."""
    if bytes(data[:8]) != BOXES:
        return data
    at = 0
    for _ in range(_MOST_SEGMENTS):
        if at + 8 > len(data):
            break
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        start = at + 8
        if length == 1 and at + 16 <= len(data):
            length, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = at + length if length else len(data)
        if end < start:
            raise BadFile("damaged")
        if end > len(data):
            raise BadFile("truncated")
        if kind == b"jp2c":
            return data[start:end]
        at = end
    raise BadFile("truncated")


def trimmed(data: bytes | memoryview) -> bytes | memoryview:
    """A codestream of its main header, its whole tile-parts and its end mark, nothing between.

    Writers put comments between the last tile-part and the end, which decoders stumble over.
    BadFile where a tile-part is cut off or missing, or where something else stands in its place.
    """
    at, tiles = _main_header(data)
    kept = True
    seen, parts, last = set[int](), [data[:at]], at
    for _ in range(_MOST_SEGMENTS):
        marker = _marker(data, at)
        if marker == _EOC or (marker is None and seen):
            break
        if marker is None:
            raise BadFile("truncated")
        if marker != _SOT:
            if marker < 0xFF40 or marker in (_SOC, _SOD):
                raise BadFile("damaged")
            at, kept = at + 2 + _length(data, at + 2), False
            continue
        tile, length = struct.unpack(">HI", _exactly(data, at + 4, 6))
        if length == 0:  # it goes on to the end of the stream; no packet holds the end mark
            found = bytes(data[at:]).rfind(_END)
            if found < 0:
                raise BadFile("truncated")
            length = found
        if length < 14:
            raise BadFile("damaged")
        parts.append(_exactly(data, at, length))
        seen.add(tile)
        last, at = at, at + length
    else:
        raise BadFile("too_many_parts")
    if len(seen) < tiles:
        raise BadFile("truncated")
    # No packet holds the end mark. Where it begins in the last part, and not behind it, bytes are
    # missing before: decoders draw such a stream without a message.
    if marker is None and _END in bytes(data[_packets(data, last) : at + 1]):
        raise BadFile("truncated")
    if kept and marker is not None:
        return data[: at + 2]
    return b"".join([*parts, _END])


def _packets(data: bytes | memoryview, at: int) -> int:
    """Where the packets of a tile-part begin, behind its own header."""
    at += 12
    for _ in range(_MOST_SEGMENTS):
        marker = _marker(data, at)
        if marker == _SOD:
            return at + 2
        if marker is None or marker < 0xFF40:
            raise BadFile("damaged")
        at += 2 + _length(data, at + 2)
    raise BadFile("too_many_parts")


def _main_header(data: bytes | memoryview) -> tuple[int, int]:
    """Where the first tile-part begins, and how many tiles there are."""
    at, tiles = 2, 0
    for _ in range(_MOST_SEGMENTS):
        marker = _marker(data, at)
        if marker is None:
            raise BadFile("truncated")
        if marker == _SOT:
            if not 0 < tiles <= 65535:
                raise BadFile("damaged")
            return at, tiles
        if marker < 0xFF40 or marker in (_SOD, _EOC):
            raise BadFile("damaged")
        if marker == 0xFF51:
            tiles = _tiles(_exactly(data, at + 6, 32))
        at += 2 + _length(data, at + 2)
    raise BadFile("too_many_parts")


def _tiles(segment: bytes | memoryview) -> int:
    right, bottom, _, _, wide, high, left, top = struct.unpack(">8I", segment)
    if not wide or not high or left >= right or top >= bottom:
        raise BadFile("damaged")
    across: int = -(-(right - left) // wide)
    down: int = -(-(bottom - top) // high)
    return across * down


def _marker(data: bytes | memoryview, at: int) -> int | None:
    return int.from_bytes(data[at : at + 2], "big") if at + 2 <= len(data) else None


def _length(data: bytes | memoryview, at: int) -> int:
    length = int.from_bytes(_exactly(data, at, 2), "big")
    if length < 2:
        raise BadFile("damaged")
    return length


def _exactly(data: bytes | memoryview, at: int, length: int) -> bytes | memoryview:
    if at + length > len(data):
        raise BadFile("truncated")
    return data[at : at + length]
