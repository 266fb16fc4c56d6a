"""What is said of a picture, on pictures where it is known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from ml.preparation import phantom
from ml.preprocessing import image_statistics, transforms


@pytest.fixture(scope="module")
def chest() -> np.ndarray:
    return transforms.canonical(phantom.draw(3, "left", 30, rows=512, columns=512).pixels, 512)


def test_percentiles_mean_and_spread_are_those_of_the_picture():
    grey = np.linspace(-1, 1, 10_000, dtype=np.float32).reshape(100, 100)
    found = image_statistics.of_grey(grey)
    assert found["input_mean"] == pytest.approx(0, abs=1e-3)
    assert found["input_p05"] == pytest.approx(-0.9, abs=0.01)
    assert found["input_p95"] == pytest.approx(0.9, abs=0.01)
    assert found["input_sd"] == pytest.approx(1 / math.sqrt(3), abs=0.001)


def test_a_flat_picture_has_finite_numbers():
    found = image_statistics.of_grey(np.zeros((32, 32), dtype=np.float32))
    assert all(math.isfinite(value) for value in found.values())


def test_blur_lowers_the_sharpness_and_is_tagged(chest):
    # Phantoms are smooth: the grain of a film is what a blur takes away.
    grain = np.random.default_rng(0).normal(0, 12, chest.shape)
    film = np.clip(chest + grain, 0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(film, (0, 0), 3)
    sharp, soft = (
        image_statistics.of_canonical(film),
        image_statistics.of_canonical(np.asarray(blurred)),
    )
    assert soft["input_sharpness"] < sharp["input_sharpness"] / 3
    assert "blurred" in image_statistics.tags(soft)
    assert "blurred" not in image_statistics.tags(sharp)


@pytest.mark.parametrize(("gamma", "tag"), [(4.0, "over"), (1.0, "usual"), (0.2, "under")])
def test_dark_films_are_over_exposed_and_bright_ones_under_exposed(gamma, tag):
    grey = (np.linspace(0, 1, 512) ** gamma * 255).astype(np.uint8)
    picture = np.tile(grey, (512, 1))
    numbers = image_statistics.of_canonical(picture)
    assert image_statistics.exposure(numbers) == tag
    found = image_statistics.tags(numbers)
    assert (f"{tag}_exposed" in found) == (tag != "usual")


def lungs(angle: float) -> np.ndarray:
    mask = np.zeros((512, 512), dtype=np.uint8)
    cv2.ellipse(mask, (150, 256), (60, 130), 0, 0, 360, 1, -1)
    cv2.ellipse(mask, (362, 256), (60, 130), 0, 0, 360, 1, -1)
    turn = cv2.getRotationMatrix2D((256, 256), -angle, 1)
    return np.asarray(cv2.warpAffine(mask, turn, (512, 512)), dtype=bool)


@pytest.mark.parametrize("angle", [-20, 0, 5, 25])
def test_a_turned_chest_is_tilted_by_as_much(angle):
    assert image_statistics.tilt(lungs(angle)) == pytest.approx(angle, abs=0.7)


def test_tilt_is_tagged_only_where_lungs_are_known_and_two(chest):
    numbers = image_statistics.of_canonical(chest)
    assert "rotated" in image_statistics.tags(numbers, lungs(25))
    assert "rotated" not in image_statistics.tags(numbers, lungs(3))
    assert "rotated" not in image_statistics.tags(numbers)
    one = lungs(25)
    one[:, 256:] = False
    assert math.isnan(image_statistics.tilt(one))
    assert "rotated" not in image_statistics.tags(numbers, one)


def test_what_a_prediction_stores_is_few_finite_numbers_with_plain_names():
    found = image_statistics.of_answer(
        np.zeros((64, 64), dtype=np.float32),
        np.full((64, 32), 200, dtype=np.uint8),
        np.ones((128, 64), dtype=bool),
    )
    assert len(found) < 30
    assert found["aspect"] == 0.5
    assert found["lung_share"] == 1.0
    assert found["map_share"] == 1.0
    assert all(math.isfinite(value) for value in found.values())
    assert all(name.replace("_", "").isalnum() and name.islower() for name in found)
