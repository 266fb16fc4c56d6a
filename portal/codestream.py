"""Text inside compressed pixels: comments and application data of JPEG, JPEG-LS and JPEG 2000.

A camera or archive can write a name into them. Their bytes are blanked in place, lengths stay, so
that nothing else of the stream moves; no pixel is decoded. What can't be followed is refused.
"""

import re
from typing import Final

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP8, _APP14, _APP15 = 0xE0, 0xE8, 0xEE, 0xEF
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_FILL: Final = re.compile(rb"\xff+")
# The first marker in entropy-coded data that ends it: neither stuffed nor a restart. After 0xFF,
# JPEG stuffs a zero byte and JPEG-LS a zero bit, so that a marker is 0x80 or more.
_END_OF_SCAN: Final = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_MOST_SEGMENTS: Final = 20_000
# What a decoder needs of an application segment: JFIF's density, HP's and Adobe's kind of colour.
_NEEDED: Final = {_APP0: (b"JFIF\0", 14), _APP8: (b"mrfx", 5), _APP14: (b"Adobe", 12)}
_J2K_SOC, _J2K_SOT, _J2K_SOD, _J2K_EOC, _J2K_COM = 0xFF4F, 0xFF90, 0xFF93, 0xFFD9, 0xFF64


class NotCleanable(Exception):
    """A stream that can't be followed, so that nobody can say what is in it."""


def clean(stream: bytes) -> bytes:
    """The same stream without comments and application data, cut off at its end mark."""
    if stream[:2] == b"\xff\xd8":
        return _clean_jpeg(bytearray(stream))
    if stream[:4] == b"\xff\x4f\xff\x51":
        return _clean_jpeg_2000(bytearray(stream))
    raise NotCleanable


def _clean_jpeg(data: bytearray) -> bytes:
    """JPEG and JPEG-LS (ITU-T T.81 B.1, T.87): segments up to each scan, the scan, and so on."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        at = _next_marker(data, at)
        marker = data[at + 1]
        if marker == _EOI:
            return bytes(data[: at + 2])
        if marker in _BARE:
            at += 2
            continue
        end = at + 2 + _length(data, at + 2)
        if marker == _COM or _APP0 <= marker <= _APP15:
            _blank(data, at + 4, end, marker)
        at = end
        if marker == _SOS:
            at = _end_of_scan(data, at)
    raise NotCleanable


def _next_marker(data: bytearray, at: int) -> int:
    """Where the next marker stands; it may be filled up with 0xFF before."""
    filled = _FILL.match(data, at)
    if filled is None or filled.end() >= len(data) or data[filled.end()] == 0:
        raise NotCleanable
    return filled.end() - 1


def _end_of_scan(data: bytearray, at: int) -> int:
    found = _END_OF_SCAN.search(data, at)
    if found is None:
        raise NotCleanable
    return found.start()


def _blank(data: bytearray, start: int, end: int, marker: int) -> None:
    mark, needed = _NEEDED.get(marker, (b"", 0))
    if needed and data[start:end].startswith(mark):
        start = min(start + needed, end)
    data[start:end] = bytes(end - start)


def _clean_jpeg_2000(data: bytearray) -> bytes:
    """ISO/IEC 15444-1 annex A: the main header, then tile-parts, each with a header of its own."""
    at, tile_end = 2, 0
    for _ in range(_MOST_SEGMENTS):
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker == _J2K_EOC:
            return bytes(data[: at + 2])
        if marker == _J2K_SOD:
            if tile_end <= at:  # Psot was 0: the tile-part goes on to the end of the stream
                end = data.rfind(b"\xff\xd9")
                if end < at:
                    raise NotCleanable
                return bytes(data[: end + 2])
            at = tile_end
            continue
        if marker < 0xFF30:
            raise NotCleanable
        end = at + 2 + _length(data, at + 2)
        if marker == _J2K_COM:
            data[at + 6 : end] = bytes(max(end - at - 6, 0))  # behind the kind of the comment
        elif marker == _J2K_SOT:
            size = int.from_bytes(data[at + 6 : at + 10], "big")
            tile_end = at + size if size else 0
            if tile_end > len(data):
                raise NotCleanable
        at = end
    raise NotCleanable


def _length(data: bytearray, at: int) -> int:
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 2 or at + length > len(data):
        raise NotCleanable
    return length
