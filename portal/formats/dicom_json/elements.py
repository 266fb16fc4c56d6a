"""A stored DICOM file's elements in the DICOM JSON model (PS3.18 F.2), without its pixels.

The elements are found by their lengths (`xray_files.element_stream`), within the bounds of that
walk. Pixels and other long values are not in the JSON: they are named by the way to them, which
`bulk` follows.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from pydicom.datadict import dictionary_VR

from portal.formats.dicom_json.element_values import BULK, KNOWN, little_endian, value
from portal.formats.refusals import refusing
from xray_files.bad_file import BadFile
from xray_files.element_stream import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    VRS,
    ElementStream,
    Found,
)
from xray_files.header import PIXEL_DATA, Header, walk
from xray_files.listed_elements import CHARACTER_SET, Bound

# Longer values, of bytes or else, are fetched by themselves.
INLINE_BYTES: Final = 1024
LONGEST_BYTES: Final = 16 * 1024
_DEEPEST: Final = 24
_AVAILABLE_TRANSFER_SYNTAX: Final = "00083002"
_PIXEL_REPRESENTATION: Final = 0x00280103
_UTF_8: Final = "ISO_IR 192"


class _Every(dict[int, Bound]):
    """All elements are to be found, not some listed ones."""

    def __contains__(self, tag: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Level:
    """A data set within a file: the whole one, or an item of a sequence.

    `names`: the terms of its character sets. `signed`: how values are read whose representation
    depends on that of the pixels.
    """

    header: Header
    elements: tuple[Found, ...]
    names: tuple[str, ...] = ("",)
    signed: bool = False


@refusing
def read(data: bytes) -> tuple[dict[str, Any], str]:
    """The elements of a file but for its meta information, and its transfer syntax.

    Refused where the walk comes neither to the pixels nor to the end: `truncated` where bytes are
    missing. A long value is a `BulkDataURI` of `#` and the way to it: `#00282000/0/00283006`.
    """
    whole = opened(data)
    stream = ElementStream(whole.header.data, len(whole.header.data))
    found = _elements(whole, "", 0, stream)
    syntax = whole.header.transfer_syntax
    if syntax:
        found[_AVAILABLE_TRANSFER_SYNTAX] = {"vr": "UI", "Value": [syntax]}
    return dict(sorted(found.items())), syntax


@refusing
def bulk(data: bytes, way: str) -> bytes | memoryview:
    """The bytes of the value that a way leads to, in little endian; Refused where there is none."""
    level, found = _find(data, way)
    if found.length == UNDEFINED or found.start + found.length > len(level.header.data):
        raise BadFile("damaged")
    raw = memoryview(level.header.data)[found.start : found.start + found.length]
    return little_endian(_representation(level, found), raw, little=level.header.little)


def opened(data: bytes) -> Level:
    """The file's own elements, its pixels the last of them; BadFile."""
    header = walk(data, _Every(), len(data))
    found = [one for one in header.found.values() if one.tag >> 16 != 2]
    pixels = [header.pixels] if header.pixels else []
    return _described(Level(header, (*found, *pixels)))


def _described(level: Level) -> Level:
    """With its own character sets and pixel representation, where it has some."""
    for one in level.elements:
        raw = level.header.data[one.start : one.start + min(one.length, 320)]
        if one.tag == CHARACTER_SET:
            terms = raw.decode("latin-1").split("\\")
            level = replace(level, names=tuple(term.strip(" \0").upper() for term in terms))
        if one.tag == _PIXEL_REPRESENTATION and len(raw) >= 2:
            level = replace(level, signed=raw[:2] in (b"\x01\x00", b"\x00\x01"))
    return level


