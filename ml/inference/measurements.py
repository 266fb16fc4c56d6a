"""Numbers about an outlined pneumothorax: area, side, zones, greatest interpleural distance.

Pure functions on masks (rows, columns), True where pleural air is outlined. Positions are in
source pixels with (0, 0) at the top left corner of the picture, so the centre of the first pixel
is (0.5, 0.5). Lengths in mm exist only where the pixel spacing is known.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ml.images.picture import Spacing
from ml.inference import hemithorax

Mask = NDArray[np.bool_]

# A zone is named when this share of the component lies in it.
_ZONE_SHARE = 0.2
# A component smaller than this share of the whole does not decide on which side the finding is.
_SPECK = 0.05
# Directions tried for the shortest chord: 1° apart, whose error is 1 - cos(0.5°) < 0.004 %.
_DIRECTIONS = 180
_STEP = 0.25
# Longest side on which the deepest place is looked for: a distance map costs 33 bytes per pixel.
_DEPTH_SIDE = 1024


@dataclass(frozen=True)
class Component:
    """One connected outlined region. ``box`` is left, top, right, bottom in pixels."""

    area_px: int
    area_mm2: float | None
    side: str | None  # None where a rotated picture has the sides above each other
    zones: tuple[str, ...]
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Distance:
    """The greatest interpleural distance and its line x0, y0, x1, y1 in source pixels."""

    px: float
    mm: float | None
    line: tuple[float, float, float, float]


def measure(
    mask: Mask,
    spacing: Spacing | None = None,
    orientation: tuple[str, str] | None = None,
    midline: float | None = None,
    zones: NDArray[np.uint8] | None = None,
) -> dict[str, Any]:
    """Everything measured on one mask, ready for JSON.

    ``midline``: the column of the patient's midline, the picture's middle when unknown.
    ``zones``: the zone of every pixel (``hemithorax.zones``); without it none is named.
    """
    found = components(mask, spacing, orientation, midline, zones)
    total = sum(component.area_px for component in found)
    large = [component for component in found if component.area_px >= _SPECK * total]
    sides = {component.side for component in large if component.side}
    distance = interpleural_distance(mask, spacing)
    return {
        "area_px": total,
        "area_mm2": area_mm2(total, spacing),
        "side": None if not sides else "both" if len(sides) > 1 else sides.pop(),
        "side_assumed": _left_edge(orientation) is None and not _is_rotated(orientation),
        "zones": [zone for zone in hemithorax.ZONES if any(zone in part.zones for part in large)],
        "zones_by": None if zones is None else "lung_field",
        "distance_px": round(distance.px, 2) if distance else None,
        "distance_mm": round(distance.mm, 2) if distance and distance.mm is not None else None,
        "distance_line": [round(value, 2) for value in distance.line] if distance else None,
        "components": [asdict(component) for component in found],
        "spacing": asdict(spacing) if spacing else None,
    }


def area_mm2(area_px: int, spacing: Spacing | None) -> float | None:
    """Pixels times row spacing times column spacing, or None without spacing."""
    return round(area_px * spacing.row_mm * spacing.column_mm, 2) if spacing else None


def components(
    mask: Mask,
    spacing: Spacing | None = None,
    orientation: tuple[str, str] | None = None,
    midline: float | None = None,
    zones: NDArray[np.uint8] | None = None,
) -> list[Component]:
    """The mask's connected regions (8 neighbours), the largest first."""
    middle = mask.shape[1] / 2 if midline is None else midline
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    found = []
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[label])
        region = labels[top : top + height, left : left + width] == label
        found.append(
            Component(
                area_px=area,
                area_mm2=area_mm2(area, spacing),
                side=side(float(centroids[label][0]) + 0.5, middle, orientation),
                zones=_zones(region, zones[top : top + height, left : left + width])
                if zones is not None and not _is_rotated(orientation)
                else (),
                box=(left, top, left + width, top + height),
            )
        )
    return sorted(found, key=lambda component: -component.area_px)


