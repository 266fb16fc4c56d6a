"""xray_files.streams.rle: runs that make another picture than the header states are refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless

from ml.images import reader
from ml.images.picture import Unreadable
from portal.formats.refusals import Limits, Refused
from portal.intake.check import check as intake
from tests.support.pictures import dicom
from xray_files import pixel_frame
from xray_files.bad_file import BadFile
from xray_files.streams import rle

ROWS, COLUMNS = 40, 30
LIMITS = Limits(2**24)


def values(kind: str) -> np.ndarray:
    if kind == "noise":
        return np.random.default_rng(1).integers(0, 4096, (ROWS, COLUMNS), np.uint16)
    if kind == "black":
        return np.zeros((ROWS, COLUMNS), np.uint16)
    return np.add.outer(np.arange(ROWS) // 5 * 90, np.arange(COLUMNS) // 4 * 9).astype(np.uint16)


def frame_of(kind: str = "steps") -> bytes:
    """The RLE frame of a picture, as pydicom writes it."""
    file = pydicom.dcmread(
        io.BytesIO(dicom(rows=ROWS, columns=COLUMNS, pixels=values(kind).tobytes()))
    )
    file.compress(RLELossless, generate_instance_uid=False)
    return next(generate_frames(file.PixelData, number_of_frames=1))


def file_of(frame: bytes, rows: int = ROWS, columns: int = COLUMNS) -> bytes:
    pixels = encapsulate([frame])
    return dicom(rows=rows, columns=columns, pixels=pixels, TransferSyntaxUID=RLELossless)


def verdicts(data: bytes) -> tuple[str, str]:
    """What the portal and the decoder make of a file."""
    try:
        intake("x", data, LIMITS)
        first = "read"
    except Refused as refused:
        first = refused.code
    try:
        reader.read(data)
        second = "read"
    except Unreadable as unreadable:
        second = unreadable.code
    return first, second


@pytest.mark.parametrize("kind", ["steps", "noise", "black"])
@pytest.mark.parametrize(
    ("rows", "columns"),
    [(39, 30), (20, 30), (1, 30), (41, 30), (80, 30), (40, 29), (40, 31), (40, 15), (39, 31)],
)
def test_another_size_than_the_runs_make_is_refused_by_both(
    kind: str, rows: int, columns: int
) -> None:
    assert verdicts(file_of(frame_of(kind), rows, columns)) == ("inconsistent", "decode_failed")


@pytest.mark.parametrize("kind", ["steps", "noise", "black"])
def test_the_right_size_is_read(kind: str) -> None:
    data = file_of(frame_of(kind))
    assert verdicts(data) == ("read", "read")
    np.testing.assert_array_equal(reader.read(data).pixels, values(kind))


def between(frame: bytes, filling: bytes) -> bytes:
    """The frame with these bytes behind each of its two segments."""
    head = struct.unpack("<16I", frame[:64])
    first, second = frame[head[1] : head[2]], frame[head[2] :]
    moved = struct.pack("<16I", 2, 64, 64 + len(first) + len(filling), *[0] * 13)
    return moved + first + filling + second + filling


@pytest.mark.parametrize(
    "filling",
    [bytes(2), bytes(10_000), b"\xff" * 500, b"\x80" * 8, b"ZEBRA^CANARY  "],
    ids=["padding", "much padding", "set bits", "no operations", "a text"],
)
def test_what_fills_up_a_segment_is_passed_over(filling: bytes) -> None:
    data = file_of(between(frame_of(), filling))
    assert verdicts(data) == ("read", "read")
    np.testing.assert_array_equal(reader.read(data).pixels, values("steps"))


def test_one_byte_more_than_an_odd_picture_has_is_no_row() -> None:
    segment = b"\x81\x00" * 2 + b"\x00\x00"  # 257 bytes for 255
    frame = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13) + 2 * segment
    rle.check(frame, 2, (51, 5), most_runs=100)
    with pytest.raises(BadFile):
        rle.check(frame, 2, (50, 5), most_runs=100)


@pytest.mark.parametrize("size", [(39, 30), (41, 30), (40, 29)])
def test_a_picture_of_too_many_runs_for_the_portal_is_refused_by_its_decoder(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(pixel_frame, "_MOST_RUNS", 3)
    with pytest.raises(Unreadable, match="damaged"):
        reader.read(file_of(frame_of("noise"), *size))


class Counted(bytes):
    """Bytes that count how often one of them is read: once for each run, and once more for it."""

    reads = 0

    def __getitem__(self, key: Any) -> Any:
        self.reads += isinstance(key, int)
        return super().__getitem__(key)


def test_runs_behind_a_picture_s_end_count_as_work() -> None:
    """Three segments of one pixel each, and behind each as many runs that make nothing."""
    segment = b"\x00\x07" + b"\x80" * 1000 + b"\x81"
    frame = (
        struct.pack("<16I", 3, 64, 64 + len(segment), 64 + 2 * len(segment), *[0] * 12)
        + 3 * segment
    )
    counted = Counted(frame)
    rle.check(counted, 3, (1, 1), most_runs=1200)
    assert counted.reads <= 1200 + 3  # each segment ends with a run that is cut off


@pytest.mark.parametrize(
    "head", [b"", struct.pack("<3I", 2, 64, 32), struct.pack("<3I", 2, 10, 70), bytes(64)]
)
def test_segments_that_are_none_are_refused(head: bytes) -> None:
    with pytest.raises(BadFile):
        rle.check(head + frame_of()[len(head) :][: 400 if head else 10], 2, (40, 30), most_runs=9)
