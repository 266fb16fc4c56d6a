"""The header of a DICOM picture, checked before any pixel is decoded.

What is accepted here can be decoded as far as the header goes: values that contradict each other
are refused, not guessed at.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from xray_files import kinds, values
from xray_files.bad_file import BadFile
from xray_files.element_stream import UNDEFINED, ElementStream, Found
from xray_files.header import PIXEL_DATA, Header

_PIXEL_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN")


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """How the pixels are stored. `stored` and `high`: bits of a value, and the highest of them."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    planar: bool
    photometric: str
    transfer_syntax: str

    @property
    def encapsulated(self) -> bool:
        return self.transfer_syntax in kinds.ENCAPSULATED

    @property
    def rle_segments(self) -> int:
        """How many segments an RLE frame has: one for each byte of a pixel (PS3.5 G.2)."""
        return self.samples * self.allocated // 8

    @property
    def native_bytes(self) -> int:
        """How many bytes the pixels take that are not compressed."""
        needed = self.rows * self.columns * self.samples * self.allocated // 8
        return needed * 2 // 3 if self.photometric == "YBR_FULL_422" else needed


def check_size(rows: int, columns: int) -> None:
    """Refuse a picture of no or of far too many pixels."""
    if rows < 1 or columns < 1:
        raise BadFile("no_pixels")
    if rows * columns > kinds.MOST_PIXELS or max(rows, columns) > kinds.LONGEST_SIDE:
        raise BadFile("too_many_pixels", rows=rows, columns=columns)


def check_modality(dataset: Dataset) -> None:
    """Refuse what is no projection X-ray; a file that names no modality goes by its class."""
    modality = values.code(dataset, "Modality")
    sop_class = values.code(dataset, "SOPClassUID")
    if not (modality in kinds.MODALITIES if modality else sop_class in (*kinds.IMAGE_CLASSES, "")):
        # Two letters by the standard; anything longer may be text of the sender.
        short = bool(modality) and len(modality) <= 4 and modality.isalnum()
        raise BadFile("unsupported_modality", kind=modality if short else "another kind")


def read(dataset: Dataset, found: Header) -> PictureHeader:
    """The checked header of a walked file; BadFile says what is wrong with it."""
    if values.whole(dataset, "NumberOfFrames", 1) > 1:
        raise BadFile("not_single_frame")
    rows, columns = values.whole(dataset, "Rows", 0), values.whole(dataset, "Columns", 0)
    check_size(rows, columns)
    if found.transfer_syntax not in kinds.TRANSFER_SYNTAXES:
        raise BadFile("unsupported_transfer_syntax")
    photometric = values.code(dataset, "PhotometricInterpretation")
    allocated = values.whole(dataset, "BitsAllocated", 0)
    if photometric not in kinds.GREY | kinds.COLOUR or allocated not in (8, 16):
        raise BadFile("unsupported_photometric")
    samples = 1 if photometric in kinds.GREY or photometric == "PALETTE COLOR" else 3
    stored = values.whole(dataset, "BitsStored", allocated) or allocated
    high = values.whole(dataset, "HighBit", stored - 1)
    if values.whole(dataset, "SamplesPerPixel", samples) != samples:
        raise BadFile("contradictory")
    if not 0 < stored <= high + 1 <= allocated:
        raise BadFile("contradictory")
    return PictureHeader(
        rows=rows,
        columns=columns,
        samples=samples,
        allocated=allocated,
        stored=stored,
        high=high,
        signed=values.whole(dataset, "PixelRepresentation", 0) == 1,
        planar=samples == 3 and values.whole(dataset, "PlanarConfiguration", 0) == 1,
        photometric=photometric,
        transfer_syntax=found.transfer_syntax,
    )


def pixels_of(found: Header, header: PictureHeader) -> Found:
    """The element with the pixels, of the length that the header needs."""
    pixels = found.pixels
    if pixels is None:
        raise BadFile("no_pixels")
    if not pixels.implicit and pixels.vr not in _PIXEL_VRS:
        raise BadFile("damaged")
    if header.encapsulated != (pixels.length == UNDEFINED):
        raise BadFile("damaged")
    if header.encapsulated:
        return pixels
    if pixels.length == 0:
        raise BadFile("no_pixels")
    if pixels.length < header.native_bytes or pixels.start + pixels.length > len(found.data):
        raise BadFile("truncated")
    if header.transfer_syntax == kinds.DEFLATED:
        _check_end(found, pixels.start + pixels.length)
    return pixels


def _check_end(found: Header, at: int) -> None:
    """BadFile where something else than elements is behind the pixels of a deflated file.

    What was deflated has no checksum (RFC 1951). Where bytes of it are missing it unfolds to other
    pixels and, but for a few, to another number of bytes.
    """
    steps = ElementStream(found.data, len(found.data))
    while at < len(found.data):
        try:
            behind = steps.element(at, found.implicit, found.little)
            at = steps.end(behind, found.little)
        except BadFile:
            raise BadFile("damaged") from None
        if behind.tag <= PIXEL_DATA:
            raise BadFile("damaged")
