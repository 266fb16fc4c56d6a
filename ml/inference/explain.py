"""The region that drives a picture's probability, and the uncertainty of the prediction.

Owns the driving region (around the patch of the largest probability, because patches weigh most in
the image probability) and the difference between the predictions for the picture and for its mirror
image. Models without these outputs have neither.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.preprocessing.lung_crop import Crop
from ml.runtime.session import Floats

# Connected patches with at least this share of the largest probability belong to the region.
SHARE_OF_PEAK = 0.5
# Two readings whose image probabilities differ so much, or whose outlines overlap so little, are
# called unsure, whatever the operating point.
SPREAD_UNSURE = 0.2
DICE_UNSURE = 0.5


@dataclass(frozen=True)
class Region:
    """A box (x0, y0, x1, y1) in source pixels and the probability of its most probable patch."""

    box: tuple[int, int, int, int]
    probability: float

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"box": list(self.box), "probability": self.probability}


def region(
    patches: Floats, crop: Crop | None, canonical: tuple[int, int], source: tuple[int, int]
) -> Region | None:
    """The patch of the largest probability and its neighbours; None where none is on the picture.

    patches: (P, P) over the network's square; canonical and source: (rows, columns) of the
    canonical picture, which the square shows in whole or in part, and of the picture itself.
    """
    side = len(patches)
    left, top, width = _square(crop, canonical)
    across = left + width * np.arange(side + 1) / side
    down = top + width * np.arange(side + 1) / side
    on_columns = (across[:-1] + across[1:]) / 2
    on_rows = (down[:-1] + down[1:]) / 2
    inside = ((on_rows >= 0) & (on_rows < canonical[0]))[:, None] & (
        (on_columns >= 0) & (on_columns < canonical[1])
    )
    if not inside.any():
        return None
    on_picture = np.where(inside, patches, 0.0)
    row, column = np.unravel_index(int(on_picture.argmax()), on_picture.shape)
    peak = float(on_picture[row, column])
    _, labels = cv2.connectedComponents(
        (on_picture >= max(SHARE_OF_PEAK * peak, 1e-6)).astype(np.uint8)
    )
    rows, columns = np.nonzero((labels == labels[row, column]) & inside)
    scale = source[0] / canonical[0], source[1] / canonical[1]
    box = (
        max(round(across[columns.min()] * scale[1]), 0),
        max(round(down[rows.min()] * scale[0]), 0),
        min(round(across[columns.max() + 1] * scale[1]), source[1]),
        min(round(down[rows.max() + 1] * scale[0]), source[0]),
    )
    return Region(box, round(peak, 4))


def _square(crop: Crop | None, canonical: tuple[int, int]) -> tuple[float, float, float]:
    """Left, top and side of the network's square, in pixels of the canonical picture."""
    if crop is not None:
        return crop.on(*canonical)
    longest = max(canonical)
    return (canonical[1] - longest) / 2, (canonical[0] - longest) / 2, longest


@dataclass(frozen=True)
class Uncertainty:
    """How far two readings differ.

    spread: distance of their image probabilities; outline_dice: Dice of their outlines, None where
    neither outlines anything; unsure: whether to warn the reader.
    """

    spread: float
    outline_dice: float | None
    unsure: bool

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def uncertainty(
    probability: float,
    spread: float,
    mask: Floats,
    difference: Floats,
    mask_threshold: float,
    image_threshold: float,
) -> Uncertainty:
    """Compare two readings: mask (S, S) is their mean, difference half of what they differ by.

    Unsure: one of them would have been called, the other not; or they are far apart.
    """
    dice = _dice(mask + difference >= mask_threshold, mask - difference >= mask_threshold)
    called = probability >= image_threshold
    # The mean is that of the logits, so the readings lie about it, a little unevenly.
    straddles = probability - spread / 2 < image_threshold <= probability + spread / 2
    apart = spread >= SPREAD_UNSURE or (called and dice is not None and dice < DICE_UNSURE)
    return Uncertainty(
        round(spread, 4), None if dice is None else round(dice, 4), bool(straddles or apart)
    )


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else None
