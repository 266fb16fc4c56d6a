"""Batch-norm statistics, measured again for other weights or other pictures."""

from __future__ import annotations

import torch
from torch import nn

from ml.datasets import dataset
from ml.datasets.on_device.pictures import DevicePictures
from ml.network import precision
from ml.network.model import Segmenter
from ml.recipe import Recipe
from ml.training import batches, schedule


def adapt(
    net: Segmenter,
    recipe: Recipe,
    training: dataset.Pictures,
    on_device: DevicePictures | None = None,
) -> None:
    """Measure the encoder's statistics on X-rays; ImageNet's are those of photographs.

    (Adaptive batch normalisation, Li et al. 2016.) Uses recipe.adapt_norm augmented pictures.
    """
    parts = (net.encoder, net.widen)
    found = [m for part in parts for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
    measure(net, found, recipe, training, 0.0, recipe.adapt_norm, on_device)


def refresh(
    net: Segmenter,
    recipe: Recipe,
    training: dataset.Pictures,
    on_device: DevicePictures | None = None,
) -> None:
    """Measure the statistics of averaged weights, with which no batch was trained.

    (Izmailov et al. 2018.) Frozen statistics stay; the pictures are those of one epoch at the end
    of the run.
    """
    fixed = (net.encoder, net.widen) if recipe.freeze_encoder_norm else ()
    frozen = {m for part in fixed for m in part.modules()}
    found = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m not in frozen]
    measure(net, found, recipe, training, 1.0, recipe.epoch_pictures, on_device)


@torch.no_grad()
def measure(
    net: Segmenter,
    norms: list[nn.BatchNorm2d],
    recipe: Recipe,
    training: dataset.Pictures,
    progress: float,
    count: int,
    on_device: DevicePictures | None = None,
) -> None:
    """The plain mean of these layers' statistics over `count` pictures.

    on_device: the training pictures on the network's device, where they are there.
    """
    if not norms:
        return
    device = next(net.parameters()).device
    net.eval()
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
        norm.train()
    size = schedule.size_at(recipe, progress)
    drawn = dataset.AugmentedEpoch(training, recipe, 0, recipe.positive_share[1], size)
    for number, batch in enumerate(batches.drawn(drawn, recipe, on_device)):
        if number * recipe.batch >= min(count, recipe.epoch_pictures):
            break
        with precision.autocast(recipe, device):
            net.outputs(batches.to(device, batch)["picture"])
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    net.eval()
