"""A DICOM header as a stream of elements: walked by their lengths, converted where they are listed.

pydicom converts the listed elements, of which no more than their bounds is cut out beforehand.
Nothing else of the header is read. Texts are decoded here (`character_sets`).
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from xray_files import character_sets, kinds
from xray_files.bad_file import BadFile
from xray_files.deflate import inflated
from xray_files.element_stream import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    VRS,
    ElementStream,
    Found,
)
from xray_files.listed_elements import CHARACTER_SET, Bound, is_overlay

# pydicom warns by quoting values of the header: patient data, which no log may hold.
logging.getLogger("pydicom").disabled = True
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom|xray_files|portal\.(formats|exchange)")

PIXEL_DATA: Final = 0x7FE00010
_OTHER_PIXELS: Final = (0x7FE00008, 0x7FE00009)  # floating point pictures: no X-ray has them
_TRANSFER_SYNTAX: Final = 0x00020010
# VRs whose values stand between backslashes.
_SEVERAL: Final = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI")
)
# VRs to which the header's character sets apply (PS3.5 6.1.2.2).
_TEXTS: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_ENCODINGS: Final = ["utf8"]


@dataclass(slots=True)
class Header:
    """What was found before the pixels, and where these are: None where the file ends first.

    `data` is what the places of elements refer to: the file, or what was deflated in it.
    `mislabelled`: the file names another encoding than it has, and was read as it is encoded.
    """

    data: bytes
    implicit: bool = True
    little: bool = True
    transfer_syntax: str = ""
    mislabelled: bool = False
    found: dict[int, Found] = field(default_factory=dict)
    pixels: Found | None = None

    def dataset(
        self, listed: Mapping[int, Bound], character_set: tuple[str, ...] | None = None
    ) -> Dataset:
        """The listed elements, which pydicom converts one by one when they are asked for.

        Of overlays it holds empty elements: only whether they are there counts. `character_set`:
        that of the data set which an item is in.
        """
        raws: dict[BaseTag, DataElement | RawDataElement] = {}
        names = character_set or _character_set(self, listed)
        for tag, found in self.found.items():
            if is_overlay(tag):
                raws[BaseTag(tag)] = RawDataElement(
                    BaseTag(tag), "OW", 0, b"", 0, found.implicit, self.little
                )
            elif tag != CHARACTER_SET and (bound := listed.get(tag)) is not None:
                element = _element(self, found, bound, names)
                if element is not None:
                    raws[BaseTag(tag)] = element
        dataset = Dataset(raws)
        dataset.set_original_encoding(self.implicit, self.little, _ENCODINGS)
        return dataset


def walk(data: bytes, listed: Mapping[int, Bound], most_bytes: int) -> Header:
    """Find the listed elements and the pixels; BadFile where the stream is broken or too long."""
    header = Header(data)
    steps = ElementStream(data, most_bytes)
    at = _meta(header, steps)
    if header.transfer_syntax == kinds.DEFLATED:
        steps.data = header.data = inflated(data, at)
        at = 0
    begin = at
    _choose_encoding(header, at)
    while at < len(header.data):
        found = steps.element(at, header.implicit, header.little)
        if found.tag == PIXEL_DATA or found.tag in _OTHER_PIXELS:
            if found.tag != PIXEL_DATA:
                raise BadFile("no_pixels")
            header.pixels = found
            break
        if found.tag in (ITEM, ITEM_END, SEQUENCE_END):
            raise BadFile("damaged")
        end = steps.end(found, header.little)
        if found.tag in listed or is_overlay(found.tag):
            header.found[found.tag] = found
        at = end
    if at == begin and header.pixels is None:
        raise BadFile("truncated")
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
    if header.transfer_syntax == kinds.DEFLATED_REFERENCE:
        raise BadFile("unsupported_transfer_syntax")
    return at


def _choose_encoding(header: Header, at: int) -> None:
    """How the elements are written: by the first one, also where the transfer syntax differs."""
    named = header.transfer_syntax
    header.implicit = not _is_vr(header.data, at)
    header.little = header.implicit or _is_little(header.data, at, named != kinds.BIG_ENDIAN)
    if named and named not in (kinds.IMPLICIT, kinds.EXPLICIT, kinds.BIG_ENDIAN):
        header.mislabelled = header.implicit or not header.little
        return
    if header.implicit:
        header.transfer_syntax = kinds.IMPLICIT
    else:
        header.transfer_syntax = kinds.EXPLICIT if header.little else kinds.BIG_ENDIAN
    header.mislabelled = named not in ("", header.transfer_syntax)


def _is_little(data: bytes, at: int, otherwise: bool) -> bool:
    """By the first group, which is at most 0x00FF: one of its bytes is zero."""
    group = data[at : at + 2]
    if len(group) < 2 or (group[0] == 0) == (group[1] == 0):
        return otherwise
    return group[1] == 0


def _is_vr(data: bytes, at: int) -> bool:
    return data[at + 4 : at + 6] in VRS


def _character_set(header: Header, listed: Mapping[int, Bound]) -> tuple[str, ...]:
    """The defined terms of the header's character sets."""
    found, bound = header.found.get(CHARACTER_SET), listed.get(CHARACTER_SET)
    if found is None or bound is None or found.length == UNDEFINED:
        return ("",)
    values = _cut(_bytes_of(header.data, found, bound), bound.values).decode("latin-1").split("\\")
    return tuple(value.strip(" \0").upper() for value in values)


def _element(
    header: Header, found: Found, bound: Bound, names: tuple[str, ...]
) -> DataElement | RawDataElement | None:
    """What pydicom converts; None where the value is not of a kind that belongs there."""
    vr = found.vr.decode("ascii")
    named = vr if vr not in ("", "UN") else dictionary_VR(found.tag)
    if bound.items:
        return _sequence(header, found, bound, names) if named == "SQ" else None
    if named == "SQ" or found.length == UNDEFINED:
        return None
    if bound.vrs is not None and (named not in bound.vrs or found.length > bound.most_bytes):
        return None
    raw = _bytes_of(header.data, found, bound)
    if named in _TEXTS:
        raw = character_sets.decode(raw, names).encode("utf8", "replace")
    if named in _SEVERAL:
        raw = _cut(raw, bound.values)
    value = raw or empty_value_for_VR(named, raw=True)
    assert value is None or isinstance(value, bytes)
    return RawDataElement(
        BaseTag(found.tag), vr or None, len(raw), value, 0, found.implicit, header.little
    )


def _sequence(header: Header, found: Found, bound: Bound, names: tuple[str, ...]) -> DataElement:
    """The first items of a sequence, with their listed elements; one empty item where broken."""
    try:
        items = _items(header, found, bound, names)
    except BadFile:
        items = [Dataset()]
    return DataElement(BaseTag(found.tag), "SQ", Sequence(items))


def _items(header: Header, found: Found, bound: Bound, names: tuple[str, ...]) -> list[Dataset]:
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
        items.append(item.dataset(bound.items, names))
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
