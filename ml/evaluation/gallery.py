"""The worst misses and false alarms of an evaluation, as pictures for the user's own report.

These are patients' pictures: they go into the folder that the user named and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.datasets.cases import Case
from ml.images import reader
from ml.inference import outline
from ml.inference.serving import Serving
from ml.metrics import measures
from ml.preprocessing import transforms

SIDE = 448
# Red, green, blue: the radiologists' outline, and the model's.
TRUTH, MODEL = (255, 196, 0), (64, 200, 255)


@dataclass(frozen=True)
class GalleryPicture:
    """One picture of the gallery. image: uint8 (rows, columns, 3), RGB."""

    kind: str
    caption: str
    image: NDArray[np.uint8]


def worst(rows: list[dict[str, Any]], count: int) -> dict[str, list[dict[str, Any]]]:
    """Kind → rows of the evaluation, the worst first.

    Misses are pneumothoraces of the least Dice, the largest first among equals; false alarms are
    called pictures without one, the highest probability first.
    """

    def dice(row: dict[str, Any]) -> float:
        counts = (np.array([row[name]]) for name in ("hits", "predicted", "truth"))
        return float(measures.dice(*counts)[0])

    misses = [row for row in rows if row["truth"]]
    false_positives = [row for row in rows if not row["truth"] and row["called"]]
    return {
        "miss": sorted(misses, key=lambda row: (round(dice(row), 2), -row["truth"]))[:count],
        "false alarm": sorted(false_positives, key=lambda row: -row["probability"])[:count],
    }


def pictures(
    rows: list[dict[str, Any]],
    shown: dict[str, Case],
    opened: Serving,
    shape: tuple[int, int],
    count: int,
) -> list[GalleryPicture]:
    """Draw the worst cases; rows: of the evaluation, shown: its cases by id."""
    return [
        _drawn(kind, row, shown[row["id"]], opened, shape)
        for kind, chosen in worst(rows, count).items()
        for row in chosen
    ]


def _drawn(
    kind: str, row: dict[str, Any], case: Case, opened: Serving, shape: tuple[int, int]
) -> GalleryPicture:
    picture = reader.read(case.file.read_bytes()).without_hidden().pixels
    seen = opened.prepare(picture)
    masks, _ = opened.run([seen])
    # The outline is shown even where the picture was not called: why it was missed is the point.
    thresholds = opened.card["thresholds"]
    floor = outline.island_floor(thresholds)
    outlined = outline.mask(seen.map_of(masks[0]), thresholds["mask"], 1, *shape, floor)
    grey = transforms.canonical(picture, SIDE)
    image = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    for mask, colour in ((case.truth(*shape), TRUTH), (outlined, MODEL)):
        _draw(image, mask, colour)
    share = 100 * row["truth"] / row["pixels"]
    size = f", {share:.1f} % of the picture" if row["truth"] else ""
    called = "called" if row["called"] else "not called"
    caption = f"{case.id}: probability {row['probability']:.2f}, {called}{size}"
    return GalleryPicture(kind, caption, np.asarray(image, dtype=np.uint8))


def _draw(image: Any, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    """The mask's contour on an image of another size."""
    rows, columns = image.shape[:2]
    small = cv2.resize(mask.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, contours, -1, colour, 1)
