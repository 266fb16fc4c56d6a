"""The outline: from a probability map (uint8, value / 255) to a mask of the picture's size.

The map without its islands is enlarged linearly (half-pixel centres) and compared with
threshold * 255, in 32-bit floats that a browser can repeat to the pixel (static/js/viewer).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def mask(
    map_: NDArray[np.uint8],
    threshold: float,
    area_px_min: int,
    rows: int,
    columns: int,
    island_px_min: int = 0,
) -> NDArray[np.bool_]:
    """The mask (rows, columns) of a map without its islands; empty where fewer than
    ``area_px_min`` pixels of the map remain. The floors are in pixels of the map.
    """
    level = threshold * 255
    kept, _ = without_islands(map_, level, island_px_min)
    if int((kept >= level).sum()) < max(area_px_min, 1):
        return np.zeros((rows, columns), dtype=np.bool_)
    found = np.empty((rows, columns), dtype=np.bool_)
    for part, large in enlarged(kept, rows, columns):
        found[part] = large >= np.float32(level)
    return found


def island_floor(thresholds: dict[str, Any]) -> int:
    """The least size of an outlined region in pixels of the map; older cards have none."""
    return int(thresholds.get("island_px_min", 0))


def without_islands(
    map_: NDArray[np.uint8], level: float, least: int
) -> tuple[NDArray[np.uint8], int]:
    """A map whose regions at or above ``level`` (8 neighbours) of fewer than ``least`` pixels are
    set to 0, and how many these were. A browser repeats it (static/js/viewer/islands.js).
    """
    if least <= 1:
        return map_, 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (map_ >= level).astype(np.uint8), connectivity=8
    )
    small = np.flatnonzero(stats[1:count, cv2.CC_STAT_AREA] < least) + 1
    if not len(small):
        return map_, 0
    kept = map_.copy()
    kept[np.isin(labels, small)] = 0
    return kept, len(small)


def enlarged(
    map_: NDArray[np.uint8], rows: int, columns: int
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """A map at the size of the picture, some rows at a time: which, and their values 0..255."""
    # Not by OpenCV, whose rounding depends on processor and libraries: a browser repeats this to
    # the pixel (static/js/viewer/upsample.js), first along the rows, then down the columns.
    left, right, across = _taps(map_.shape[1], columns)
    upper, lower, down = _taps(map_.shape[0], rows)
    values = map_.astype(np.float32)
    wide = values[:, left] * (1 - across) + values[:, right] * across
    for start in range(0, rows, 256):
        part = slice(start, start + 256)
        share = down[part, None]
        large: NDArray[np.float32] = wide[upper[part]] * (1 - share)
        large += wide[lower[part]] * share
        yield part, large


def _taps(
    cells: int, length: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each of ``length`` pixels the two cells it lies between and the second one's share."""
    at = ((np.arange(length) + 0.5) * (cells / length) - 0.5).astype(np.float32)
    at = np.clip(at, 0, cells - 1)
    low = np.floor(at).astype(np.intp)
    return low, np.minimum(low + 1, cells - 1), at - low.astype(np.float32)
