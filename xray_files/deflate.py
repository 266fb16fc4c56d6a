"""Deflated DICOM files (PS3.5 A.5), inflated within a limit: kilobytes can unfold to gigabytes."""

from __future__ import annotations

import zlib
from typing import Final

from xray_files.bad_file import BadFile

MOST_BYTES: Final = 32 * 2**20
"""A chest film of 4280 × 3520 pixels of 16 bits has 29 MiB."""
RATIO: Final = 100
"""To how many times its length a file may unfold: that of a ZIP's members. Of 80 real X-rays none
was above 5.5 (`benchmarks/ml/deflate_ratio.py`): the noise of a detector does not repeat.
"""
_STEP: Final = 2**16


def inflated(data: bytes, at: int) -> bytes:
    """What is deflated from `at` on; BadFile where that is too much, damaged or cut off."""
    # Counted first, so that the second pass has the room that it needs and not twice as much.
    size = _size(memoryview(data)[at:])
    return zlib.decompress(memoryview(data)[at:], -zlib.MAX_WBITS, size)


def _size(packed: memoryview) -> int:
    unpacker, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    most = min(MOST_BYTES, RATIO * len(packed))
    try:
        for begin in range(0, len(packed), _STEP):
            rest: bytes | memoryview = packed[begin : begin + _STEP]
            while rest and not unpacker.eof:
                size += len(unpacker.decompress(rest, 2**20))
                if size > most and most < MOST_BYTES:
                    raise BadFile("unfolds_too_far")
                if size > most:
                    raise BadFile("unfolds_too_large", megabytes=MOST_BYTES // 2**20)
                rest = unpacker.unconsumed_tail
            if unpacker.eof:
                return size
    except zlib.error:
        raise BadFile("damaged") from None
    raise BadFile("truncated")
