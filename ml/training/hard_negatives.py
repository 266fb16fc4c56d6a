"""Hard negatives: pictures without a pneumothorax that the network is likely to call positive.

They are predicted again every few epochs, and drawn in proportion to the false-positive probability
(bootstrapping, Sung and Poggio 1998; online hard example mining, Shrivastava et al. 2016).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ml.datasets import dataset
from ml.network import model, precision
from ml.recipe import Recipe
from ml.training import batches

FLOOR = 1e-3  # so that a network without any false false_positive draws evenly


def are_due(recipe: Recipe, progress: float, epoch: int, measured: int) -> bool:
    """Whether to measure before this epoch; measured: the epoch of the last time, or -1."""
    if recipe.hard_negatives == 0 or progress < recipe.hard_from:
        return False
    return measured < 0 or epoch - measured >= recipe.hard_every


@torch.no_grad()
def measure(
    net: model.Segmenter, pictures: dataset.Pictures, recipe: Recipe
) -> NDArray[np.float64]:
    """The probability of a false positive for each picture, (n,), 0 for positives.

    That of the image, or the largest of the outline where only the outline is trained.
    """
    device = next(net.parameters()).device
    negatives = [n for n, record in enumerate(pictures.records) if not any(record.shows(recipe))]
    chosen = pictures.part(negatives)
    net.eval()
    found: list[float] = []
    for batch in batches.loader(dataset.PlainPictures(chosen, recipe), recipe):
        with precision.autocast(recipe, device):
            seen = net.outputs(batches.to(device, batch)["picture"])
            false_positive = net.image_logits(seen.features).float().sigmoid()
        if recipe.image_weight == 0:
            false_positive = (
                model.evidence(seen.mask_logits.float())[:, len(recipe.classes) :] + 1
            ) / 2
        found += false_positive.amax(1).cpu().tolist()
    probability = np.zeros(len(pictures.records))
    probability[negatives] = np.maximum(found, FLOOR)
    return probability
