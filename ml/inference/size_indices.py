"""The size of a pneumothorax relative to its hemithorax: fractions, levels and indices.

Owns the published size indices and the conditions under which each may be shown:

- Collins et al., AJR 1995;165:1127: volume % = 4.2 + 4.7 (A + B + C), distances in cm between the
  pleural layers at the apex and at the middles of the upper and the lower half of the lung,
  derived against CT on erect PA films;
- Rhea et al., Radiology 1982;144:733: the mean of the same distances in cm, here by the straight
  line 8.72 mean + 5.38 through its nomogram;
- Light: 100 (1 - lung^3 / hemithorax^3), both diameters at the middle of the lung's height. It
  assumes that the lung keeps its shape as it collapses, so it applies to an even collapse alone.

Lengths need pixel spacing, the indices an erect PA film, and everything that is relative to the
hemithorax a visceral border that was really found (`hemithorax.visceral_border`), the indices also
at each of their levels. All pictures here are upright: the head at the top, sides left and right of
a midline.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ml.images.picture import Spacing
from ml.inference import hemithorax, measurements
from ml.inference.hemithorax import Border
from ml.inference.measurements import Mask
from ml.runtime.lung_finder import LungFields

# A side with less than this share of all air is left out.
_SPECK = 0.05
_THIRD = 1 / 3
# The collapse is even where there is air at all four levels, and at the middle of the lung at most
# this many times the mean of the three others, and at least one part in this many of it.
EVEN = 1.75
# The row at the middle of the lung's height is at least this share as wide as the other side's.
_WIDTH_OF_OTHER_SIDE = 0.7


@dataclass(frozen=True)
class Level:
    """The distance between the pleural layers at one level; its line x0, y0, x1, y1 in pixels."""

    px: float
    mm: float | None
    line: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Index:
    """A published index in percent; where it does not apply, percent is None and a code is the
    reason.

    Codes: 'no_spacing', 'spacing_not_plausible', 'not_pa', 'border_not_found' (the lung beside the
    air was not found, so there is nothing to compare with), 'no_air_at_level' (of an index that is
    taken at one level only), 'no_air_at_levels' (air between the levels alone: the formulas'
    constants would be all of it), 'uneven' (the lung has not collapsed evenly).
    """

    percent: float | None
    applies: bool
    reason: str | None = None


@dataclass(frozen=True)
class Extent:
    """One side. fraction: of the hemithorax's area in the picture (2-D, no volume), 0..1; None
    where the visceral border was not found.

    Levels: the upper third; the middles of the lung's upper half, of all of it, of its lower half.
    """

    side: str
    border_found: bool
    fraction: float | None
    apex: Level
    upper: Level
    middle: Level
    lower: Level
    collins: Index
    rhea: Index
    light: Index

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def extents(
    mask: Mask,
    fields: LungFields,
    spacing: Spacing | None = None,
    orientation: tuple[str, str] | None = None,
    view: str | None = None,
    no_spacing: str = "no_spacing",
) -> list[Extent]:
    """Each side that holds air, the larger first; none where the lungs were not found.

    mask (rows, columns); fields on the canonical picture, a reduced copy of the same. no_spacing:
    the code for what needs a spacing where there is none.
    """
    middle = hemithorax.midline(fields)
    if middle is None or not mask.any() or (orientation and orientation[1][:1] == "H"):
        return []
    rows, columns = mask.shape
    lungs = hemithorax.enlarged(fields.mask, rows, columns)
    column, on_grid = round(middle * columns), round(middle * fields.mask.shape[1])
    halves = (slice(0, column), slice(column, columns))
    grid = (slice(0, on_grid), slice(on_grid, fields.mask.shape[1]))
    total = int(mask.sum())
    found = []
    for half, other, own, opposite in zip(halves, halves[::-1], grid, grid[::-1], strict=True):
        air = np.zeros_like(mask)
        air[:, half] = mask[:, half]
        named = measurements.side((half.start + half.stop) / 2, column, orientation)
        area = int(air.sum())
        if named is None or area < _SPECK * total:
            continue
        cavity = air.copy()
        cavity[:, half] |= lungs[:, half]
        border = hemithorax.visceral_border(fields, air, own, opposite)
        measured = _Side(named, air, cavity, lungs[:, other], half.start == 0, border)
        found.append((area, _extent(measured, spacing, view, no_spacing)))
    return [extent for _, extent in sorted(found, key=lambda one: -one[0])]


@dataclass(frozen=True)
class _Side:
    """One side: its air, air and lung, the other side's lung, whether it is the picture's left."""

    name: str
    air: Mask
    cavity: Mask
    other: Mask
    at_left: bool
    border: Border

    def has_lung_beside(self, level: Level) -> bool:
        """Whether the inner end of a level's line, in the upper third either, lies at found lung.

        True where there is no air.
        """
        if level.line is None:
            return True
        x0, y0, x1, y1 = level.line
        inner, outer = ((x1, y1), (x0, y0)) if self.at_left else ((x0, y0), (x1, y1))
        return self.border.is_at(*inner) or (y0 != y1 and self.border.is_at(*outer))

    def is_as_wide_as_other(self, row: int) -> bool:
        """Whether the side is, in this row, about as wide as the other one."""
        there = int(self.other[row].sum())
        return int(self.cavity[row].sum()) >= _WIDTH_OF_OTHER_SIDE * there


def _extent(side: _Side, spacing: Spacing | None, view: str | None, no_spacing: str) -> Extent:
    air, cavity = side.air, side.cavity
    filled = np.flatnonzero(cavity.any(axis=1))
    top, bottom = int(filled[0]), int(filled[-1]) + 1
    height = bottom - top
    apex = _apex(air, top, top + round(_THIRD * height), spacing)
    upper = _across(air, round(top + height / 4), spacing)
    lower = _across(air, round(top + 3 * height / 4), spacing)
    row = round(top + height / 2)
    middle = _across(air, row, spacing)
    levels = (apex, upper, lower)
    cm = [level.mm / 10 for level in levels if level.mm is not None]
    by_three = _three_levels(side, levels, view, cm, no_spacing)
    by_one = _one_level(side, levels, middle, row, view)
    return Extent(
        side=side.name,
        border_found=side.border.found,
        fraction=round(float(air.sum() / cavity.sum()), 4) if side.border.found else None,
        apex=apex,
        upper=upper,
        middle=middle,
        lower=lower,
        collins=_index(collins(cm) if cm else None, by_three),
        rhea=_index(rhea(cm) if cm else None, by_three),
        light=_index(light(int(cavity[row].sum()), middle.px), by_one),
    )


def _three_levels(
    side: _Side, levels: tuple[Level, ...], view: str | None, cm: list[float], no_spacing: str
) -> str | None:
    """Why Collins and Rhea do not apply; None where they do."""
    if not cm:
        return no_spacing
    if view != "PA":
        return "not_pa"
    if not any(level.px for level in levels):
        return "no_air_at_levels"
    if not side.border.found or not all(map(side.has_lung_beside, levels)):
        return "border_not_found"
    return None


def _one_level(
    side: _Side, levels: tuple[Level, ...], middle: Level, row: int, view: str | None
) -> str | None:
    """Why Light does not apply; None where it does."""
    if view != "PA":
        return "not_pa"
    if not middle.px:
        return "no_air_at_level"
    if not (side.border.found and side.has_lung_beside(middle) and side.is_as_wide_as_other(row)):
        return "border_not_found"
    mean = sum(level.px for level in levels) / len(levels)
    is_even = all(level.px for level in levels) and mean / EVEN <= middle.px <= mean * EVEN
    return None if is_even else "uneven"


def collins(cm: list[float]) -> float:
    """Percent of the hemithorax's volume by three interpleural distances in cm."""
    return 4.2 + 4.7 * sum(cm)