def side(column: float, middle: float, orientation: tuple[str, str] | None) -> str | None:
    """The patient's side, 'right' or 'left', of a point at ``column``.

    By PatientOrientation where it has left or right; else as a chest X-ray is always shown, the
    patient's right at the picture's left (in PA and AP). None where, by the header, the picture is
    turned by 90 degrees: right and left are not along its rows.
    """
    if _is_rotated(orientation):
        return None
    at_left_edge = _left_edge(orientation) or "right"
    other = "left" if at_left_edge == "right" else "right"
    return at_left_edge if column < middle else other


def _left_edge(orientation: tuple[str, str] | None) -> str | None:
    """The patient's side at the picture's left edge, None when the header does not have it."""
    towards = orientation[0][:1] if orientation else ""
    return {"L": "right", "R": "left"}.get(towards)


def _is_rotated(orientation: tuple[str, str] | None) -> bool:
    """Whether the rows run along the body (head, foot) and not across it."""
    towards = set(orientation[0]) if orientation else set()
    return bool(towards & set("HF")) and not towards & set("LR")


def _zones(region: Mask, zones: NDArray[np.uint8]) -> tuple[str, ...]:
    """Which zones hold a fair share of a component; both (rows, columns) of its box."""
    pixels = np.bincount(zones[region], minlength=len(hemithorax.ZONES) + 1)
    least = _ZONE_SHARE * region.sum()
    return tuple(zone for zone in hemithorax.ZONES if pixels[hemithorax.number(zone)] >= least)


def interpleural_distance(mask: Mask, spacing: Spacing | None = None) -> Distance | None:
    """The greatest local thickness of the outlined air, None for an empty mask.

    The centre of the largest circle that fits into the mask is, where the air is thickest,
    equally far from the outer (parietal) and the inner (visceral) border. The shortest chord of
    the mask through that centre runs along the normal of both borders; its length is the
    distance. Pinholes are filled first. Unlike rays from the border this does not measure along
    the pointed ends of a crescent, and it needs no guess of which border is the outer one.
    """
    if not mask.any():
        return None
    row_mm, column_mm = (spacing.row_mm, spacing.column_mm) if spacing else (1.0, 1.0)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    # A border of background makes the picture's edge a border of the air, too.
    part = _filled(np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1))
    peak = _deepest(part, row_mm, column_mm)
    angles = np.arange(2 * _DIRECTIONS) * (np.pi / _DIRECTIONS)
    steps = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    borders = peak + steps * _reach(part, peak, steps)[:, None]
    # Opposite directions together make a chord through the peak.
    chords = borders[:_DIRECTIONS] - borders[_DIRECTIONS:]
    lengths = np.hypot(chords[:, 0] * row_mm, chords[:, 1] * column_mm)
    best = int(np.argmin(lengths))
    ends = borders[[best, best + _DIRECTIONS]]
    # Back from the padded part to the picture, and from pixel centres to corners.
    (y0, x0), (y1, x1) = (ends + np.array([top - 0.5, left - 0.5])).tolist()
    if (x0, y0) > (x1, y1):
        x0, y0, x1, y1 = x1, y1, x0, y0
    length_px = float(np.hypot(x1 - x0, y1 - y0))
    return Distance(length_px, float(lengths[best]) if spacing else None, (x0, y0, x1, y1))


def _filled(part: Mask) -> NDArray[np.uint8]:
    """0 and 1: the mask without holes. Its outermost pixels are background."""
    filled = part.astype(np.uint8)
    cv2.floodFill(filled, None, (0, 0), 2, flags=4)
    filled[...] = filled != 2
    return filled


