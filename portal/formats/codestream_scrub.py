"""Text inside compressed pixels: whatever a decoder does not need of a compressed stream.

A camera or archive can write a name into a comment, into application data or into an unknown
segment. Of JPEG, JPEG-LS and JPEG 2000 only the segments that are named here stay as they are; the
bytes of all others are blanked in place, so that nothing else of the stream moves. RLE is written
anew from its segments. No pixel is decoded. What can't be parsed is refused.
"""

import itertools
import re
import struct
from typing import Final

_EOI, _SOS = 0xD9, 0xDA
_APP0, _APP8, _APP14 = 0xE0, 0xE8, 0xEE
# Frames, tables (DHT, DAC, DQT), DNL, DRI and scans; those of JPEG-LS (frame, parameters) only in a
# JPEG-LS stream.
_ALLOWED: Final = frozenset(
    {*range(0xC0, 0xC8), *range(0xC9, 0xD0), _SOS, 0xDB, 0xDC, 0xDD} - {0xC8}
)
_LS_FRAME: Final = 0xF7
_FRAMES: Final = frozenset({*range(0xC0, 0xD0), _LS_FRAME}) - {0xC4, 0xC8, 0xCC}
_FIXED: Final = frozenset({0xDC, 0xDD})
_LS_ALLOWED: Final = frozenset({_LS_FRAME, 0xF8})
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_FILL: Final = re.compile(rb"\xff+")
# The first marker in entropy-coded data that ends it: neither stuffed nor a restart. After 0xFF,
# JPEG stuffs a zero byte and JPEG-LS a zero bit, so that a marker is 0x80 or more.
_END_OF_SCAN: Final = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_MOST_SEGMENTS: Final = 20_000
_MOST_RUNS: Final = 8_000_000
# What a decoder needs of an application segment: JFIF's density, HP's and Adobe's kind of colour.
_NEEDED: Final = {_APP0: (b"JFIF\0", 14), _APP8: (b"mrfx", 5), _APP14: (b"Adobe", 12)}
_J2K_SOT, _J2K_SOD, _J2K_EOC, _J2K_CAP = 0xFF90, 0xFF93, 0xFFD9, 0xFF50
_J2K_END: Final = re.compile(rb"\xff\xd9")
# SIZ to COC, tile-part and packet lengths, QCD to POC, packed packet headers, CRG and SOT.
_J2K_ALLOWED: Final = frozenset(
    {*range(0xFF51, 0xFF54), 0xFF55, 0xFF57, 0xFF58, *range(0xFF5C, 0xFF62), 0xFF63, _J2K_SOT}
)


class NotCleanable(Exception):
    """A stream that can't be parsed, so that its content is unknown."""


def clean(stream: bytes | memoryview) -> bytes:
    """The same stream without what no decoder needs, cut off at its end mark."""
    blanks, end = _blanks(stream)
    data = bytearray(stream[:end])
    for start, stop in blanks:
        data[start:stop] = bytes(stop - start)
    return bytes(data)


def is_cleanable(stream: bytes | memoryview) -> bool:
    """Whether `clean` can parse the stream."""
    try:
        _blanks(stream)
    except NotCleanable:
        return False
    return True


def _blanks(stream: bytes | memoryview) -> tuple[list[tuple[int, int]], int]:
    """What has to be blanked, as begins and ends, and where the stream ends."""
    if bytes(stream[:2]) == b"\xff\xd8":
        return _blanks_of_jpeg(stream)
    if bytes(stream[:4]) == b"\xff\x4f\xff\x51":
        return _blanks_of_jpeg_2000(stream)
    raise NotCleanable


def _blanks_of_jpeg(data: bytes | memoryview) -> tuple[list[tuple[int, int]], int]:
    """JPEG and JPEG-LS (ITU-T T.81 B.1, T.87): segments up to each scan, the scan, and so on."""
    at, allowed, blanks = 2, _ALLOWED, list[tuple[int, int]]()
    for _ in range(_MOST_SEGMENTS):
        at = _next_marker(data, at)
        marker = data[at + 1]
        if marker == _EOI:
            return blanks, at + 2
        if marker in _BARE:
            at += 2
            continue
        end = at + 2 + _length(data, at + 2)
        if marker == _LS_FRAME:
            allowed = _ALLOWED | _LS_ALLOWED
        if marker not in allowed:
            blanks.append((_kept_until(data, at + 4, end, marker), end))
        elif end - at - 2 != _true_length(data, at, marker):
            raise NotCleanable
        at = end
        if marker == _SOS:
            at = _end_of_scan(data, at)
    raise NotCleanable


