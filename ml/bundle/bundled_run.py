"""The command `python -m ml train --bundle FILE --minutes N`: a run from one file, by the clock.

For a machine without network that is lent for minutes: its Python has torch, timm and OpenCV, and
everything else is in the file (see ml.bundle.packing). The run reports every half minute, saves
itself every minute, and has measured and written all by the end of the N minutes, counted from the
command's start. The same command goes on with a run that stopped, for N further minutes.

Nothing of training is imported before the bundle's packages can be.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml import cli_options
from ml.bundle import contents
from ml.errors import BadInput

if TYPE_CHECKING:
    import torch

    from ml.datasets.dataset import Pictures
    from ml.recipe import Recipe
    from ml.training.run_state import State

TRAINED = "trained.pt"
# Of the run, what the measures of the held-out fold may take at its end; fewer of its pictures are
# measured where all would take longer. And for the files, the smaller one of a share and seconds.
VALIDATION_SHARE, FILES_SHARE, FILES_SECONDS = 0.15, 0.05, 5.0
DEFAULT_REPORT, DEFAULT_SAVE = 30.0, 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--bundle", type=Path, required=True, help="file made by `bundle`")
    parser.add_argument(
        "--minutes",
        type=cli_options.within(float, 0.05, 10**6),
        required=True,
        help="after so many minutes from now the run is over, measured and written",
    )
    parser.add_argument(
        "--recipe", default="", help="name of a recipe of the bundle, not the first"
    )
    parser.add_argument(
        "--fold",
        type=cli_options.within(int, -1, 10**6),
        help="held-out fold, instead of the recipe's; -1: none",
    )
    parser.add_argument(
        "--seed",
        type=cli_options.within(int, 0, 2**63 - 1),
        help="instead of the recipe's, for several networks of all pictures",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="the run's folder; continued if it exists (default: runs/RECIPE-FOLD-SEED)",
    )
    parser.add_argument(
        "--report",
        type=cli_options.within(float, 1, 10**6),
        default=DEFAULT_REPORT,
        help="seconds between lines of progress (default: 30)",
    )
    parser.add_argument(
        "--save",
        type=cli_options.within(float, 0, 10**6),
        default=DEFAULT_SAVE,
        help="least seconds between checkpoints, each at the end of an epoch (default: 60)",
    )
    parser.add_argument(
        "--augment-on",
        choices=("device", "host"),
        help="instead of the recipe's choice (default: on a GPU there, else on the host)",
    )
    parser.add_argument(
        "--compile",
        choices=("", "default", "reduce-overhead"),
        help="torch.compile, instead of the recipe's; reduce-overhead uses CUDA graphs",
    )


def run(args: argparse.Namespace) -> int:
    """Train until shortly before the deadline, then measure and write."""
    began = time.monotonic()
    with contents.opened(args.bundle) as bundle:
        bundle.use_packages()
        from ml.network import imagenet

        imagenet.read_from(bundle.imagenet)
        try:
            return _run(args, bundle, began)
        finally:
            imagenet.read_from(None)  # the file is gone with the bundle


def _run(args: argparse.Namespace, bundle: contents.Opened, began: float) -> int:
    import cv2

    from ml import output_places
    from ml.datasets import catalogue
    from ml.recipe import Recipe
    from ml.training import distributed, requirements, run_log, train, validation
    from ml.training.pace import Pace

    recipe = _changed(Recipe.load(bundle.recipe(args.recipe)), args)
    out = args.out or Path("runs") / f"{recipe.name}-{recipe.held_out_fold}-{recipe.seed}"
    output_places.check_file(out / train.CHECKPOINT)
    requirements.check_packages(recipe)
    training, held_out = train.split(recipe, catalogue.read_records(bundle.folder))
    cv2.setNumThreads(0)
    pictures, shown = bundle.pictures(training), bundle.pictures(held_out)
    group = distributed.start(recipe)
    _say(began, f"{len(training)} pictures to train on, {len(held_out)} held out, {_where(group)}")
    if recipe.threads:
        import torch

        torch.set_num_threads(recipe.threads)
    shown, reserve = _measurable(shown, recipe, group.device, 60 * args.minutes)
    seconds = 60 * args.minutes
    deadline = began + seconds - reserve - min(FILES_SECONDS, FILES_SHARE * seconds)
    _say(began, f"{reserve:.0f} s at the end are for {len(shown.records)} held-out pictures")
    state = train.fit(
        recipe, pictures, shown, out, group=group, pace=Pace(args.report, args.save, deadline)
    )
    if not state.step:
        raise BadInput("the time was over before the first step: give the run more --minutes")
    if group.is_first:
        write_trained(state, out / TRAINED)
        measured: dict[str, Any] = dict(run_log.last(out))
        if shown.records and not measured.get("auc"):  # the clock ran out between two epochs
            measured = validation.validate(state.average, shown, recipe, group.device)
        print(json.dumps(_summary(state, out, shown, measured, began), indent=2))
    return 0


def _changed(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    """The recipe with the command's own length, fold and seed; validated at its end alone."""
    recipe = recipe.of_fold(recipe.held_out_fold if args.fold is None else args.fold)
    recipe = dataclasses.replace(recipe, minutes=args.minutes)
    if not recipe.patience and recipe.keep_by == "last":
        recipe = dataclasses.replace(recipe, validate_every=10**6)
    if args.seed is not None:
        recipe = dataclasses.replace(recipe, seed=args.seed)
    if args.augment_on is not None:
        recipe = dataclasses.replace(recipe, augment_on=args.augment_on)
    if args.compile is not None:
        recipe = dataclasses.replace(recipe, compiled=args.compile)
    return recipe


