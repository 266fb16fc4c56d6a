"""Train one model from a recipe: `python -m ml train --recipe FILE --cache DIR --out DIR`.

`run` sets up, `fit` is the loop. The run's folder holds `log.csv` (one line per epoch), TensorBoard
events where tensorboard is installed, and `checkpoint.pt`, from which the same command continues
after a stop.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn
from tqdm import tqdm

from ml import cli_options, output_places
from ml.datasets import catalogue, dataset
from ml.datasets.on_device import pictures as on_device_pictures
from ml.errors import BadInput
from ml.network import compiled, freeze, losses, model, precision
from ml.recipe import Recipe
from ml.training import (  # fmt: skip
    batch_norm,
    batches,
    distributed,
    hard_negatives,
    requirements,
    run_log,
    schedule,
    validation,
    weight_averaging,
)
from ml.training.distributed import ProcessGroup
from ml.training.pace import Pace
from ml.training.run_state import State, restore, save, start, start_from, update_average

CHECKPOINT = "checkpoint.pt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--recipe", type=Path, required=True, help="TOML file, see ml/recipes")
    parser.add_argument("--cache", type=Path, required=True, help="folder made by `prepare`")
    parser.add_argument(
        "--out", type=Path, required=True, help="the run's folder; continued if it exists"
    )
    parser.add_argument(
        "--minutes",
        type=cli_options.within(float, 0.001, 10**6),
        help="length by the clock, instead of the recipe's",
    )
    parser.add_argument(
        "--start",
        type=Path,
        help="the weights that a new run starts from: the average in a checkpoint.pt, or "
        "a shipped model.safetensors",
    )
    parser.add_argument(
        "--other-patients",
        action="store_true",
        help="--start was trained on other patients than this cache's, as with lung masks of "
        "another "
        "data set: its folds are not checked",
    )
    parser.add_argument(
        "--fold",
        type=cli_options.within(int, -1, 10**6),
        help="held-out fold, instead of the recipe's; -1: none",
    )
    parser.add_argument(
        "--without",
        default="",
        help="more folds whose patients are left out, as 0,1: runs that hold one of these folds "
        "out "
        "can start from this one (`folds --only 0,1 --start`)",
    )
    parser.add_argument(
        "--board-pictures",
        type=cli_options.within(int, 0, 64),
        default=0,
        metavar="N",
        help="log N fixed pictures' maps and decisions, and the inputs' statistics, to TensorBoard "
        "after each epoch (0: losses and measures alone)",
    )
    parser.add_argument(
        "--report",
        type=cli_options.within(float, 0, 10**6),
        default=0,
        metavar="SECONDS",
        help="print losses and pictures a second every so many seconds (default: 0, never)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, or continue training, until the recipe's end."""
    recipe = Recipe.load(args.recipe)
    if args.minutes is not None:
        recipe = dataclasses.replace(recipe, minutes=args.minutes)
    recipe = recipe.of_fold(recipe.held_out_fold if args.fold is None else args.fold)
    left_out = cli_options.numbers(args.without, int)
    if left_out and recipe.taught:
        raise BadInput(
            "soft labels may be of teachers trained on the patients that --without leaves out"
        )
    requirements.check_packages(recipe)
    if args.board_pictures:
        requirements.check_board()
    records = catalogue.without(catalogue.read_records(args.cache), left_out)
    training, held_out = split(recipe, records)
    requirements.check_sizes(recipe)
    output_places.check_file(args.out / CHECKPOINT)
    group = distributed.start(recipe)
    fit(
        recipe,
        dataset.Pictures.read_for_training(args.cache, training, recipe),
        dataset.Pictures.read(args.cache, held_out, recipe.classes),
        args.out,
        args.start,
        group,
        left_out,
        args.other_patients,
        args.board_pictures,
        Pace(report=args.report),
    )
    return 0


