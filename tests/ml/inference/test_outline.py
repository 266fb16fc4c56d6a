"""From a map to a mask: islands are left out whole, and nothing else changes."""

import cv2
import numpy as np
import pytest

from ml.inference import outline


def test_an_island_changes_no_pixel_of_the_other_outlines() -> None:
    map_ = np.random.default_rng(5).integers(0, 256, (48, 40), dtype=np.uint8)
    whole = outline.mask(map_, 0.7, 0, 360, 300)
    kept = outline.mask(map_, 0.7, 0, 360, 300, island_px_min=8)
    assert not (kept & ~whole).any()
    assert 0 < kept.sum() < whole.sum()
    # What is left out are whole regions.
    _, labels = cv2.connectedComponents(whole.astype(np.uint8))
    assert not set(np.unique(labels[whole & ~kept])) & set(np.unique(labels[kept]))


@pytest.mark.parametrize(
    ("least", "kept", "islands"), [(0, 7, 0), (1, 7, 0), (2, 6, 1), (3, 4, 2), (5, 0, 3)]
)
def test_a_region_below_the_floor_is_an_island(least: int, kept: int, islands: int) -> None:
    map_ = np.zeros((12, 12), np.uint8)
    map_[1:3, 1:3] = 200  # four pixels
    map_[6, 6] = map_[7, 7] = 128  # two, joined at a corner
    map_[10, 2] = 255  # one
    map_[4:6, 9:11] = 127  # below the level
    found, count = outline.without_islands(map_, 128, least)
    assert (int((found >= 128).sum()), count) == (kept, islands)
    assert (found[4:6, 9:11] == 127).all()
