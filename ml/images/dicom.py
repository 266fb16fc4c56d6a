"""DICOM files as pictures: header checks first, then decoding, then the grey-scale pipeline.

Owns refusals and their reasons, and colour; grey values are ``ml.images.grayscale``'s, tags
``ml.images.dicom_tags``'s.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID

from ml.images import decoders, dicom_tags, grayscale
from ml.images.picture import (
    Picture,
    Unreadable,
    Window,
    automatic_window,
    check_size,
    colour_share,
)

MODALITIES = frozenset({"CR", "DX", "DR", "RG", "SC", "OT"})
# For files that leave the modality out: CR, DX for presentation and processing, the four SC kinds.
_IMAGE_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1",
        "1.2.840.10008.5.1.4.1.1.1.1",
        "1.2.840.10008.5.1.4.1.1.1.1.1",
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
        "1.2.840.10008.5.1.4.1.1.7.4",
    }
)
_TRANSFER_SYNTAXES = frozenset(
    f"1.2.840.10008.1.2{suffix}"
    for suffix in (
        "",  # implicit little endian
        ".1",  # explicit little endian
        ".2",  # explicit big endian
        ".4.50",  # JPEG baseline
        ".4.51",  # JPEG extended
        ".4.57",  # JPEG lossless
        ".4.70",  # JPEG lossless, first-order prediction
        ".4.80",  # JPEG-LS lossless
        ".4.81",  # JPEG-LS near-lossless
        ".4.90",  # JPEG 2000 lossless
        ".4.91",  # JPEG 2000
        ".5",  # RLE lossless
    )
)
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"})
_DEFLATED = b"1.2.840.10008.1.2.1.99"


def looks_like(data: bytes) -> bool:
    """Whether the bytes are DICOM, with the preamble or (older files) beginning with a tag."""
    if data[128:132] == b"DICM":
        return True
    # No preamble: groups 0002 or 0008 come first, with a small element number.
    return len(data) > 132 and data[:2] in (b"\x02\x00", b"\x08\x00") and data[3] == 0


def read(data: bytes) -> Picture:
    """Read one single-frame projection picture; reasons for refusal: ``ml.images.reader``."""
    with _quiet():
        try:
            dataset = _parsed(data)
            notes = _checked(dataset, len(data))
            return _picture(dataset, decoders.stored(dataset), notes)
        except (Unreadable, MemoryError):
            raise
        except Exception:
            # Parsers and decoders throw whatever they like on damaged bytes. The cause is dropped
            # on purpose: its text may quote the file.
            raise Unreadable(
                "decode_failed", "The DICOM file is damaged or its pixels could not be decoded."
            ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pydicom from warning about, and so printing, values of the header: patient data."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _parsed(data: bytes) -> FileDataset:
    # A deflated header would be blown up by the parser without a limit. What stands before the
    # name of the syntax may be as long as the sender likes, so look everywhere.
    if _DEFLATED in data:
        raise Unreadable(
            "unsupported_transfer_syntax", "The DICOM file is deflated, which is not supported."
        )
    return pydicom.dcmread(io.BytesIO(data), force=True)


def _checked(dataset: FileDataset, length: int) -> tuple[str, ...]:
    """Go through the header before any pixel is decoded; returns notes for the picture."""
    if len(dataset) == 0 or ("PixelData" not in dataset and _ends_early(dataset, length)):
        raise Unreadable("truncated", "The DICOM file is cut off before its pixels.")
    notes = []
    modality = dicom_tags.text(dataset, "Modality")
    sop_class = dicom_tags.text(dataset, "SOPClassUID")
    if modality is None:
        notes.append("modality_missing")
    known = modality in MODALITIES if modality else sop_class in _IMAGE_CLASSES | {None}
    if not known:
        # Two letters by the standard; anything longer may be text of the sender.
        kind = modality if modality and len(modality) <= 4 and modality.isalnum() else "another"
        raise Unreadable(
            "unsupported_modality",
            f"Only projection X-rays (CR, DX) are read; this file's modality is {kind}.",
        )
    if "PixelData" not in dataset:
        raise Unreadable("no_pixels", "The DICOM file holds no picture.")
    if (dicom_tags.number(dataset, "NumberOfFrames") or 1) > 1:
        raise Unreadable("not_single_frame", "The DICOM file holds several frames, not one.")
    rows = int(dicom_tags.number(dataset, "Rows") or 0)
    columns = int(dicom_tags.number(dataset, "Columns") or 0)
    check_size(rows, columns)
    syntax = _transfer_syntax(dataset)
    if syntax not in _TRANSFER_SYNTAXES:
        raise Unreadable(
            "unsupported_transfer_syntax", "The DICOM file's transfer syntax is not supported."
        )
    photometric = dicom_tags.text(dataset, "PhotometricInterpretation")
    if photometric not in _GREY | _COLOUR:
        raise Unreadable(
            "unsupported_photometric",
            "The DICOM file's photometric interpretation is not supported.",
        )
    allocated = dicom_tags.number(dataset, "BitsAllocated") or 0
    if allocated not in (8, 16):
        raise Unreadable(
            "unsupported_photometric", "Only pictures of 8 to 16 bits per sample are supported."
        )
    samples = 1 if photometric in _GREY or photometric == "PALETTE COLOR" else 3
    if not UID(syntax).is_encapsulated:
        needed = rows * columns * samples * int(allocated) // 8
        if photometric == "YBR_FULL_422":
            needed = needed * 2 // 3
        if len(dataset.PixelData) < needed:
            raise Unreadable("truncated", "The DICOM file is cut off within its pixels.")
    return tuple(notes)


def _transfer_syntax(dataset: FileDataset) -> str:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:  # no preamble: pydicom has found out while parsing
        implicit, little = dataset.original_encoding
        suffix = "" if implicit else ".1" if little else ".2"
        syntax = UID(f"1.2.840.10008.1.2{suffix}")
        dataset.file_meta.TransferSyntaxUID = syntax
    return str(syntax)


def _ends_early(dataset: FileDataset, length: int) -> bool:
    """Whether the last element of the header is longer than the rest of the file."""
    last = dataset.get_item(max(dataset.keys()))
    return isinstance(last, RawDataElement) and last.value_tell + last.length != length


def _picture(dataset: FileDataset, stored: NDArray[np.generic], notes: tuple[str, ...]) -> Picture:
    photometric = dicom_tags.text(dataset, "PhotometricInterpretation") or ""
    colour = 0.0
    windows: list[Window] = []
    valid: NDArray[np.bool_] | None = None
    if photometric in _GREY:
        pixels, bits, windows, valid = grayscale.canonical(
            dataset, stored, photometric == "MONOCHROME1"
        )
    else:
        if photometric == "PALETTE COLOR":
            stored = apply_color_lut(stored, dataset)
        bits = 8 * stored.dtype.itemsize
        colour = colour_share(stored, 2**bits - 1)
        # Rec. 601 luminance, as JPEG itself and OpenCV use.
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
        luminance = stored[..., :3].astype(np.float32) @ weights
        pixels = np.rint(luminance).astype(np.uint16)
    if dicom_tags.text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        notes = (*notes, "for_processing")
    return Picture(
        pixels=np.ascontiguousarray(pixels),
        bits=bits,
        media_type="application/dicom",
        windows=(*windows, automatic_window(pixels, valid)),
        photometric=photometric,
        spacing=dicom_tags.spacing(dataset),
        view=dicom_tags.view(dataset),
        modality=dicom_tags.text(dataset, "Modality"),
        body_part=dicom_tags.text(dataset, "BodyPartExamined"),
        orientation=dicom_tags.orientation(dataset),
        patient_age_years=dicom_tags.age_years(dataset),
        patient_sex=dicom_tags.sex(dataset),
        colour=colour,
        notes=notes,
    )
