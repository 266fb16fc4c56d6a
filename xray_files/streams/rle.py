"""RLE frames (DICOM PS3.5 G): whether their runs make a picture of the size that a header states.

A frame does not state its size. Where its runs make fewer bytes, no decoder reads it; where they
make more, decoders drop the rest, so that wrong rows or columns would give a sheared picture.
"""

from __future__ import annotations

import struct
from itertools import pairwise

from xray_files.bad_file import BadFile

_HEAD_BYTES = 64


def check(
    frame: bytes | memoryview, segments: int, size: tuple[int, int], *, most_runs: int
) -> None:
    """BadFile where a segment makes fewer bytes than (rows, columns) has, or further rows.

    segments: one for each byte of a pixel. What is left of a segment is passed over where it makes
    no whole row or is one byte repeated, as padding is. After `most_runs` runs, those of the rests
    among them, nothing is decided: a large picture is one for its decoder, which calls this with
    the frame's length.
    """
    rows, columns = size
    head = struct.unpack("<16I", frame[:_HEAD_BYTES]) if len(frame) >= _HEAD_BYTES else (0,)
    begins = [*head[1 : segments + 1], len(frame)]
    if head[0] != segments or begins[0] < _HEAD_BYTES or begins != sorted(begins):
        raise BadFile("inconsistent")
    for begin, limit in pairwise(begins):
        made, at, used = _runs(frame, begin, limit, rows * columns, most_runs)
        most_runs -= used
        if most_runs <= 0:
            return
        if made < rows * columns:
            raise BadFile("inconsistent")
        rest = bytes(frame[at:limit])
        further = made - rows * columns
        if len(set(rest)) > 1:
            more, _, used = _runs(frame, at, limit, columns - further, most_runs)
            further, most_runs = further + more, most_runs - used
        if further >= columns:
            raise BadFile("inconsistent")
        if most_runs <= 0:
            return


def _runs(
    frame: bytes | memoryview, at: int, limit: int, wanted: int, most: int
) -> tuple[int, int, int]:
    """Follow runs (PackBits) until they make so many bytes.

    Returns how many they make, where they end and how many runs there were. A run that is cut off
    at the limit makes nothing.
    """
    made = used = 0
    while made < wanted and at < limit and used < most:
        count = frame[at]
        if count < 128:  # so many bytes as they are
            end, more = at + count + 2, count + 1
        elif count > 128:  # one byte, repeated
            end, more = at + 2, 257 - count
        else:  # no operation: allowed anywhere
            end, more = at + 1, 0
        if end > limit:
            break
        at, made, used = end, made + more, used + 1
    return made, at, used
