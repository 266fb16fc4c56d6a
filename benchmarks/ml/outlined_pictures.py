"""Pictures with an outline for `sizes.py`: scaled to an adult's width, and compared with the chest
around the air, without the lung that the rule for the visceral border goes by.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.datasets import cases
from ml.images.picture import Picture, Spacing
from ml.inference import hemithorax, size_indices
from ml.inference.size_indices import Extent
from ml.runtime.lung_finder import LungFields

Mask = NDArray[np.bool_]

# The middle of the means of men (297 mm) and women (271 mm), 1,047 adults, PA films: Pan African
# Medical Journal 2017;27:201.
THORAX_MM = 284.0
SCALES = (0.85, 1.0, 1.15)
# What heart and vessels take of the half of the chest, at the middle of the lung's height: the
# medians of the lungs opposite to the air on these pictures.
MEDIASTINUM = {"right": 0.20, "left": 0.29}
LEVELS = (-0.08, -0.04, 0.0, 0.04, 0.08)
# An index is false where it differs by so many points from what the chest around it gives.
POINTS = 15.0


@dataclass(frozen=True)
class Outlined:
    """A picture with an outline: the outline, the lungs, the view and the columns' scale in mm."""

    name: str
    mask: Mask
    fields: LungFields
    view: str | None
    mm: float

    def extents(self, scale: float, view: str | None) -> list[Extent]:
        """Both sides' sizes with the thorax at this share of an adult's width."""
        spacing = Spacing(self.mm * scale, self.mm * scale, "calibrated")
        return size_indices.extents(self.mask, self.fields, spacing, ("L", "F"), view)


def truth(case: cases.Case, picture: Picture) -> Mask:
    """The radiologists' outline at the picture's own size."""
    mask = case.truth(*cases.MASK_SHAPE)
    if mask.shape == picture.pixels.shape:
        return mask
    size = (picture.columns, picture.rows)
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT).astype(
        bool
    )


def scaled(name: str, mask: Mask, fields: LungFields, view: str | None) -> Outlined | None:
    """A picture with lungs and air as wide as an adult's thorax; None without two lungs."""
    thorax = hemithorax.thorax(fields, mask)
    if thorax is None:
        return None
    return Outlined(name, mask, fields, view, THORAX_MM / (thorax.width * mask.shape[1]))


def ratio(extent: Extent) -> float | None:
    """How many times the larger of Light and Collins the smaller one is."""
    light, collins = extent.light.percent, extent.collins.percent
    if not light or not collins:
        return None
    return max(light / collins, collins / light)


def is_false(one: Outlined, extent: Extent, scale: float) -> bool:
    """Whether an index applies that chest wall, spine and the other lung contradict.

    The rule decides by the lung found beside the air, which is not used here at all. False is what
    lies more than POINTS outside of the range that `by_chest` gives.
    """
    for name in ("light", "collins"):
        percent = getattr(extent, name).percent
        if percent is None:
            continue
        expected = by_chest(extent, name, one, scale)
        if not expected or not min(expected) - POINTS <= percent <= max(expected) + POINTS:
            return True
    return False


def by_chest(extent: Extent, name: str, one: Outlined, scale: float = 1.0) -> list[float]:
    """Light or Collins of a side, by its outlined air and the chest without this side's lung.

    The side is as high as the other lung (or the air, where that reaches farther) and, at each row,
    as wide as from its own chest wall to the middle between both walls, less the share that heart
    and vessels take on this side. The diaphragm's domes differ by two centimetres and more, so the
    levels are moved down and up by LEVELS of the height.
    """
    middle = hemithorax.midline(one.fields)
    if middle is None:
        return []
    rows, columns = one.mask.shape
    column = round(middle * columns)
    lungs, air = hemithorax.enlarged(one.fields.mask, rows, columns), one.mask
    if extent.side == "left":  # the side with the air is made the left half
        lungs, air, column = lungs[:, ::-1], air[:, ::-1], columns - column
    air, other = air[:, :column], lungs[:, column:]
    filled, own = np.flatnonzero(other.any(axis=1)), np.flatnonzero(air.any(axis=1))
    if not len(filled) or not len(own):
        return []
    top = min(int(filled[0]), int(own[0]))
    height = max(int(filled[-1]), int(own[-1])) + 1 - top
    found = []
    for shift in LEVELS:
        upper, row, lower = (round(top + height * (part + shift)) for part in (0.25, 0.5, 0.75))
        if name == "collins":
            apex = (extent.apex.mm or 0.0) / 10
            across = [int(air[level].sum()) * one.mm * scale / 10 for level in (upper, lower)]
            found.append(min(size_indices.collins([apex, *across]), 100.0))
        elif air[row].any() and other[row].any():
            wall = int(air[row].argmax())
            opposite = column + other.shape[1] - int(other[row, ::-1].argmax())
            whole = (opposite - wall) / 2 * (1 - MEDIASTINUM[extent.side])
            found.append(size_indices.light(round(whole), int(air[row].sum())))
    return found
