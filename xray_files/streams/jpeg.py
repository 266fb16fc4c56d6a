"""JPEG and JPEG-LS streams by their markers (ITU-T T.81 B.1, T.87): size, kind and true end.

No pixel is decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from xray_files.bad_file import BadFile

MARK: Final = b"\xff\xd8\xff"
LS_FRAME: Final = 0xF7
SEQUENTIAL_FRAMES: Final = frozenset({0xC0, 0xC1})
PROGRESSIVE_FRAMES: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
LOSSLESS_FRAMES: Final = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
# Start of frame: C0..CF without DHT (C4), JPG (C8) and DAC (CC), which share the range.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOS, _EOI, _APP0, _APP14 = 0xDA, 0xD9, 0xE0, 0xEE
# Markers that stand alone, without a length: TEM, RST0..7, SOI.
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_FILL: Final = re.compile(rb"\xff*")
# What ends entropy-coded data: neither stuffed nor a restart. After 0xFF JPEG stuffs a zero byte
# and JPEG-LS a zero bit, so that a marker is 0x80 or more.
_END_OF_SCAN: Final = re.compile(rb"\xff+[\x80-\xcf\xd8-\xfe]")
# Cameras put some hundred segments before the picture. Nobody walks through the millions of empty
# ones that a small ZIP unfolds to.
_MOST_SEGMENTS: Final = 2000


@dataclass(frozen=True, slots=True)
class Frame:
    """A start of frame; `colour_stated`: a JFIF or Adobe segment before it states its colours."""

    marker: int
    rows: int
    columns: int
    bits: int
    samples: int
    at: int
    colour_stated: bool

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns


def frame(data: bytes | memoryview) -> Frame | None:
    """The start of frame; None when the bytes end or derail before it."""
    at, stated = 2, False
    for _ in range(_MOST_SEGMENTS):
        if at + 10 > len(data) or data[at] != 0xFF:
            return None
        filled = _FILL.match(data, at)
        at = filled.end() - 1 if filled else at  # the last of the fill bytes begins the marker
        if at + 10 > len(data):
            return None
        marker = data[at + 1]
        if marker in _FRAMES or marker == LS_FRAME:
            bits, samples = data[at + 4], data[at + 9]
            rows, columns = _short(data, at + 5), _short(data, at + 7)
            return Frame(marker, rows, columns, bits, samples, at, stated)
        if marker in _BARE:
            at += 2
            continue
        if marker in (_APP0, _APP14):
            stated |= bytes(data[at + 4 : at + 9]) in (b"JFIF\0", b"Adobe")
        at += 2 + _short(data, at + 2)
    raise BadFile("too_many_parts")


def end(data: bytes | memoryview, at: int) -> int | None:
    """Where the picture's end mark ends, from its start of frame on; None where there is none, or
    where whole scans are missing before it.

    What stands behind it belongs to no picture.
    """
    scans = _Scans(data, at)
    for _ in range(_MOST_SEGMENTS):
        filled = _FILL.match(data, at)
        at = filled.end() - 1 if filled and filled.end() > at else at
        if at + 2 > len(data) or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == _EOI:
            return at + 2 if scans.are_complete() else None
        if marker in _BARE:
            at += 2
            continue
        if at + 4 > len(data):
            return None
        segment, at = at, at + 2 + _short(data, at + 2)
        if marker == _SOS:
            scans.add(data[segment + 4 : at])
            found = _END_OF_SCAN.search(data, at)
            if found is None:
                return None
            at = found.end() - 2
    raise BadFile("too_many_parts")


class _Scans:
    """What the scans of a frame, which begins at `at`, have brought so far (T.81 B.2.3, G.1.1).

    A progressive picture has each coefficient of each component down to its last bit. Where the
    last scans are missing before its end mark, decoders draw the rest without a message: blurred.
    """

    def __init__(self, data: bytes | memoryview, at: int) -> None:
        self._is_progressive = data[at + 1] in PROGRESSIVE_FRAMES
        count = data[at + 9] if self._is_progressive else 0
        # Per component, the bits that each coefficient lacks; None before its first scan.
        self._lacking: dict[int, list[int | None]] = {
            component: [None] * 64 for component in data[at + 10 : at + 10 + 3 * count : 3]
        }
        self._count = 0

    def add(self, scan: bytes | memoryview) -> None:
        """The header of a scan, from its number of components on."""
        self._count += 1
        components = scan[0] if scan else 0
        if not self._is_progressive or len(scan) < 4 + 2 * components:
            return
        first, last, bits = scan[1 + 2 * components : 4 + 2 * components]
        for component in scan[1 : 1 + 2 * components : 2]:
            lacking = self._lacking.get(component)
            if lacking is not None and first <= last < len(lacking):
                lacking[first : last + 1] = [bits & 0x0F] * (last + 1 - first)

    def are_complete(self) -> bool:
        lacking = self._lacking.values()
        return self._count > 0 and not any(bits is None or bits for one in lacking for bits in one)


def trimmed(data: bytes | memoryview) -> bytes | memoryview:
    """The stream up to its end mark; BadFile where it is cut off."""
    start = frame(data)
    last = None if start is None else end(data, start.at)
    if last is None:
        raise BadFile("truncated")
    return data[:last]


def coded_rows(data: bytes | memoryview, start: Frame) -> int:
    """How many rows the first scan codes at a time: 8 of one component, more where the colours of
    several have fewer rows than the brightness.
    """
    at = start.at + 2 + _short(data, start.at + 2)
    for _ in range(_MOST_SEGMENTS):
        filled = _FILL.match(data, at)
        at = filled.end() - 1 if filled and filled.end() > at else at
        if at + 5 > len(data) or data[at] != 0xFF:
            break
        if data[at + 1] == _SOS:
            if data[at + 4] == 1:
                break
            factors = data[start.at + 11 : start.at + 10 + 3 * start.samples : 3]
            return 8 * max(1, *(factor & 0x0F for factor in factors))
        at += 2 if data[at + 1] in _BARE else 2 + _short(data, at + 2)
    return 8


def as_rgb(data: bytes) -> bytes:
    """The stream with a segment that states RGB: decoders guess YCbCr where none does."""
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    return data[:2] + adobe + data[2:]


def _short(data: bytes | memoryview, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
