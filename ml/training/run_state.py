"""The state of a training run: how it starts, is saved in a checkpoint and is restored from one."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ml.datasets.catalogue import NO_FOLD
from ml.network import depthwise, freeze, model, precision
from ml.recipe import Recipe
from ml.recipe_limits import BadRecipe
from ml.training import checkpoint
from ml.training.checkpoint import BadCheckpoint
from ml.training.schedule import ScheduleState


@dataclass
class State:
    """All that a run needs to continue exactly where it stopped."""

    recipe: Recipe
    net: model.Segmenter
    average: model.Segmenter  # exponential moving average of net; what is validated and shipped
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    unseen: tuple[int, ...] = ()  # folds whose patients the weights were not trained on
    begun_with: tuple[dict[str, Any], ...] = ()  # earlier runs: see checkpoint.history
    epoch: int = 0
    step: int = 0
    elapsed: float = 0.0  # seconds trained, over all starts
    schedule: ScheduleState = field(default_factory=ScheduleState)
    kept: list[tuple[float, int]] = field(default_factory=list)  # see ml.training.weight_averaging
    false_positives: NDArray[np.float64] | None = (
        None  # of the training pictures: see ml.training.hard_negatives
    )
    false_positives_epoch: int = -1


_COUNTERS = ("epoch", "step", "elapsed")


def start(recipe: Recipe, device: torch.device, left_out: Collection[int] = ()) -> State:
    """A fresh state; the seed decides the initial weights.

    left_out: folds that are not trained on, beside the held-out one.
    """
    if recipe.members > 1:
        raise BadRecipe("members are trained one by one and combined by `ensemble`")
    torch.manual_seed(recipe.seed)
    net = model.segmenter(recipe)
    average = model.segmenter(recipe, weights=False)
    average.load_state_dict(net.state_dict())
    for network in (net, average):
        network.to(device).to(memory_format=torch.channels_last)
    freeze.freeze(net.encoder, recipe.frozen_stages)
    if device.type == "cpu" and precision.runs_in_bf16(recipe, device):
        depthwise.speed_up(net)
    # One kernel for all weights on a GPU; on a CPU the arithmetic stays as it was.
    fused = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameter_groups(net, recipe), fused=fused)
    scaler = precision.scaler(recipe, device)
    unseen = tuple(sorted({recipe.held_out_fold, *left_out} - {NO_FOLD}))
    return State(recipe, net, average.eval(), optimizer, scaler, unseen)


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """average ← decay·average + (1 - decay)·net, batch-norm statistics included."""
    if next(net.parameters()).device.type == "cuda":
        _update_together(average, net, decay)
        return
    for kept, new in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _update_together(average: nn.Module, net: nn.Module, decay: float) -> None:
    """`update_average` in a few kernels: a GPU would wait for hundreds of small ones."""
    pairs = list(zip(average.state_dict().values(), net.state_dict().values(), strict=True))
    kept = [pair for pair in pairs if pair[0].dtype.is_floating_point]
    together = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    together([old for old, _ in kept], [new for _, new in kept], 0)
    for old, new in pairs:
        if not old.dtype.is_floating_point:
            old.copy_(new)


def save(state: State, path: Path) -> None:
    """Write a checkpoint."""
    write(
        {
            "config": state.recipe.to_dict(),
            "unseen": list(state.unseen),
            "begun_with": list(state.begun_with),
            "net": state.net.state_dict(),
            "average": state.average.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "scaler": state.scaler.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "kept": list(state.kept),
            "false_positives": None
            if state.false_positives is None
            else torch.from_numpy(state.false_positives),
            "false_positives_epoch": state.false_positives_epoch,
            **dataclasses.asdict(state.schedule),
            **{name: getattr(state, name) for name in _COUNTERS},
        },
        path,
    )


def write(content: dict[str, Any], path: Path) -> None:
    """Write a file beside the old one and replace it: a killed process never leaves half a file."""
    fresh = path.with_suffix(".new")
    torch.save(content, fresh)
    os.replace(fresh, path)


def restore(state: State, path: Path) -> None:
    """Continue from a checkpoint of the same recipe; BadCheckpoint where it was another one.

    Values that older checkpoints lack have their defaults.
    """
    content, recipe = checkpoint.read(path)
    check_recipe(recipe, state.recipe, path)
    if set(content.get("unseen", state.unseen)) != set(state.unseen):
        raise BadCheckpoint(f"{path} was trained without other folds: --without is part of a run")
    checkpoint.fill(state.net, content["net"], str(path))
    checkpoint.fill(state.average, content["average"], str(path))
    state.optimizer.load_state_dict(content["optimizer"])
    if scale := content.get("scaler"):
        state.scaler.load_state_dict(scale)
    torch.set_rng_state(content["torch_rng"])
    cuda = content.get("cuda_rng", [])
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
    for name in _COUNTERS:
        setattr(state, name, content[name])
    known = {f.name for f in dataclasses.fields(ScheduleState)} & set(content)
    state.schedule = ScheduleState(**{name: content[name] for name in known})
    state.begun_with = tuple(content.get("begun_with", ()))
    false_positives = content.get("false_positives")
    state.false_positives = None if false_positives is None else false_positives.numpy()
    state.false_positives_epoch = content.get("false_positives_epoch", -1)
    state.kept = [(float(measure), int(epoch)) for measure, epoch in content.get("kept", [])]


def check_recipe(trained: Recipe, wanted: Recipe, path: Path) -> None:
    """BadCheckpoint where a checkpoint's recipe trains something else than the one wanted."""
    if _for_training(trained) != _for_training(wanted):
        raise BadCheckpoint(f"{path} was trained with another recipe")


def _for_training(recipe: Recipe) -> Recipe:
    """A recipe without the settings that concern only serving, the machine or the log."""
    uses_validation = recipe.patience or recipe.keep
    every = recipe.validate_every if uses_validation else 0
    return dataclasses.replace(
        recipe,
        name="",
        mirror=False,
        validate_every=every,
        threads=0,
        workers=0,
        engine="",
        devices=1,
        compiled="",
    )


def digest(weights: dict[str, Tensor]) -> str:
    """The sha256 of names and values: the same for the same network."""
    found = hashlib.sha256()
    for name, value in weights.items():
        found.update(name.encode())
        found.update(value.contiguous().numpy().tobytes())
    return found.hexdigest()


def start_from(state: State, path: Path, other_patients: bool = False) -> None:
    """Begin with the averaged weights of another run of the same architecture.

    BadCheckpoint where they were trained on patients that this run holds out. other_patients: they
    come from another data set with other patients.
    """
    unseen = None if other_patients else checkpoint.unseen(path)
    if unseen is not None and (seen := set(state.unseen) - unseen):
        raise BadCheckpoint(
            f"{path} was trained on patients of fold {min(seen)}, which this run holds out"
        )
    weights = checkpoint.weights(path)
    state.begun_with = tuple(checkpoint.history(path))
    for net in (state.net, state.average):
        checkpoint.fill(net, weights, str(path))