def _deepest(part: NDArray[np.uint8], row_mm: float, column_mm: float) -> NDArray[np.float64]:
    """The place (row, column) of the mask, 0 and 1, that is farthest from its border.

    A large mask is reduced first. That moves the place by a cell at most, which hardly changes the
    chord through it where the air is many cells thick; where it is thin, the place is looked for
    again at full size around the reduced one.
    """
    spacing = np.array([row_mm, column_mm])
    factor = -(-max(part.shape) // _DEPTH_SIDE)
    if factor == 1:
        depth = ndimage.distance_transform_edt(part, sampling=spacing)
        return _middle_of_peak(depth, float(spacing.min()) / 4)
    small = _reduced(part, factor)
    depth = ndimage.distance_transform_edt(small, sampling=spacing * factor)
    cell = _middle_of_peak(depth, float(spacing.min()) * factor / 4)
    place: NDArray[np.float64] = (cell - 1 + 0.5) * factor - 0.5
    deepest = float(depth.max())
    thick = deepest > 4 * factor * float(spacing.max())
    # Of thin air the window is so wide that it holds the nearest border of what is near the place.
    reach = np.ceil(deepest / spacing).astype(int) * (not thick) + 4 * factor
    first = np.maximum(np.rint(place).astype(int) - reach, 0)
    last = np.rint(place).astype(int) + reach + 1
    window = part[first[0] : last[0], first[1] : last[1]]
    near = np.argwhere(window)
    near = near[(np.abs(near + first - place) <= 2 * factor).all(axis=1)]
    if thick:
        nearest = near[np.abs(near + first - place).sum(axis=1).argmin()]
        return np.asarray(nearest + first, dtype=np.float64)
    depth = ndimage.distance_transform_edt(window, sampling=spacing)
    kept = np.zeros_like(depth)
    kept[tuple(near.T)] = depth[tuple(near.T)]
    return np.asarray(_middle_of_peak(kept, float(spacing.min()) / 4) + first, dtype=np.float64)


def _reduced(part: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """One cell for factor x factor pixels, with a border of background: set where half of it is.

    Where that leaves nothing, all the air is thinner than a cell: then any of it sets a cell.
    """
    rows, columns = (-(-length // factor) for length in part.shape)
    whole = np.zeros((rows * factor, columns * factor), dtype=np.uint8)
    whole[: part.shape[0], : part.shape[1]] = part * np.uint8(255)
    share = np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA))
    small = share >= 128 if (share >= 128).any() else share > 0
    return np.pad(small, 1).astype(np.uint8)


def _middle_of_peak(depth: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Of all pixels (row, column) that are as deep as the deepest, the most central one.

    A band of even thickness has many: the line belongs in its middle, not at its upper end.
    """
    deepest = np.argwhere(depth >= depth.max() - tolerance)
    offsets = deepest - deepest.mean(axis=0)
    chosen: NDArray[np.float64] = deepest[np.argmin((offsets**2).sum(axis=1))].astype(np.float64)
    return chosen


def _reach(
    solid: NDArray[np.uint8], origin: NDArray[np.float64], steps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far rays from a pixel of the mask go until they leave it, to a part of a pixel.

    origin (row, column); steps (n, 2) unit vectors; the answer (n,) in pixels. The mask is read
    linearly between pixel centres; one half is the border.
    """
    reach = np.full(len(steps), np.inf)
    low, block = 0.0, 64 * _STEP
    while np.isinf(reach).any():
        going = np.flatnonzero(np.isinf(reach))
        along = np.arange(low, low + block + _STEP, _STEP)
        places = origin[:, None, None] + steps[going].T[:, :, None] * along
        values = ndimage.map_coordinates(solid, places, output=np.float32, order=1, mode="constant")
        outside = values < 0.5
        # Each block begins with the last step of the one before, which was still inside.
        left = outside.any(axis=1)
        after = outside.argmax(axis=1)[left]
        before, beyond = values[left, after - 1], values[left, after]
        share = (before - 0.5) / (before - beyond)
        reach[going[left]] = along[after - 1] + share * _STEP
        low += block
    return reach
