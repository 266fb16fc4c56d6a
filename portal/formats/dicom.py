"""DICOM headers: which kind of picture a file holds, whether it is complete, whose it is.

`dicom_elements` finds the elements before the pixels and converts the listed ones; the element that
holds the pixels is measured here by its own length. Wrong or missing tags never raise: what
cannot be understood counts as absent.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID

from portal.formats import patient_tags, png_jpeg
from portal.formats.dicom_elements import Header, walk
from portal.formats.display_text import clean
from portal.formats.element_stream import UNDEFINED, Found
from portal.formats.listed_elements import EXPORT, INTAKE
from portal.formats.refusals import Limits, check_size, refuse

MODALITIES: Final = frozenset({"CR", "DX", "DR", "RG", "SC", "OT"})
# For files that leave the modality out: CR, DX for presentation and processing, the four SC kinds.
IMAGE_CLASSES: Final = frozenset(
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
# Implicit, explicit little and big endian; JPEG, JPEG-LS, JPEG 2000, RLE. Not deflated: a few
# kilobytes of it can unfold to gigabytes of header.
TRANSFER_SYNTAXES: Final = frozenset(
    "1.2.840.10008.1.2" + suffix
    for suffix in (
        *("", ".1", ".2", ".5"),
        *(".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81", ".4.90", ".4.91"),
    )
)
GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR: Final = frozenset(
    {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"}
)

_READ_BY: Final = ("rows", "columns", "bits_allocated", "photometric", "transfer_syntax")
# One frame of the largest file, cut into pieces of 8 KB, has fewer.
_MOST_FRAGMENTS: Final = 10_000
_PIXEL_VRS: Final = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN")


def looks_like(data: bytes) -> bool:
    """Whether the bytes are DICOM, with the preamble or (older files) beginning with a tag."""
    if data[128:132] == b"DICM":
        return True
    # No preamble: groups 0002 or 0008 come first, with a small element number.
    return len(data) > 132 and data[:2] in (b"\x02\x00", b"\x08\x00") and data[3] == 0


def read(data: bytes, limits: Limits) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """The patient's data, the keys and the picture's header (see `Upload`), or Refused."""
    found = walk(data, INTAKE, limits.max_header_bytes)
    dataset = found.dataset(INTAKE)
    _check_modality(dataset)
    header = _check_picture(dataset, found, limits)
    _check_pixels(data, _pixels(found), header)
    header["acquired"] = patient_tags.taken(dataset)
    return patient_tags.phi(dataset), patient_tags.keys(dataset), header


def picture(data: bytes) -> tuple[Dataset, dict[str, Any], bytes]:
    """A stored file's listed elements, its checked header, and the one frame's bytes.

    The bytes are the pixels or the codestream as they are in the file, without what is behind.
    """
    dataset, header, parts = _frame(data)
    return dataset, header, b"".join(parts)


def pixels_digest(data: bytes) -> str:
    """SHA-256 of a checked file's pixels and of how they are read; no patient data is in it.

    Another compression of the same pixels has another digest: nothing is decoded here.
    """
    _, header, parts = _frame(data)
    digest = hashlib.sha256("|".join(str(header[name]) for name in _READ_BY).encode())
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _frame(data: bytes) -> tuple[Dataset, dict[str, Any], Iterable[memoryview]]:
    """A stored file's listed elements, its checked header, and the one frame in its pieces."""
    limits = Limits(len(data), max_header_bytes=len(data))
    found = walk(data, EXPORT, limits.max_header_bytes)
    dataset = found.dataset(EXPORT)
    header = _check_picture(dataset, found, limits)
    pixels = _pixels(found)
    if pixels.length == UNDEFINED:
        return dataset, header, _fragments(data, pixels.start)
    _check_pixels(data, pixels, header)
    return dataset, header, [memoryview(data)[pixels.start : pixels.start + _needed(header)]]


def _pixels(found: Header) -> Found:
    if found.pixels is None:
        raise refuse("no_pixels")
    if not found.pixels.implicit and found.pixels.vr not in _PIXEL_VRS:
        raise refuse("damaged")
    return found.pixels


