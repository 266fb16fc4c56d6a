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
PREDICTIONS, ORIGIN = "said.csv", "origin.json"


@dataclass(frozen=True)
class SoftLabels:
    """Maps (probability * 255, longest side SIDE) and image probabilities, by picture."""

    maps: dict[str, NDArray[np.uint8]]
    probabilities: dict[str, float]

    @classmethod
    def read(cls, cache: Path, recipe: Recipe, names: Iterable[str]) -> SoftLabels:
        """What the recipe's teachers said of these pictures.

        BadInput where it is not there, or where a teacher has seen patients that the recipe holds
        out: its word would carry them into what is measured.
        """
        folder = cache / "taught" / recipe.taught
        try:
            origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
            words = (folder / PREDICTIONS).read_text(encoding="utf-8")
            rows = csv.DictReader(io.StringIO(words, newline=""))
            said = {row["id"]: float(row["probability"]) for row in rows}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"nobody has taught {recipe.taught!r} in this cache: see `teach`"
            ) from error
        if not words.endswith("\n"):
            raise BadInput(f"the teachers of {recipe.taught} were stopped: let `teach` end")
        fold = recipe.held_out_fold
        if fold >= 0 and set(origin["held_out_folds"]) != {fold}:
            raise BadInput(
                f"the teachers of {recipe.taught} were trained on patients of fold {fold}, which "
                "this run holds out"
            )
        maps = {}
        for name in names:
            picture = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
            if picture is None or name not in said:
                raise BadInput(f"the teachers of {recipe.taught} said nothing of {name}")
            maps[name] = np.asarray(picture, dtype=np.uint8)
        return cls(maps, {name: said[name] for name in maps})

    def map_of(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """A picture's map, enlarged to the canonical picture (rows, columns)."""
        rows, columns = shape
        large = cv2.resize(self.maps[name], (columns, rows), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large, dtype=np.uint8)


def mix(
    item: dict[str, Any],
    soft: NDArray[np.float32],
    probability: float,
    drawn: bool,
    judged: bool,
    weight: float,
) -> dict[str, Any]:
    """A drawn picture's targets with the teachers' word.

    soft: (S, S) in 0..1. drawn: people said where there is a pneumothorax, or that there is none;
    judged: they said whether. What they did not say, the teachers say alone.
    """
    word = torch.from_numpy(np.ascontiguousarray(soft))[None]
    if drawn:
        item["mask"] = (1 - weight) * item["mask"] + weight * word
    else:
        item["mask"] = word
        item["outlined"] = torch.tensor(float(bool((soft > 0.5).any())))
    if judged:
        item["label"] = (1 - weight) * item["label"] + weight * probability
    else:
        item["label"] = torch.tensor(probability)
        item["positive"] = torch.tensor(float(probability > 0.5))
    return item
