"""A DICOM header as a stream of elements: walked by their lengths, converted where they are listed.

pydicom converts the listed elements, of which no more than their bounds is cut out beforehand.
Nothing else of the header is read.
"""

import logging
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydicom import charset, config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from portal.formats.element_stream import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    ElementStream,
    Found,
)
from portal.formats.listed_elements import CHARACTER_SET, Bound, is_overlay
from portal.formats.refusals import Refused, refuse

# pydicom warns by quoting values of the header: patient data, which no log may hold.
logging.getLogger("pydicom").disabled = True
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom|portal\.(formats|exchange)")

PIXEL_DATA: Final = 0x7FE00010
_OTHER_PIXELS: Final = (0x7FE00008, 0x7FE00009)  # floating point pictures: no X-ray has them
_TRANSFER_SYNTAX: Final = 0x00020010
_IMPLICIT: Final = "1.2.840.10008.1.2"
_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
# What follows the meta information is deflated: a few kilobytes can unfold to gigabytes.
_DEFLATED: Final = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"))
# VRs whose values stand between backslashes.
_SEVERAL: Final = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI")
)


@dataclass(slots=True)
class Header:
    """What was found before the pixels, and where these are: None where the file ends first."""

    data: bytes
    implicit: bool = True
    little: bool = True
    transfer_syntax: str = ""
    found: dict[int, Found] = field(default_factory=dict)
    pixels: Found | None = None

    def dataset(self, listed: Mapping[int, Bound], encodings: list[str] | None = None) -> Dataset:
        """The listed elements, which pydicom converts one by one when they are asked for.

        Of overlays it holds empty elements: only whether they are there counts. `encodings`: those
        of the data set that an item is in.
        """
        raws: dict[BaseTag, DataElement | RawDataElement] = {}
        encodings = encodings or _encodings(self, listed)
        for tag, found in self.found.items():
            if is_overlay(tag):
                raws[BaseTag(tag)] = RawDataElement(
                    BaseTag(tag), "OW", 0, b"", 0, found.implicit, self.little
                )
            elif (bound := listed.get(tag)) is not None:
                element = _element(self, found, bound, encodings)
                if element is not None:
                    raws[BaseTag(tag)] = element
        dataset = Dataset(raws)
        dataset.set_original_encoding(self.implicit, self.little, encodings)
        return dataset


def walk(data: bytes, listed: Mapping[int, Bound], most_bytes: int) -> Header:
    """Find the listed elements and the pixels; Refused where the stream is broken or too long."""
    header = Header(data)
    steps = ElementStream(data, most_bytes)
    at = begin = _meta(header, steps)
    _choose_encoding(header, at)
    while at < len(data):
        found = steps.element(at, header.implicit, header.little)
        if found.tag == PIXEL_DATA or found.tag in _OTHER_PIXELS:
            if found.tag != PIXEL_DATA:
                raise refuse("no_pixels")
            header.pixels = found
            break
        if found.tag in (ITEM, ITEM_END, SEQUENCE_END):
            raise refuse("damaged")
        end = steps.end(found, header.little)
        if found.tag in listed or is_overlay(found.tag):
            header.found[found.tag] = found
        at = end
    if at == begin and header.pixels is None:
        raise refuse("truncated")
    return header


def _meta(header: Header, steps: ElementStream) -> int:
    """Read the transfer syntax from the file meta information; where the elements begin."""
    data = header.data
    at = 132 if data[128:132] == b"DICM" else 0
    implicit = not _is_vr(data, at)
    while data[at : at + 2] == b"\x02\x00":
        found = steps.element(at, implicit, True)
        end = steps.end(found, True)
        if found.tag == _TRANSFER_SYNTAX:
            value = data[found.start : found.start + min(found.length, 128)]
            header.transfer_syntax = value.decode("ascii", "replace").strip(" \0")
        at = end
    if header.transfer_syntax in _DEFLATED:
        raise refuse("unsupported_transfer_syntax")
    return at


