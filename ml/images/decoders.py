"""Stored values of a DICOM picture, with one decoder for each compression.

Owns the choice of decoders. Files may be damaged on purpose, and a decoder that crashes the process
cannot be caught: on streams with a few random bytes changed, GDCM crashed for JPEG, JPEG-LS and
JPEG 2000, the decoders chosen here did not. GDCM decodes what only it can (12-bit and lossless
JPEG); decode untrusted files in a separate process.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import decode as decode_jpeg_2000
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array

from ml.images import png_jpeg
from ml.images.picture import Unreadable

_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_JPEG_LS = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})
_JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
_JPEG_2000_MARK = b"\xff\x4f\xff\x51"  # start of codestream, then its size


def stored(dataset: FileDataset) -> NDArray[Any]:
    """The decoded values of a single-frame picture, (rows, columns) or (rows, columns, 3 of RGB).

    Which of their bits are stored ones is not decided here (see ``ml.images.grayscale``).
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return pixel_array(dataset, index=0, correct_unused_bits=False)
    try:
        stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    except Exception:
        raise Unreadable("truncated", "The DICOM file is cut off within its pixels.") from None
    # A stream larger than its header could exhaust the memory.
    shape = (int(dataset.Rows), int(dataset.Columns))
    if claimed_size(stream) not in (None, shape):
        raise Unreadable("decode_failed", "The compressed picture is not of the size it claims.")
    if syntax == _JPEG_BASELINE:
        values = _jpeg(stream)
    elif syntax in _JPEG_2000:
        values = np.asarray(decode_jpeg_2000(stream))
    else:
        plugin = "pyjpegls" if syntax in _JPEG_LS else ""
        values = pixel_array(dataset, index=0, correct_unused_bits=False, decoding_plugin=plugin)
    if values.shape[:2] != shape or values.dtype.itemsize > 2:
        raise ValueError("the stream holds another picture than the header describes")
    return values


def claimed_size(stream: bytes) -> tuple[int, int] | None:
    """(rows, columns) in a compressed stream's own header; None where it has none."""
    if stream.startswith(png_jpeg.JPEG_MARK):
        return png_jpeg.jpeg_size(stream)
    if stream.startswith(_JPEG_2000_MARK) and len(stream) >= 24:
        right, bottom, left, top = (
            int.from_bytes(stream[at : at + 4], "big") for at in (8, 12, 16, 20)
        )
        return bottom - top, right - left
    return None


def _jpeg(stream: bytes) -> NDArray[Any]:
    # What is missing at the end is filled with grey and not reported, so look for the end mark.
    if b"\xff\xd9" not in stream[-64:]:
        raise Unreadable("truncated", "The DICOM file is cut off within its pixels.")
    values = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("not a JPEG picture")
    return values if values.ndim == 2 else cv2.cvtColor(values, cv2.COLOR_BGR2RGB)
