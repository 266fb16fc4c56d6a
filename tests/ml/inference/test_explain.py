"""What drives a probability, and when two readings are called unsure."""

from __future__ import annotations

import numpy as np
import pytest

from ml.inference import explain
from ml.preprocessing.lung_crop import Crop


def heard(side: int = 12, **loud: float) -> np.ndarray:
    """Patches that are quiet but for `r3c4=0.9`."""
    patches = np.full((side, side), 0.01, np.float32)
    for name, value in loud.items():
        row, column = (int(part) for part in name[1:].split("c"))
        patches[row, column] = value
    return patches


def test_the_loudest_patch_is_found_where_it_lies_on_the_picture() -> None:
    found = explain.region(heard(r2c3=0.8), None, (384, 384), (768, 768))
    assert found == explain.Region((192, 128, 256, 192), 0.8)


def test_its_loud_neighbours_belong_to_it_and_distant_ones_do_not() -> None:
    patches = heard(r2c3=0.8, r2c4=0.5, r3c4=0.45, r2c5=0.3, r9c9=0.7)
    found = explain.region(patches, None, (384, 384), (384, 384))
    assert found is not None
    assert found.box == (96, 64, 160, 128)


def test_a_narrow_picture_lies_in_the_middle_of_the_square_and_its_padding_does_not_count() -> None:
    patches = heard(r5c0=0.99, r5c4=0.6)  # the first of them in the padding
    found = explain.region(patches, None, (384, 192), (384, 192))
    assert found == explain.Region((32, 160, 64, 192), 0.6)


def test_a_crop_puts_the_region_where_the_crop_lies() -> None:
    crop = Crop(0.25, 0.5, 0.5)
    found = explain.region(heard(10, r0c0=0.9), crop, (400, 400), (800, 800))
    assert found == explain.Region((200, 400, 240, 440), 0.9)


def test_a_crop_beyond_the_picture_is_cut_off() -> None:
    found = explain.region(heard(2, r0c0=0.9), Crop(-0.1, -0.1, 0.4), (100, 100), (100, 100))
    assert found is not None
    assert found.box == (0, 0, 10, 10)


@pytest.fixture
def masks() -> tuple[np.ndarray, np.ndarray]:
    """The mean of two outlines that share half of each other, and half of their difference."""
    one, other = np.zeros((16, 16), np.float32), np.zeros((16, 16), np.float32)
    one[4:8, 4:8] = other[4:8, 6:10] = 0.9
    return (one + other) / 2, (one - other) / 2


def test_two_outlines_are_compared(masks: tuple[np.ndarray, np.ndarray]) -> None:
    found = explain.uncertainty(0.8, 0.05, *masks, mask_threshold=0.5, image_threshold=0.3)
    assert found == explain.Uncertainty(0.05, 0.5, False)


def test_nothing_outlined_twice_has_no_dice_and_once_none_in_common() -> None:
    nothing = np.zeros((8, 8), np.float32)
    assert explain.uncertainty(0.1, 0.0, nothing, nothing, 0.5, 0.3).outline_dice is None
    once = np.zeros((8, 8), np.float32)
    once[2:4] = 0.4
    found = explain.uncertainty(0.8, 0.0, once, once, 0.5, 0.3)
    assert (found.outline_dice, found.unsure) == (0.0, True)


@pytest.mark.parametrize(
    ("probability", "spread", "unsure"),
    [
        (0.8, 0.05, False),
        (0.8, 0.25, True),  # far apart
        (0.31, 0.05, True),  # one reading would have been called, the other not
        (0.29, 0.05, True),
        (0.35, 0.05, False),
        (0.1, 0.01, False),
    ],
)
def test_readings_on_both_sides_of_the_operating_point_are_unsure(
    probability: float, spread: float, unsure: bool
) -> None:
    same = np.ones((4, 4), np.float32)
    found = explain.uncertainty(probability, spread, same, 0 * same, 0.5, 0.3)
    assert found.unsure is unsure