def _measurable(
    held_out: Pictures, recipe: Recipe, device: torch.device, seconds: float
) -> tuple[Pictures, float]:
    """The held-out pictures that can be measured at the end of a run of so many seconds, all or
    evenly chosen ones, and the seconds that this takes."""
    from ml.network import model
    from ml.training import validation

    if not held_out.records:
        return held_out, 0.0
    net = model.segmenter(recipe, weights=False).to(device)
    few = thinned(held_out, recipe.batch)
    for _ in range(2):  # the first one prepares
        before = time.monotonic()
        validation.validate(net, few, recipe, device)
        each = (time.monotonic() - before) / len(few.records)
    chosen = thinned(held_out, max(recipe.batch, int(VALIDATION_SHARE * seconds / each)))
    return chosen, 1.3 * each * len(chosen.records)


def thinned(held_out: Pictures, count: int) -> Pictures:
    """About `count` of the pictures, evenly from those with and without a finding, at least one of
    each; all where there are no more."""
    numbers = range(len(held_out.records))
    if len(numbers) <= count:
        return held_out
    chosen: list[int] = []
    for positive in (True, False):
        of_kind = [n for n in numbers if held_out.records[n].positive == positive]
        wanted = min(max(1, round(count * len(of_kind) / len(numbers))), len(of_kind))
        chosen += [of_kind[place * len(of_kind) // wanted] for place in range(wanted)]
    return held_out.part(sorted(chosen))


def write_trained(state: State, path: Path) -> None:
    """The averaged weights in half precision, as a checkpoint that `export` and `--start` read:
    a seventh of the run's own, to take home."""
    import torch

    from ml.training import run_state

    average = {
        name: value.half().cpu() if value.dtype == torch.float32 else value.cpu()
        for name, value in state.average.state_dict().items()
    }
    run_state.write(
        {
            "config": state.recipe.to_dict(),
            "unseen": list(state.unseen),
            "begun_with": list(state.begun_with),
            "net": average,
            "average": average,
            "epoch": state.epoch,
            "step": state.step,
            "elapsed": state.elapsed,
        },
        path,
    )


def _summary(
    state: State, out: Path, shown: Pictures, measured: dict[str, Any], began: float
) -> dict[str, Any]:
    recipe = state.recipe
    drawn = state.step * recipe.batch * recipe.accumulate
    return {
        "recipe": recipe.name,
        "held_out_fold": recipe.held_out_fold,
        "minutes": round((time.monotonic() - began) / 60, 2),
        "minutes_trained": round(state.elapsed / 60, 2),
        "epochs": state.epoch,
        "steps": state.step,
        "pictures": drawn,
        "pictures_per_second": round(drawn / max(state.elapsed, 1e-9), 1),
        "held_out_pictures": len(shown.records),
        **{
            name: round(float(measured[name]), 4)
            for name in ("positive_dice", "auc")
            if measured.get(name)
        },
        "written": str(out / TRAINED),
    }


def _where(group: Any) -> str:
    import torch

    if group.device.type == "cuda":
        return torch.cuda.get_device_name(group.device)
    return f"{torch.get_num_threads()} threads of the processor"


def _say(began: float, text: str) -> None:
    print(f"{time.monotonic() - began:5.1f} s  {text}", file=sys.stdout, flush=True)
