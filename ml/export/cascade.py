"""A classifier before the outline: the first of two networks, and what it stops.

Most pictures of a clinic show no pneumothorax. A small network that is sure of that spares the
larger one the work; what it may stop is decided by its own point of high sensitivity, which was
chosen when it was exported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import BadInput
from ml.evaluation.held_out import FirstStage
from ml.inference import serving
from ml.runtime import session


def first_stage(weights: Path, folds: list[int]) -> tuple[dict[str, Any], FirstStage]:
    """The `gate` of a card, and the gate itself for measuring.

    folds: what the network behind it held out. BadInput where the gate was trained on it.
    """
    folder = session.locate(weights)
    card = session.read_card(folder)
    if card.get("gate"):
        raise BadInput(f"{card['name']} has a gate itself")
    recipe = (card.get("trained") or {}).get("config") or {}
    if recipe.get("held_out_fold", -1) < 0 or set(folds) != {recipe["held_out_fold"]}:
        raise BadInput(f"{card['name']} did not hold out the same fold as what comes after it")
    below = float(card["thresholds"]["image"]["high_sensitivity"])
    opened = serving.open(folder, "cpu")

    def gate(picture: NDArray[np.uint8]) -> float | None:
        probability = float(opened.run([opened.prepare(picture)])[1][0])
        if probability >= below:
            return None
        return serving.logit(probability)

    facts = {key: card[key] for key in ("name", "version", "sha256")}
    return facts | {"below": below}, gate
