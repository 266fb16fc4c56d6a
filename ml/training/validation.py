"""Measures of the held-out fold during a run: for its curves, not for a card."""

from __future__ import annotations

import numpy as np
import torch

from ml.datasets import dataset
from ml.metrics import measures
from ml.network import model, precision
from ml.recipe import Recipe
from ml.training import batches


def is_due(recipe: Recipe, epochs_done: int, at_end: bool) -> bool:
    """Whether the recipe wants a validation after so many epochs."""
    every = recipe.validate_every
    return every > 0 and (at_end or epochs_done % every == 0)


@torch.no_grad()
def validate(
    net: model.Network, pictures: dataset.Pictures, recipe: Recipe, device: torch.device
) -> dict[str, float]:
    """Positive-only Dice at 0.5 (at the network's size) and AUC; of several classes the mean."""
    net.eval()
    overlaps: list[float] = []
    scores: list[list[float]] = []
    for batch in batches.loader(dataset.PlainPictures(pictures, recipe), recipe):
        with precision.autocast(recipe, device):
            mask_logits, image_logits = net(batches.to(device, batch)["picture"])
        outlines = (mask_logits > 0).float().cpu()
        hits = (outlines * batch["mask"]).sum((2, 3))
        sizes = outlines.sum((2, 3)) + batch["mask"].sum((2, 3))
        shown = batch["positive"].reshape(hits.shape) > 0
        overlaps += (2 * hits / sizes.clamp(min=1))[shown].tolist()
        scores += image_logits.float().cpu().tolist()
    positive = np.array([record.shows(recipe) for record in pictures.records])
    scored = np.array(scores)
    aucs = [measures.auc(scored[:, k], positive[:, k]) for k in range(len(recipe.classes))]
    return {
        "positive_dice": float(np.mean(overlaps)) if overlaps else float("nan"),
        "auc": float(np.mean(aucs)),
    }
