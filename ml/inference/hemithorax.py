"""The two halves of the chest by the lung fields: midline, size, zones, and the visceral border.

Everything is derived from the lung finder's fields and the outlined air together: the finder was
trained on lungs without a pneumothorax, so it often leaves air out, and sometimes a collapsed lung.
Pictures are upright, sides left and right of a midline; positions are shares of the picture's rows
and columns, or pixels of the grid that is named.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.runtime.lung_finder import EDGE, LungFields

Mask = NDArray[np.bool_]

# In the order in which they are named. On a map of zones their number is the index + 1.
ZONES = ("apical", "lateral", "medial", "basal")
_THIRD = 1 / 3
# What counts as found lung beside air is at least twice this share of the thorax's width thick: the
# rims that remain where the finder's and the outline's borders run side by side are no lung.
_CORE = 0.02
# The outline's inner border lies at most this share of the thorax's width beside found lung.
_GAP = 0.03
# This share of the border of the air runs along found lung; of a crescent it is about half.
_ALONG_LUNG = 0.2
# Air and found lung together have at least these shares of the other side's area and height: less
# means that a collapsed lung or one behind fluid was not found. The domes of the diaphragm differ
# by two centimetres.
_OF_OTHER_SIDE = 0.6
_HEIGHT_OF_OTHER_SIDE = 0.8


@dataclass(frozen=True)
class Thorax:
    """Width and height of lungs and air together, in shares of the picture's columns and rows.

    cut: whether they reach the left or right, and the upper or lower edge.
    """

    width: float
    height: float
    cut: tuple[bool, bool]


@dataclass(frozen=True)
class Border:
    """Where the visceral border of one side's air was found.

    found: whether it was, along enough of the air. near: on the fields' grid (rows, columns), True
    in and close to found lung. shape: of the picture in pixels.
    """

    found: bool
    near: Mask
    shape: tuple[int, int]

    def is_at(self, x: float, y: float) -> bool:
        """Whether found lung begins at this place of the picture (pixels)."""
        rows, columns = self.near.shape
        row = min(max(int(y * rows / self.shape[0]), 0), rows - 1)
        column = min(max(int(x * columns / self.shape[1]), 0), columns - 1)
        return bool(self.near[row, column])


def thorax(fields: LungFields, air: Mask | None = None) -> Thorax | None:
    """The size of lungs and air; None without a plausible pair of lungs."""
    if midline(fields) is None:
        return None
    both = fields.mask | _reduced(air, fields) if air is not None else fields.mask
    lines = [np.flatnonzero(both.any(axis=axis)) for axis in (0, 1)]
    (width, height), cut = zip(
        *(
            (
                float((line[-1] + 1 - line[0]) / length),
                bool(line[0] < EDGE * length or line[-1] + 1 > (1 - EDGE) * length),
            )
            for line, length in zip(lines, both.shape[::-1], strict=True)
        ),
        strict=True,
    )
    return Thorax(width, height, cut)


def midline(fields: LungFields) -> float | None:
    """Between the lungs, in shares of the picture's width; None where they do not lie apart."""
    if not fields.plausible:
        return None
    count, _, stats, centroids = cv2.connectedComponentsWithStats(fields.mask.astype(np.uint8))
    if count < 3:
        return None
    largest = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA])[:2]
    first, second = sorted(largest, key=lambda label: centroids[label][0])
    end = stats[first, cv2.CC_STAT_LEFT] + stats[first, cv2.CC_STAT_WIDTH]
    begin = stats[second, cv2.CC_STAT_LEFT]
    # Of lungs above each other, as in a picture that lies on its side, neither is left or right.
    if centroids[second][0] - centroids[first][0] < 0.15 * fields.mask.shape[1]:
        return None
    return float((end + begin) / 2 / fields.mask.shape[1])


