"""Train one model from a recipe: `python -m ml train --recipe FILE --cache DIR --out DIR`.

Read from top to bottom: `run` sets up, `fit` is the loop. The run's folder holds `log.csv` (one
line per epoch), TensorBoard events where tensorboard is installed, and `checkpoint.pt`, from
which the same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ml import checkpoint, data, losses, model, precision
from ml import config as configuration
from ml.checkpoint import BadCheckpoint
from ml.config import Config
from ml.errors import BadInput

CHECKPOINT = "checkpoint.pt"
PLATEAU_EPOCHS = 4  # without a better training loss, before the rate is halved


@dataclass
class State:
    """All that a run needs to go on exactly where it stopped."""

    config: Config
    net: model.Segmenter
    average: model.Segmenter  # exponential moving average of net; what is validated and shipped
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    elapsed: float = 0.0  # seconds trained, over all starts
    plateau_factor: float = 1.0
    best_loss: float = math.inf
    waited: int = 0  # epochs since best_loss


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--recipe", type=Path, required=True, help="TOML file, see ml/recipes")
    parser.add_argument("--cache", type=Path, required=True, help="folder made by `prepare`")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on there")
    parser.add_argument(
        "--minutes", type=float, help="length by the clock, instead of the recipe's"
    )
    parser.add_argument(
        "--start",
        type=Path,
        help="what a fresh run begins with: a checkpoint.pt, whose averaged weights are taken, or "
        "a shipped model.safetensors",
    )
    parser.add_argument("--fold", type=int, help="held-out fold, instead of the recipe's; -1: none")


def run(args: argparse.Namespace) -> int:
    """Train, or go on training, until the recipe's end."""
    config = configuration.load(args.recipe)
    if args.minutes is not None:
        config = dataclasses.replace(config, minutes=args.minutes)
    if args.fold is not None:
        config = dataclasses.replace(config, held_out_fold=args.fold)
    cv2.setNumThreads(0)
    if config.threads:
        torch.set_num_threads(config.threads)
    records = data.read_records(args.cache)
    if config.crop == "lungs" and not any(record.lungs for record in records):
        raise BadInput(f"{args.cache} was prepared without --lungs, which this recipe crops to")
    training, held_out = data.split(records, config.held_out_fold)
    fit(
        config,
        data.Pictures.read(args.cache, training),
        data.Pictures.read(args.cache, held_out),
        args.out,
        args.start,
    )
    return 0


def fit(
    config: Config,
    training: data.Pictures,
    held_out: data.Pictures,
    out: Path,
    begin_with: Path | None = None,
) -> State:
    """The loop. Picks no checkpoint by the held-out pictures: the last average is the result."""
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = start(config, device)
    if (out / CHECKPOINT).exists():
        restore(state, out / CHECKPOINT)
    else:
        if begin_with is not None:
            take_over(state, begin_with)
        if config.adapt_norm:
            adapt_norm(state, training)
    mask_loss = losses.MASK_LOSSES[config.loss]
    steps_per_epoch = config.epoch_pictures // config.batch
    board = _board(out)

    began = time.monotonic() - state.elapsed

    def progress() -> float:
        if config.minutes > 0:
            return (time.monotonic() - began) / (60 * config.minutes)
        return state.step / (steps_per_epoch * config.epochs)

    while progress() < 1:
        at_start, epoch_began = progress(), time.monotonic()
        first, last = config.positive_share
        share = first + (last - first) * at_start
        size = size_at(config, at_start)
        drawn = data.Drawn(training, config, state.epoch, share, size)
        sums = np.zeros(4)  # mask loss, image loss, patch loss, steps

        state.net.train()
        if config.freeze_encoder_norm:
            model.freeze_norm(state.net.encoder)
            model.freeze_norm(state.net.widen)
        bar = tqdm(_loader(drawn, config), desc=f"epoch {state.epoch} at {size} px", leave=False)
        for batch in bar:
            done = progress()
            if done >= 1:
                break
            rate = rate_at(config, done) * state.plateau_factor
            for group in state.optimizer.param_groups:
                group["lr"] = group["rate"] * rate
            batch = {key: value.to(device) for key, value in batch.items()}
            with precision.autocast(config, device):
                seen = state.net.look(_channels_last(batch["picture"]))
                image_logits = state.net.judge(seen.features)
            part = losses.combined(
                seen.mask_logits.float(),
                image_logits.float(),
                seen.patch_logits.float(),
                batch["mask"],
                batch["positive"],
                batch["outlined"],
                mask_loss,
                config.label_doubt,
            )
            loss = _weighed(config, part.mask, part.image, part.patch)
            state.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(state.net.parameters(), config.clip)
            state.optimizer.step()
            state.step += 1
            average_in(state.average, state.net, min(config.ema, state.step / (state.step + 10)))
            sums += (part.mask.item(), part.image.item(), part.patch.item(), 1)
            bar.set_postfix(mask=f"{sums[0] / sums[3]:.3f}", image=f"{sums[1] / sums[3]:.3f}")

        if not sums[3]:
            break  # the clock ran out before this epoch's first step: nothing was learnt
        mask_mean, image_mean, patch_mean = sums[:3] / sums[3]
        _plateau(state, _weighed(config, mask_mean, image_mean, patch_mean))
        seconds = time.monotonic() - epoch_began
        row: dict[str, float] = {
            "epoch": state.epoch,
            "step": state.step,
            "size": size,
            "positive_share": share,
            "rate": rate_at(config, min(progress(), 1.0)) * state.plateau_factor,
            "mask_loss": mask_mean,
            "image_loss": image_mean,
            "patch_loss": patch_mean,
            "seconds": seconds,
            "pictures_per_second": sums[3] * config.batch / seconds,
        }
        state.epoch += 1
        state.elapsed = time.monotonic() - began
        row["minutes"] = state.elapsed / 60
        save(state, out / CHECKPOINT)
        if held_out.records and _validation_is_due(config, state.epoch, progress() >= 1):
            row |= validate(state.average, held_out, config, device)
        _log(out / "log.csv", row)
        board(row)
    return state


