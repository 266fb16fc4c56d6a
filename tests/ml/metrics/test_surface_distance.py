"""Distances between outlines of known places."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ml.metrics import surface_distance


def square(top: int, left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((60, 80), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_equal_outlines_are_no_distance_apart():
    found = surface_distance.distances(square(5, 5), square(5, 5))
    assert (found.mean, found.hausdorff95) == (0, 0)


def test_a_line_beside_a_line_is_as_far_away_as_it_was_moved():
    first, second = np.zeros((2, 40, 40), dtype=bool)
    first[:, 10], second[:, 17] = True, True
    found = surface_distance.distances(first, second)
    assert (found.mean, found.hausdorff95) == (7, 7)


def test_distances_are_in_units_of_the_spacing():
    first, second = np.zeros((2, 40, 40), dtype=bool)
    first[10], second[13] = True, True
    assert surface_distance.distances(first, second, (0.5, 9.0)).mean == pytest.approx(1.5)


def test_the_greater_of_both_sides_counts():
    near = square(20, 20)
    far = near | square(20, 60, 4)
    both = surface_distance.distances(near, far), surface_distance.distances(far, near)
    assert both[0] == both[1]
    assert both[0].hausdorff95 > 30


@pytest.mark.parametrize("pair", ["both", "predicted", "truth"])
def test_where_a_mask_is_empty_there_is_no_distance(pair):
    empty, some = np.zeros((60, 80), dtype=bool), square(1, 1)
    masks = {"both": (empty, empty), "predicted": (empty, some), "truth": (some, empty)}[pair]
    found = surface_distance.distances(*masks)
    assert math.isnan(found.mean)
    assert math.isnan(found.hausdorff95)


def test_masks_of_other_sizes_are_not_compared():
    with pytest.raises(ValueError, match="masks of"):
        surface_distance.distances(square(1, 1), np.ones((3, 3), dtype=bool))
