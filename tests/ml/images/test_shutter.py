"""Display shutters: neither a reader at first nor the network sees what the sender hides."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ml.images import overlay, reader, shutter
from ml.images.picture import Picture
from ml.preprocessing import transforms
from tests.support.ml.dicom_files import made, read

ROWS, COLUMNS = 120, 160
RECTANGLE = {
    "ShutterShape": "RECTANGULAR",
    "ShutterLeftVerticalEdge": 21,
    "ShutterRightVerticalEdge": 140,
    "ShutterUpperHorizontalEdge": 11,
    "ShutterLowerHorizontalEdge": 100,
}
CIRCLE = {
    "ShutterShape": "CIRCULAR",
    "CenterOfCircularShutter": [60, 80],
    "RadiusOfCircularShutter": 50,
}
POLYGON = {
    "ShutterShape": "POLYGONAL",
    "VerticesOfThePolygonalShutter": [10, 80, 110, 20, 110, 140],
}


def tissue() -> np.ndarray:
    return (1000 + np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 700).astype(np.uint16)


def inside(tags: dict[str, object]) -> np.ndarray:
    """Which pixels are shown, from the standard's words: counted from 1, edges included."""
    row, column = np.mgrid[1 : ROWS + 1, 1 : COLUMNS + 1]
    if tags is RECTANGLE:
        return (column >= 21) & (column <= 140) & (row >= 11) & (row <= 100)
    if tags is CIRCLE:
        return (row - 60) ** 2 + (column - 80) ** 2 <= 50**2
    across = (row - 10) / (110 - 10) * 60
    return (row >= 10) & (row <= 110) & (np.abs(column - 80) <= across)


@pytest.mark.parametrize(
    "tags", [RECTANGLE, CIRCLE, POLYGON], ids=lambda tags: tags["ShutterShape"]
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_is_outside_is_left_out_everywhere(tags, photometric):
    shown = inside(tags)
    stored = np.where(shown, tissue(), 4095).astype(np.uint16)
    picture = read(made(stored, PhotometricInterpretation=photometric, **tags))
    plain = read(made(stored, PhotometricInterpretation=photometric))
    found = shutter.shown(picture.shutters, ROWS, COLUMNS)
    # the borders of circle and polygon go through pixels
    assert (found != shown).mean() <= (0 if tags is RECTANGLE else 0.02)
    np.testing.assert_array_equal(picture.pixels, plain.pixels)  # it can be shown
    assert picture.windows[-1].width < 0.4 * plain.windows[-1].width
    seen = cv2.imdecode(np.frombuffer(reader.preview(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    deep = cv2.erode((~shown).astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert seen[deep].max() < 30
    drawn = cv2.imdecode(
        np.frombuffer(overlay.overlay_png(picture, np.zeros((ROWS, COLUMNS), bool)), np.uint8),
        cv2.IMREAD_GRAYSCALE,
    )
    assert (drawn[deep] == 0).all()
    without = picture.without_hidden()
    assert without.pixels.max() <= picture.pixels[found].max()
    canonical = transforms.canonical(without.pixels, 512)
    assert canonical[found].min() < 10
    assert canonical[found].max() > 245
    np.testing.assert_array_equal(without.pixels[found], picture.pixels[found])


def test_several_shutters_show_what_is_inside_of_all():
    both = CIRCLE | RECTANGLE | {"ShutterShape": ["RECTANGULAR", "CIRCULAR"]}
    picture = read(made(tissue(), **both))
    found = shutter.shown(picture.shutters, ROWS, COLUMNS)
    assert (found != (inside(RECTANGLE) & inside(CIRCLE))).mean() <= 0.02


@pytest.mark.parametrize(
    "tags",
    [
        {"ShutterShape": "RECTANGULAR"},
        {**RECTANGLE, "ShutterRightVerticalEdge": 21, "ShutterLowerHorizontalEdge": 11},
        {**CIRCLE, "RadiusOfCircularShutter": 0},
        {**POLYGON, "VerticesOfThePolygonalShutter": [10, 80, 110]},
        {**RECTANGLE, "ShutterShape": "BITMAP"},
        {**RECTANGLE, "ShutterLeftVerticalEdge": -99, "ShutterRightVerticalEdge": 9999,
         "ShutterUpperHorizontalEdge": -99, "ShutterLowerHorizontalEdge": 9999},
    ],
)  # fmt: skip
def test_a_shutter_that_makes_no_sense_is_none(tags):
    assert read(made(tissue(), **tags)).shutters == ()


def test_shutters_pass_with_the_facts():
    picture = read(made(tissue(), **CIRCLE))
    again = Picture.from_canonical(picture.canonical(), json.loads(json.dumps(picture.facts())))
    assert again.shutters == picture.shutters
    assert "shutters" not in read(made(tissue())).facts()
