"""The size of a pneumothorax relative to its hemithorax: fractions, levels and indices.

Owns the published size indices and the conditions under which each may be shown:

- Collins et al., AJR 1995;165:1127: volume % = 4.2 + 4.7 (A + B + C), distances in cm between the
  pleural layers at the apex and at the middles of the upper and the lower half of the lung,
  derived against CT on erect PA films;
- Rhea et al., Radiology 1982;144:733: the mean of the same distances in cm, here by the straight
  line 8.72 mean + 5.38 through its nomogram;
- Light: 100 (1 - lung^3 / hemithorax^3), both diameters at the middle of the lung's height.

Lengths need pixel spacing, the indices an erect PA film and a lung whose border was found. All
pictures here are upright: the head at the top, sides left and right of a midline.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from ml.images.picture import Spacing
from ml.inference import measurements
from ml.inference.measurements import Mask
from ml.runtime.lung_finder import LungFields

# A side with less than this share of all air is left out.
_SPECK = 0.05
_THIRD = 1 / 3


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

    Codes: 'no_spacing', 'not_pa', 'no_air_at_level' (of an index that is taken at one level only),
    'no_air_at_levels' (air between the levels alone: the formulas' constants would be all of it).
    """

    percent: float | None
    applies: bool
    reason: str | None = None


@dataclass(frozen=True)
class Extent:
    """One side. fraction: of the hemithorax's area in the picture (2-D, no volume), 0..1.

    Levels: the upper third; the middles of the lung's upper half, of all of it, of its lower half.
    """

    side: str
    fraction: float
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


def span(fields: LungFields, air: Mask | None = None) -> tuple[float, float] | None:
    """Top and bottom of lungs and air, in shares of the picture's height; None without lungs."""
    if not fields.plausible:
        return None
    rows = np.flatnonzero(fields.mask.any(axis=1))
    top, bottom = rows[0] / len(fields.mask), (rows[-1] + 1) / len(fields.mask)
    if air is not None and air.any():
        rows = np.flatnonzero(air.any(axis=1))
        top, bottom = min(top, rows[0] / len(air)), max(bottom, (rows[-1] + 1) / len(air))
    return float(top), float(bottom)


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


def extents(
    mask: Mask,
    fields: LungFields,
    spacing: Spacing | None = None,
    orientation: tuple[str, str] | None = None,
    view: str | None = None,
) -> list[Extent]:
    """Each side that holds air, the larger first; none where the lungs were not found.

    mask (rows, columns); fields on the canonical picture, a reduced copy of the same.
    """
    middle = midline(fields)
    if middle is None or not mask.any() or (orientation and orientation[1][:1] == "H"):
        return []
    rows, columns = mask.shape
    lungs = cv2.resize(
        fields.mask.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT
    ).astype(bool)
    column = round(middle * columns)
    halves = (slice(0, column), slice(column, columns))
    total = int(mask.sum())
    found = []
    for half in halves:
        air = np.zeros_like(mask)
        air[:, half] = mask[:, half]
        named = measurements.side((half.start + half.stop) / 2, column, orientation)
        if named is None or air.sum() < _SPECK * total:
            continue
        cavity = air.copy()
        cavity[:, half] |= lungs[:, half]
        found.append(_extent(named, air, cavity, spacing, view))
    return sorted(found, key=lambda extent: -extent.fraction)


def _extent(
    side: str, air: Mask, cavity: Mask, spacing: Spacing | None, view: str | None
) -> Extent:
    filled = np.flatnonzero(cavity.any(axis=1))
    top, bottom = int(filled[0]), int(filled[-1]) + 1
    height = bottom - top
    apex = _apex(air, top, top + round(_THIRD * height), spacing)
    upper = _across(air, round(top + height / 4), spacing)
    lower = _across(air, round(top + 3 * height / 4), spacing)
    levels = (apex, upper, lower)
    reason = "no_spacing" if spacing is None else "not_pa" if view != "PA" else None
    if reason is None and not any(level.px for level in levels):
        reason = "no_air_at_levels"
    cm = [level.mm / 10 for level in levels if level.mm is not None]
    row = round(top + height / 2)
    middle = _across(air, row, spacing)
    return Extent(
        side=side,
        fraction=round(float(air.sum() / cavity.sum()), 4),
        apex=apex,
        upper=upper,
        middle=middle,
        lower=lower,
        collins=_index(collins(cm) if cm else None, reason),
        rhea=_index(rhea(cm) if cm else None, reason),
        light=_index(
            light(int(cavity[row].sum()), middle.px),
            "not_pa" if view != "PA" else None if middle.px else "no_air_at_level",
        ),
    )


def collins(cm: list[float]) -> float:
    """Percent of the hemithorax's volume by three interpleural distances in cm."""
    return 4.2 + 4.7 * sum(cm)


def rhea(cm: list[float]) -> float:
    """Percent of the hemithorax's volume by the mean of three interpleural distances in cm."""
    return 5.38 + 8.72 * sum(cm) / len(cm)


def light(hemithorax: float, distance: float) -> float:
    """Percent by the diameters of hemithorax and lung, which is the rest beside the air."""
    lung = max(hemithorax - distance, 0.0)
    return 100 * (1 - (lung / hemithorax) ** 3) if hemithorax else 0.0


def _index(percent: float | None, reason: str | None) -> Index:
    if reason is not None or percent is None:
        return Index(None, False, reason or "no_spacing")
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
