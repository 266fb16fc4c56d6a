"""Compressed pixels: each transfer syntax with its decoder."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib

import cv2
import numpy as np
import pydicom
import pytest
from openjpeg.utils import encode_array
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from ml.images import reader
from ml.preparation import phantom
from portal.exchange import deidentify
from portal.exchange.deidentify import Identity
from portal.formats import upload_header
from portal.formats.refusals import Limits
from tests.support.ml.dicom_files import (
    RAMP,
    code_of,
    compress,
    made,
    read,
    stream_by_gdcm,
    with_stream,
    written,
)


def colourful() -> np.ndarray:
    stored = np.zeros((20, 20, 3), np.uint8)
    stored[:10] = (200, 40, 40)
    stored[10:] = (90, 90, 90)
    return stored


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless],
)
def test_lossless_transfer_syntaxes_give_the_same_pixels(syntax):
    file = made(np.tile(RAMP, (6, 6)))
    if syntax is ExplicitVRBigEndian:
        file.PixelData = np.tile(RAMP, (6, 6)).astype(">u2").tobytes()
        file.file_meta.TransferSyntaxUID = syntax
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, file, implicit_vr=False, little_endian=False)
        np.testing.assert_array_equal(reader.read(buffer.getvalue()).pixels, np.tile(RAMP, (6, 6)))
        return
    elif syntax.is_encapsulated:
        compress(file, syntax)
    else:
        file.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read(file).pixels, np.tile(RAMP, (6, 6)))


def test_jpeg_baseline_reads_as_the_jpeg_inside():
    file = baseline()
    inside = next(pydicom.encaps.generate_frames(file.PixelData, number_of_frames=1))
    np.testing.assert_array_equal(read(file).pixels, reader.read(inside).pixels)
    colour = made(np.tile(colourful(), (4, 4, 1)), 8)
    colour.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    stream = cv2.imencode(".jpg", np.tile(colourful(), (4, 4, 1))[..., ::-1])[1].tobytes()
    colour.PixelData = pydicom.encaps.encapsulate([stream])
    colour["PixelData"].is_undefined_length = True
    colour.PhotometricInterpretation = "YBR_FULL_422"
    assert read(colour).colour == pytest.approx(0.5, abs=0.15)


def test_a_jpeg_cut_off_inside_of_a_whole_file_is_noticed():
    file = baseline()
    stream = next(pydicom.encaps.generate_frames(file.PixelData, number_of_frames=1))
    file.PixelData = pydicom.encaps.encapsulate([stream[: len(stream) // 2]])
    file["PixelData"].is_undefined_length = True
    assert code_of(written(file)) == "truncated"


def chest() -> np.ndarray:
    """A drawn chest of 12 bits, (192, 192)."""
    return phantom.draw(22, "left", rows=192, columns=192).pixels


def gapped(stream: bytes) -> bytes:
    """The same stream without a hundredth of its coded data; its end mark is there."""
    middle = (stream.index(b"\xff\xda") + len(stream)) // 2
    return stream[:middle] + stream[middle + len(stream) // 100 :]


def test_a_jpeg_with_missing_bytes_is_damaged_although_its_end_is_there():
    grey = (chest() >> 4).astype(np.uint8)
    baseline_stream = cv2.imencode(".jpg", grey)[1].tobytes()
    progressive = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    lossless = stream_by_gdcm(chest(), 12, lossless=True)
    extended = stream_by_gdcm(chest(), 12, lossless=False)
    for stream in (baseline_stream, progressive):
        assert code_of(gapped(stream)) == "decode_failed"
        assert reader.read(stream).pixels.shape == grey.shape
        data = with_stream(made(grey, 8), JPEGBaseline8Bit, gapped(stream))
        assert code_of(data) == "decode_failed"
    for stream, syntax in ((lossless, JPEGLosslessSV1), (extended, JPEGExtended12Bit)):
        assert code_of(with_stream(made(chest()), syntax, gapped(stream))) == "decode_failed"


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 40])
def test_jpeg_2000_with_missing_bytes_is_cut_off(gap):
    """By one or two the only tile-part then ends within, or behind, the end mark."""
    values = chest()
    stream = encode_array(values, bits_stored=12, photometric_interpretation=2)
    middle = len(stream) // 2
    for data in (stream[:middle] + stream[middle + gap :], stream[: -2 - gap] + stream[-2:]):
        assert code_of(with_stream(made(values), JPEG2000Lossless, data)) == "truncated"
    without_end = with_stream(made(values), JPEG2000Lossless, stream[:-2])
    assert np.array_equal(reader.read(without_end).pixels, values)


def test_a_deflated_file_with_missing_bytes_is_refused():
    """It unfolds without an error, to other pixels and a few bytes more."""
    values = np.random.default_rng(1).integers(0, 60, (64, 64)).astype(np.uint16)
    file = made(values)
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    whole = written(file)
    assert np.array_equal(reader.read(whole).pixels, values)
    begin = 132 + 12 + int.from_bytes(whole[140:144], "little")
    right = zlib.decompressobj(-15).decompress(whole[begin:])
    unfolded = 0
    for at in range(len(whole) // 3, len(whole) - 8):
        data = whole[:at] + whole[at + 1 :]
        unpacker = zlib.decompressobj(-15)
        try:
            longer = len(unpacker.decompress(data[begin:])) > len(right)
        except zlib.error:
            continue
        if longer and unpacker.eof:
            unfolded += 1
            assert code_of(data) == "decode_failed"
    assert unfolded > 10, unfolded


def test_elements_behind_deflated_pixels_are_no_damage():
    values = chest()
    file = made(values)
    file.add_new(0xFFFCFFFC, "OB", b"\0" * 126)
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert np.array_equal(reader.read(written(file)).pixels, values)


def scans_of(stream: bytes) -> list[int]:
    """Where each scan of a JPEG begins, from the end of its first header on."""
    return [found.start() for found in re.finditer(rb"\xff\xda", stream)]


@pytest.mark.parametrize("colour", [False, True])
def test_a_progressive_jpeg_without_its_last_scans_is_cut_off(colour):
    """With an end mark they are drawn without a message: blurred."""
    grey = (chest() >> 4).astype(np.uint8)
    picture = np.dstack([grey, grey, grey]) if colour else grey
    whole = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert reader.read(whole).pixels.shape == grey.shape
    scans = scans_of(whole)
    assert len(scans) > 5
    for at in scans[1:]:
        cut = whole[:at] + b"\xff\xd9"
        assert code_of(cut) == "truncated"
    if not colour:
        cut = whole[: scans[-1]] + b"\xff\xd9"
        assert code_of(with_stream(made(grey, 8), JPEGBaseline8Bit, cut)) == "truncated"


@pytest.mark.parametrize("syntax", [JPEGExtended12Bit, JPEGBaseline8Bit])
def test_jpeg_of_12_bits_is_decoded_under_either_name(syntax):
    values = chest()
    data = with_stream(made(values), syntax, stream_by_gdcm(values, 12, lossless=False))
    difference = reader.read(data).pixels.astype(int) - values
    assert np.abs(difference).max() <= 2


def test_what_a_stream_is_filled_up_with_or_followed_by_is_no_damage():
    grey = (chest() >> 4).astype(np.uint8)
    stream = cv2.imencode(".jpg", grey)[1].tobytes()
    expected = reader.read(stream).pixels
    filled = stream[:-2] + b"\0" * 8 + stream[-2:]
    for odd in (stream + bytes(10_000), stream + b"\xff\xd8\xff\xe0 another", filled):
        np.testing.assert_array_equal(reader.read(odd).pixels, expected)
        data = with_stream(made(grey, 8), JPEGBaseline8Bit, odd)
        np.testing.assert_array_equal(reader.read(data).pixels, expected)
    png = cv2.imencode(".png", grey)[1].tobytes()
    np.testing.assert_array_equal(reader.read(png + bytes(10_000)).pixels, grey)


def test_jpeg_2000_with_a_comment_before_its_end_in_boxes_or_followed_by_bytes():
    values = chest()
    stream = encode_array(values, bits_stored=12, photometric_interpretation=2)
    commented = stream[:-2] + b"\xff\x64\x00\x08\x00\x01made" + stream[-2:]
    box = struct.pack(">I4s", len(stream) + 8, b"jp2c") + stream
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s4sI4s", 20, b"ftyp", b"jp2 ", 0, b"jp2 ")
    for odd in (commented, stream + bytes(100), boxes + box, stream[:-2]):
        data = with_stream(made(values), JPEG2000Lossless, odd)
        np.testing.assert_array_equal(reader.read(data).pixels, values)
    assert code_of(with_stream(made(values), JPEG2000Lossless, stream[:-80])) == "truncated"
    short = stream[: len(stream) // 2] + stream[len(stream) // 2 + 80 :]
    assert code_of(with_stream(made(values), JPEG2000Lossless, short)) in (
        "truncated",
        "decode_failed",
    )


# 16 x 16 values, 16 more from each to the next, losslessly by OpenJPH 0.26: openjpeg decodes
# High-Throughput JPEG 2000 but does not write it.
HIGH_THROUGHPUT = base64.b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAAB"  # pragma: allowlist secret
    "DwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"  # pragma: allowlist secret
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAH4A"  # pragma: allowlist secret
    "Af+TwAAmSfYFB3QAAMAAEsAAEwAiAYd0AEbyA4d0AMAAE0AAE4AQyAEC"  # pragma: allowlist secret
    "dAAe6ZEAw1QAwAAVEAAFYIZhGKpwgnUAfvTDDz/+wFKB7LYAwAArIAAW"  # pragma: allowlist secret
    "kO7u7u7nwKenp8J4AP79/f39/f39/Yxge/Yxgey6AP/Z"  # pragma: allowlist secret
)


@pytest.mark.parametrize("syntax", ["201", "202", "203"])
def test_high_throughput_jpeg_2000_is_decoded_accepted_and_exported(syntax):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    data = with_stream(made(values), f"1.2.840.10008.1.2.4.{syntax}", HIGH_THROUGHPUT)
    np.testing.assert_array_equal(reader.read(data).pixels, values)
    assert upload_header.read("x", data, Limits(2**20)).header["exportable"]
    exported = deidentify.deidentify(data, Identity("PLR1", lambda kind, old: "2.25.1"))
    assert b"OpenJPH" not in exported
    np.testing.assert_array_equal(reader.read(exported).pixels, values)


def test_one_frame_in_two_fragments_is_joined_whatever_the_offset_table_states():
    values = chest()
    stream = stream_by_gdcm(values, 12, lossless=True)
    middle = len(stream) // 4 * 2
    data = with_stream(made(values), JPEGLosslessSV1, stream[:middle], stream[middle:])
    table = struct.pack("<2I", 0, middle + 8)
    empty = b"\xfe\xff\x00\xe0\0\0\0\0"
    at = data.index(empty)
    wrong = data[:at] + b"\xfe\xff\x00\xe0\x08\0\0\0" + table + data[at + 8 :]
    for one in (data, wrong):
        np.testing.assert_array_equal(reader.read(one).pixels, values)


def test_rgb_jpeg_without_a_statement_of_its_colours_is_grey_where_it_is():
    # in the range of greys that every YCbCr of equal channels can show
    grey = np.repeat((100 + (chest() >> 6)).astype(np.uint8)[..., None], 3, axis=2)
    # OpenCV writes YCbCr with JFIF; the same channels as RGB have no segment that states it.
    channels = cv2.cvtColor(grey, cv2.COLOR_YCrCb2BGR)
    stream = cv2.imencode(".jpg", channels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    length = int.from_bytes(stream[4:6], "big")
    bare = stream[:2] + stream[4 + length :]
    assert b"JFIF" not in bare
    picture = reader.read(with_stream(made(grey, 8), JPEGBaseline8Bit, bare))
    assert picture.colour < 0.001  # it was 0.9
    assert np.abs(picture.pixels.astype(int) - grey[..., 0]).max() <= 12


def lying_codestream() -> bytes:
    file = made(np.tile(RAMP, (6, 6)))
    compress(file, JPEGLSLossless)
    file.Rows, file.Columns = 10, 10
    return written(file)


def baseline() -> FileDataset:
    file = made((np.tile(RAMP, (6, 6)) >> 4).astype(np.uint8), 8)
    compress(file, JPEGBaseline8Bit)
    return file


def test_a_compressed_stream_of_another_size_is_not_decoded():
    assert code_of(lying_codestream()) == "decode_failed"