def zones(
    fields: LungFields, air: Mask, column: float | None, *, upside_down: bool = False
) -> NDArray[np.uint8] | None:
    """The zone of every pixel of the picture, as its number; None without plausible lungs.

    air (rows, columns) in pixels; column: the midline there, the picture's middle if None.

    By the field of lungs and air together: apical is its upper third, basal its lower third;
    between them lateral is the outer half of each side, medial the inner one. The outer border is
    that of each row, the inner one that of the whole middle third, so that a collapsed lung which
    was not found does not move it.
    """
    if not fields.plausible:
        return None
    rows, columns = air.shape
    both = air | enlarged(fields.mask, rows, columns)
    filled = np.flatnonzero(both.any(axis=1))
    top, bottom = int(filled[0]), int(filled[-1]) + 1
    begin = top + round(_THIRD * (bottom - top))
    end = bottom - round(_THIRD * (bottom - top))
    upper, lower = ("basal", "apical") if upside_down else ("apical", "basal")
    found = np.zeros((rows, columns), dtype=np.uint8)
    found[:begin], found[end:] = number(upper), number(lower)
    middle = round(columns / 2 if column is None else min(max(column, 1.0), columns - 1.0))
    for half, step in ((slice(0, middle), 1), (slice(middle, columns), -1)):
        part = both[begin:end, half][:, ::step]  # the lateral border at the left
        width = part.shape[1]
        has = part.any(axis=1)
        outer = np.where(has, part.argmax(axis=1), 0)
        inner = width - part[:, ::-1].argmax(axis=1)
        limit = float(np.median(inner[has])) if has.any() else width
        outer = np.where(has, outer, np.median(outer[has]) if has.any() else 0)
        lateral = np.arange(width)[None] + 0.5 < ((outer + limit) / 2)[:, None]
        named = np.where(lateral, number("lateral"), number("medial")).astype(np.uint8)
        found[begin:end, half] = named[:, ::step]
    return found


def number(zone: str) -> int:
    """The number of a zone on a map of zones."""
    return ZONES.index(zone) + 1


def visceral_border(fields: LungFields, air: Mask, half: slice, other: slice) -> Border:
    """Where the lung begins beside the air of one side.

    air (rows, columns) in pixels, of this side alone; half, other: the columns of this and of the
    other side on the fields' grid. It is found where lung lies along the air's border, thick enough
    to be one, and where air and lung together are about as large and as high as the other side.
    """
    small = _reduced(air, fields)
    across = np.flatnonzero((fields.mask | small).any(axis=0))
    width = int(across[-1] + 1 - across[0])
    lung = np.zeros_like(fields.mask)
    lung[:, half] = fields.mask[:, half] & ~small[:, half]
    core = _distance(lung) > _CORE * width
    near = _distance(~core) <= (_CORE + _GAP) * width if core.any() else np.zeros_like(core)
    edge = small & (_distance(small) <= 1.5)
    along = float((edge & near).sum()) / max(int(edge.sum()), 1)
    here, there = lung | small, fields.mask[:, other]
    is_whole = here.sum() >= _OF_OTHER_SIDE * there.sum() and _height(
        here
    ) >= _HEIGHT_OF_OTHER_SIDE * _height(there)
    found = bool(along >= _ALONG_LUNG and is_whole)
    return Border(found, near, (air.shape[0], air.shape[1]))


def _height(field: Mask) -> int:
    """From the first to the last row of a field."""
    filled = np.flatnonzero(field.any(axis=1))
    return int(filled[-1]) + 1 - int(filled[0]) if len(filled) else 0


def _distance(field: Mask) -> NDArray[np.float32]:
    """How far each True pixel is from the nearest False one; the picture's edge is no border."""
    return np.asarray(
        cv2.distanceTransform(field.astype(np.uint8), cv2.DIST_L2, 5), dtype=np.float32
    )


def _reduced(air: Mask, fields: LungFields) -> Mask:
    """The air on the fields' grid: where at least half of a cell is outlined."""
    rows, columns = fields.mask.shape
    if air.shape == fields.mask.shape:
        return air
    share = cv2.resize(
        air.astype(np.uint8) * np.uint8(255), (columns, rows), interpolation=cv2.INTER_AREA
    )
    return np.asarray(share >= 128)


def enlarged(field: Mask, rows: int, columns: int) -> Mask:
    """A field of the lungs at the size of the picture."""
    return cv2.resize(
        field.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT
    ).astype(bool)
