"""Display shutters (DICOM PS3.3 C.7.6.11): which part of a picture the sender shows.

Owns their geometry. A shutter is kept as polygons in pixels of the picture, (x, y) with (0, 0) at
the top left corner of the first one; what is inside of all of them is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from xray_files import values
from xray_files.listed_elements import MOST_VERTICES, SHUTTER_EDGES

Polygon = tuple[tuple[float, float], ...]
# Less than this share of a picture is no chest: then the shutter is a mistake.
LEAST_SHOWN = 0.05
_CORNERS = 72  # of a circle's polygon: less than a thousandth of its radius off


def of(dataset: Dataset, rows: int, columns: int, aspect: float = 1.0) -> tuple[Polygon, ...]:
    """The shutters of a header; none where they make no sense.

    aspect: a pixel's height divided by its width, by which circles are ellipses in pixels.
    """
    shapes = values.words(dataset, "ShutterShape")
    found = list[Polygon]()
    if "RECTANGULAR" in shapes:
        edges = [values.number(dataset, f"Shutter{edge}Edge") for edge in SHUTTER_EDGES]
        if None not in edges:
            left, right, top, bottom = (float(edge or 0) for edge in edges)
            # Counted from 1; the edges themselves are shown.
            x0, x1 = min(left, right) - 1, max(left, right)
            y0, y1 = min(top, bottom) - 1, max(top, bottom)
            found.append(((x0, y0), (x1, y0), (x1, y1), (x0, y1)))
    if "CIRCULAR" in shapes:
        middle = values.numbers(dataset, "CenterOfCircularShutter")
        radius = values.number(dataset, "RadiusOfCircularShutter") or 0.0
        if len(middle) == 2 and radius >= 1:
            y, x = middle[0] - 0.5, middle[1] - 0.5
            turns = [2 * math.pi * n / _CORNERS for n in range(_CORNERS)]
            found.append(
                tuple(
                    (x + radius * math.cos(turn), y + radius * math.sin(turn) / aspect)
                    for turn in turns
                )
            )
    if "POLYGONAL" in shapes:
        flat = values.numbers(dataset, "VerticesOfThePolygonalShutter")[: 2 * MOST_VERTICES]
        if len(flat) >= 6 and len(flat) % 2 == 0:
            pairs = zip(flat[::2], flat[1::2], strict=True)
            found.append(tuple((column - 0.5, row - 0.5) for row, column in pairs))
    within = tuple(_within(polygon, rows, columns) for polygon in found)
    share = float(shown(within, rows, columns).mean()) if within else 0.0
    return within if LEAST_SHOWN <= share < 1 else ()


def _within(polygon: Polygon, rows: int, columns: int) -> Polygon:
    """The same with corners at most as far beyond the picture as it is large."""
    return tuple(
        (round(min(max(x, -columns), 2 * columns), 2), round(min(max(y, -rows), 2 * rows), 2))
        for x, y in polygon
    )


def shown(polygons: Sequence[Polygon], rows: int, columns: int) -> NDArray[np.bool_]:
    """Which pixels (rows, columns) have their middle inside of all polygons."""
    inside = np.ones((rows, columns), np.bool_)
    for polygon in polygons:
        xs, ys = zip(*polygon, strict=True)
        if len(polygon) == 4 and len(set(xs)) == len(set(ys)) == 2:
            across = np.arange(columns) + 0.5
            down = np.arange(rows) + 0.5
            inside &= (min(xs) <= across) & (across <= max(xs))
            inside &= ((min(ys) <= down) & (down <= max(ys)))[:, None]
            continue
        mask = np.zeros((rows, columns), np.uint8)
        # OpenCV counts from the middle of the first pixel, here in 256ths.
        corners = np.rint((np.array(polygon, np.float64) - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1, shift=8)
        # Pixels on the border are partly hidden, and as bright as what is.
        cv2.polylines(mask, [corners], True, 0, shift=8)
        inside &= mask.astype(np.bool_)
    return inside


def scaled(polygons: Sequence[Polygon], x: float, y: float) -> tuple[Polygon, ...]:
    """The same polygons on a picture that was enlarged so many times."""
    return tuple(
        tuple((round(px * x, 2), round(py * y, 2)) for px, py in polygon) for polygon in polygons
    )
