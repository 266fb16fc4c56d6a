"""The size class of an outlined pneumothorax.

Owns the classes, by the air's share of its hemithorax's area in the picture (two-dimensional, no
volume) on the side that has more of it: under 10 %, 10 to 30 %, above 30 %. A description, without
advice; unknown where the lungs were not found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ml.inference import size_indices
from ml.inference.measurements import Mask
from ml.runtime.lung_finder import LungFields

Severity = Literal["small", "moderate", "large", "unknown"]
LIMITS = (0.1, 0.3)


def of_shares(shares: Iterable[float | None]) -> Severity:
    """The class of the largest of the sides' shares, 0..1.

    Unknown without any, and where one is not known (None): it may be the larger one.
    """
    known = list(shares)
    share = max((one for one in known if one is not None), default=None)
    if share is None or None in known:
        return "unknown"
    return "small" if share < LIMITS[0] else "large" if share > LIMITS[1] else "moderate"


def of_mask(
    mask: Mask, fields: LungFields, orientation: tuple[str, str] | None = None
) -> Severity | None:
    """The class of a mask (rows, columns) on its picture's lungs; None for an empty mask."""
    if not mask.any():
        return None
    sides = size_indices.extents(mask, fields, orientation=orientation)
    return of_shares(side.fraction for side in sides)