def split(
    recipe: Recipe, records: list[catalogue.Record]
) -> tuple[list[catalogue.Record], list[catalogue.Record]]:
    """The training and the held-out pictures of a cache, by a recipe."""
    catalogue.check_crop(records, recipe)
    training, held_out = catalogue.split(records, recipe.held_out_fold, recipe.data_share)
    chosen = catalogue.of_sources(training, recipe)
    if not chosen:
        raise BadInput(f"the cache has no picture of {', '.join(recipe.sources)} to train on")
    return chosen, held_out


def fit(
    recipe: Recipe,
    training: dataset.Pictures,
    held_out: dataset.Pictures,
    out: Path,
    begin_with: Path | None = None,
    group: ProcessGroup | None = None,
    left_out: Collection[int] = (),
    other_patients: bool = False,
    board_pictures: int = 0,
    pace: Pace | None = None,
) -> State:
    """The training loop. The result is the last average, not chosen by the held-out pictures.

    Exceptions: `patience` and `keep_by = "best"` in the recipe.
    group: the processes that train together, each of which calls this. left_out: folds that
    `training` has nothing of, beside the held-out one. other_patients: see run_state.start_from.
    board_pictures: how many held-out pictures (without a held-out fold: trained ones) are logged,
    see ml.training.board. pace: reports and checkpoints other than after every epoch, and an end
    by the clock instead of the recipe's.
    """
    group, pace = group or ProcessGroup(), pace or Pace()
    out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(0)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    device = group.device
    # Of a GPU's ways to convolve the quickest is measured for each size; a CPU has no such choice.
    torch.backends.cudnn.benchmark = device.type == "cuda"
    on_device = on_device_pictures.choose(training, recipe, device)
    state = start(recipe, device, left_out)
    if (out / CHECKPOINT).exists():
        restore(state, out / CHECKPOINT)
    else:
        if begin_with is not None:
            start_from(state, begin_with, other_patients)
        if recipe.adapt_norm:
            batch_norm.adapt(state.net, recipe, training, on_device)
            state.average.load_state_dict(state.net.state_dict())
    for value in state.net.state_dict().values():
        value.copy_(group.broadcast(value))
    if recipe.freeze_encoder_norm:
        freeze.fold(state.net.encoder, recipe.frozen_stages)
    forward = compiled.forward(state.net, recipe, device)
    mask_loss = losses.MASK_LOSSES[recipe.loss]
    pictures_per_step = recipe.batch * recipe.accumulate
    steps_per_epoch = recipe.epoch_pictures // pictures_per_step
    log = run_log.open(out) if group.is_first else None
    board = None
    if board_pictures and group.is_first:
        from ml.training.board import Board  # needs tensorboard

        shown = held_out if held_out.records else training
        board = Board(out, shown, recipe, min(board_pictures, len(shown.records)))

    began = time.monotonic() - state.elapsed
    length, saved = pace.length(recipe.minutes, state.elapsed), state.epoch

    def progress() -> float:
        if length > 0:
            return float(group.broadcast((time.monotonic() - began) / length))
        return state.step / (steps_per_epoch * recipe.epochs)

    while progress() < 1 and not schedule.is_over(state.schedule, recipe, state.epoch):
        at_start, epoch_began = progress(), time.monotonic()
        share, size = schedule.share_at(recipe, at_start), schedule.size_at(recipe, at_start)
        if hard_negatives.are_due(recipe, at_start, state.epoch, state.false_positives_epoch):
            state.false_positives = group.broadcast(
                hard_negatives.measure(state.average, training, recipe)
            )
            state.false_positives_epoch = state.epoch
        drawn = dataset.AugmentedEpoch(
            training, recipe, state.epoch, share, size, state.false_positives
        )
        sums, taken = torch.zeros(3, device=device), 0  # mask, image and patch loss; steps

        state.net.train()
        if recipe.freeze_encoder_norm:
            model.freeze_norm(state.net.encoder)
            model.freeze_norm(state.net.widen)
        steps = batches.steps(batches.drawn(drawn, recipe, on_device, group), recipe.accumulate)
        title = f"epoch {state.epoch} at {size} px"
        hidden = None if group.is_first else True  # None: shown on a terminal only
        bar = tqdm(steps, title, steps_per_epoch, leave=False, disable=hidden)
        for passes in bar:
            done = progress()
            if done >= 1:
                break
            rate = schedule.rate_at(recipe, done) * state.schedule.plateau_factor
            for parameters in state.optimizer.param_groups:
                parameters["lr"] = parameters["rate"] * rate
            state.optimizer.zero_grad(set_to_none=True)
            passes = [batches.to(device, batch) for batch in passes]
            if board is not None and not taken:
                board.inputs(passes[0]["picture"], state.step)
            whole = losses.StepCounts.of(passes, group.sum_of)
            for batch in passes:
                with precision.autocast(recipe, device):
                    seen = forward(batch["picture"])
                part = losses.combined(
                    seen.mask_logits.float(),
                    seen.image_logits.float(),
                    seen.patch_logits.float(),
                    batch["mask"],
                    batch["positive"],
                    batch["outlined"],
                    mask_loss,
                    recipe.label_doubt,
                    whole,
                    batch["label"],
                )
                loss = _weighted(recipe, part.mask, part.image, part.patch)
                torch.autograd.backward(state.scaler.scale(loss))
                sums += torch.stack([part.mask, part.image, part.patch]).detach()
            group.sum_gradients(state.net)
            state.scaler.unscale_(state.optimizer)
            nn.utils.clip_grad_norm_(state.net.parameters(), recipe.clip)
            state.scaler.step(state.optimizer)
            state.scaler.update()
            state.step += 1
            update_average(
                state.average, state.net, min(recipe.ema, state.step / (state.step + 10))
            )
            taken += 1
            if not bar.disable:  # else the losses would be waited for at every step
                bar.set_postfix(mask=f"{sums[0] / taken:.3f}", image=f"{sums[1] / taken:.3f}")
            if group.is_first:
                pace.step(pictures_per_step, sums, taken, done, f"epoch {state.epoch}, {size} px")

        if not taken:
            break  # the clock ran out before this epoch's first step: nothing was trained
        mask_mean, image_mean, patch_mean = (group.sum_of(sums) / taken).tolist()
        schedule.record_loss(
            state.schedule, recipe, _weighted(recipe, mask_mean, image_mean, patch_mean)
        )
        seconds = time.monotonic() - epoch_began
        row: dict[str, float] = {
            "epoch": state.epoch,
            "step": state.step,
            "size": size,
            "positive_share": share,
            "rate": schedule.rate_at(recipe, progress()) * state.schedule.plateau_factor,
            "mask_loss": mask_mean,
            "image_loss": image_mean,
            "patch_loss": patch_mean,
            "seconds": seconds,
            "pictures_per_second": taken * pictures_per_step / seconds,
        }
        state.epoch += 1
        measured: dict[str, float] = {}
        if held_out.records and validation.is_due(recipe, state.epoch, progress() >= 1):
            if group.is_first:
                measured = validation.validate(state.average, held_out, recipe, device)
            measured = group.broadcast(measured)
            schedule.record_measure(state.schedule, measured[recipe.stop_on], state.epoch)
        if board is not None:
            board.answers(state.average, state.step, device)
        state.elapsed = time.monotonic() - began
        if log is not None:
            if pace.is_save_due() or recipe.keep:
                weight_averaging.keep(state, out, measured.get(recipe.stop_on))
                save(state, out / CHECKPOINT)
                weight_averaging.tidy(state, out)
                saved = state.epoch
            log(row | {"minutes": state.elapsed / 60} | measured)
    if group.is_first and saved < state.epoch:
        save(state, out / CHECKPOINT)
    if group.is_first and state.kept:
        weight_averaging.average(state, recipe, training, out, on_device)
        if held_out.records:
            print(
                weight_averaging.AVERAGED,
                validation.validate(state.average, held_out, recipe, device),
            )
    group.barrier()
    return state


def _weighted(recipe: Recipe, mask: Any, image: Any, patch: Any) -> Any:
    return recipe.mask_weight * mask + recipe.image_weight * image + recipe.patch_weight * patch
