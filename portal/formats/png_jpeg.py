"""Headers of PNG and JPEG files: size, depth and whether the file is whole. No pixel is decoded."""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

from portal.formats.refusals import Limits, check_size, refuse

PNG_MARK: Final = b"\x89PNG\r\n\x1a\n"
JPEG_MARK: Final = b"\xff\xd8\xff"

# Bit depths that the PNG standard allows for each colour type (ISO/IEC 15948, table 11.1).
_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Start of frame: C0..CF without DHT (C4), JPG (C8), DAC (CC); the ones that decoders know.
_BASELINE_TO_PROGRESSIVE: Final = frozenset({0xC0, 0xC1, 0xC2})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_LS_FRAME: Final = 0xF7
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_FILL: Final = re.compile(rb"\xff*")
# libpng cuts pixels into chunks of 8 KB, cameras put some hundred segments before the picture.
# Nobody walks through the millions of empty ones that a small ZIP unfolds to.
_MOST_CHUNKS: Final = 20_000
_MOST_SEGMENTS: Final = 2000


def png(data: bytes, limits: Limits) -> dict[str, Any]:
    """Walk a PNG's chunks to its end, checking each one's CRC."""
    header, has_pixels = b"", False
    for kind, at, end in png_chunks(data):
        body = memoryview(data)[at + 4 : end - 4]
        if zlib.crc32(body) != int.from_bytes(data[end - 4 : end], "big"):
            raise refuse("damaged")
        if not header:
            if kind != b"IHDR" or len(body) != 4 + 13:
                raise refuse("damaged")
            header = bytes(body[4:])
            check_size(*_png_size(header), limits)
        elif kind == b"acTL":  # an animation
            raise refuse("not_single_frame")
        elif kind == b"IDAT":
            has_pixels = True
    if not has_pixels:
        raise refuse("no_pixels")
    rows, columns = _png_size(header)
    depth, colour = header[8], header[9]
    if depth not in _PNG_DEPTHS.get(colour, ()):
        raise refuse("unsupported_photometric")
    return {"rows": rows, "columns": columns, "bits": depth, "colour": colour not in (0, 4)}


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, and where it begins and ends, to the one that ends the picture."""
    at = len(PNG_MARK)
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            raise refuse("truncated")
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if not kind.isalpha():
            raise refuse("damaged")
        if end > len(data):
            raise refuse("truncated")
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise refuse("too_many_parts")


def _png_size(header: bytes) -> tuple[int, int]:
    columns, rows = struct.unpack(">II", header[:8])
    return rows, columns


def jpeg(data: bytes, limits: Limits) -> dict[str, Any]:
    """Walk a JPEG's markers to its scan and look for its end."""
    frame = jpeg_frame(data)
    if frame is None:
        raise refuse("truncated")
    check_size(frame["rows"], frame["columns"], limits)
    if frame["marker"] not in _BASELINE_TO_PROGRESSIVE or frame["bits"] != 8:
        raise refuse("unsupported_photometric")
    if frame["samples"] not in (1, 3, 4):
        raise refuse("unsupported_photometric")
    # The end mark may be followed by some padding, not by another file.
    if b"\xff\xd9" not in data[max(frame["at"], len(data) - 4096) :]:
        raise refuse("truncated")
    return {
        "rows": frame["rows"],
        "columns": frame["columns"],
        "bits": frame["bits"],
        "colour": frame["samples"] != 1,
    }


def jpeg_frame(data: bytes | memoryview) -> dict[str, int] | None:
    """A JPEG's or JPEG-LS's start of frame: marker, rows, columns, bits, samples and where it is.

    None when the bytes end or derail before it.
    """
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if at + 10 > len(data) or data[at] != 0xFF:
            return None
        filled = _FILL.match(data, at)
        at = filled.end() - 1 if filled else at  # the last of the fill bytes begins the marker
        if at + 10 > len(data):
            return None
        marker = data[at + 1]
        if marker in _FRAMES or marker == _JPEG_LS_FRAME:
            bits, rows, columns, samples = struct.unpack(">BHHB", data[at + 4 : at + 10])
            found = {"marker": marker, "rows": rows, "columns": columns}
            return found | {"bits": bits, "samples": samples, "at": at}
        if marker in _BARE:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise refuse("too_many_parts")


def jpeg_2000_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """(rows, columns) from a JPEG 2000 codestream's SIZ segment; None when there is none."""
    if bytes(data[:4]) != b"\xff\x4f\xff\x51" or len(data) < 24:
        return None
    right, bottom, left, top = struct.unpack(">IIII", data[8:24])
    return bottom - top, right - left
