"""The corpus of bad files: made to crash, deceive or exhaust whatever reads them.

For each: the code of the portal's intake, and the decoder's codes if it got that far. No file is
larger than a few megabytes, although some would unpack to far more.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import pydicom
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from tests.support.pictures import chunk, compressed_dicom, dicom, jpeg, png

ACCEPTED, DECODED = "accepted", "decoded"


@dataclass(frozen=True)
class Bad:
    """One file: intake's code (or ACCEPTED), the decoder's codes (or DECODED), and how to make it.

    Several codes if it depends on the machine which of the decoder's limits is reached first.
    """

    intake: str
    decoder: tuple[str, ...]
    make: Callable[[], bytes]


@cache
def wholes() -> dict[str, bytes]:
    """A valid file of each kind, of 20 to 80 KB."""
    noise = np.random.default_rng(11).integers(0, 4096, (200, 180), dtype=np.uint16)
    small = (noise >> 4).astype(np.uint8)
    plain = dicom(rows=200, columns=180, pixels=noise.tobytes())
    compressed = pydicom.dcmread(io.BytesIO(plain))
    compressed.compress(RLELossless)
    stream = io.BytesIO()
    compressed.save_as(stream)
    return {
        "DICOM": plain,
        "RLE in DICOM": stream.getvalue(),
        "JPEG 2000 in DICOM": j2k_dicom(encode_array(small), 200, 180),
        "PNG": encoded(".png", noise << 4),
        "JPEG": encoded(".jpg", small, cv2.IMWRITE_JPEG_QUALITY, 100),
    }


@cache
def grey(rows: int = 64, columns: int = 64) -> Any:
    """Some grey values."""
    return np.add.outer(np.arange(rows), np.arange(columns)).astype(np.uint8)


def encoded(kind: str, values: Any, *options: int) -> bytes:
    """A PNG or JPEG by OpenCV."""
    ok, data = cv2.imencode(kind, values, options)
    assert ok
    return data.tobytes()


def j2k(rows: int, columns: int, tile: int = 0) -> bytes:
    """A small JPEG 2000 stream that claims this size, in tiles of `tile`."""
    stream = bytearray(encode_array(grey()))
    struct.pack_into(">II", stream, 8, columns, rows)
    struct.pack_into(">II", stream, 24, tile or columns, tile or rows)
    return bytes(stream)


def j2k_dicom(stream: bytes, rows: int, columns: int) -> bytes:
    """A picture of this size by its header, whatever the size in its stream."""
    pixels = encapsulate([stream])
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    return dicom(
        rows=rows, columns=columns, pixels=pixels, TransferSyntaxUID=JPEG2000Lossless, **eight
    )


def rle_dicom(rows: int, columns: int, unfolded: int) -> bytes:
    """RLE of two segments that unfold to `unfolded` bytes each: 128 for every two."""
    segment = b"\x81\x00" * (unfolded // 128)
    head = struct.pack("<16I", 2, 64, 64 + len(segment), *([0] * 13))
    pixels = encapsulate([head + 2 * segment])
    return dicom(rows=rows, columns=columns, pixels=pixels, TransferSyntaxUID=RLELossless)


def deflated(meta_version: bytes = b"\0\1") -> bytes:
    """A few kilobytes that unfold to a header of 64 MB, its syntax optionally declared late."""
    value = struct.pack("<HH2sHI", 0x0008, 0x0070, b"UT", 0, 64 * 2**20)
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    unfolding = squeeze.compress(value + b" " * (64 * 2**20)) + squeeze.flush()
    uid = str(DeflatedExplicitVRLittleEndian).encode()
    uid += b"\0" * (len(uid) % 2)
    meta = struct.pack("<HH2sHI", 2, 1, b"OB", 0, len(meta_version)) + meta_version
    meta += struct.pack("<HH2sH", 2, 0x10, b"UI", len(uid)) + uid
    group = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    return bytes(128) + b"DICM" + group + meta + unfolding


def nested(depth: int) -> bytes:
    """Sequences in sequences."""
    whole = dicom()
    at = whole.index(b"\x10\x00\x10\x00PN")
    opening = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return whole[:at] + opening * depth + closing * depth + whole[at:]


def with_preamble(beginning: bytes) -> bytes:
    """A valid X-ray that begins as another kind of file."""
    return beginning.ljust(128, b"\0")[:128] + dicom()[128:]


def zipped(name: str = "one.txt", body: bytes = b"hello", **more: Any) -> bytes:
    """A ZIP of one file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, **more) as archive:
        archive.writestr(name, body)
    return stream.getvalue()


