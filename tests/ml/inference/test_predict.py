"""From a picture to a prediction, with a tiny graph in place of the trained network."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ml.images import field_size, reader
from ml.images.picture import Picture, Spacing
from ml.inference import predict, serving
from ml.preparation import phantom
from ml.runtime.lung_finder import LungFields

TINY_SIZE = 64  # of the model in conftest


@pytest.fixture(scope="module")
def opened(tiny_model) -> serving.Serving:
    return serving.open(tiny_model, device="cpu", precision="f32")


@pytest.fixture(scope="module")
def chest() -> Picture:
    return reader.read(phantom.dicom(phantom.draw(3, "right", 30, rows=360, columns=300)))


def fields(rows: int = 64, columns: int = 64) -> LungFields:
    """Lungs that were not found."""
    return LungFields(np.zeros((rows, columns), dtype=bool))


def card(**thresholds: object) -> dict:
    image = {"high_sensitivity": 0.2, "balanced": 0.4, "high_precision": 0.8}
    return {"thresholds": {"mask": 0.5, "area_px_min": 10, "image": image, **thresholds}}


def test_a_prediction_carries_all_that_a_reader_is_shown(opened, chest):
    said = predict.predict(chest, opened)
    assert said.quality["verdict"] == "fit"
    assert said.band == "possible"
    assert said.model == {"name": "tiny", "version": "1", "sha256": opened.card["sha256"]}
    assert said.probability_map.dtype == np.uint8
    # The long edge fills the network's square, the short one its share of it.
    assert said.probability_map.shape == (TINY_SIZE, round(TINY_SIZE * 300 / 360))
    assert said.mask.shape == (360, 300)
    assert said.measurements["area_px"] == said.mask.sum() > 0
    assert said.seconds > 0
    facts = json.loads(json.dumps(said.facts()))
    assert facts["map"] == {"rows": 64, "columns": 53}
    assert "mask" not in facts
    assert "probability_map" not in facts


def test_the_mask_is_the_map_enlarged_about_pixel_centres(opened, chest):
    said = predict.predict(chest, opened)
    rows, columns = said.mask.shape
    map_ = said.probability_map.astype(np.float64)
    # The same in plain words: half-pixel centres, clamped at the edges, linear both ways.
    y = np.clip((np.arange(rows) + 0.5) * map_.shape[0] / rows - 0.5, 0, map_.shape[0] - 1)
    x = np.clip((np.arange(columns) + 0.5) * map_.shape[1] / columns - 0.5, 0, map_.shape[1] - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down = np.minimum(top + 1, map_.shape[0] - 1)
    right = np.minimum(left + 1, map_.shape[1] - 1)
    fy, fx = (y - top)[:, None], (x - left)[None, :]
    large = (1 - fy) * ((1 - fx) * map_[np.ix_(top, left)] + fx * map_[np.ix_(top, right)])
    large += fy * ((1 - fx) * map_[np.ix_(down, left)] + fx * map_[np.ix_(down, right)])
    sure = abs(large - said.threshold * 255) > 0.01
    np.testing.assert_array_equal(said.mask[sure], (large >= said.threshold * 255)[sure])
    assert sure.mean() > 0.99


@pytest.mark.parametrize(
    ("probability", "point", "band"),
    [
        (0.95, "balanced", "likely"),
        (0.8, "balanced", "likely"),
        (0.5, "balanced", "possible"),
        (0.4, "balanced", "possible"),
        (0.39, "balanced", "none_found"),
        (0.3, "high_sensitivity", "possible"),
        (0.1, "high_sensitivity", "none_found"),
        (0.79, "high_precision", "none_found"),
        (0.8, "high_precision", "likely"),
    ],
)
def test_the_band_follows_the_models_thresholds(probability, point, band):
    assert predict.band_of(probability, card()["thresholds"]["image"], point) == band


def test_none_found_has_no_outline_even_where_pixels_are_bright(chest):
    said = predict.conclude(chest, card(), np.full((64, 64), 255, np.uint8), 0.1, fields())
    assert said["band"] == "none_found"
    assert not said["mask"].any()
    assert said["measurements"]["area_px"] == 0
    assert said["probability_map"].min() == 255


def test_an_outline_below_the_floor_is_not_shown(chest):
    small = np.zeros((64, 64), np.uint8)
    small[20:23, 20:23] = 255
    assert not predict.conclude(chest, card(area_px_min=10), small, 0.9, fields())["mask"].any()
    assert predict.conclude(chest, card(area_px_min=9), small, 0.9, fields())["mask"].any()


def test_both_thresholds_are_named(opened, chest):
    found = predict.predict(chest, opened, "high_sensitivity").facts()
    assert (found["threshold"], found["image_threshold"]) == (0.5, 0.05)
    assert found["likely_threshold"] == 0.9


def test_islands_are_not_outlined_as_findings(chest):
    spots = np.zeros((64, 64), np.uint8)
    spots[20:24, 20:24] = 255
    spots[40:42, 30:32] = spots[42, 32] = 255  # five pixels, joined at a corner
    spots[50, 50] = 255
    outlined = {}
    for floor in (0, 5, 6, 17):
        thresholds = card(area_px_min=0, island_px_min=floor)
        found = predict.conclude(chest, thresholds, spots, 0.9, fields())
        measured = found["measurements"]
        outlined[floor] = (len(measured["components"]), measured["islands_left_out"])
        assert measured["island_px_min"] == floor
        assert found["probability_map"][50, 50] == 255  # the map itself stays
    assert outlined == {0: (3, 0), 5: (2, 1), 6: (1, 2), 17: (0, 3)}


def test_a_spacing_by_which_the_lungs_are_no_adults_gives_no_millimetres(opened, chest):
    small = Spacing(0.71, 0.86, "detector")  # a field of 256 x 258 mm
    assert field_size.is_plausible(small, chest.rows, chest.columns)
    lungs = np.zeros((360, 300), dtype=bool)
    lungs[60:260, 40:140] = lungs[60:260, 160:260] = True  # by `small` 189 mm wide
    spots = np.zeros((36, 30), np.uint8)
    spots[8:14, 6:9] = 255
    for spacing, problem in ((chest.spacing, None), (small, "not_plausible"), (None, "unknown")):
        picture = dataclasses.replace(chest, spacing=spacing)
        found = predict.conclude(picture, card(), spots, 0.9, LungFields(lungs))["measurements"]
        assert found["spacing_problem"] == problem
        lengths = [found["distance_mm"], found["area_mm2"], found["components"][0]["area_mm2"]]
        lengths += [found["extents"][0][name]["mm"] for name in ("apex", "upper", "lower")]
        assert all((length is None) is (problem is not None) for length in lengths)
        reason = found["extents"][0]["collins"]["reason"]
        expected = {"not_plausible": "spacing_not_plausible", "unknown": "no_spacing", None: None}
        assert reason == expected[problem]


@pytest.mark.parametrize(
    ("age_min", "verdict"), [(18, "refused"), (16, "limited"), (17, "refused")]
)
def test_under_18s_get_a_result_from_the_age_that_is_allowed(opened, chest, age_min, verdict):
    child = dataclasses.replace(chest, patient_age_years=16.5)
    found = predict.predict(child, opened, age_min=age_min)
    assert found.quality["verdict"] == verdict
    assert [reason["code"] for reason in found.quality["reasons"]] == ["under_18"]
    assert (found.mask is None) is (verdict == "refused")
    assert found.mark == "PATIENT UNDER 18"
    assert predict.predict(chest, opened, age_min=age_min).mark == ""


def test_the_map_is_cut_to_the_picture_and_rounded():
    square = np.full((64, 64), 0.5, np.float32)
    square[:, :16] = square[:, 48:] = 9.0  # padding beside a tall picture: must not be seen
    map_ = serving.PreparedPicture(square, None, fields(200, 100)).map_of(square)
    assert map_.shape == (64, 32)
    assert (map_ == 128).all()
    lying = serving.PreparedPicture(square, None, fields(100, 200)).map_of(square.T)
    assert lying.shape == (32, 64)
    assert (lying == 128).all()


def test_a_refused_picture_gets_reasons_and_nothing_else(opened, chest):
    lateral = dataclasses.replace(chest, view="LL")
    said = predict.predict(lateral, opened)
    assert said.quality["verdict"] == "refused"
    assert [reason["code"] for reason in said.quality["reasons"]] == ["lateral_view"]
    for shown in ("probability", "band", "threshold", "mask", "probability_map", "measurements"):
        assert getattr(said, shown) is None
    assert said.facts()["map"] is None
    # Evaluation may look past the gate, and still sees the verdict.
    ungated = predict.predict(lateral, opened, refuse=False)
    assert ungated.mask is not None
    assert ungated.quality["verdict"] == "refused"


def test_a_picture_without_the_apices_says_so(opened):
    drawn = phantom.draw(3, "right", 25)
    beheaded = dataclasses.replace(drawn, pixels=drawn.pixels[143:])
    for film, said in ((drawn, False), (beheaded, True)):
        verdict, _ = predict.checked(reader.read(phantom.png(film)), opened)
        assert verdict.verdict == "limited"  # no header
        assert ("lungs_cut" in [reason.code for reason in verdict.reasons]) is said


def test_a_batch_says_the_same_as_one_by_one(opened, chest):
    other = reader.read(phantom.dicom(phantom.draw(8, None, rows=300, columns=320)))
    lateral = dataclasses.replace(chest, view="RL")
    together = predict.predict_batch([chest, lateral, other], opened)
    assert together[1].mask is None
    for picture, said in ((chest, together[0]), (other, together[2])):
        alone = predict.predict(picture, opened)
        np.testing.assert_array_equal(said.mask, alone.mask)
        assert said.probability == pytest.approx(alone.probability, abs=1e-4)


def test_the_thresholds_of_the_card_decide(tmp_path, write_model, chest):
    folder = write_model(
        tmp_path / "strict",
        image={"high_sensitivity": 0.97, "balanced": 0.98, "high_precision": 0.99},
    )
    said = predict.predict(chest, serving.open(folder, device="cpu"))
    assert said.band == "none_found"
    assert not said.mask.any()
