"""The frames of a stored DICOM file, as they are stored: nothing is decoded.

Of native pixels the bytes of each frame, of compressed ones its stream. Tables of offsets are not
used for one frame; several compressed frames are only separated where each is one fragment.
"""

from collections.abc import Sequence
from typing import Final

from portal.formats.dicom_json.elements import Level, opened
from portal.formats.refusals import refusing
from xray_files import kinds
from xray_files.bad_file import BadFile
from xray_files.element_stream import UNDEFINED

_MOST_FRAGMENTS: Final = 10_000
_ROWS, _COLUMNS, _SAMPLES = 0x00280010, 0x00280011, 0x00280002
_ALLOCATED, _FRAMES, _PHOTOMETRIC = 0x00280100, 0x00280008, 0x00280004


@refusing
def read(data: bytes, numbers: Sequence[int]) -> tuple[list[bytes | memoryview], str]:
    """The frames with these numbers, from 1, and the transfer syntax of their bytes.

    Native pixels are in little endian, whatever the file has: their syntax is Explicit VR Little
    Endian. Refused: `no_pixels` where there is no such frame, `unsupported_transfer_syntax` where
    it can't be given as it is stored.
    """
    level = opened(data)
    pixels, syntax = level.header.pixels, level.header.transfer_syntax
    if pixels is None:
        raise BadFile("no_pixels")
    count = max(_number(level, _FRAMES, 1), 1)
    if any(not 1 <= number <= count for number in numbers):
        raise BadFile("no_pixels")
    if syntax in kinds.ENCAPSULATED:
        if pixels.length != UNDEFINED:
            raise BadFile("damaged")
        streams = _streams(level.header.data, pixels.start, count)
        return [streams[number - 1] for number in numbers], syntax
    if syntax == kinds.BIG_ENDIAN:
        # Words of two pixels or of half a pixel: nobody who asks for frames expects them.
        raise BadFile("unsupported_transfer_syntax")
    if pixels.length == UNDEFINED or pixels.start + pixels.length > len(level.header.data):
        raise BadFile("truncated")
    raw = memoryview(level.header.data)[pixels.start : pixels.start + pixels.length]
    bits = _bits(level)
    return [_native(raw, bits, number) for number in numbers], kinds.EXPLICIT


def _bits(level: Level) -> int:
    """How many bits a native frame has."""
    found = _number(level, _ROWS, 0) * _number(level, _COLUMNS, 0)
    found *= _number(level, _SAMPLES, 1) * _number(level, _ALLOCATED, 0)
    if _text(level, _PHOTOMETRIC) == "YBR_FULL_422":
        found = found * 2 // 3
    if found <= 0:
        raise BadFile("contradictory")
    return found


def _native(raw: memoryview, bits: int, number: int) -> bytes | memoryview:
    """One frame; of one bit to a pixel, frames begin within bytes (PS3.5 8.1.1)."""
    first, last = bits * (number - 1), bits * number
    if (last + 7) // 8 > len(raw):
        raise BadFile("truncated")
    if first % 8 == 0:
        frame = raw[first // 8 : (last + 7) // 8]
        if last % 8 == 0:
            return frame
    whole = int.from_bytes(raw[first // 8 : (last + 7) // 8], "little") >> first % 8
    return (whole & ((1 << bits) - 1)).to_bytes((bits + 7) // 8, "little")


def _streams(data: bytes, at: int, count: int) -> list[bytes | memoryview]:
    """The compressed stream of each frame."""
    parts = _fragments(data, at)
    if not any(len(part) for part in parts):
        raise BadFile("no_pixels")
    if count == 1:
        return [parts[0] if len(parts) == 1 else b"".join(parts)]
    if len(parts) != count:
        raise BadFile("unsupported_transfer_syntax")
    return list(parts)


def _fragments(data: bytes, at: int) -> list[memoryview]:
    view, found = memoryview(data), list[memoryview]()
    for _ in range(_MOST_FRAGMENTS):
        if at + 8 > len(data):
            raise BadFile("truncated")
        tag, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if tag == b"\xfe\xff\xdd\xe0":
            return found[1:]  # the first item is the table of offsets
        if tag != b"\xfe\xff\x00\xe0":
            raise BadFile("damaged")
        if length == UNDEFINED or at + 8 + length > len(data):
            raise BadFile("truncated")
        found.append(view[at + 8 : at + 8 + length])
        at += 8 + length
    raise BadFile("too_many_parts")


def _text(level: Level, tag: int) -> str:
    for one in level.elements:
        if one.tag == tag and one.length <= 64:
            raw = level.header.data[one.start : one.start + one.length]
            return raw.decode("latin-1").strip(" \0")
    return ""


def _number(level: Level, tag: int, otherwise: int) -> int:
    """A number of two bytes, or one as a text (NumberOfFrames)."""
    if tag == _FRAMES:
        text = _text(level, tag)
        return int(text) if text.isdecimal() and text.isascii() and len(text) <= 6 else otherwise
    for one in level.elements:
        if one.tag == tag and one.length == 2:
            first, second = level.header.data[one.start : one.start + 2]
            return first | second << 8 if level.header.little else first << 8 | second
    return otherwise
