"""A training step of ours against a plain loop over the same network, in one run.

    python benchmarks/ml/training_step.py [--recipe ml/recipes/lite2-384.toml] [--steps 8]

Plain: the recipe's network of segmentation_models_pytorch in float32 and default memory layout,
every weight trained, with the same losses, batch and input size, fed by a DataLoader with --workers
processes that augment picture by picture. Ours: the recipe as `train` runs it, with the moving
average of the weights that a plain loop does not keep, fed by the host's path (a DataLoader, too)
and by the device's path (ml.datasets.on_device); and, for what the arithmetic alone brings, the
same with every weight trained. Pictures are phantoms' noise: what is timed does not depend on them.
All take turns, so that a noisy machine harms all; prints medians. `augmentation` is the time of the
views alone. Runs on a GPU where torch sees one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from ml.datasets import dataset
from ml.datasets.catalogue import Record
from ml.datasets.on_device.pictures import DevicePictures
from ml.network import compiled, freeze, losses, model, precision
from ml.preprocessing.lung_crop import Crop
from ml.recipe import Recipe
from ml.training import batches
from ml.training.run_state import start, update_average

PICTURES = 64  # of random numbers, half of them outlined


def noise(side: int) -> dataset.Pictures:
    """Canonical pictures of random greys with an outline on every other one."""
    rng = np.random.default_rng(0)
    mask = np.zeros((side, side), dtype=np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 255
    lungs = Crop(0.1, 0.1, 0.8)
    return dataset.Pictures(
        [
            Record(str(n), "masks", str(n), 0, n % 2 == 0, side, side, lungs)
            for n in range(PICTURES)
        ],
        [rng.integers(0, 256, (side, side)).astype(np.uint8) for _ in range(PICTURES)],
        [mask if n % 2 == 0 else None for n in range(PICTURES)],
    )


def feed(
    pictures: dataset.Pictures, recipe: Recipe, on_device: DevicePictures | None
) -> Iterator[batches.Batch]:
    """Batches without an end, one epoch after the other."""
    epoch = 0
    while True:
        drawn = dataset.AugmentedEpoch(pictures, recipe, epoch, 0.5, recipe.size)
        yield from batches.drawn(drawn, recipe, on_device)
        epoch += 1


def waiting(device: torch.device) -> float:
    """The time once the device has computed all that was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def stepper(
    recipe: Recipe, device: torch.device, source: Iterator[batches.Batch], plain: bool = False
) -> Callable[[], float]:
    """A function that takes one step and returns its seconds, the batch's own among them."""
    state = start(recipe, device)
    layout = torch.contiguous_format if plain else torch.channels_last
    net = state.net.to(memory_format=layout).train()
    if recipe.freeze_encoder_norm:
        model.freeze_norm(net.encoder)
        model.freeze_norm(net.widen)
        if not plain:
            freeze.fold(net.encoder, recipe.frozen_stages)
    forward = compiled.forward(net, recipe, device)
    mask_loss = losses.MASK_LOSSES[recipe.loss]

    def step() -> float:
        began = waiting(device)
        batch = {name: value.to(device) for name, value in next(source).items()}
        with precision.autocast(recipe, device):
            seen = forward(batch["picture"].to(memory_format=layout))
        part = losses.combined(
            seen.mask_logits.float(),
            seen.image_logits.float(),
            seen.patch_logits.float(),
            batch["mask"],
            batch["positive"],
            batch["outlined"],
            mask_loss,
        )
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(part.mask + part.image + part.patch)
        torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
        state.optimizer.step()
        if not plain:
            update_average(state.average, net, recipe.ema)
        return waiting(device) - began

    return step


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=Path("ml/recipes/lite2-384.toml"))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, help="pictures a step, instead of the recipe's")
    parser.add_argument("--workers", type=int, default=1, help="of the DataLoaders (default: 1)")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = Recipe.load(options.recipe)
    batch = options.batch or recipe.batch
    recipe = dataclasses.replace(
        recipe, pretrained="", accumulate=1, workers=options.workers, batch=batch,
        epoch_pictures=batch * (64 // batch or 1),
    )  # fmt: skip
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    everything = dataclasses.replace(recipe, frozen_stages=0)
    plain = dataclasses.replace(everything, bf16=False, fp16=False, compiled="")
    alone = dataclasses.replace(recipe, workers=0)
    pictures = noise(max(recipe.size, 512))
    stored = DevicePictures.of(pictures, recipe, device)
    steppers = {
        "device": stepper(recipe, device, feed(pictures, recipe, stored)),
        "host": stepper(recipe, device, feed(pictures, recipe, None)),
        "every_weight": stepper(everything, device, feed(pictures, everything, stored)),
        "plain": stepper(plain, device, feed(pictures, plain, None), plain=True),
        "augmentation_host": drawing(feed(pictures, alone, None), device),
        "augmentation_device": drawing(feed(pictures, alone, stored), device),
    }
    for step in (*steppers.values(), *steppers.values()):
        step()  # the first steps prepare
    taken: dict[str, list[float]] = {name: [] for name in steppers}
    for _ in range(options.steps):
        for name, step in steppers.items():
            taken[name].append(step())
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    result = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "size": recipe.size,
        "batch": recipe.batch,
        "workers": options.workers,
        "pictures_per_second": {name: round(batch / one, 2) for name, one in seconds.items()},
        "ratio_to_plain": {
            name: round(seconds["plain"] / seconds[name], 2)
            for name in ("device", "host", "every_weight")
        },
    }
    print(json.dumps(result, indent=2))
    return 0


def drawing(source: Iterator[batches.Batch], device: torch.device) -> Callable[[], float]:
    """A function that makes one batch and returns its seconds."""

    def step() -> float:
        began = waiting(device)
        next(source)
        return waiting(device) - began

    return step


if __name__ == "__main__":
    raise SystemExit(main())
