"""DICOM headers made by hand: elements of any kind, length and number of values, small to write."""

import random
import struct
from collections.abc import Iterator

LONG = (b"OB", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
VRS = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN"),
    *(b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US", b"??", b"ZZ", b"\0\0", b"zz"),
    *LONG,
)
CHARACTER_SETS, FRAMES, NAME = 0x00080005, 0x00280008, 0x00100010
_BASE = {
    0x00080060: (b"CS", b"DX"),
    0x00280002: (b"US", b"\x01\0"),
    0x00280004: (b"CS", b"MONOCHROME2 "),
    0x00280010: (b"US", b"\x08\0"),
    0x00280011: (b"US", b"\x06\0"),
    0x00280100: (b"US", b"\x10\0"),
    0x00280101: (b"US", b"\x0c\0"),
    0x00280102: (b"US", b"\x0b\0"),
    0x00280103: (b"US", b"\0\0"),
}


def element(tag: int, vr: bytes, value: bytes, *, implicit: bool = False) -> bytes:
    """One element. What its VR has no length for is cut."""
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    value += b" " * (len(value) % 2)
    if implicit:
        return head + struct.pack("<I", len(value)) + value
    if vr in LONG:
        return head + vr + b"\0\0" + struct.pack("<I", len(value)) + value
    value = value[:0xFFFE]
    return head + vr + struct.pack("<H", len(value)) + value


def header(*elements: tuple[int, bytes, bytes], implicit: bool = False) -> bytes:
    """A picture of 8 × 6 pixels with these elements in the order of their tags."""
    parts = {tag: element(tag, vr, value, implicit=implicit) for tag, (vr, value) in _BASE.items()}
    for tag, vr, value in elements:
        parts[tag] = element(tag, vr, value, implicit=implicit)
    syntax = b"1.2.840.10008.1.2\0" if implicit else b"1.2.840.10008.1.2.1\0"
    pixels = element(0x7FE00010, b"OW", bytes(8 * 6 * 2), implicit=implicit)
    body = b"".join(parts[tag] for tag in sorted(parts))
    return bytes(128) + b"DICM" + element(0x00020010, b"UI", syntax) + body + pixels


def bombs(size: int) -> dict[str, bytes]:
    """Headers of about `size` bytes that cost seconds and gigabytes where they are converted."""
    sets, escapes = b"\\ISO 2022 IR 100", b"\x1b-A\\"
    half = size // 2
    many_sets = sets * (half // len(sets))
    items = b"\xfe\xff\x00\xe0\0\0\0\0"
    return {
        "character sets and a name": header(
            (CHARACTER_SETS, b"UN", many_sets), (NAME, b"UN", escapes * (half // 4))
        ),
        "character sets and a name, implicit": header(
            (CHARACTER_SETS, b"CS", many_sets),
            (NAME, b"PN", escapes * (half // 4)),
            implicit=True,
        ),
        "a long name": header((NAME, b"PN", b"A^" * (size // 2)), implicit=True),
        "a name of many values": header((NAME, b"PN", b"A\\" * (size // 2)), implicit=True),
        "a number of frames of many values": header(
            (FRAMES, b"IS", b"1\\" * (size // 2)), implicit=True
        ),
        "a number of frames of many digits": header((FRAMES, b"IS", b"9" * size), implicit=True),
        "many empty items": header((0x00081110, b"SQ", items * (size // 8)), implicit=True),
        "many elements": header((0x00091000, b"LT", b"ab"))[:170]
        + element(0x00091000, b"LO", b"") * (size // 8),
    }


def odd_headers(chance: random.Random, tags: list[int], size: int) -> Iterator[tuple[str, bytes]]:
    """Every VR in turn, with values of many kinds, in elements that are read; without an end."""
    while True:
        for vr in VRS:
            implicit = chance.random() < 0.4
            elements = []
            for tag in chance.sample(tags, 2):
                piece = chance.choice(
                    (b"\\", b"1\\", b"A^B=", b"\x1b$)C\\", b"\x1b-A", b"9", b"\xff", b"\0", b"=^\\")
                )
                piece = piece if chance.random() < 0.8 else chance.randbytes(chance.randint(1, 40))
                elements.append((tag, vr, piece * (chance.randint(1, size) // 2 // len(piece))))
            if chance.random() < 0.6:
                sets = chance.choice(
                    (b"ISO_IR 192", b"\\ISO 2022 IR 149", b"GB18030\\", b"zlib", b"x" * 200)
                )
                elements.append((CHARACTER_SETS, b"UN", sets * chance.randint(1, 3000)))
            yield (
                f"{vr!r} {[hex(tag) for tag, _, _ in elements]}",
                header(*elements, implicit=implicit),
            )
