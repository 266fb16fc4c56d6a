"""How much a picture looks like a frontal chest film, and where its midline is.

Owns one coarse template: two dark lungs beside a bright mediastinum above a bright abdomen, given
by formula, not from pictures. It is compared, at 32 x 32 px, at several places, heights and widths;
the result is the best correlation, -1..1.

Measured with the thresholds of ``ml.quality.gate``: see there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.images.picture import Picture, automatic_window, windowed

_STAMP = 32
_SIDES = (20, 24, 28)


@dataclass(frozen=True)
class Likeness:
    """Best correlations of the picture, and of its negative, with the template.

    ``midline``: the column, in source pixels, of the template's axis where it fits best.
    """

    upright: float
    inverted: float
    midline: float


def compare(picture: Picture) -> Likeness:
    """Compare a picture, stretched to a square, with the template."""
    small = cv2.resize(picture.pixels, (_STAMP, _STAMP), interpolation=cv2.INTER_AREA)
    stamp = windowed(np.asarray(small), automatic_window(picture.pixels)).astype(np.float32)
    if float(stamp.std()) < 1.0:  # flat: a correlation would be noise divided by nothing
        return Likeness(0.0, 0.0, picture.columns / 2)
    upright, axis = _best(stamp)
    inverted, _ = _best(255 - stamp)
    return Likeness(round(upright, 4), round(inverted, 4), axis / _STAMP * picture.columns)


def of_stamp(stamp: NDArray[np.float32]) -> float:
    """The best correlation of a picture of 32 x 32 that is stretched already, grey 0..255."""
    return _best(stamp)[0] if float(stamp.std()) >= 1.0 else 0.0


def _best(stamp: NDArray[np.float32]) -> tuple[float, float]:
    """The best correlation over places and sizes, and the column of the template's axis there."""
    best, axis = -1.0, _STAMP / 2
    for template in _TEMPLATES:
        scores = cv2.matchTemplate(stamp, template, cv2.TM_CCOEFF_NORMED)
        _, score, _, (left, _) = cv2.minMaxLoc(scores)
        if score > best:
            best, axis = float(score), left + template.shape[1] / 2
    return best, axis


def _template(height: int, width: int) -> NDArray[np.float32]:
    """Bell-shaped hills and hollows on the unit square, in (row, column) shares of it."""
    y, x = np.mgrid[:height, :width]
    y, x = (y + 0.5) / height, (x + 0.5) / width

    def hill(row: float, column: float, tall: float, wide: float) -> NDArray[np.float64]:
        bell: NDArray[np.float64] = np.exp(-(((y - row) / tall) ** 2) - ((x - column) / wide) ** 2)
        return bell

    lungs = hill(0.42, 0.25, 0.32, 0.17) + hill(0.42, 0.75, 0.32, 0.17)
    mediastinum, abdomen = hill(0.5, 0.5, 0.7, 0.11), hill(1.0, 0.5, 0.2, 0.6)
    return (mediastinum + 0.6 * abdomen - lungs).astype(np.float32)


_TEMPLATES = [_template(height, width) for height in _SIDES for width in _SIDES]