def rhea(cm: list[float]) -> float:
    """Percent of the hemithorax's volume by the mean of three interpleural distances in cm."""
    return 5.38 + 8.72 * sum(cm) / len(cm)


def light(whole: float, distance: float) -> float:
    """Percent by the diameters of the hemithorax and of the lung, the rest beside the air."""
    lung = max(whole - distance, 0.0)
    return 100 * (1 - (lung / whole) ** 3) if whole else 0.0


def _index(percent: float | None, reason: str | None) -> Index:
    if reason is not None or percent is None:
        return Index(None, False, reason)
    return Index(round(min(max(percent, 0.0), 100.0), 1), True)


def _apex(air: Mask, top: int, end: int, spacing: Spacing | None) -> Level:
    """The greatest thickness of the air in the upper third."""
    part = np.zeros_like(air)
    part[top:end] = air[top:end]
    distance = measurements.interpleural_distance(part, spacing)
    if distance is None:
        return Level(0.0, 0.0 if spacing else None, None)
    line = tuple(round(value, 2) for value in distance.line)
    mm = None if distance.mm is None else round(distance.mm, 2)
    return Level(round(distance.px, 2), mm, (line[0], line[1], line[2], line[3]))


def _across(air: Mask, row: int, spacing: Spacing | None) -> Level:
    """The longest stretch of air along one row."""
    edges = np.flatnonzero(np.diff(np.pad(air[row].astype(np.int8), 1)))
    if not len(edges):
        return Level(0.0, 0.0 if spacing else None, None)
    begins, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - begins))
    begin, end = float(begins[longest]), float(ends[longest])
    mm = round((end - begin) * spacing.column_mm, 2) if spacing else None
    return Level(end - begin, mm, (begin, row + 0.5, end, row + 0.5))
