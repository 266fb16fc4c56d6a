"""Soft labels: the predictions of teacher networks for the pictures of a cache.

Made by ml.experiments.distillation (Hinton et al. 2015; for unlabelled pictures, self-training).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ml.errors import BadInput
from ml.recipe import Recipe

SIDE = 288  # longest side of a stored map, px: teachers' maps are smooth
PREDICTIONS, ORIGIN = "predictions.csv", "origin.json"


@dataclass(frozen=True)
class SoftLabels:
    """Maps (probability * 255, longest side SIDE) and image probabilities, by picture."""

    maps: dict[str, NDArray[np.uint8]]
    probabilities: dict[str, float]

    @classmethod
    def read(cls, cache: Path, recipe: Recipe, names: Iterable[str]) -> SoftLabels:
        """The soft labels of the recipe's teachers for these pictures.

        BadInput where there are none, or where a teacher was trained on patients that the recipe
        holds out: its predictions would leak their labels into training.
        """
        folder = cache / "taught" / recipe.taught
        try:
            origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
            table = (folder / PREDICTIONS).read_text(encoding="utf-8")
            rows = csv.DictReader(io.StringIO(table, newline=""))
            probabilities = {row["id"]: float(row["probability"]) for row in rows}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"this cache has no soft labels {recipe.taught!r}: see `soft-labels`"
            ) from error
        if not table.endswith("\n"):
            raise BadInput(
                f"the soft labels {recipe.taught} are incomplete: run `soft-labels` again"
            )
        fold = recipe.held_out_fold
        if fold >= 0 and set(origin["held_out_folds"]) != {fold}:
            raise BadInput(
                f"the teachers of {recipe.taught} were trained on patients of fold {fold}, which "
                "this run holds out"
            )
        maps = {}
        for name in names:
            picture = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
            if picture is None or name not in probabilities:
                raise BadInput(f"the soft labels {recipe.taught} have none for {name}")
            maps[name] = np.asarray(picture, dtype=np.uint8)
        return cls(maps, {name: probabilities[name] for name in maps})

    def map_of(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """A picture's map, enlarged to the canonical picture (rows, columns)."""
        rows, columns = shape
        large = cv2.resize(self.maps[name], (columns, rows), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large, dtype=np.uint8)


def mix(
    item: dict[str, Any],
    soft: NDArray[np.float32],
    probability: float,
    outlined: bool,
    labelled: bool,
    weight: float,
) -> dict[str, Any]:
    """A picture's targets mixed with soft labels.

    soft: (S, S) in 0..1; outlined: whether radiologists drew the pneumothorax, or excluded one;
    labelled: whether there is an image-level label. Where there is none, the target is the soft
    label alone.
    """
    soft_mask = torch.from_numpy(np.ascontiguousarray(soft))[None]
    if outlined:
        item["mask"] = (1 - weight) * item["mask"] + weight * soft_mask
    else:
        item["mask"] = soft_mask
        item["outlined"] = torch.tensor(float(bool((soft > 0.5).any())))
    if labelled:
        item["label"] = (1 - weight) * item["label"] + weight * probability
    else:
        item["label"] = torch.tensor(probability)
        item["positive"] = torch.tensor(float(probability > 0.5))
    return item
