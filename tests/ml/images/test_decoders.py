"""Compressed pixels: each transfer syntax with its decoder."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from ml.images import decoders, reader
from ml.images.reader import Unreadable
from tests.support.ml.dicom_files import RAMP, code_of, compress, made, read, written


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


def lying_codestream() -> bytes:
    file = made(np.tile(RAMP, (6, 6)))
    compress(file, JPEGLSLossless)
    file.Rows, file.Columns = 10, 10
    return written(file)


def compressed(syntax: Any) -> bytes:
    file = made(np.tile(RAMP, (6, 6)))
    compress(file, syntax)
    return written(file)


def baseline() -> FileDataset:
    file = made((np.tile(RAMP, (6, 6)) >> 4).astype(np.uint8), 8)
    compress(file, JPEGBaseline8Bit)
    return file


def test_a_compressed_stream_is_asked_for_its_size_before_it_is_decoded():
    for build in (lambda: compressed(JPEG2000Lossless), lambda: compressed(JPEGLSLossless)):
        file = pydicom.dcmread(io.BytesIO(build()))
        stream = next(pydicom.encaps.generate_frames(file.PixelData, number_of_frames=1))
        assert decoders.claimed_size(stream) == (file.Rows, file.Columns)
    with pytest.raises(Unreadable, match="not of the size it claims"):
        reader.read(lying_codestream())
