"""A picture's window, facts and canonical bytes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ml.images.reader import Picture
from tests.support.ml.dicom_files import made, read


def test_the_automatic_window_spans_nearly_all_values():
    stored = np.linspace(100, 3000, 200 * 100).reshape(200, 100).astype(np.uint16)
    window = read(made(stored)).windows[0]
    assert window.centre == pytest.approx(1550, abs=30)
    assert window.width == pytest.approx(2900 * 0.99, rel=0.02)


def test_facts_hold_what_the_viewer_needs_and_nobody():
    file = made(
        PatientOrientation=["L", "F"],
        PatientSex="F",
        BodyPartExamined="chest",
        InstitutionName="CANARY HOSPITAL",
        ImageComments="CANARY",
        AccessionNumber="CANARY1",
    )
    facts = read(file).facts()
    told = json.dumps(facts)
    for secret in ("CANARY", "ZEBRA", "4711", "1950", "2024"):
        assert secret not in told
    assert facts["rows"] == 6
    assert facts["columns"] == 8
    assert facts["orientation"] == ["L", "F"]
    assert (facts["patient_sex"], facts["body_part"], facts["modality"]) == ("F", "CHEST", "CR")
    assert all(len(window) == 3 for window in facts["windows"])


def test_pixels_and_facts_make_the_picture_again():
    picture = read(
        made(PixelSpacing=[0.2, 0.1], PatientOrientation=["L", "F"], WindowCenter=9, WindowWidth=99)
    )
    again = Picture.from_canonical(picture.canonical(), json.loads(json.dumps(picture.facts())))
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    for field in dataclasses.fields(Picture):
        if field.name != "pixels":
            assert getattr(again, field.name) == getattr(picture, field.name)


def test_canonical_bytes_are_little_endian_rows():
    picture = read(made(np.array([[1, 2], [3, 0x0102]], np.uint16)))
    assert picture.canonical() == bytes([1, 0, 2, 0, 3, 0, 2, 1])
    with pytest.raises(ValueError, match="bytes are not"):
        Picture.from_canonical(b"\0" * 7, picture.facts())
