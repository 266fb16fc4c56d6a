"""PNG and JPEG files as pictures: sizes are read from the header before anything is decoded."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from ml.images.picture import Picture, Unreadable, automatic_window, check_size, colour_share

PNG_MARK = b"\x89PNG\r\n\x1a\n"
JPEG_MARK = b"\xff\xd8\xff"

# Start-of-frame markers C0..CF without DHT (C4), JPG (C8) and DAC (CC), which share the range.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers that stand alone, without a length: TEM, RST0..7, SOI.
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


def png_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) from a PNG's IHDR, or None when it is not all there."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    columns, rows = struct.unpack(">II", data[16:24])
    return rows, columns


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) from a JPEG's or JPEG-LS's start of frame, or None when there is none."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _FRAME_MARKERS or marker == 0xF7:  # F7: JPEG-LS
            rows, columns = struct.unpack(">HH", data[at + 5 : at + 9])
            return rows, columns
        elif marker in _BARE_MARKERS:
            at += 2
        else:
            at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    return None


def read(data: bytes) -> Picture:
    """A PNG or JPEG as a picture without millimetres; grey stays as deep as it was stored."""
    is_png = data.startswith(PNG_MARK)
    size = png_size(data) if is_png else jpeg_size(data)
    if size is None:
        raise Unreadable("truncated", "The picture file ends before its picture begins.")
    check_size(*size)
    # libpng and libjpeg fill up what is missing and only warn, so look for the end mark first.
    if (b"IEND" if is_png else b"\xff\xd9") not in data[-4096:]:
        raise Unreadable("truncated", "The picture file is cut off: its end is missing.")
    try:
        # Not "unchanged": this way a photograph's rotation is applied and transparency dropped.
        stored = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
        )
    except cv2.error:
        stored = None
    if stored is None or stored.dtype not in (np.uint8, np.uint16):
        raise Unreadable("decode_failed", "The picture file is damaged and could not be decoded.")
    bits = 8 * stored.dtype.itemsize
    colour = 0.0
    if stored.ndim == 3:
        colour = colour_share(stored, 2**bits - 1)
        stored = cv2.cvtColor(stored, cv2.COLOR_BGR2GRAY)
    pixels = np.ascontiguousarray(stored.astype(np.uint16))
    return Picture(
        pixels=pixels,
        bits=bits,
        media_type="image/png" if is_png else "image/jpeg",
        windows=(automatic_window(pixels),),
        photometric="MONOCHROME2" if colour == 0.0 else "RGB",
        colour=colour,
    )
