"""The square part of a picture that a network sees: the crop to the lungs.

A crop may reach beyond the picture, whose surroundings are black. None, where a Crop may be given,
stands for the whole picture in the middle of a square (`ml.preprocessing.transforms.letterbox`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import BadInput


@dataclass(frozen=True)
class Crop:
    """A square in shares of the picture's longest side, from the picture's top left corner."""

    left: float
    top: float
    side: float

    def __post_init__(self) -> None:
        """BadInput for an implausible square."""
        if not (0.05 <= self.side <= 2 and abs(self.left) <= 2 and abs(self.top) <= 2):
            raise BadInput(f"not a crop of a picture: {self}")

    def on(self, rows: int, columns: int) -> tuple[int, int, int]:
        """(left, top, side) in whole pixels of a picture of this size."""
        longest = max(rows, columns)
        side = max(1, round(self.side * longest))
        return round(self.left * longest), round(self.top * longest), side


def cut(picture: NDArray[Any], crop: Crop) -> NDArray[Any]:
    """The crop's pixels, (side, side), 0 where it reaches beyond the picture."""
    left, top, side = crop.on(*picture.shape)
    square = np.zeros((side, side), dtype=picture.dtype)
    outer, inner = _overlap(picture.shape, left, top, side)
    square[inner] = picture[outer]
    return square


def paste(square: NDArray[Any], crop: Crop, rows: int, columns: int) -> NDArray[Any]:
    """The opposite of `cut`: a picture (rows, columns) that is 0 outside of the crop."""
    left, top, side = crop.on(rows, columns)
    if square.shape != (side, side):
        raise ValueError(f"the crop is {side} x {side}, not {square.shape}")
    picture = np.zeros((rows, columns), dtype=square.dtype)
    outer, inner = _overlap(picture.shape, left, top, side)
    picture[outer] = square[inner]
    return picture


def _overlap(
    shape: tuple[int, ...], left: int, top: int, side: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where picture and crop overlap, as slices of the picture and of the crop."""
    rows, columns = shape
    y0, y1 = max(top, 0), max(min(top + side, rows), 0)
    x0, x1 = max(left, 0), max(min(left + side, columns), 0)
    outer = (slice(y0, max(y0, y1)), slice(x0, max(x0, x1)))
    inner = (slice(y0 - top, max(y0, y1) - top), slice(x0 - left, max(x0, x1) - left))
    return outer, inner
