"""What a network of several classes finds beside its first one.

Owns how the other classes' probabilities become findings: calibrated and compared with thresholds
of their own, which the card has under `other_points` where they were chosen on held-out pictures.
They call no picture positive: band, measurements and the reader's verdict are about the first
class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ml.images.picture import Picture
from ml.inference import hemithorax, measurements, outline
from ml.inference.measurements import Mask
from ml.inference.serving import PreparedPicture, logit
from ml.runtime.session import Answer

# Of a card without points of its own: plain probabilities, and the half of them.
PLAIN = {"temperature": 1.0, "bias": 0.0, "mask": 0.5, "image": 0.5, "area_px_min": 0}
# The largest outlines, and the most corners of each, that a result holds.
OUTLINES_MAX, CORNERS_MAX = 10, 120
# Corners closer to the line between their neighbours are left out, as a share of the long edge.
_DETAIL = 1 / 1024


@dataclass(frozen=True)
class OtherFinding:
    """One more class of a network on one picture.

    found: whether the probability reaches the threshold; only then there is a mask (rows, columns).
    side: as in `measurements.measure`.
    """

    name: str
    probability: float
    threshold: float
    found: bool
    side: str | None
    area_px: int
    area_mm2: float | None
    mask: Mask

    def facts(self) -> dict[str, Any]:
        """Ready for JSON, with outlines as corners (x, y) in source pixels."""
        facts = {name: value for name, value in vars(self).items() if name != "mask"}
        return facts | {"outlines": outlines(self.mask)}


def of_answer(
    picture: Picture,
    card: dict[str, Any],
    prepared: PreparedPicture,
    answer: Answer,
    number: int,
    midline: float | None = None,
) -> list[OtherFinding]:
    """The other classes of one of the answer's pictures; none of a network of one class.

    midline: the column to use where it cannot be derived from the lungs.
    """
    if answer.other_masks is None or answer.other_images is None:
        return []
    middle = hemithorax.midline(prepared.fields)
    column = midline if middle is None else middle * picture.columns
    found = []
    for place, name in enumerate(list(card.get("classes", ()))[1:]):
        points = PLAIN | card.get("other_points", {}).get(name, {})
        scaled = logit(float(answer.other_images[number, place])) / points["temperature"]
        probability = 1 / (1 + math.exp(-scaled - points["bias"]))
        map_ = prepared.map_of(answer.other_masks[number, place])
        called = probability >= points["image"]
        mask = np.zeros((picture.rows, picture.columns), dtype=np.bool_)
        if called:
            level, floor = float(points["mask"]), int(points["area_px_min"])
            mask = outline.mask(map_, level, floor, picture.rows, picture.columns)
        parts = measurements.components(mask, picture.spacing, picture.orientation, column)
        area = sum(part.area_px for part in parts)
        sides = {part.side for part in parts if part.side and part.area_px >= 0.05 * area}
        found.append(
            OtherFinding(
                name=name,
                probability=round(probability, 4),
                threshold=round(float(points["image"]), 4),
                found=called,
                side="both" if len(sides) > 1 else next(iter(sides), None),
                area_px=area,
                area_mm2=measurements.area_mm2(area, picture.spacing),
                mask=mask,
            )
        )
    return found


def outlines(mask: Mask) -> list[list[list[float]]]:
    """The outer borders of a mask's largest regions, each as corners (x, y) in its pixels."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    borders = sorted(found, key=cv2.contourArea, reverse=True)[:OUTLINES_MAX]
    corners = []
    for border in borders:
        detail = max(mask.shape) * _DETAIL
        shape = cv2.approxPolyDP(border, detail, closed=True)
        while len(shape) > CORNERS_MAX:
            detail *= 1.5
            shape = cv2.approxPolyDP(border, detail, closed=True)
        # Corners are pixels' centres.
        corners.append((shape[:, 0].astype(float) + 0.5).tolist())
    return corners