def _elements(level: Level, way: str, depth: int, stream: ElementStream) -> dict[str, Any]:
    made = dict[str, Any]()
    for one in level.elements:
        if one.tag & 0xFFFF == 0:
            continue  # a group's length is about the file
        name = f"{one.tag:08X}"
        vr = _representation(level, one)
        members: dict[str, Any]
        if vr == "SQ":
            members = _sequence(level, one, f"{way}{name}", depth, stream)
        elif one.tag == CHARACTER_SET:
            members = {"Value": [_UTF_8]}  # the JSON's own
        elif one.tag == PIXEL_DATA or _is_long(vr, one):
            members = {"BulkDataURI": f"#{way}{name}"}
        else:
            raw = level.header.data[one.start : one.start + one.length]
            members = value(vr, raw, level.names, little=level.header.little)
        made[name] = {"vr": vr, **members}
    return made


def _is_long(vr: str, one: Found) -> bool:
    return one.length > (INLINE_BYTES if vr in BULK else LONGEST_BYTES)


def _sequence(
    level: Level, one: Found, way: str, depth: int, stream: ElementStream
) -> dict[str, Any]:
    """The items of a sequence; none where it is broken or too deep."""
    if depth >= _DEEPEST:
        raise BadFile("too_many_elements")
    items = [
        _elements(item, f"{way}/{number}/", depth + 1, stream)
        for number, item in enumerate(_items(level, one, stream))
    ]
    return {"Value": items} if items else {}


def _items(level: Level, one: Found, stream: ElementStream) -> Iterator[Level]:
    """The items of a sequence, each walked."""
    header, order = level.header, "<" if level.header.little else ">"
    at = one.start
    end = len(header.data) if one.length == UNDEFINED else one.start + one.length
    if end > len(header.data):
        raise BadFile("truncated")
    while at + 8 <= end:
        stream.step(at)
        group, number, length = struct.unpack_from(f"{order}HHI", header.data, at)
        if group << 16 | number == SEQUENCE_END:
            return
        if group << 16 | number != ITEM:
            raise BadFile("damaged")
        at += 8
        until = end if length == UNDEFINED else at + length
        if until > end:
            raise BadFile("truncated")
        implicit = one.implicit
        if one.vr == b"UN":  # implicit by the standard, not in every file
            implicit = header.data[at + 4 : at + 6] not in VRS
        elements = list[Found]()
        while at < until:
            inner = stream.element(at, implicit, header.little)
            if inner.tag == ITEM_END:
                at = inner.start
                break
            if inner.tag in (ITEM, SEQUENCE_END):
                raise BadFile("damaged")
            elements.append(inner)
            at = stream.end(inner, header.little)
        yield _described(replace(level, elements=tuple(elements)))


def _representation(level: Level, one: Found) -> str:
    """The value representation, as the file or the dictionary has it."""
    vr = one.vr.decode("latin-1")
    if vr in ("", "UN"):
        named = ""
        if one.tag >> 16 & 1:  # private: only its creator has a known kind
            named = "LO" if 0x10 <= one.tag & 0xFFFF <= 0xFF else ""
        else:
            with suppress(KeyError):
                named = dictionary_VR(one.tag)
        vr = _one_of(named, signed=level.signed)
    if one.length == UNDEFINED and one.tag != PIXEL_DATA:
        return "SQ"
    return vr if vr in KNOWN else "UN"


def _one_of(named: str, *, signed: bool) -> str:
    """Of the dictionary's several representations the one that holds here."""
    if "US or SS" in named:
        return "SS" if signed else "US"
    if " or " in named:
        return "OW" if "OW" in named else named.split(" ")[0]
    return named or "UN"


def _find(data: bytes, way: str) -> tuple[Level, Found]:
    """The element that a way of tags and numbers of items leads to; BadFile where none is there."""
    level = opened(data)
    stream = ElementStream(level.header.data, len(level.header.data))
    *outer, last = way.split("/")
    for tag, number in zip(outer[::2], outer[1::2], strict=True):
        for at, item in enumerate(_items(level, _named(level, tag), stream)):
            if at == int(number):
                level = item
                break
        else:
            raise BadFile("damaged")
    return level, _named(level, last)


def _named(level: Level, tag: str) -> Found:
    for one in level.elements:
        if f"{one.tag:08X}" == tag:
            return one
    raise BadFile("damaged")
