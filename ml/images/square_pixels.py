"""Pictures whose pixels are not square: how they become square.

A mask becomes theirs again in `Picture.as_in_source`.
"""

from __future__ import annotations

import cv2
import numpy as np
from pydicom.dataset import Dataset

from ml.images.picture import Pixels, Spacing, check_size
from xray_files import values

# Rounded spacings of square pixels differ by less.
TOLERANCE = 0.01
# No detector or scanner has pixels so far from square: then the numbers are a mistake.
MOST_ASPECT = 4.0


def aspect(dataset: Dataset, spacing: Spacing | None) -> float:
    """A pixel's height divided by its width: by its spacing, else by PixelAspectRatio, else 1."""
    if spacing is not None:
        ratio = spacing.row_mm / spacing.column_mm
    else:
        pair = values.numbers(dataset, "PixelAspectRatio")
        ratio = pair[0] / pair[1] if len(pair) == 2 and min(pair) > 0 else 1.0
    if abs(ratio - 1) <= TOLERANCE or not 1 / MOST_ASPECT <= ratio <= MOST_ASPECT:
        return 1.0
    return ratio


def is_implausible(spacing: Spacing | None) -> bool:
    """Whether height and width of a pixel contradict each other."""
    if spacing is None:
        return False
    return not 1 / MOST_ASPECT <= spacing.row_mm / spacing.column_mm <= MOST_ASPECT


def shape(rows: int, columns: int, ratio: float) -> tuple[int, int]:
    """(rows, columns) with square pixels; the finer direction keeps its pixels.

    Unreadable where that is too large.
    """
    wider, higher = max(1.0, 1 / ratio), max(1.0, ratio)
    found = max(1, round(rows * higher)), max(1, round(columns * wider))
    check_size(*found)
    return found


def resampled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Pixels on a grid of this size (rows, columns), interpolated linearly."""
    if pixels.shape == size:
        return pixels
    large = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(large, dtype=np.uint16)