def _check_modality(dataset: Dataset) -> None:
    modality = patient_tags.code(dataset, "Modality")
    sop_class = patient_tags.code(dataset, "SOPClassUID")
    known = modality in MODALITIES if modality else sop_class in (*IMAGE_CLASSES, "")
    if not known:
        # Two letters by the standard; anything longer may be text of the sender.
        short = bool(modality) and len(modality) <= 4 and modality.isalnum()
        raise refuse("unsupported_modality", kind=modality if short else "another kind")


def _check_picture(dataset: Dataset, found: Header, limits: Limits) -> dict[str, Any]:
    if patient_tags.whole(dataset, "NumberOfFrames", 1) > 1:
        raise refuse("not_single_frame")
    rows, columns = (
        patient_tags.whole(dataset, "Rows", 0),
        patient_tags.whole(dataset, "Columns", 0),
    )
    check_size(rows, columns, limits)
    syntax = found.transfer_syntax
    if syntax not in TRANSFER_SYNTAXES:
        raise refuse("unsupported_transfer_syntax")
    photometric = patient_tags.code(dataset, "PhotometricInterpretation")
    allocated = patient_tags.whole(dataset, "BitsAllocated", 0)
    if photometric not in GREY | COLOUR or allocated not in (8, 16):
        raise refuse("unsupported_photometric")
    return {
        "rows": rows,
        "columns": columns,
        "bits_allocated": allocated,
        "photometric": photometric,
        "colour": photometric not in GREY,
        "transfer_syntax": syntax,
        "modality": patient_tags.code(dataset, "Modality")[:16],
        "view": clean(patient_tags.code(dataset, "ViewPosition"), 16),
    }


def _check_pixels(data: bytes, pixels: Found, header: dict[str, Any]) -> None:
    """Whether the pixels are all there, and a compressed stream no larger than it claims."""
    encapsulated = UID(header["transfer_syntax"]).is_encapsulated
    if encapsulated != (pixels.length == UNDEFINED):
        raise refuse("damaged")
    if pixels.length == UNDEFINED:
        _check_codestream(_first_frame(data, pixels.start), header)
        return
    if pixels.length == 0:
        raise refuse("no_pixels")
    if pixels.length < _needed(header) or pixels.start + pixels.length > len(data):
        raise refuse("truncated")


def _needed(header: dict[str, Any]) -> int:
    """How many bytes the pixels take that are not compressed."""
    grey = not header["colour"] or header["photometric"] == "PALETTE COLOR"
    samples = 1 if grey else 3
    needed: int = header["rows"] * header["columns"] * samples * header["bits_allocated"] // 8
    return needed * 2 // 3 if header["photometric"] == "YBR_FULL_422" else needed


def _first_frame(data: bytes, at: int) -> memoryview:
    """The first fragment that holds pixels, once all of them were walked through."""
    fragments = _fragments(data, at)
    first = next(fragments, None)
    for _ in fragments:  # to the end, keeping none: a small file can name very many
        pass
    if not first:
        raise refuse("no_pixels")
    return first


def _fragments(data: bytes, at: int) -> Iterator[memoryview]:
    """The fragments that hold pixels (DICOM PS3.5 A.4), to the mark that ends them."""
    view = memoryview(data)
    for index in range(_MOST_FRAGMENTS):
        if at + 8 > len(data):
            raise refuse("truncated")
        tag, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if tag == b"\xfe\xff\xdd\xe0":
            return
        if tag != b"\xfe\xff\x00\xe0":
            raise refuse("damaged")
        if length == UNDEFINED or at + 8 + length > len(data):
            raise refuse("truncated")
        if index:  # the first item is the table of offsets
            yield view[at + 8 : at + 8 + length]
        at += 8 + length
    raise refuse("too_many_parts")


def _check_codestream(stream: memoryview, header: dict[str, Any]) -> None:
    """A compressed stream has a size of its own: another than the header's is refused."""
    size = png_jpeg.jpeg_2000_size(stream)
    if size is None and bytes(stream[:3]) == png_jpeg.JPEG_MARK:
        frame = png_jpeg.jpeg_frame(stream)
        if frame is None:
            raise refuse("truncated")
        size = frame["rows"], frame["columns"]
    if size is not None and size != (header["rows"], header["columns"]):
        raise refuse("inconsistent")