def start(config: Config, device: torch.device) -> State:
    """A fresh state; the seed decides the initial weights."""
    torch.manual_seed(config.seed)
    net = model.build(config)
    average = model.build(config, weights=False)
    average.load_state_dict(net.state_dict())
    for network in (net, average):
        network.to(device).to(memory_format=torch.channels_last)
    model.freeze_stages(net.encoder, config.frozen_stages)
    if device.type == "cpu" and precision.runs_in_bf16(config, device):
        model.quicken_depthwise(net)
    optimizer = torch.optim.AdamW(model.parameter_groups(net, config))
    return State(config, net, average.eval(), optimizer)


@torch.no_grad()
def adapt_norm(state: State, training: data.Pictures) -> None:
    """Measure the encoder's batch-norm statistics on X-rays; ImageNet's are those of photographs.

    (Adaptive batch normalisation, Li et al. 2016.) Looks at config.adapt_norm augmented pictures.
    """
    config, net = state.config, state.net
    device = next(net.parameters()).device
    net.eval()
    parts = (net.encoder, net.widen)
    norms = [m for part in parts for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
        norm.train()
    count = min(config.adapt_norm, config.epoch_pictures)
    size = size_at(config, 0.0)
    drawn = data.Drawn(training, config, 0, config.positive_share[1], size)
    for number, batch in enumerate(_loader(drawn, config)):
        if number * config.batch >= count:
            break
        with precision.autocast(config, device):
            net.widen(net.encoder(_channels_last(batch["picture"].to(device)))[-1])
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    state.average.load_state_dict(net.state_dict())


def rate_at(config: Config, progress: float) -> float:
    """Factor on the learning rates, 0..1: linear warm-up, then a cosine, or flat for "plateau"."""
    if progress < config.warmup:
        return max(progress / config.warmup, 0.01)
    if config.schedule == "plateau":
        return 1.0
    rest = (progress - config.warmup) / (1 - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))


def size_at(config: Config, progress: float) -> int:
    """Side of the training pictures at this progress, px."""
    return [size for begin, size in config.size_from if begin <= progress][-1]


@torch.no_grad()
def average_in(average: nn.Module, net: nn.Module, decay: float) -> None:
    """average ← decay·average + (1 - decay)·net, batch-norm statistics included."""
    for kept, new in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


