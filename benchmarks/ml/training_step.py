"""A training step of ours against a plain loop over the same network, in one run.

    python benchmarks/ml/training_step.py [--recipe ml/recipes/lite2-384.toml] [--steps 8]

Plain: the recipe's network in float32 and default memory layout, every weight trained, with the
same losses, batch and input size. Ours: the recipe as `train` runs it, with the moving average of
the weights that a plain loop does not keep; and, for what the arithmetic alone brings, the same
with every weight trained. Random input: what is timed does not depend on it.
The three take turns, so that a noisy machine harms all; prints medians.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ml.network import freeze, losses, model, precision
from ml.recipe import Recipe
from ml.training.run_state import start, update_average


def stepper(recipe: Recipe, plain: bool = False) -> Callable[[], float]:
    """A function that takes one step and returns its seconds."""
    state = start(recipe, torch.device("cpu"))
    layout = torch.contiguous_format if plain else torch.channels_last
    net = state.net.to(memory_format=layout).train()
    if recipe.freeze_encoder_norm:
        model.freeze_norm(net.encoder)
        model.freeze_norm(net.widen)
        freeze.fold(net.encoder, recipe.frozen_stages)
    size, count = recipe.size, recipe.batch
    picture = torch.rand(count, 1, size, size).mul(2).sub(1).to(memory_format=layout)
    mask = (torch.rand(count, 1, size, size) > 0.95).float()
    some = torch.arange(count).remainder(2).float()
    mask_loss = losses.MASK_LOSSES[recipe.loss]

    def step() -> float:
        began = time.perf_counter()
        with precision.autocast(recipe, torch.device("cpu")):
            seen = net.outputs(picture)
            image = net.image_logits(seen.features)
        part = losses.combined(
            seen.mask_logits.float(),
            image.float(),
            seen.patch_logits.float(),
            mask,
            some,
            some,
            mask_loss,
        )
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(part.mask + part.image + part.patch)
        torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
        state.optimizer.step()
        if not plain:
            update_average(state.average, net, recipe.ema)
        return time.perf_counter() - began

    return step


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=Path("ml/recipes/lite2-384.toml"))
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    recipe = Recipe.load(options.recipe)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    everything = dataclasses.replace(recipe, frozen_stages=0)
    steppers = (
        stepper(recipe),
        stepper(everything),
        stepper(dataclasses.replace(everything, bf16=False), plain=True),
    )
    for step in (*steppers, *steppers):
        step()  # the first steps prepare
    taken = [[step() for step in steppers] for _ in range(options.steps)]
    own, unfrozen, theirs = (statistics.median(times) for times in zip(*taken, strict=True))
    result = {
        "size": recipe.size,
        "batch": recipe.batch,
        "pictures_per_second": round(recipe.batch / own, 2),
        "every_weight_pictures_per_second": round(recipe.batch / unfrozen, 2),
        "plain_pictures_per_second": round(recipe.batch / theirs, 2),
        "ratio": round(theirs / own, 2),
        "every_weight_ratio": round(theirs / unfrozen, 2),
    }
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
