"""A step along a row of blocks, which a JPEG has where bytes are missing in the middle of its scan.

A decoder that meets such a gap falls into step again after a few blocks, often with the right count
of blocks, and reports nothing. But a grey value of a block is coded as the difference from the
block before: from the gap on, all blocks are brighter or darker by the same amount. So there is an
edge of one height along the lower half of a row of blocks behind the gap and, one row below, before
it, and none on the other two halves. No anatomy, collimator or marker makes such an edge.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_LEAST_COLUMNS: Final = 8
# Of 255 grey values: what is less changes no finding, and noise makes it.
_LEAST_STEP: Final = 2.5
# How much the step is above what it varies by and what the other halves have.
_LEAST_RATIO: Final = 1.5
# A gap so near to the border leaves too little to compare.
_BORDER_SHARE: Final = 0.05
# Of a row of blocks, what at least each of the four halves has that is neither black nor white.
_PART_SHARE: Final = 0.04
_POSITIONS: Final = 64


def is_there(pixels: NDArray[np.uint8], side: int = 8) -> bool:
    """Whether decoded grey values, (rows, columns), have such a step in the grid of blocks.

    side: the rows of what a scan codes at a time: 8, or 16 where a colour has half of the rows.
    """
    ratio, _ = strongest(pixels, side)
    return ratio >= _LEAST_RATIO


def strongest(pixels: NDArray[np.uint8], side: int = 8) -> tuple[float, float]:
    """The clearest step of at least `_LEAST_STEP`: its ratio to what varies, and its height."""
    edges = _edges(pixels, side)
    rows, columns = edges.shape
    if rows < 2 or columns < _LEAST_COLUMNS:
        return 0.0, 0.0
    half = columns // 2
    # The halves of a row of edges of which one is wholly behind, or before, any gap.
    left, right = _median(edges[:, :half]), _median(edges[:, half:])
    border = max(2, int(columns * _BORDER_SHARE))
    best = 0.0, 0.0
    for row in range(rows - 1):
        positions = [
            *(range(border, half) if abs(right[row]) >= _LEAST_STEP else ()),
            *(range(half, columns - border) if abs(left[row + 1]) >= _LEAST_STEP else ()),
        ]
        for at in positions[:: max(1, columns // _POSITIONS)]:
            found = _ratio(edges[row], edges[row + 1], at)
            best = max(best, found)
    return best


def _ratio(upper: NDArray[np.float32], lower: NDArray[np.float32], at: int) -> tuple[float, float]:
    parts = [part[~np.isnan(part)] for part in (upper[at:], lower[:at], upper[:at], lower[at:])]
    if min(part.size for part in parts) < upper.size * _PART_SHARE:
        return 0.0, 0.0
    step, none = np.concatenate(parts[:2]), np.concatenate(parts[2:])
    height = float(np.median(step))
    if abs(height) < _LEAST_STEP:
        return 0.0, 0.0
    # Both halves of it vary little: an edge of the picture is in one of them alone.
    varies = max(float(np.median(np.abs(part - height))) for part in parts[:2])
    elsewhere = abs(float(np.median(none))) + float(np.median(np.abs(none)))
    return abs(height) / (varies + elsewhere + 0.5), height


def _edges(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """The edge between each block and the one below, beyond the slope beside it.

    (block rows - 1, block columns); NaN where most of it is black or white, where a step is cut
    off.
    """
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    lines = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side)
    before, last = lines[:-1, -2].astype(np.float32), lines[:-1, -1].astype(np.float32)
    first, after = lines[1:, 0].astype(np.float32), lines[1:, 1].astype(np.float32)
    edges = np.median(first - last - (last - before + after - first) / 2, axis=2)
    is_cut = (np.minimum(first, last) <= 1) | (np.maximum(first, last) >= 254)
    edges[is_cut.mean(axis=2) > 0.5] = np.nan
    return edges.astype(np.float32)


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row, without NaN; 0 where nothing else is there."""
    filled = np.where(np.isnan(values).all(axis=1, keepdims=True), np.float32(0), values)
    return np.nanmedian(filled, axis=1)