def _choose_encoding(header: Header, at: int) -> None:
    """How the elements are written: by the first one, where the transfer syntax contradicts it."""
    named = header.transfer_syntax
    header.little = named != _BIG_ENDIAN
    header.implicit = not _is_vr(header.data, at)
    if named:
        return
    # Groups of at most 0x00FF come first: another one is written in the other order of bytes.
    group = int.from_bytes(header.data[at : at + 2], "little")
    header.little = header.implicit or group < 1024
    if header.implicit:
        header.transfer_syntax = _IMPLICIT
    else:
        header.transfer_syntax = _EXPLICIT if header.little else _BIG_ENDIAN


def _is_vr(data: bytes, at: int) -> bool:
    return all(0x41 <= letter <= 0x5A for letter in data[at + 4 : at + 6])


def _encodings(header: Header, listed: Mapping[int, Bound]) -> list[str]:
    """Python's names of the header's character sets."""
    found, bound = header.found.get(CHARACTER_SET), listed.get(CHARACTER_SET)
    if found is None or bound is None or found.length == UNDEFINED:
        return [charset.default_encoding]
    values = _cut(_bytes_of(header.data, found, bound), bound.values).decode("iso8859").split("\\")
    try:
        return charset.convert_encodings([value.strip(" \0") for value in values])
    except Exception:  # whatever a name that is none leads to
        return [charset.default_encoding]


def _element(
    header: Header, found: Found, bound: Bound, encodings: list[str]
) -> DataElement | RawDataElement | None:
    """What pydicom converts; None where the value is not of a kind that belongs there."""
    vr = found.vr.decode("ascii")
    named = vr if vr not in ("", "UN") else dictionary_VR(found.tag)
    if bound.items:
        return _sequence(header, found, bound, encodings) if named == "SQ" else None
    if named == "SQ" or found.length == UNDEFINED:
        return None
    if bound.vrs is not None and (named not in bound.vrs or found.length > bound.most_bytes):
        return None
    raw = _bytes_of(header.data, found, bound)
    if named in _SEVERAL:
        raw = _cut(raw, bound.values)
    value = raw or empty_value_for_VR(named, raw=True)
    assert value is None or isinstance(value, bytes)
    return RawDataElement(
        BaseTag(found.tag), vr or None, len(raw), value, 0, found.implicit, header.little
    )


def _sequence(header: Header, found: Found, bound: Bound, encodings: list[str]) -> DataElement:
    """The first items of a sequence, with their listed elements; one empty item where broken."""
    try:
        items = _items(header, found, bound, encodings)
    except Refused:
        items = [Dataset()]
    return DataElement(BaseTag(found.tag), "SQ", Sequence(items))


def _items(header: Header, found: Found, bound: Bound, encodings: list[str]) -> list[Dataset]:
    steps, order = ElementStream(header.data, len(header.data)), "<" if header.little else ">"
    at, items = found.start, list[Dataset]()
    whole = len(header.data) if found.length == UNDEFINED else found.start + found.length
    while at < whole and len(items) < bound.values:
        steps.step(at)
        group, number, length = struct.unpack_from(f"{order}HHI", header.data, at)
        if group << 16 | number != ITEM:
            break
        at += 8
        end = whole if length == UNDEFINED else at + length
        item = Header(header.data, header.implicit, header.little)
        while at < end:
            inner = steps.element(at, header.implicit, header.little)
            if inner.tag == ITEM_END:
                at = inner.start
                break
            at = steps.end(inner, header.little)
            item.found[inner.tag] = inner
        items.append(item.dataset(bound.items, encodings))
    return items


def _bytes_of(data: bytes, found: Found, bound: Bound) -> bytes:
    return data[found.start : found.start + min(found.length, bound.most_bytes)]


def _cut(raw: bytes, values: int) -> bytes:
    """The first values of those between backslashes."""
    at = -1
    for _ in range(values):
        at = raw.find(b"\\", at + 1)
        if at < 0:
            return raw
    return raw[:at]
