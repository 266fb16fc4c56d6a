"""PNG and JPEG files as pictures: sizes are read from the header before anything is decoded."""

from __future__ import annotations

import cv2
import numpy as np

from ml.images import decoders
from ml.images.picture import (
    Picture,
    Unreadable,
    automatic_window,
    check_size,
    colour_share,
    unreadable,
)
from xray_files.bad_file import BadFile
from xray_files.streams import jpeg, png


def read(data: bytes) -> Picture:
    """A PNG or JPEG as a picture without millimetres; grey stays as deep as it was stored."""
    is_png = data.startswith(png.MARK)
    try:
        size = png.size(data) if is_png else _jpeg_size(data)
        if size is None:
            raise BadFile("truncated")
        check_size(*size)
        # libpng and libjpeg fill up what is missing and only warn, so look for the end first.
        # What is behind it belongs to no picture.
        whole = png.trimmed(data) if is_png else bytes(jpeg.trimmed(data))
    except BadFile as bad:
        raise unreadable(bad) from None
    try:
        # Not "unchanged": this way a photograph's rotation is applied and transparency dropped.
        stored = decoders.undamaged(whole, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
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


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    frame = jpeg.frame(data)
    return frame.size if frame else None