def many_scans(scans: int) -> bytes:
    """A progressive JPEG of 16 megapixels in a few hundred kilobytes of scans that add nothing."""
    plain = encoded(".jpg", np.zeros((4000, 4000), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = plain.rindex(b"\xff\xda")
    return plain[:last] + plain[last:-2] * scans + b"\xff\xd9"


def cmyk() -> bytes:
    """A CMYK JPEG: four grey components in one frame."""
    plain = encoded(".jpg", cv2.merge([grey()] * 3))
    frame = plain.index(b"\xff\xc0")
    scan = plain.index(b"\xff\xda")
    return (
        plain[:frame]
        + b"\xff\xc0"
        + struct.pack(">HBHHB", 20, 8, 64, 64, 4)
        + b"".join(bytes((ink, 0x11, 0)) for ink in (1, 2, 3, 4))
        + plain[frame + 2 + 17 : scan]
        + b"\xff\xda"
        + struct.pack(">HB", 14, 4)
        + b"".join(bytes((ink, 0)) for ink in (1, 2, 3, 4))
        + b"\x00\x3f\x00"
        + plain[scan + 14 :]
    )


def colour_photo() -> bytes:
    """A photo as taken by a phone."""
    ramp = grey(640, 640)
    return encoded(".jpg", cv2.merge([ramp, ramp[::-1], np.full_like(ramp, 200)]))


def apng() -> bytes:
    """Two frames one after the other."""
    still = encoded(".png", grey())
    first = still.index(b"IDAT") - 4
    control = chunk(b"acTL", struct.pack(">II", 2, 0))
    control += chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 64, 64, 0, 0, 1, 10, 0, 0))
    return still[:first] + control + still[first:]


def with_chunk(kind: bytes, keyword: bytes) -> bytes:
    """A valid PNG with a compressed text chunk of half a gigabyte."""
    squeeze = zlib.compressobj(9)
    note = b"".join(squeeze.compress(bytes(2**20)) for _ in range(512)) + squeeze.flush()
    still = encoded(".png", grey())
    return still[:33] + chunk(kind, keyword + b"\0\0" + note) + still[33:]


