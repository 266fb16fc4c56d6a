"""DICOM files: colour, headers, and what they do not print."""

from __future__ import annotations

import io
import logging
import warnings

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    MPEG2MPML,
)

from ml.images import reader
from tests.support.ml.dicom_files import RAMP, code_of, made, read, written


def colourful() -> np.ndarray:
    stored = np.zeros((20, 20, 3), np.uint8)
    stored[:10] = (200, 40, 40)
    stored[10:] = (90, 90, 90)
    return stored


def test_colour_becomes_luminance_and_is_noted():
    picture = read(made(colourful(), 8))
    assert picture.colour == pytest.approx(0.5)
    assert picture.pixels[0, 0] == round(0.299 * 200 + 0.701 * 40)
    assert picture.pixels[15, 0] == 90
    stored = cv2.imencode(".png", colourful()[..., ::-1])[1].tobytes()
    same = reader.read(stored)
    assert same.colour == pytest.approx(0.5)
    assert abs(int(same.pixels[0, 0]) - int(picture.pixels[0, 0])) <= 1


def test_a_palette_is_looked_up():
    stored = np.repeat(np.arange(4, dtype=np.uint8), 4).reshape(4, 4)
    file = made(stored, 8, PhotometricInterpretation="PALETTE COLOR")
    for name, values in (("Red", [0, 60, 120, 255]), ("Green", [0] * 4), ("Blue", [0] * 4)):
        setattr(file, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 8])
        setattr(file, f"{name}PaletteColorLookupTableData", bytes(values))
    picture = read(file)
    assert picture.pixels[:, 0].tolist() == [0, 18, 36, 76]  # 0.299 of 0, 60, 120, 255
    assert picture.colour > 0


def test_a_grey_picture_saved_in_three_channels_is_grey():
    grey = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    for suffix in (".png", ".jpg"):
        data = cv2.imencode(suffix, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))[1].tobytes()
        assert reader.read(data).colour == 0.0


def test_a_file_without_preamble_is_still_read():
    file = made()
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer,
        Dataset({element.tag: element for element in file}),
        implicit_vr=True,
        little_endian=True,
        enforce_file_format=False,
    )
    np.testing.assert_array_equal(reader.read(buffer.getvalue()).pixels, RAMP)


def test_an_unknown_modality_is_noted_and_the_window_names_are_ours():
    picture = read(made(Modality=None))
    assert picture.modality is None
    assert picture.notes == ("modality_missing",)


def test_video_is_never_decoded():
    file = made()
    file.file_meta.TransferSyntaxUID = MPEG2MPML
    file.PixelData = pydicom.encaps.encapsulate([b"\0" * 100])
    file["PixelData"].is_undefined_length = True
    assert code_of(written(file)) == "unsupported_transfer_syntax"


def test_strange_header_values_are_not_printed(caplog, capfd, monkeypatch):
    # Others may have silenced pydicom in this process; here it shall speak, if it is let.
    monkeypatch.setattr(logging.getLogger("pydicom"), "disabled", False)
    file = made(
        SpecificCharacterSet="ISO_IR 100",
        WindowCenter=900,
        WindowWidth=400,
        WindowCenterWidthExplanation="NORMAL",
    )
    # pydicom warns of an encoding that it does not know, and quotes it.
    data = written(file).replace(b"ISO_IR 100", b"CANARY 100")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmread(io.BytesIO(data)).WindowCenterWidthExplanation  # noqa: B018 it warns
    assert "CANARY" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reader.read(data)
        code_of(data[: len(data) // 2])
    printed = "".join(capfd.readouterr())
    for said in (caplog.text, printed, *(str(w.message) for w in caught)):
        assert "CANARY" not in said
