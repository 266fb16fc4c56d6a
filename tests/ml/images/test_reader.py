"""Reading a file of any kind: refusals, damaged files, previews."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from ml.images import reader
from ml.images.reader import Unreadable
from ml.preparation import phantom
from tests.support.ml.dicom_files import (
    RAMP,
    code_of,
    compress,
    grey_png,
    made,
    written,
)


def test_real_odd_files_read_as_known(xrays):
    folder = xrays / "dicom-odd"
    for path in (folder / "chest_other").glob("*.dcm"):
        picture = reader.read(path.read_bytes())
        assert picture.pixels.max() > picture.pixels.min()
    turned = reader.read((folder / "chest_other" / "dwv__gdcm-CR-MONO1-10-chest.dcm").read_bytes())
    assert (turned.photometric, turned.bits) == ("MONOCHROME1", 10)
    rows, columns = turned.pixels.shape
    # Lungs are darker than the spine between them: the right way round.
    spine = turned.pixels[rows // 2, columns // 2 - 10 : columns // 2 + 10].mean()
    lung = turned.pixels[rows // 2, columns // 4 - 10 : columns // 4 + 10].mean()
    assert lung < spine


def patched_png(columns: int, rows: int) -> bytes:
    data = bytearray(grey_png())
    data[16:24] = struct.pack(">II", columns, rows)
    return bytes(data)


def patched_jpeg(columns: int, rows: int) -> bytes:
    data = bytearray(cv2.imencode(".jpg", np.zeros((40, 30), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", rows, columns)
    return bytes(data)


def deflated() -> bytes:
    file = made()
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return written(file)


def with_syntax(uid: str) -> bytes:
    file = made()
    data = written(file)
    old = str(ExplicitVRLittleEndian).encode() + b"\0"
    new = uid.encode()
    new += b"\0" * (len(old) - len(new))
    return data.replace(old, new[: len(old)], 1)


def lying_codestream() -> bytes:
    file = made(np.tile(RAMP, (6, 6)))
    compress(file, JPEGLSLossless)
    file.Rows, file.Columns = 10, 10
    return written(file)


REFUSALS: list[tuple[str, str, Callable[[], bytes]]] = [
    ("nothing", "empty", lambda: b""),
    ("text", "not_an_image", lambda: b"This is a letter, not an X-ray.\n" * 40),
    ("zeros", "not_an_image", lambda: b"\0" * 4096),
    ("GIF", "not_an_image", lambda: b"GIF89a" + b"\0" * 400),
    ("PNG header only", "truncated", lambda: grey_png()[:30]),
    ("half a PNG", "truncated", lambda: grey_png()[:700]),
    ("half a JPEG", "truncated", lambda: patched_jpeg(30, 40)[:-20]),
    ("JPEG start only", "truncated", lambda: b"\xff\xd8\xff\xe0"),
    ("damaged PNG", "decode_failed", lambda: grey_png().replace(b"IDAT", b"IDXX")),
    ("huge PNG", "too_large", lambda: patched_png(60_000, 60_000)),
    ("huge JPEG", "too_large", lambda: patched_jpeg(60_000, 60_000)),
    ("PNG of no size", "no_pixels", lambda: patched_png(0, 10)),
    ("DICOM preamble only", "truncated", lambda: written(made())[:140]),
    ("header cut off", "truncated", lambda: written(made())[:500]),
    ("pixels cut off", "truncated", lambda: written(made())[:-40]),
    ("no pixel data", "no_pixels", lambda: written(made(PixelData=None))),
    ("no rows", "no_pixels", lambda: written(made(Rows=0))),
    ("CT", "unsupported_modality", lambda: written(made(Modality="CT"))),
    ("MR", "unsupported_modality", lambda: written(made(Modality="MR"))),
    ("mammogram", "unsupported_modality", lambda: written(made(Modality="MG"))),
    ("odd modality", "unsupported_modality", lambda: written(made(Modality="CANARY ZEBRA"))),
    (
        "CT class without modality",
        "unsupported_modality",
        lambda: written(made(Modality=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.2")),
    ),
    ("cine", "not_single_frame", lambda: written(made(NumberOfFrames=12))),
    ("deflated and cut off", "truncated", lambda: deflated()[:-20]),
    ("bits beyond those allocated", "decode_failed", lambda: written(made(HighBit=3))),
    ("video", "unsupported_transfer_syntax", lambda: with_syntax("1.2.840.10008.1.2.9")),
    ("CMYK", "unsupported_photometric", lambda: written(made(PhotometricInterpretation="CMYK"))),
    (
        "no photometric",
        "unsupported_photometric",
        lambda: written(made(PhotometricInterpretation=None)),
    ),
    ("32 bits", "unsupported_photometric", lambda: written(made(BitsAllocated=32))),
    ("huge DICOM", "too_large", lambda: written(made(Rows=60_000, Columns=60_000))),
    ("too many bits", "decode_failed", lambda: written(made(BitsStored=40))),
    ("stream of another size", "decode_failed", lying_codestream),
]


@pytest.mark.parametrize(
    ("code", "build"), [pytest.param(c, b, id=name) for name, c, b in REFUSALS]
)
def test_what_cannot_be_read_says_why(code, build):
    assert code_of(build()) == code


def compressed(syntax: Any) -> bytes:
    file = made(np.tile(RAMP, (6, 6)))
    compress(file, syntax)
    return written(file)


def baseline() -> FileDataset:
    file = made((np.tile(RAMP, (6, 6)) >> 4).astype(np.uint8), 8)
    compress(file, JPEGBaseline8Bit)
    return file


SAMPLES = {
    "explicit": lambda: written(
        made(PatientOrientation=["L", "F"], WindowCenter=9, WindowWidth=99)
    ),
    "phantom": lambda: phantom.dicom(phantom.draw(1, None, rows=32, columns=32)),
    "png": grey_png,
    "jpeg": lambda: patched_jpeg(30, 40),
    "jpeg baseline": lambda: written(baseline()),
    "rle": lambda: compressed(RLELossless),
    "jpeg-ls": lambda: compressed(JPEGLSLossless),
    "jpeg-2000": lambda: compressed(JPEG2000Lossless),
}
WHOLE = {name: build() for name, build in SAMPLES.items()}


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1))
@settings(max_examples=150)
def test_a_file_cut_anywhere_is_read_or_refused(name, share):
    data = WHOLE[name][: int(share * len(WHOLE[name]))]
    try:
        code, size = None, reader.read(data).pixels.size
    except Unreadable as refused:
        code, size = refused.code, None
    assert size or code in {
        "empty", "not_an_image", "truncated", "no_pixels", "decode_failed",
        "unsupported_photometric",
    }  # fmt: skip


@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
)
@settings(max_examples=150)
def test_damaged_bytes_never_raise_anything_else(name, damage):
    data = bytearray(WHOLE[name])
    for share, value in damage:
        data[int(share * len(data))] = value
    try:
        picture = reader.read(bytes(data))
    except Unreadable:
        return
    json.dumps(picture.facts())
    reader.thumb(picture)


def test_preview_and_thumb_are_small_grey_jpegs():
    picture = reader.read(phantom.dicom(phantom.draw(2, "left", rows=300, columns=200)))
    for data, shape in (
        (reader.preview(picture, 150), (150, 100)),
        (reader.preview(picture), (300, 200)),  # never enlarged
        (reader.thumb(picture), (96, 64)),
    ):
        assert data.startswith(b"\xff\xd8\xff")
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape == shape


def test_the_preview_uses_the_first_window():
    dark = made(np.tile(RAMP, (10, 10)), WindowCenter=100_000, WindowWidth=199_999)
    usual = reader.read(written(made(np.tile(RAMP, (10, 10)))))
    dim = reader.read(written(dark))
    means = [
        cv2.imdecode(np.frombuffer(reader.preview(p), np.uint8), cv2.IMREAD_UNCHANGED).mean()
        for p in (usual, dim)
    ]
    assert means[1] < 10 < 100 < means[0]
