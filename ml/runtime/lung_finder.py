"""The lung fields of a picture, by a small network, and the crop around them.

Owns the criteria of a plausible pair of lungs. The network (`ml/recipes/lungs-256.toml`) outlines
both lungs as one; its card has its numbers. It runs on either back end, as any other network does,
and always in float32: a crop that begins a pixel beside would move everything after it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.preprocessing import transforms
from ml.preprocessing.lung_crop import Crop
from ml.runtime import session

NAME = "lungs-256"
THRESHOLD = 0.5
# Smaller regions, as a share of the picture, are no lung.
REGION_MIN = 0.01
# Over 1,456 frontal X-rays both fields together cover 11 % (1st percentile) to 40 % of the picture.
COVERED = (0.06, 0.65)
# This share of a side's length counts as its edge.
EDGE = 0.01
# The air of a pneumothorax is outside of the lung fields, at most this share of their longer side
# away: with it, 99.9 % of all outlined pneumothorax pixels of 388 X-rays are in the crop.
MARGIN = 0.08


@dataclass(frozen=True)
class LungFields:
    """Where the lungs are, on the canonical picture (rows, columns).

    mask: bool; probability: what it was made from, on a grid of any size that covers the picture.
    """

    mask: NDArray[np.bool_]
    probability: NDArray[np.float32] = field(default_factory=lambda: np.zeros((1, 1), np.float32))

    @property
    def plausible(self) -> bool:
        """Whether this can be the lungs of a frontal chest X-ray."""
        return COVERED[0] <= float(self.mask.mean()) <= COVERED[1]

    @property
    def cut(self) -> tuple[float, float]:
        """The shares of the lungs' whole breadth that the upper and the lower edge cut off."""
        breadth = max(int(self.mask.any(0).sum()), 1)
        deep = max(1, round(EDGE * self.mask.shape[0]))
        upper, lower = (part.any(0).sum() for part in (self.mask[:deep], self.mask[-deep:]))
        return float(upper) / breadth, float(lower) / breadth

    def crop(self) -> Crop | None:
        """The square around both lungs with a margin; None where the fields are implausible.

        Never larger than the picture's longest side, and moved to lie within that.
        """
        if not self.plausible:
            return None
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        longest = max(self.mask.shape)
        extents = [(line[0] / longest, (line[-1] + 1) / longest) for line in (columns, rows)]
        side = min(max(end - begin for begin, end in extents) * (1 + 2 * MARGIN), 1.0)
        limits = (self.mask.shape[1] / longest, self.mask.shape[0] / longest)
        corner = [
            _within((begin + end - side) / 2, side, limit)
            for (begin, end), limit in zip(extents, limits, strict=True)
        ]
        return Crop(*(round(float(value), 4) for value in (*corner, side)))


def _within(begin: float, side: float, limit: float) -> float:
    """The beginning of a stretch, moved into 0..limit, or centred there where it is too long."""
    return (limit - side) / 2 if side >= limit else min(max(begin, 0.0), limit - side)


class Finder:
    """The loaded network. Raises ModelMissing and TamperedModel as `session.open` does.

    opens: how the network's folder is opened; the default is `session.open` on the CPU.
    """

    def __init__(
        self,
        weights: Path = session.WEIGHTS,
        threads: int = 0,
        opens: Callable[[Path], session.Session] | None = None,
    ) -> None:
        opens = opens or functools.partial(session.open, device="cpu", threads=threads)
        self._session = opens(weights / NAME)
        self.card, self.device = self._session.card, self._session.device

    def find(self, canonical: NDArray[np.uint8]) -> LungFields:
        """The lung fields of a canonical picture (see `ml.preprocessing.transforms.canonical`)."""
        inputs = transforms.place(canonical, self._session.size)[None, None]
        probability = self._session.run(inputs)[0][0]
        rows, columns = canonical.shape
        found = transforms.to_source(probability, rows, columns) >= THRESHOLD
        box = transforms.letterbox(rows, columns, self._session.size)
        return LungFields(without_specks(found), probability[box.part])


def without_specks(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask without its regions smaller than REGION_MIN of the picture."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    least = REGION_MIN * found.size
    kept = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= least]
    return np.isin(labels, kept)
