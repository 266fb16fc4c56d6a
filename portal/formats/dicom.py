"""DICOM headers: which kind of picture a file holds, whether it is complete, whose it is.

pydicom reads the elements before the pixels, from a bounded part of the file; the element that
holds the pixels is measured here by its own length. Wrong or missing tags never raise: what
cannot be understood counts as absent.
"""

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydicom import config
from pydicom.dataset import FileDataset
from pydicom.filereader import read_partial
from pydicom.uid import UID

from portal.formats import patient_tags, png_jpeg
from portal.formats.display_text import clean
from portal.formats.refusals import Limits, check_size, refuse

# pydicom warns by quoting values of the header: patient data, which no log may hold.
logging.getLogger("pydicom").disabled = True
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom|portal\.(formats|exchange)")

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
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_HEADER_BYTES: Final = 4 * 1024 * 1024
_HEADER_ELEMENTS: Final = 5000
_PIXEL_DATA: Final = 0x7FE00010
_OTHER_PIXELS: Final = (0x7FE00008, 0x7FE00009)  # floating point pictures: no X-ray has them
_UNDEFINED: Final = 0xFFFFFFFF
# One frame of the largest file, cut into pieces of 8 KB, has fewer.
_MOST_FRAGMENTS: Final = 10_000
_LONG_VRS: Final = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN")


def looks_like(data: bytes) -> bool:
    """Whether the bytes are DICOM, with the preamble or (older files) beginning with a tag."""
    if data[128:132] == b"DICM":
        return True
    # No preamble: groups 0002 or 0008 come first, with a small element number.
    return len(data) > 132 and data[:2] in (b"\x02\x00", b"\x08\x00") and data[3] == 0


def read(data: bytes, limits: Limits) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """The patient's data, the keys and the picture's header (see `intake.Upload`), or Refused."""
    # Wherever the file's meta information names it: pydicom would unfold all of it at once.
    if _DEFLATED in data[:_HEADER_BYTES]:
        raise refuse("unsupported_transfer_syntax")
    dataset, end = _parsed(data)
    _check_modality(dataset)
    element = _pixel_element(data, dataset, end)
    header = _check_picture(dataset, limits)
    _check_pixels(data, element, header)
    header["acquired"] = patient_tags.taken(dataset)
    return patient_tags.phi(dataset), patient_tags.keys(dataset), header


def picture(data: bytes) -> tuple[FileDataset, dict[str, Any], bytes]:
    """A kept file's elements before the pixels, its checked header, and the one frame's bytes.

    The bytes are the pixels or the codestream as they are in the file, without what is behind.
    """
    dataset, end = _parsed(data)
    element = _pixel_element(data, dataset, end)
    header = _check_picture(dataset, Limits(len(data)))
    if element.length is None:
        return dataset, header, b"".join(_fragments(data, element.start))
    _check_pixels(data, element, header)
    return dataset, header, data[element.start : element.start + _needed(header)]


def pixels_digest(data: bytes) -> str:
    """SHA-256 of a checked file's pixels and of how they are read; no patient data is in it.

    Another compression of the same pixels has another digest: nothing is decoded here.
    """
    _, header, frame = picture(data)
    digest = hashlib.sha256("|".join(str(header[name]) for name in _READ_BY).encode())
    digest.update(frame)
    return digest.hexdigest()


class _TooMany(Exception):
    pass


class _Header(io.BytesIO):
    """The beginning of the file, with a limit on the number of reads.

    pydicom's callback sees top-level elements only, so reads are counted instead of elements: one
    element, also inside a sequence, takes at most three.
    """

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, or _TooMany."""
        self.reads += 1
        if self.reads > 3 * _HEADER_ELEMENTS:
            raise _TooMany
        return super().read(size)


def _parsed(data: bytes) -> tuple[FileDataset, int]:
    """The elements before the pixels and the offset at which reading ended."""

    def at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
        return int(tag) == _PIXEL_DATA or int(tag) in _OTHER_PIXELS

    stream = _Header(data[:_HEADER_BYTES])
    try:
        dataset = read_partial(stream, at_pixels, force=True)
    except Exception:  # whatever pydicom meets in a damaged header
        raise refuse("damaged") from None
    if not isinstance(dataset, FileDataset) or len(dataset) == 0:
        raise refuse("truncated")
    return dataset, stream.tell()


def _check_modality(dataset: FileDataset) -> None:
    modality = patient_tags.code(dataset, "Modality")
    sop_class = patient_tags.code(dataset, "SOPClassUID")
    known = modality in MODALITIES if modality else sop_class in (*IMAGE_CLASSES, "")
    if not known:
        # Two letters by the standard; anything longer may be text of the sender.
        short = bool(modality) and len(modality) <= 4 and modality.isalnum()
        raise refuse("unsupported_modality", kind=modality if short else "another kind")


@dataclass(frozen=True, slots=True)
class _Element:
    """Where the pixels are in the file; `length` is None for encapsulated ones."""

    start: int
    length: int | None


def _pixel_element(data: bytes, dataset: FileDataset, at: int) -> _Element:
    implicit, little = dataset.original_encoding
    order: Any = "little" if little else "big"
    head = data[at : at + 12]
    if len(head) < 8:
        raise refuse("truncated" if _ends_early(dataset, len(data)) else "no_pixels")
    group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
    if (group << 16) | element != _PIXEL_DATA:
        raise refuse("no_pixels" if at < _HEADER_BYTES else "damaged")
    if implicit:
        start, length = at + 8, int.from_bytes(head[4:8], order)
    elif head[4:6] in _LONG_VRS:
        start, length = at + 12, int.from_bytes(head[8:12], order)
    else:
        raise refuse("damaged")
    return _Element(start, None if length == _UNDEFINED else length)


def _ends_early(dataset: FileDataset, length: int) -> bool:
    """Whether the last element of the header was promised more bytes than the file has."""
    last = dataset.get_item(max(dataset.keys()))
    tell, promised = getattr(last, "value_tell", None), getattr(last, "length", None)
    if tell is None or promised is None or promised == _UNDEFINED:
        return True
    return bool(tell + promised != length)


def _check_picture(dataset: FileDataset, limits: Limits) -> dict[str, Any]:
    if patient_tags.whole(dataset, "NumberOfFrames", 1) > 1:
        raise refuse("not_single_frame")
    rows, columns = (
        patient_tags.whole(dataset, "Rows", 0),
        patient_tags.whole(dataset, "Columns", 0),
    )
    check_size(rows, columns, limits)
    syntax = _transfer_syntax(dataset)
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


def _transfer_syntax(dataset: FileDataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    named = str(meta.get("TransferSyntaxUID") or "") if meta is not None else ""
    if named:
        return named
    implicit, little = dataset.original_encoding  # no preamble: pydicom has found out
    return "1.2.840.10008.1.2" + ("" if implicit else ".1" if little else ".2")


def _check_pixels(data: bytes, element: _Element, header: dict[str, Any]) -> None:
    """Whether the pixels are all there, and a compressed stream no larger than it claims."""
    encapsulated = UID(header["transfer_syntax"]).is_encapsulated
    if encapsulated != (element.length is None):
        raise refuse("damaged")
    if element.length is None:
        _check_codestream(_first_frame(data, element.start), header)
        return
    if element.length == 0:
        raise refuse("no_pixels")
    if element.length < _needed(header) or element.start + element.length > len(data):
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
        if length == _UNDEFINED or at + 8 + length > len(data):
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
