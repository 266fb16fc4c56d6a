"""Reading a file of unknown kind as a ``Picture``; ``Unreadable`` gives the reason where not.

Owns the choice of reader and the small pictures for a list. ``Unreadable.code`` is one of: empty,
not_an_image, truncated, no_pixels, not_single_frame, unsupported_modality,
unsupported_transfer_syntax, unsupported_photometric, too_large, decode_failed.
"""

from __future__ import annotations

from typing import Any

import cv2
from numpy.typing import NDArray

from ml.images import dicom, png_jpeg, shutter
from ml.images.picture import Picture, Spacing, Unreadable, Window, windowed
from xray_files import kinds
from xray_files.streams import jpeg, png

__all__ = ["Picture", "Spacing", "Unreadable", "Window", "preview", "read", "thumb"]


def read(data: bytes) -> Picture:
    """Read a DICOM, PNG or JPEG file; the kind follows from its bytes, never from a name."""
    if not data:
        raise Unreadable("empty", "The file is empty.")
    if data.startswith((png.MARK, jpeg.MARK)):
        return png_jpeg.read(data)
    if kinds.looks_like_dicom(data):
        return dicom.read(data)
    raise Unreadable("not_an_image", "The file is not a DICOM, PNG or JPEG picture.")


def preview(picture: Picture, long_edge: int = 1024) -> bytes:
    """The picture through its first window as a grey JPEG, never larger than it is.

    What is outside of a shutter is black.
    """
    rows, columns = picture.pixels.shape
    scale = min(1.0, long_edge / max(rows, columns))
    small: NDArray[Any] = picture.pixels
    if scale < 1:
        size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        small = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    grey = windowed(small, picture.windows[0])
    if picture.shutters:
        height, width = grey.shape
        smaller = shutter.scaled(picture.shutters, width / columns, height / rows)
        grey[~shutter.shown(smaller, height, width)] = 0
    ok, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not ok:
        raise RuntimeError("the preview could not be encoded")
    return encoded.tobytes()


def thumb(picture: Picture, edge: int = 96) -> bytes:
    """A preview for a list, its long edge ``edge`` pixels."""
    return preview(picture, edge)
