"""A cascade: a small network that runs before the larger one, and stops pictures without a finding.

Most pictures of a clinic show no pneumothorax. The first network stops those below its own point of
high sensitivity, which was chosen when it was exported; the larger network then does not run.
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
    """The `gate` of a card, and the first network as a function for measuring.

    folds: held out by the larger network. BadInput where the first one was trained on them.
    """
    folder = session.locate(weights)
    card = session.read_card(folder)
    if card.get("gate"):
        raise BadInput(f"{card['name']} has a first network itself")
    recipe = (card.get("trained") or {}).get("config") or {}
    if recipe.get("held_out_fold", -1) < 0 or set(folds) != {recipe["held_out_fold"]}:
        raise BadInput(f"{card['name']} did not hold out the same fold as the network after it")
    below = float(card["thresholds"]["image"]["high_sensitivity"])
    opened = serving.open(folder, "cpu")

    def logit(picture: NDArray[np.uint8]) -> float | None:
        probability = float(opened.run([opened.prepare(picture)])[1][0])
        if probability >= below:
            return None
        return serving.logit(probability)

    facts = {key: card[key] for key in ("name", "version", "sha256")}
    return facts | {"below": below}, logit
