"""What a network of two classes finds beside its first one."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml.images import overlay, reader
from ml.images.picture import Picture
from ml.inference import other_findings, predict_files, serving
from ml.inference.predict import predict
from ml.preparation import phantom
from tests.ml.conftest import write_tiny_model

PLAIN = dict(other_findings.PLAIN)


@pytest.fixture(scope="module")
def chest() -> Picture:
    return reader.read(phantom.dicom(phantom.draw(3, "right", 30, rows=360, columns=300)))


def opened(folder: Path, **points: Any) -> serving.Serving:
    return serving.open(write_tiny_model(folder / "two", bright=points), "cpu", 1)


def test_every_class_is_in_the_result_the_first_as_it_would_be_alone(
    chest: Picture, tmp_path: Path
) -> None:
    alone = predict(chest, serving.open(write_tiny_model(tmp_path / "one"), "cpu", 1))
    both = predict(chest, opened(tmp_path, image=0.2))
    assert alone.other_findings is None
    assert (both.probability, both.band) == (alone.probability, alone.band)
    np.testing.assert_array_equal(both.mask, alone.mask)
    assert both.other_findings is not None
    (bright,) = both.other_findings
    assert bright.name == "bright-part"
    assert bright.found
    # It outlines what the first class does not, up to the pixels at the threshold.
    assert (bright.mask ^ both.mask).mean() > 0.9
    assert bright.area_px == bright.mask.sum()
    assert "; bright-part: found" in predict_files.sentence(both)


def test_its_own_points_decide_whether_it_is_found(chest: Picture, tmp_path: Path) -> None:
    plain = predict(chest, opened(tmp_path / "a", image=0.2)).other_findings
    strict = predict(chest, opened(tmp_path / "b", image=0.99)).other_findings
    moved = predict(chest, opened(tmp_path / "c", image=0.2, bias=1.0)).other_findings
    assert plain
    assert strict
    assert moved
    assert strict[0].probability == plain[0].probability
    assert (strict[0].found, strict[0].area_px, strict[0].facts()["outlines"]) == (False, 0, [])
    assert moved[0].probability > plain[0].probability


def test_outlines_are_few_corners_that_enclose_the_mask() -> None:
    mask = np.zeros((400, 300), dtype=np.uint8)
    cv2.ellipse(mask, (150, 200), (80, 120), 20, 0, 360, 1, -1)
    mask[5:7, 5:9] = 1
    borders = other_findings.outlines(mask > 0)
    assert len(borders) == 2
    assert len(borders[0]) <= other_findings.CORNERS_MAX
    again = np.zeros_like(mask)
    corners = np.round(np.array(borders[0]) - 0.5).astype(np.int32)
    cv2.fillPoly(again, [corners], 1)
    large = mask.copy()
    large[5:7, 5:9] = 0
    assert 2 * (again & large).sum() / (again.sum() + large.sum()) > 0.98


def test_a_ragged_outline_has_no_more_corners_than_a_result_takes() -> None:
    noise = np.random.default_rng(0).random((600, 600)) > 0.35
    borders = other_findings.outlines(noise)
    assert len(borders) <= other_findings.OUTLINES_MAX
    assert max(map(len, borders)) <= other_findings.CORNERS_MAX


def test_the_overlay_has_them_dashed_and_without_a_fill(chest: Picture) -> None:
    nothing, other = np.zeros((2, chest.rows, chest.columns), dtype=bool)
    other[100:200, 50:150] = True
    plain, marked, filled = (
        cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
        for png in (
            overlay.overlay_png(chest, nothing),
            overlay.overlay_png(chest, nothing, others=[other]),
            overlay.overlay_png(chest, other),
        )
    )
    np.testing.assert_array_equal(marked[110:190, 60:140], plain[110:190, 60:140])
    along, whole = (
        float((drawn[100, 55:145, 0].astype(int) - drawn[100, 55:145, 2] > 60).mean())
        for drawn in (marked, filled)
    )
    assert 0.2 < along < 0.8 < whole