def png_bomb(rows: int, columns: int) -> bytes:
    """Zeroes, exactly as many as the header states."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + 2 * columns)
    body = b"".join(squeeze.compress(row) for _ in range(rows)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", columns, rows, 16, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def with_an_icon() -> bytes:
    """A file whose only pixels are those of its thumbnail."""
    icon = Dataset()
    icon.Rows, icon.Columns, icon.PixelData = 8, 6, bytes(8 * 6)
    icon["PixelData"].VR = "OB"
    return dicom(PixelData=None, IconImageSequence=Sequence([icon]))


def encapsulated_pdf() -> bytes:
    """A report as a DICOM file."""
    return dicom(
        Modality="OT",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1",
        PixelData=None,
        Rows=None,
        Columns=None,
        EncapsulatedDocument=b"%PDF-1.7\n" + bytes(2000),
    )


_STOPPED = ("decode_limit", "decode_failed")

BAD_FILES: dict[str, Bad] = {
    "nothing": Bad("empty", ("empty",), lambda: b""),
    "a letter": Bad("not_an_image", ("not_an_image",), lambda: b"Dear colleague,\n" * 99),
    "a PDF": Bad("not_an_image", ("not_an_image",), lambda: b"%PDF-1.7\n" + bytes(999)),
    # Sizes that are lies
    "PNG of 60,000 × 60,000": Bad(
        "too_many_pixels", ("too_large",), lambda: png(rows=60_000, columns=60_000)
    ),
    "PNG of 100 megapixels of nothing": Bad(ACCEPTED, _STOPPED, lambda: png_bomb(9_000, 11_000)),
    "JPEG of 65,500 × 65,500": Bad(
        "too_many_pixels", ("too_large",), lambda: jpeg(rows=65_500, columns=65_500)
    ),
    "DICOM of 65,535 × 65,535": Bad(
        "too_many_pixels", ("too_large",), lambda: dicom(Rows=65_535, Columns=65_535)
    ),
    "more rows than pixels": Bad(
        "truncated", ("truncated",), lambda: dicom(rows=900, pixels=bytes(8 * 6 * 2))
    ),
    "fewer rows than pixels": Bad(
        ACCEPTED, (DECODED,), lambda: dicom(rows=4, pixels=bytes(1000 * 6 * 2))
    ),
    "JPEG inside larger than the header": Bad(
        "inconsistent",
        ("decode_failed",),
        lambda: compressed_dicom(encoded(".jpg", grey(512, 512))),
    ),
    "JPEG inside smaller than the header": Bad(
        "inconsistent",
        ("decode_failed",),
        lambda: compressed_dicom(encoded(".jpg", grey()), rows=9_000, columns=9_000),
    ),
    # Streams that unfold
    "RLE of 100 megapixels in 3 MB": Bad(
        ACCEPTED, _STOPPED, lambda: rle_dicom(10_000, 10_000, 100_000_000)
    ),
    "RLE of more segments than bytes of a pixel": Bad(
        "inconsistent",
        ("decode_failed",),
        lambda: rle_dicom(8, 6, 1280).replace(struct.pack("<2I", 2, 64), struct.pack("<2I", 3, 64)),
    ),
    "RLE that unfolds to more than its header states": Bad(
        "inconsistent", ("decode_failed",), lambda: rle_dicom(8, 6, 50_000_000)
    ),
    "RLE that ends early": Bad(
        "inconsistent", ("decode_failed",), lambda: rle_dicom(900, 900, 1280)
    ),
    "JPEG 2000 of 30,000 × 30,000": Bad(
        "too_many_pixels",
        ("too_large",),
        lambda: j2k_dicom(j2k(30_000, 30_000), 30_000, 30_000),
    ),
    "JPEG 2000 of 30,000 × 30,000 called 8 × 6": Bad(
        "inconsistent", ("decode_failed",), lambda: j2k_dicom(j2k(30_000, 30_000), 8, 6)
    ),
    "JPEG 2000 of 100 megapixels in 200 bytes": Bad(
        ACCEPTED, _STOPPED, lambda: j2k_dicom(j2k(10_000, 10_000), 10_000, 10_000)
    ),
    "JPEG 2000 of a million tiles": Bad(
        "damaged", ("decode_failed",), lambda: j2k_dicom(j2k(4_000, 4_000, tile=4), 4_000, 4_000)
    ),
    "JPEG 2000 in a box that hides its size": Bad(
        "inconsistent",
        ("decode_failed",),
        lambda: j2k_dicom(
            b"\0\0\0\x0cjP  \r\n\x87\n"
            b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
            b"\0\0\0\x2djp2h\0\0\0\x16ihdr"
            + struct.pack(">II", 30_000, 30_000)
            + b"\0\x01\x07\x07\0\0\0\0\0\x0fcolr\x01\0\0\0\0\0\x11\0\0\0\0jp2c"
            + j2k(30_000, 30_000),
            8,
            6,
        ),
    ),
    "JPEG of two thousand scans": Bad(
        "too_many_parts", ("decode_failed",), lambda: many_scans(2_000)
    ),
    "deflated": Bad("unfolds_too_far", ("too_large",), lambda: deflated()),
    "deflated, declared after a kilobyte": Bad(
        "unfolds_too_far", ("too_large",), lambda: deflated(bytes(4_000))
    ),
    "deflated, declared after five megabytes": Bad(
        "unfolds_too_far", ("too_large",), lambda: deflated(bytes(5_000_000))
    ),
    "PNG with a note of half a gigabyte": Bad(
        ACCEPTED, (DECODED, *_STOPPED), lambda: with_chunk(b"zTXt", b"Comment")
    ),
    "PNG with a colour profile of half a gigabyte": Bad(
        ACCEPTED, (DECODED, *_STOPPED), lambda: with_chunk(b"iCCP", b"icc")
    ),
    # Depth and number
    "20,000 sequences in sequences": Bad("too_many_elements", _STOPPED, lambda: nested(20_000)),
    # Two kinds at once
    "DICOM that is a program": Bad("disguised", (DECODED,), lambda: with_preamble(b"MZ\x90\0")),
    "DICOM that is a script": Bad("disguised", (DECODED,), lambda: with_preamble(b"#!/bin/sh\n")),
    "DICOM that is a page": Bad(
        "disguised", (DECODED,), lambda: with_preamble(b"<html><script>alert(1)</script>")
    ),
    "DICOM that is a PDF": Bad("disguised", (DECODED,), lambda: with_preamble(b"\n%PDF-1.7\n")),
    "DICOM that begins as a ZIP": Bad(
        "disguised", (DECODED,), lambda: with_preamble(zipped()[:100])
    ),
    "DICOM that ends as a ZIP": Bad("disguised", (DECODED,), lambda: dicom() + zipped()),
    "DICOM that is a JPEG": Bad(
        "disguised",
        ("truncated", "decode_failed", "too_large"),
        lambda: with_preamble(b"\xff\xd8\xff\xe0\x00\x10JFIF"),
    ),
    "PNG that ends as a ZIP": Bad(
        "disguised", (DECODED,), lambda: encoded(".png", grey()) + zipped()
    ),
    "JPEG that is a PDF": Bad(
        "disguised",
        (DECODED,),
        lambda: (plain := encoded(".jpg", grey()))[:2] + b"\xff\xfe\x00\x0b%PDF-1.7\n" + plain[2:],
    ),
    # Pictures of another kind
    "an animation": Bad("not_single_frame", (DECODED, "decode_failed"), apng),
    "CMYK JPEG": Bad(ACCEPTED, (DECODED, "decode_failed"), cmyk),
    "a colour photo": Bad(ACCEPTED, (DECODED,), colour_photo),
    "CT": Bad(
        "unsupported_modality",
        ("unsupported_modality",),
        lambda: dicom(Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2"),
    ),
    "a film of frames": Bad(
        "not_single_frame",
        ("not_single_frame",),
        lambda: dicom(NumberOfFrames="12", pixels=bytes(8 * 6 * 2 * 12)),
    ),
    "a PDF in DICOM": Bad("no_pixels", ("no_pixels",), encapsulated_pdf),
    "pixels of a thumbnail alone": Bad("no_pixels", ("no_pixels",), with_an_icon),
    "native pixels called JPEG": Bad(
        "damaged",
        ("decode_failed", "truncated"),
        lambda: dicom().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"),
    ),
    "DICOM cut in the middle": Bad("truncated", ("truncated",), lambda: wholes()["DICOM"][:40_000]),
}

# What no name of a file may do: leave its folder, hide, or end early.
BAD_NAMES = (
    "../../../../etc/cron.d/pleura",
    "..\\..\\windows\\system.ini",
    "/etc/passwd",
    "C:\\boot.ini",
    "x.png\x00.dcm",
    "\x1b[2J\r\nSet-Cookie: a=b.png",
    "a" * 5000 + ".png",
    ".",
    "..",
    "\u202egnp.exe",
)
