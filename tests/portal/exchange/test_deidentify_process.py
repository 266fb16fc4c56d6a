"""What files of a megabyte of every kind of pixels may cost: on the way in, and in an export.

The kernel counts: a process that needs more than its limits ends, and the file is refused as
`header_limit`.
"""

import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from portal.exchange import deidentified_export
from portal.formats import header_pool
from portal.formats.limited_work import Ask, LimitedWork
from portal.formats.refusals import Limits
from tests.support.pictures import compressed_dicom, dicom, jpeg

MEGABYTE = 2**20
LIMITS = Limits(64 * MEGABYTE)
BYTES = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def rle(side: int, runs: bytes) -> bytes:
    """A square picture of one segment of runs."""
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + runs
    pixels = encapsulate([frame + b"\0" * (len(frame) % 2)])
    tags: dict[str, Any] = {**BYTES, "TransferSyntaxUID": RLELossless}
    return dicom(rows=side, columns=side, pixels=pixels, **tags)


def commented_jpeg() -> bytes:
    """Nearly as many comments as are accepted."""
    plain = jpeg()
    return compressed_dicom(plain[:2] + (b"\xff\xfe\x02\0" + bytes(510)) * 1900 + plain[2:])


def commented_jpeg_2000() -> bytes:
    size = struct.pack(">HHIIIIIIIIH", 41, 0, 6, 8, 0, 0, 6, 8, 0, 0, 1) + b"\x07\1\1"
    comments = (b"\xff\x64\0\x30\0\1" + bytes(44)) * 19_900
    tile = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 0, 0, 1) + b"\xff\x93" + bytes(8)
    frame = b"\xff\x4f\xff\x51" + size + comments + tile + b"\xff\xd9"
    tags: dict[str, Any] = {**BYTES, "TransferSyntaxUID": JPEG2000Lossless}
    return dicom(pixels=encapsulate([frame]), **tags)


def deflated() -> bytes:
    """30 MiB in 0.4 MB, nearly the least that is accepted."""
    tags: dict[str, Any] = {"TransferSyntaxUID": DeflatedExplicitVRLittleEndian}
    pixels = random.Random(1).randbytes(330_000).ljust(3900 * 4096 * 2, b"\0")
    return dicom(rows=3900, columns=4096, pixels=pixels, **tags)


FILES = {
    "deflated": deflated,
    "RLE of a run for each pixel": lambda: rle(700, b"\0\x07" * 490_000),
    "RLE of no operations": lambda: rle(
        700, b"\x80" * 1_000_000 + b"\x81\x07" * 3828 + b"\xf1\x07"
    ),
    "JPEG of many segments": commented_jpeg,
    "JPEG 2000 of many segments": commented_jpeg_2000,
}


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    work = LimitedWork(deidentified_export.MODULE)
    with work.turn() as asking:
        yield asking
    work.close()


@pytest.mark.parametrize("name", FILES)
def test_no_kind_of_pixels_reaches_the_limits_of_a_process(name: str, ask: Ask) -> None:
    data = FILES[name]()
    assert len(data) <= MEGABYTE
    assert header_pool.shared().read("x", data, LIMITS).header["exportable"]
    old = ask({"what": "uids"}, data)
    asked = {
        "what": "export",
        "uids": {"study": "2.25.1", "series": "2.25.2", "instance": "2.25.3"},
        "pseudonym": "PLR1",
        "number": 1,
        "spacing_is_wrong": False,
    }
    made = ask(asked, data)
    assert old["instance"].encode() not in made["body"]
    assert len(made["body"]) == made["size"] > 1000
