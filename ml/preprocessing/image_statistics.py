"""Numbers that describe a picture and a prediction, and tags of hard cases by these numbers.

The same function serves every prediction (`Prediction.statistics`), the training reference in a
model's card and the data sheet, so that `ml.metrics.drift` compares like with like. numpy and cv2
only.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

PERCENTILES = (5, 25, 50, 75, 95)
# Of 500 frontal X-rays of one hospital, on the canonical picture at 512 px in -1..1, about 2 % are
# darker than the first, 2 % brighter than the second, and 0.4 % less sharp than the third number;
# 99 % of them, blurred by 2 px, are less sharp than that.
DARK, BRIGHT, BLURRED = -0.24, 0.46, 0.0165
# Degrees between the line through both lungs' centres and the horizontal; of 60 frontal X-rays of
# adults, whose lungs differ in height anyway, 3 are beyond it.
TILTED = 12.0
TAGS = ("over_exposed", "under_exposed", "blurred", "rotated")


def of_grey(grey: NDArray[np.float32]) -> dict[str, float]:
    """Mean, spread, percentiles and sharpness of a picture (rows, columns), -1..1.

    sharpness: the standard deviation removed by a blur of 1 px, as a share of the picture's.
    """
    spread = float(grey.std())
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.0)
    numbers = {"input_mean": round(float(grey.mean()), 4), "input_sd": round(spread, 4)}
    for percent, value in zip(PERCENTILES, np.percentile(grey, PERCENTILES), strict=True):
        numbers[f"input_p{percent:02}"] = round(float(value), 4)
    numbers["input_sharpness"] = round(float(fine.std()) / max(spread, 1e-6), 5)
    return numbers


def of_answer(
    grey: NDArray[np.float32], map_: NDArray[np.uint8], lungs: NDArray[np.bool_]
) -> dict[str, float]:
    """The statistics of a prediction: of its input, its probability map and the lungs.

    grey: the network's input; map_: uint8 over the picture; lungs: mask on the canonical picture.
    """
    return {
        **of_grey(grey),
        "map_maximum": round(float(map_.max()) / 255, 4),
        "map_mean": round(float(map_.mean()) / 255, 6),
        "map_share": round(float((map_ >= 128).mean()), 6),
        **of_shape(lungs),
    }


def of_shape(lungs: NDArray[np.bool_]) -> dict[str, float]:
    """The lungs' share of the picture, and the picture's columns per row."""
    rows, columns = lungs.shape
    return {
        "lung_share": round(float(lungs.mean()), 4),
        "aspect": round(columns / rows, 4),
    }


def of_canonical(canonical: NDArray[np.uint8]) -> dict[str, float]:
    """of_grey at the size for which the tags' thresholds were chosen."""
    rows, columns = canonical.shape
    scale = 512 / max(rows, columns)
    shape = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    small = cv2.resize(canonical.astype(np.float32), shape, interpolation=cv2.INTER_AREA)
    return of_grey(np.asarray(small, dtype=np.float32) / np.float32(127.5) - np.float32(1))


def exposure(numbers: dict[str, float]) -> str:
    """'over', 'usual' or 'under', by the mean grey of a canonical picture.

    More radiation darkens a film; digital systems compensate for much of that, so this describes
    the displayed picture.
    """
    if numbers["input_mean"] < DARK:
        return "over"
    return "under" if numbers["input_mean"] > BRIGHT else "usual"


def tags(numbers: dict[str, float], lungs: NDArray[np.bool_] | None = None) -> tuple[str, ...]:
    """Why a canonical picture may be a hard case; 'rotated' only where lungs are given."""
    exposed = exposure(numbers)
    tilted = abs(tilt(lungs)) > TILTED if lungs is not None else False
    found = {
        "over_exposed": exposed == "over",
        "under_exposed": exposed == "under",
        "blurred": numbers["input_sharpness"] < BLURRED,
        "rotated": tilted,
    }
    return tuple(tag for tag in TAGS if found[tag])


def tilt(lungs: NDArray[np.bool_]) -> float:
    """Degrees by which the line through the two largest lung regions leaves the horizontal.

    NaN where there are not two regions of comparable size.
    """
    count, _, stats, centres = cv2.connectedComponentsWithStats(lungs.astype(np.uint8))
    areas = stats[1:count, cv2.CC_STAT_AREA]
    if len(areas) < 2:
        return math.nan
    first, second = np.argsort(areas)[::-1][:2]
    if areas[second] < areas[first] / 4:
        return math.nan
    (x0, y0), (x1, y1) = sorted(tuple(centres[1 + k]) for k in (first, second))
    return math.degrees(math.atan2(float(y1 - y0), float(x1 - x0)))