@torch.no_grad()
def validate(
    net: model.Segmenter, pictures: data.Pictures, config: Config, device: torch.device
) -> dict[str, float]:
    """Positive-only Dice at 0.5 (at the network's size) and AUC: for the curves, not for a card."""
    net.eval()
    overlaps: list[float] = []
    scores: list[float] = []
    for batch in _loader(data.Plain(pictures, config), config):
        with precision.autocast(config, device):
            mask_logits, image_logits = net(_channels_last(batch["picture"].to(device)))
        outlines = (mask_logits > 0).float().cpu()
        hits = (outlines * batch["mask"]).sum((1, 2, 3))
        sizes = outlines.sum((1, 2, 3)) + batch["mask"].sum((1, 2, 3))
        overlaps += (2 * hits / sizes.clamp(min=1))[batch["positive"] > 0].tolist()
        scores += image_logits.float().squeeze(1).cpu().tolist()
    positive = np.array([record.positive for record in pictures.records])
    return {"positive_dice": float(np.mean(overlaps)), "auc": _auc(np.array(scores), positive)}


def save(state: State, path: Path) -> None:
    """Write a checkpoint beside the old one, then take its place: a kill never leaves half."""
    content = {
        "config": configuration.to_dict(state.config),
        "net": state.net.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        **{name: getattr(state, name) for name in _COUNTERS},
    }
    fresh = path.with_suffix(".new")
    torch.save(content, fresh)
    os.replace(fresh, path)


def restore(state: State, path: Path) -> None:
    """Go on from a checkpoint of the same recipe; BadCheckpoint where it was another one."""
    content, recipe = checkpoint.read(path)
    if _what_is_learnt(recipe) != _what_is_learnt(state.config):
        raise BadCheckpoint(f"{path} was trained with another recipe")
    checkpoint.fill(state.net, content["net"], str(path))
    checkpoint.fill(state.average, content["average"], str(path))
    state.optimizer.load_state_dict(content["optimizer"])
    torch.set_rng_state(content["torch_rng"])
    cuda = content.get("cuda_rng", [])
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
    for name in _COUNTERS:
        setattr(state, name, content[name])


def _what_is_learnt(config: Config) -> Config:
    """A recipe without what only serving, the machine or the log depend on."""
    return dataclasses.replace(
        config, name="", mirror=False, validate_every=0, threads=0, workers=0
    )


def take_over(state: State, path: Path) -> None:
    """Begin with the averaged weights of another run of the same architecture."""
    weights = checkpoint.weights(path)
    for net in (state.net, state.average):
        checkpoint.fill(net, weights, str(path))


_COUNTERS = ("epoch", "step", "elapsed", "plateau_factor", "best_loss", "waited")


def _plateau(state: State, loss: float) -> None:
    if loss < state.best_loss:
        state.best_loss, state.waited = float(loss), 0
    else:
        state.waited += 1
    if state.config.schedule == "plateau" and state.waited >= PLATEAU_EPOCHS:
        state.plateau_factor, state.waited = state.plateau_factor / 2, 0


def _weighed(config: Config, mask: Any, image: Any, patch: Any) -> Any:
    return config.mask_weight * mask + config.image_weight * image + config.patch_weight * patch


def _validation_is_due(config: Config, epochs_done: int, at_end: bool) -> bool:
    every = config.validate_every
    return every > 0 and (at_end or epochs_done % every == 0)


def _loader(pictures: Any, config: Config) -> DataLoader[dict[str, Tensor]]:
    """Batches in order. Without a generator of its own a loader would draw from torch's, and a
    run that was stopped between two epochs would go on with other numbers."""
    generator = torch.Generator().manual_seed(config.seed)
    return DataLoader(
        pictures, batch_size=config.batch, num_workers=config.workers, generator=generator
    )


def _channels_last(picture: Tensor) -> Tensor:
    return picture.to(memory_format=torch.channels_last)


def _auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Share of (positive, negative) pairs in the right order; ties count a half."""
    pairs = scores[positive][:, None] - scores[~positive][None, :]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean()) if pairs.size else math.nan


COLUMNS = (
    "epoch", "step", "minutes", "size", "positive_share", "rate", "mask_loss", "image_loss",
    "patch_loss", "seconds", "pictures_per_second", "positive_dice", "auc",
)  # fmt: skip


def _log(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.6g}" for key, value in row.items()})


def _board(out: Path) -> Callable[[dict[str, float]], None]:
    """Writes a row to TensorBoard, or does nothing where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return lambda row: None
    writer = SummaryWriter(str(out))

    def write(row: dict[str, float]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return write
