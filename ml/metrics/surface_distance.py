"""How far apart the borders of two outlines are.

A border pixel is a pixel of the mask with one of its four neighbours outside of it (the picture's
edge counts as outside). The distances of each border's pixels to the other border, taken together
from both sides, give the mean distance; the larger one of both sides' 95th percentiles is the
95 % Hausdorff distance. Where one mask is empty there is no distance: NaN, so that a missed
pneumothorax does not enter an average. (MONAI returns NaN as well, DeepMind's surface-distance
infinity: tests/ml/metrics/test_oracles.py has the table.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Distances:
    """In units of the spacing: pixels, or millimetres."""

    mean: float
    hausdorff95: float


def distances(predicted: Mask, truth: Mask, spacing: tuple[float, float] = (1.0, 1.0)) -> Distances:
    """Distances between the borders of two masks of one shape; spacing: row, column."""
    if predicted.shape != truth.shape:
        raise ValueError(f"masks of {predicted.shape} and {truth.shape}")
    if not predicted.any() or not truth.any():
        return Distances(float("nan"), float("nan"))
    # Only the part with both outlines is used: a film is large, an outline is not.
    both = predicted | truth
    rows, columns = np.flatnonzero(both.any(1)), np.flatnonzero(both.any(0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    first, second = border(predicted[part]), border(truth[part])
    there = _from(first, second, spacing)
    back = _from(second, first, spacing)
    return Distances(
        mean=float(np.concatenate([there, back]).mean()),
        hausdorff95=float(max(np.percentile(there, 95), np.percentile(back, 95))),
    )


def border(mask: Mask) -> Mask:
    """The mask's pixels that touch its outside."""
    inner: Mask = binary_erosion(mask, border_value=0)
    edge: Mask = mask & ~inner
    return edge


def _from(first: Mask, second: Mask, spacing: tuple[float, float]) -> NDArray[np.float64]:
    """The distance of every pixel of the first border to the second."""
    away: NDArray[np.float64] = distance_transform_edt(~second, sampling=spacing)
    return away[first]