def _next_marker(data: bytes | memoryview, at: int) -> int:
    """Where the next marker stands; it may be filled up with 0xFF before."""
    filled = _FILL.match(data, at)
    if filled is None or filled.end() >= len(data) or data[filled.end()] == 0:
        raise NotCleanable
    return filled.end() - 1


def _end_of_scan(data: bytes | memoryview, at: int) -> int:
    found = _END_OF_SCAN.search(data, at)
    if found is None:
        raise NotCleanable
    return found.start()


def _true_length(data: bytes | memoryview, at: int, marker: int) -> int:
    """How long the segment has to be, by its kind and the components that it names."""
    stated = int.from_bytes(data[at + 2 : at + 4], "big")
    if marker == _SOS:
        return 6 + 2 * data[at + 4] if stated > 2 else 0
    if marker in _FRAMES:
        return 8 + 3 * data[at + 9] if stated > 7 else 0
    return 4 if marker in _FIXED else stated


def _kept_until(data: bytes | memoryview, start: int, end: int, marker: int) -> int:
    """Where what no decoder needs of a segment begins."""
    mark, needed = _NEEDED.get(marker, (b"", 0))
    if needed and bytes(data[start : start + len(mark)]) == mark:
        return min(start + needed, end)
    return start


def _blanks_of_jpeg_2000(data: bytes | memoryview) -> tuple[list[tuple[int, int]], int]:
    """ISO/IEC 15444-1 annex A: the main header, then tile-parts, each with a header of its own."""
    at, tile_end, blanks = 2, 0, list[tuple[int, int]]()
    for _ in range(_MOST_SEGMENTS):
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker == _J2K_EOC:
            return blanks, at + 2
        if marker == _J2K_SOD:
            if tile_end <= at:  # Psot was 0: the tile-part goes on to the end of the stream
                # No packet holds the end mark: the bits after 0xFF are stuffed (annex B.10).
                found = _J2K_END.search(data, at)
                if found is None:
                    raise NotCleanable
                return blanks, found.end()
            at = tile_end
            continue
        if marker < 0xFF40:  # below 0xFF30 none is, and the others have no length
            raise NotCleanable
        end = at + 2 + _length(data, at + 2)
        if marker == _J2K_CAP:
            # As long as the capabilities that it names (ISO/IEC 15444-15): no text fits in.
            if end - at != 8 + 2 * int.from_bytes(data[at + 4 : at + 8], "big").bit_count():
                raise NotCleanable
        elif marker not in _J2K_ALLOWED:
            blanks.append((at + 4, end))
        elif marker == _J2K_SOT:
            size = int.from_bytes(data[at + 6 : at + 10], "big")
            tile_end = at + size if size else 0
            if tile_end > len(data):
                raise NotCleanable
        at = end
    raise NotCleanable


def clean_rle(frame: bytes, segments: int, pixels: int) -> bytes:
    """An RLE frame (DICOM PS3.5 G) of so many segments, nothing between them and behind them.

    Each segment is followed to the run that ends its `pixels` bytes; the header is written anew.
    """
    head = struct.unpack("<16I", frame[:64]) if len(frame) >= 64 else (0,)
    begins = [*head[1 : segments + 1], len(frame)]
    if head[0] != segments or begins[0] < 64 or begins != sorted(begins):
        raise NotCleanable
    parts, offsets = list[bytes](), list[int]()
    at = 64
    for begin, limit in itertools.pairwise(begins):
        part = frame[begin : _end_of_runs(frame, begin, limit, pixels)]
        part += b"\0" * (len(part) % 2)
        parts.append(part)
        offsets.append(at)
        at += len(part)
    return struct.pack("<16I", segments, *offsets, *[0] * (15 - segments)) + b"".join(parts)


def _end_of_runs(frame: bytes, at: int, limit: int, pixels: int) -> int:
    """Where the runs (PackBits) end that make so many bytes."""
    made = 0
    for _ in range(_MOST_RUNS):
        if made >= pixels or at >= limit:
            break
        count = frame[at]
        if count < 128:  # so many bytes as they are
            made, at = made + count + 1, at + count + 2
        elif count > 128:  # one byte, repeated
            made, at = made + 257 - count, at + 2
        else:  # no operation: allowed anywhere
            at += 1
    if made != pixels or at > limit:
        raise NotCleanable
    return at


def _length(data: bytes | memoryview, at: int) -> int:
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 2 or at + length > len(data):
        raise NotCleanable
    return length
