"""Files of at most so many bytes that are to cost as much as they can: each kind by its seed.

They are made of the parts that readers walk through one by one: elements, items and sequences,
values, fragments, runs, segments and chunks, deflated or not. Numbers and sizes of the parts are
drawn, so that another seed asks for other ways through the same readers.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from tests.support.hostile_files.headers import LONG, VRS, element, header
from tests.support.pictures import chunk, dicom, jpeg, png
from xray_files.listed_elements import EXPORT, INTAKE

_PIECES = (b"\\", b"1\\", b"A^B=", b"\x1b$)C\\", b"\x1b-A", b"9", b"\xff", b"\0", b"=^\\", b"\xfe")
_TAGS = [*INTAKE, *EXPORT, 0x00081110, 0x00091001, 0x00400555, 0x60003000]
_SEQUENCES = (0x00081110, 0x00283000, 0x00283010, 0x00540220, 0x00091010)
_ITEM, _ITEM_END, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
_OPEN = b"\xff\xff\xff\xff"
# The same seed gives the same bytes.
_UIDS: dict[str, Any] = {"SOPInstanceUID": "1.2.3.4", "StudyInstanceUID": "1.2.3.5"}
# By rows and columns: 100 megapixels and 20,000 on a side are accepted, up to 16 megapixels are
# drawn pixel by pixel, and a large chest film has 4280 × 3520.
_SIZES = ((10_000, 10_000), (20_000, 5_000), (5_000, 20_000), (4_000, 4_000), (4_280, 3_520))
_BESIDE = (-1, 0, 0, 1)
_EIGHT: dict[str, Any] = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def _value(chance: random.Random, most: int) -> bytes:
    piece = chance.choice(_PIECES)
    if chance.random() < 0.3:
        piece = chance.randbytes(chance.randint(1, 40))
    return piece * (chance.randint(1, max(1, most)) // len(piece))


def elements(chance: random.Random, size: int) -> bytes:
    """Large values in elements that are read."""
    several = chance.randint(1, 12)
    made = [
        (tag, chance.choice(VRS), _value(chance, size // several))
        for tag in chance.sample(_TAGS, several)
    ]
    sets = (b"ISO_IR 192", b"\\ISO 2022 IR 149", b"GB18030\\", b"\\ISO 2022 IR 87", b"x" * 200)
    made.append((0x00080005, b"CS", chance.choice(sets) * chance.randint(1, 500)))
    return header(*made, implicit=chance.random() < 0.5)


def many_elements(chance: random.Random, size: int) -> bytes:
    """Elements of few bytes, of known and of impossible kinds."""
    base, body = header(), bytearray()
    kinds = chance.sample(VRS, chance.randint(1, 6))
    longest = chance.choice((0, 2, 8, 100))
    tag = 0x00091000
    while len(body) < size - 2000:
        body += element(tag, chance.choice(kinds), chance.randbytes(longest))
        tag += chance.choice((0, 1))
    at = base.index(struct.pack("<HH", 0x0028, 0x0002))
    return base[:at] + bytes(body) + base[at:]


def sequences(chance: random.Random, size: int) -> bytes:
    """Items in sequences, of stated lengths and without, nested and side by side."""
    depth = chance.choice((0, 1, 8, 60, 70))
    inner = b""
    for _ in range(chance.choice((1, 5, 40))):
        vr = chance.choice(VRS)
        inner += element(chance.choice(_TAGS), vr, _value(chance, chance.choice((2, 60, 4000))))
    if chance.random() < 0.5:
        item = _ITEM + _OPEN + inner + _ITEM_END + bytes(4)
    else:
        item = _ITEM + struct.pack("<I", len(inner)) + inner
    items = item * max(1, (size - 4000) // len(item))
    for _ in range(depth):
        opened = element(0x00081110, b"SQ", b"")[:8] + _OPEN
        items = _ITEM + _OPEN + opened + items + _END + bytes(4) + _ITEM_END + bytes(4)
    tag = chance.choice(_SEQUENCES)
    vr = chance.choice((b"SQ", b"SQ", b"UN", b"OB"))
    if chance.random() < 0.5:
        made = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr + b"\0\0" + _OPEN
        made += items + _END + bytes(4)
    else:
        made = element(tag, vr if vr in LONG else b"SQ", items)
    base = header()
    at = base.index(struct.pack("<HH", 0x0028, 0x0002))
    return base[:at] + made + base[at:]


def tables(chance: random.Random, size: int) -> bytes:
    """Lookup tables, of sizes that fit their descriptors and of others."""
    each = []
    for _ in range(chance.randint(1, 12)):
        count = chance.choice((2, 256, 4096, 65535, 0))
        head = struct.pack("<HHH", count, chance.randint(0, 65535), chance.choice((8, 16, 12)))
        data = chance.randbytes(64) * (min(count or 65536, size // 40) * 2 // 64)
        inner = element(0x00283002, b"US", head)
        inner += element(0x00283006, chance.choice((b"OW", b"US", b"OB")), data)
        each.append(_ITEM + struct.pack("<I", len(inner)) + inner)
    items = b"".join(each)[: size - 4000]
    return header((chance.choice((0x00283000, 0x00283010)), b"SQ", items))


def fragments(chance: random.Random, size: int) -> bytes:
    """One stream in pieces."""
    count = chance.randint(1, min(9_000, size // 20))
    stream = jpeg(inside=bytes(max(0, size - 9 * count - 4_000)))
    step = -(-len(stream) // count)
    step += step % 2
    parts = [stream[at : at + step] for at in range(0, len(stream), step)]
    pixels = b"".join(
        _ITEM + struct.pack("<I", len(part)) + part
        for part in [b"", *(part + b"\0" * (len(part) % 2) for part in parts)]
    )
    return _compressed(pixels + _END + bytes(4), JPEGBaseline8Bit)


def runs(chance: random.Random, size: int) -> bytes:
    """RLE of runs of all kinds, to the picture's end or on behind it."""
    side, segments = chance.randint(1, 900), chance.choice((1, 1, 2, 3))
    room = (size - 4000) // segments
    kinds = chance.choice((b"\0\x07", b"\x80", b"\xff\x07", b"\x81\x07", b"\x05abcdef"))
    mixed = b"".join(chance.choice((b"\0\x07", b"\x80", b"\xff\x07", kinds)) for _ in range(200))
    segment = (mixed if chance.random() < 0.5 else kinds) * (room // 1200 + 1)
    segment = (segment * (room // len(segment) + 1))[: room // 2 * 2]
    begins = [64 + number * len(segment) for number in range(segments)]
    frame = struct.pack("<16I", segments, *begins, *[0] * (15 - segments)) + segment * segments
    allocated = _UIDS | {1: _EIGHT, 2: {}, 3: {**_EIGHT, "SamplesPerPixel": 3}}[segments]
    if segments == 3:
        allocated |= {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    pixels = encapsulate([frame])
    return dicom(rows=side, columns=side, pixels=pixels, TransferSyntaxUID=RLELossless, **allocated)


def jpeg_stream(chance: random.Random, size: int) -> bytes:
    """A JPEG of segments, fill bytes, restarts and scans."""
    plain, room = jpeg(), size - 8000
    parts = bytearray()
    while len(parts) < room and chance.random() < 0.9995:
        length = chance.choice((2, 2, 3, 100, 500, 60_000))
        marker = chance.choice((0xFE, 0xE1, 0xED, 0xDB, 0xC4, 0xDD, 0x01, 0xD3, 0xF5))
        if marker in (0x01, 0xD3):
            parts += bytes((0xFF, marker))
        elif chance.random() < 0.2:
            parts += b"\xff" * chance.choice((1, 100, 20_000))
        else:
            parts += bytes((0xFF, marker)) + struct.pack(">H", length) + bytes(length - 2)
    made = bytes(parts[:room])
    return plain[:2] + made + plain[2:] if chance.random() < 0.5 else plain[:-2] + made + plain[-2:]


def jpeg_in_dicom(chance: random.Random, size: int) -> bytes:
    """The same as a DICOM file's pixels."""
    syntax = chance.choice((JPEGBaseline8Bit, JPEGLSLossless))
    return _compressed(encapsulate([jpeg_stream(chance, size - 2000)]), syntax)


def jpeg_2000(chance: random.Random, size: int) -> bytes:
    """A codestream of markers and tile-parts, some of no stated length."""
    head = struct.pack(">HHIIIIIIIIH", 41, 0, 6, 8, 0, 0, 6, 8, 0, 0, 1) + b"\7\1\1"
    length = chance.choice((2, 4, 46, 1000))
    marker = chance.choice((0xFF64, 0xFF52, 0xFF5C, 0xFF50, 0xFF61, 0xFF90))
    each = struct.pack(">HH", marker, length) + bytes(length - 2)
    room = chance.choice((0, size - 6000))
    parts = each * (room // len(each))
    tile = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, chance.choice((0, 14, 40)), 0, 1)
    tiles = (tile + b"\xff\x93" + bytes(chance.choice((0, 0, 26)))) * chance.randint(1, 3)
    tiles *= max(1, (size - 6000 - len(parts)) // len(tiles)) if chance.random() < 0.5 else 1
    frame = b"\xff\x4f\xff\x51" + head + parts + tiles + b"\xff\xd9"
    return _compressed(encapsulate([frame]), JPEG2000Lossless)


def chunks(chance: random.Random, size: int) -> bytes:
    """A PNG of many chunks or of few large ones, with texts that unfold."""
    parts = bytearray()
    length = chance.choice((0, 1, 100, 5000, size // 3))
    kinds = (b"IDAT", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"sRGB", b"tIME", b"quUx", b"PLTE")
    some = chance.sample(kinds, chance.randint(1, len(kinds)))
    packed = zlib.compress(bytes(30_000_000), 9) if chance.random() < 0.1 else b""
    while len(parts) + length + 12 < size - 8000:
        body = packed or bytes(length)
        parts += chunk(chance.choice(some), body)
        if packed and len(parts) + len(packed) > size - 8000:
            break
    return png(extra=bytes(parts))


def deflated(chance: random.Random, size: int) -> bytes:
    """Another of these as a deflated DICOM file: up to a hundred times as large inside."""
    inner = chance.choice((elements, many_elements, sequences, tables, runs))
    whole = inner(chance, chance.choice((size, 8 * size, 30 * size)))
    at = whole.index(b"\x08\x00\x60\x00")  # after the file's meta information
    first = min(at, whole.find(b"\x08\x00\x05\x00") % len(whole) or at)
    syntax = element(0x00020010, b"UI", b"1.2.840.10008.1.2.1.99")
    squeeze = zlib.compressobj(chance.choice((1, 9)), zlib.DEFLATED, -15)
    packed = squeeze.compress(whole[first:]) + squeeze.flush()
    return (bytes(128) + b"DICM" + syntax + packed)[:size]


def large_pictures(chance: random.Random, size: int) -> bytes:
    """Pictures as large as is accepted or drawn, and a little larger, in 8 bits and in 16."""
    rows, columns = chance.choice(_SIZES)
    rows, columns = rows + chance.choice(_BESIDE), columns + chance.choice(_BESIDE)
    bits = chance.choice((8, 16))
    form = chance.choice((_large_png, _large_jpeg, _large_rle, _large_jpeg_2000, _large_deflated))
    return form(rows, columns, bits, size)


def _large_png(rows: int, columns: int, bits: int, _size: int) -> bytes:
    head = struct.pack(">IIBBBBB", columns, rows, bits, 0, 0, 0, 0)
    squeeze, line = zlib.compressobj(9), bytes(1 + columns * bits // 8)
    pixels = b"".join(squeeze.compress(line) for _ in range(rows)) + squeeze.flush()
    parts = ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def _large_jpeg(rows: int, columns: int, bits: int, size: int) -> bytes:
    """As it is, or (16) as a DICOM file's pixels."""
    stream = jpeg(rows=rows % 65536, columns=columns % 65536, inside=bytes(size - 8_000))
    if bits == 8:
        return stream
    return _large(encapsulate([stream]), JPEGBaseline8Bit, rows, columns, 8)


def _large_rle(rows: int, columns: int, bits: int, size: int) -> bytes:
    """Of the longest runs, as many rows as have room."""
    segments = bits // 8
    per_row = 2 * -(-columns // 128)
    rows = min(rows, (size - 4_000) // segments // per_row)
    whole, rest = divmod(columns, 128)
    line = b"\x81\x07" * whole + (bytes((257 - rest, 7)) if rest > 1 else b"\0\x07" * rest)
    begins = [64 + number * len(line) * rows for number in range(segments)]
    frame = struct.pack("<16I", segments, *begins, *[0] * (15 - segments)) + line * rows * segments
    return _large(encapsulate([frame]), RLELossless, rows, columns, bits)


def _large_jpeg_2000(rows: int, columns: int, bits: int, size: int) -> bytes:
    head = struct.pack(">HHIIIIIIIIH", 41, 0, columns, rows, 0, 0, columns, rows, 0, 0, 1)
    tile = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 0, 0, 1) + b"\xff\x93" + bytes(size - 6_000)
    frame = b"\xff\x4f\xff\x51" + head + bytes((bits - 1, 1, 1)) + tile + b"\xff\xd9"
    return _large(encapsulate([frame]), JPEG2000Lossless, rows, columns, bits)


def _large_deflated(rows: int, columns: int, bits: int, _size: int) -> bytes:
    """Plain pixels, deflated: as many rows as a deflated file may unfold to."""
    rows = min(rows, 31 * 2**20 // (columns * bits // 8))
    pixels = bytes(rows * columns * bits // 8)
    whole = _large(pixels, ExplicitVRLittleEndian, rows, columns, bits)
    first = whole.index(b"\x08\x00\x05\x00")
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    syntax = element(0x00020010, b"UI", b"1.2.840.10008.1.2.1.99")
    return bytes(128) + b"DICM" + syntax + squeeze.compress(whole[first:]) + squeeze.flush()


def _large(pixels: bytes, syntax: str, rows: int, columns: int, bits: int) -> bytes:
    kept: dict[str, Any] = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    return dicom(
        rows=rows, columns=columns, pixels=pixels, TransferSyntaxUID=syntax, **_UIDS, **kept
    )


def packed(chance: random.Random, size: int) -> bytes:
    """Some of these in a ZIP, as many as have room."""
    stream = io.BytesIO()
    each = chance.choice((2_000, 20_000, 200_000))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(chance.choice((4, 40, 200))):
            name, make = chance.choice([*KINDS.items()][:-2])
            data = make(chance, max(20_000, min(each * 8, size)))
            if stream.tell() + len(data) // 2 > size - 40_000:
                break
            archive.writestr(zipfile.ZipInfo(f"{number}/{name}"), data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _compressed(pixels: bytes, syntax: str) -> bytes:
    return dicom(pixels=pixels, TransferSyntaxUID=syntax, **_UIDS, **_EIGHT)


KINDS: dict[str, Callable[[random.Random, int], bytes]] = {
    "elements": elements,
    "many elements": many_elements,
    "sequences": sequences,
    "tables": tables,
    "fragments": fragments,
    "RLE": runs,
    "JPEG": jpeg_stream,
    "JPEG in DICOM": jpeg_in_dicom,
    "JPEG 2000": jpeg_2000,
    "PNG": chunks,
    "deflated": deflated,
    "large pictures": large_pictures,
    "ZIP": packed,
}


def made(kind: str, seed: int, number: int, size: int) -> bytes:
    """The file of this kind, seed and number; no more than `size` bytes."""
    return KINDS[kind](random.Random(f"{kind} {seed} {number}"), size)[:size]
