"""Stored values of a DICOM picture, with one decoder for each compression.

Owns the choice of decoders, by the stream's own marks: files name another transfer syntax than
they have. Files may be damaged on purpose, and a decoder that crashes the process cannot be caught:
on streams with a few random bytes changed, GDCM crashed for JPEG, JPEG-LS and JPEG 2000, the
decoders chosen here did not. GDCM decodes what only it can (12-bit and lossless JPEG); decode
untrusted files in a separate process.
"""

from __future__ import annotations

from typing import Any

import cv2
import gdcm
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import decode as decode_jpeg_2000
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from ml.images import decoder_messages, scan_gap
from ml.images.picture import Unreadable
from xray_files import kinds
from xray_files.picture_header import PictureHeader
from xray_files.streams import jpeg, jpeg_2000, rle

_JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"


def stored(header: PictureHeader, frame: bytes | memoryview) -> NDArray[Any]:
    """The decoded values of a single-frame picture, (rows, columns) or (rows, columns, 3 of RGB).

    frame: native pixels, or a compressed stream from its begin to its end mark (`xray_files`).
    Which of their bits are stored ones is not decided here (see ``ml.images.grayscale``).
    """
    if header.transfer_syntax == kinds.RLE:
        size = header.rows, header.columns
        rle.check(frame, header.rle_segments, size, most_runs=len(frame))
    if not header.encapsulated or header.transfer_syntax == kinds.RLE:
        values = _by_pydicom(header, header.transfer_syntax, frame)
    elif bytes(frame[:4]) == jpeg_2000.MARK:
        values = np.asarray(decode_jpeg_2000(bytes(frame)))
    else:
        values = _jpeg(header, frame)
    if values.shape[:2] != (header.rows, header.columns) or values.dtype.itemsize > 2:
        raise ValueError("the stream holds another picture than the header describes")
    return values


def _jpeg(header: PictureHeader, frame: bytes | memoryview) -> NDArray[Any]:
    start = jpeg.frame(frame)
    if start is None:
        raise Unreadable("truncated", "The DICOM file is cut off within its pixels.")
    if start.marker == jpeg.LS_FRAME:
        return _by_pydicom(header, _JPEG_LS, frame, "pyjpegls")
    if start.marker in jpeg.LOSSLESS_FRAMES or start.bits > 8:
        lossless = start.marker in jpeg.LOSSLESS_FRAMES
        decoded = by_gdcm(start, JPEG_LOSSLESS if lossless else JPEG_EXTENDED, frame)
        searched = decoded.ndim == 2 and _is_searched(start)
        if searched and scan_gap.is_there(_of_8_bits(header, decoded)):
            raise damaged()
        return decoded
    stream = bytes(frame)
    if header.photometric == "RGB" and start.samples == 3 and not start.colour_stated:
        stream = jpeg.as_rgb(stream)
    values = undamaged(stream, cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("not a JPEG picture")
    return values if values.ndim == 2 else cv2.cvtColor(values, cv2.COLOR_BGR2RGB)


def undamaged(stream: bytes, flags: int) -> NDArray[Any] | None:
    """What OpenCV decodes, None where it can't; Unreadable where it only made up a part."""
    with decoder_messages.read() as messages:
        values = cv2.imdecode(np.frombuffer(stream, np.uint8), flags)
        has_gap = values is not None and _has_gap(stream, values)
    if messages.is_damage(stream) or has_gap:
        raise damaged()
    return values


def _has_gap(stream: bytes, values: NDArray[Any]) -> bool:
    """Whether a JPEG is shifted in brightness where bytes are missing before."""
    start = jpeg.frame(stream) if stream[:3] == jpeg.MARK else None
    if start is None or not _is_searched(start) or values.dtype != np.uint8:
        return False
    grey: NDArray[Any] | None = values
    if values.ndim == 3 or b"Exif" in stream[: start.at]:
        # The brightness as it was coded, not turned: colours out of step are cut off in RGB.
        as_coded = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
        grey = cv2.imdecode(np.frombuffer(stream, np.uint8), as_coded)
    return grey is not None and scan_gap.is_there(grey, jpeg.coded_rows(stream, start))


def _of_8_bits(header: PictureHeader, decoded: NDArray[Any]) -> NDArray[np.uint8]:
    """The upper eight of the stored bits. Streams state another depth than the header's: GDCM, 16
    for 12, with the bits above set."""
    values = decoded >> (header.high + 1 - header.stored)
    if header.signed:
        values = values ^ (1 << (header.stored - 1))
    values = values & ((1 << header.stored) - 1)
    return (values >> max(0, header.stored - 8)).astype(np.uint8)


def _is_searched(start: jpeg.Frame) -> bool:
    coded_by_blocks = jpeg.SEQUENTIAL_FRAMES | jpeg.PROGRESSIVE_FRAMES
    return start.marker in coded_by_blocks and start.samples in (1, 3)


def damaged() -> Unreadable:
    """The refusal of a picture of which bytes are missing."""
    return Unreadable("decode_failed", "The picture is damaged: parts of it are missing.")


def by_gdcm(start: jpeg.Frame, syntax: str, frame: bytes | memoryview) -> NDArray[Any]:
    """A stream by its own header: rows, columns and depth are what it states.

    Unreadable where GDCM notices that a part is missing.
    """
    allocated = 8 if start.bits <= 8 else 16
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(bytes(frame))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((start.columns, start.rows, 1))
    image.SetDataElement(element)
    colour = "MONOCHROME2" if start.samples == 1 else "RGB"
    kind = gdcm.PhotometricInterpretation.GetPIType(colour)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if start.samples > 1:
        image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(start.samples, allocated, start.bits, start.bits - 1, 0))
    with decoder_messages.read() as messages:
        # GDCM gives its bytes as a text.
        decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
    if messages.is_damage(frame):
        raise damaged()
    values = np.frombuffer(decoded, np.uint8 if allocated == 8 else "<u2")
    shape = start.size if start.samples == 1 else (*start.size, start.samples)
    return values.reshape(shape)


def _by_pydicom(
    header: PictureHeader, syntax: str, frame: bytes | memoryview, plugin: str = ""
) -> NDArray[Any]:
    """Native, RLE and JPEG-LS pixels, YBR as RGB; the header is the checked one."""
    dataset = Dataset()
    dataset.Rows, dataset.Columns = header.rows, header.columns
    dataset.SamplesPerPixel = header.samples
    dataset.PhotometricInterpretation = header.photometric
    dataset.BitsAllocated, dataset.BitsStored = header.allocated, header.stored
    dataset.HighBit, dataset.PixelRepresentation = header.high, int(header.signed)
    if header.samples > 1:
        dataset.PlanarConfiguration = int(header.planar)
    uid = UID(syntax)
    if syntax == kinds.DEFLATED:
        uid = UID(kinds.EXPLICIT)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid
    raw = bytes(frame)
    if uid.is_encapsulated:
        raw = encapsulate([raw])
    dataset.PixelData = raw
    dataset["PixelData"].VR = "OB" if header.allocated == 8 else "OW"
    dataset.set_original_encoding(uid.is_implicit_VR, uid.is_little_endian, "utf8")
    return pixel_array(dataset, index=0, correct_unused_bits=False, decoding_plugin=plugin)
