"""Pictures whose pixels are not square: square for model and viewer, masks on the file's pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ml.images import reader
from ml.images.picture import Picture
from ml.preparation import phantom
from tests.support.ml.dicom_files import made, read, written


def squeezed(**tags: object) -> tuple[np.ndarray, bytes]:
    """A drawn chest, and a file with every second of its columns alone."""
    drawn = phantom.draw(22, "left", rows=256, columns=256).pixels
    return drawn, written(made(np.ascontiguousarray(drawn[:, ::2]), **tags))


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"ImagerPixelSpacing": [1.4, 2.8]}, 1.4),
        ({"PixelSpacing": [1.4, 2.8]}, 1.4),
        ({"PixelAspectRatio": [1, 2]}, None),
    ],
)
def test_a_picture_becomes_square_by_whatever_states_it(tags, spacing):
    drawn, data = squeezed(**tags)
    picture = reader.read(data)
    assert (picture.rows, picture.columns) == (256, 256)
    assert picture.source_size == (256, 128)
    assert (picture.spacing.row_mm if picture.spacing else None) == spacing
    assert picture.spacing is None or picture.spacing.column_mm == spacing
    difference = np.abs(picture.pixels.astype(int) - drawn)
    assert np.median(difference) < 60  # of 4095: noise of the film between its columns
    mask = np.zeros((256, 256), bool)
    mask[40:80, 100:200] = True
    of_file = picture.as_in_source(mask)
    assert of_file.shape == (256, 128)
    assert of_file[40:80, 50:100].all()
    assert of_file.sum() == 40 * 50


def test_rows_may_be_the_coarser_direction():
    picture = read(made(np.zeros((50, 100), np.uint16) + 7, PixelSpacing=[0.3, 0.15]))
    assert (picture.rows, picture.columns, picture.source_size) == (100, 100, (50, 100))


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelSpacing": [0.143, 0.1431]},
        {"PixelAspectRatio": [1, 1]},
        {"PixelAspectRatio": [0, 1]},
        {"PixelAspectRatio": [1, 40]},
        {"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [1, 2]},
    ],
)
def test_square_pixels_stay_as_they_are(tags):
    picture = read(made(**tags))
    assert (picture.rows, picture.columns, picture.source_size) == (6, 8, None)
    assert "source_size" not in picture.facts()


def test_a_height_that_contradicts_the_width_gives_no_millimetres():
    picture = read(made(PixelSpacing=[0.2, 4.0]))
    assert picture.spacing is None
    assert "pixel_aspect_implausible" in picture.notes
    assert (picture.rows, picture.columns) == (6, 8)


def test_the_files_size_passes_with_the_facts():
    _, data = squeezed(PixelSpacing=[0.7, 1.4])
    picture = reader.read(data)
    again = Picture.from_canonical(picture.canonical(), json.loads(json.dumps(picture.facts())))
    assert again.source_size == (256, 128)
