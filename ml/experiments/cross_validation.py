"""Cross-validation: `python -m ml folds --recipe FILE --cache DIR --out DIR`.

Trains one network for each fold of the cache, each without the patients of its fold, and pools the
predictions for the held-out pictures. The same command continues after a stop. `<out>` holds a run
for each fold (`fold-0`, … as `train` writes them, with the predictions in `heldout.npz`) and
`folds.json`. With --served-* the same networks are evaluated with another input, in files with the
input in their names. With --share the same for parts of the training patients, each in `share-S`: a
learning curve over the amount of data.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from ml import cli_options, output_places
from ml.datasets import catalogue, dataset
from ml.datasets.catalogue import NO_FOLD, Record
from ml.errors import BadInput
from ml.evaluation import card_numbers, held_out
from ml.evaluation.report_text import number
from ml.metrics.calibration import HeldOutPredictions
from ml.network import model
from ml.recipe import FOLD_PLACEHOLDER, Recipe
from ml.runtime import session
from ml.training import checkpoint, distributed, requirements, run_state, train, weight_averaging
from ml.training.distributed import ProcessGroup

TABLES, REPORT = "heldout", "folds"
POOLED = (
    "Every picture evaluated by the network of the fold that held its patient out. Temperature, "
    "bias "
    "and thresholds were chosen on one half of a fold's patients and measured on the other, both "
    "ways round, fold by fold. Intervals: 95 %, bootstrap draws of patients."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--recipe", type=Path, required=True, help="TOML file, see ml/recipes")
    parser.add_argument("--cache", type=Path, required=True, help="folder made by `prepare`")
    parser.add_argument(
        "--out", type=Path, required=True, help="the runs' folder; continued if it exists"
    )
    parser.add_argument("--only", help="the folds to train, as 0,2; without it all of the cache")
    parser.add_argument(
        "--share",
        help="shares of the training patients, as 0.25,0.5,1: a learning curve; without it the "
        "recipe's data_share",
    )
    parser.add_argument(
        "--minutes",
        type=cli_options.within(float, 0.001, 10**6),
        help="length of each run, instead of the recipe's",
    )
    parser.add_argument(
        "--start",
        help="the weights that new runs start from, as in `train`; {fold} stands for the fold's "
        "number, so that no network starts from weights trained on its held-out patients",
    )
    parser.add_argument(
        "--other-patients", action="store_true", help="of what --start was trained on: see `train`"
    )
    parser.add_argument(
        "--served-crop",
        choices=("", "lungs"),
        help="evaluate with this crop, as it would be served, instead of that of training",
    )
    parser.add_argument(
        "--served-size",
        type=cli_options.within(int, 32, 4096),
        help="evaluate with this side of the input, px",
    )
    parser.add_argument(
        "--served-mirror",
        action=argparse.BooleanOptionalAction,
        help="evaluate the mean with the prediction for the mirror image",
    )
    parser.add_argument(
        "--against",
        type=Path,
        help="another folder of runs on the same folds, or a network that was not trained on "
        "them (a checkpoint.pt, a model's folder): report the difference of each measure, paired "
        "by "
        "picture",
    )
    parser.add_argument(
        "--replicates",
        type=cli_options.within(int, 1, 10**6),
        default=2000,
        help="bootstrap draws of each interval",
    )


def run(args: argparse.Namespace) -> int:
    """Train what is not trained yet, then report."""
    recipe = Recipe.load(args.recipe)
    if args.minutes is not None:
        recipe = dataclasses.replace(recipe, minutes=args.minutes)
    if recipe.hidden:
        raise BadInput(f"{recipe.name} has no image-level output to evaluate: see `train`")
    requirements.check_packages(recipe)
    records = catalogue.read_records(args.cache)
    folds = cli_options.numbers(args.only, int) if args.only else folds_of(records)
    if not folds:
        raise BadInput(f"{args.cache} has no fold with outlined pictures to hold out")
    if recipe.image_weight:
        for fold in folds:
            _, left_out = train.split(recipe.of_fold(fold), records)
            one = dataclasses.replace(
                recipe, classes=recipe.classes[:1]
            )  # the one that is measured
            card_numbers.check_fold(left_out, fold, one)
    requirements.check_sizes(recipe, args.served_size)
    shares = cli_options.numbers(args.share, float) if args.share else [recipe.data_share]
    served_input = (args.served_crop, args.served_size, args.served_mirror)
    report_name = f"{REPORT}{_input_name(recipe, recipe.served(*served_input))}.json"
    for share in shares:
        output_places.check_file(_folder_of(args, share) / report_name)
    group = distributed.start(recipe)
    others = [
        _other_predictions(args.against, fold, args.cache, records)
        for fold in folds
        if args.against
    ]
    for share in shares:
        out = _folder_of(args, share)
        part = dataclasses.replace(recipe, data_share=share)
        tables = {}
        for fold in folds:
            one = part.of_fold(fold)
            start = Path(args.start.replace(FOLD_PLACEHOLDER, str(fold))) if args.start else None
            runs = out / f"fold-{fold}"
            ready = trained(one, args.cache, records, runs, start, group, args.other_patients)
            if group.is_first:
                tables[fold] = evaluated(one, one.served(*served_input), args.cache, records, ready)
        if not group.is_first:
            continue
        found = report(part.served(*served_input), records, tables, args.replicates)
        if others:
            found["against"] = held_out.compare(list(tables.values()), others, args.replicates)
        file = out / report_name
        file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(f"{file}: folds {', '.join(map(str, folds))}, data share {share:g}")
        print("\n".join(lines(found)))
    return 0


def _folder_of(args: argparse.Namespace, share: float) -> Path:
    """The folder of the runs with a share of the training patients."""
    out: Path = args.out
    return out / f"share-{share:g}" if args.share else out


def folds_of(records: list[Record]) -> list[int]:
    """The folds in which a cache has outlined pictures to hold out."""
    return sorted({r.fold for r in records if r.source == "masks" and r.fold != NO_FOLD})


def trained(
    recipe: Recipe,
    cache: Path,
    records: list[Record],
    out: Path,
    start: Path | None = None,
    group: ProcessGroup | None = None,
    other_patients: bool = False,
) -> Path:
    """The checkpoint of the fold's network, which is trained where it is not ready."""
    ready = out / (weight_averaging.AVERAGED if recipe.keep else train.CHECKPOINT)
    if (out / f"{TABLES}.npz").exists():
        run_state.check_recipe(checkpoint.read(ready)[1], recipe, ready)
        return ready
    training, left_out = train.split(recipe, records)
    pictures = dataset.Pictures.read(cache, left_out, recipe.classes)
    trained_on = dataset.Pictures.read_for_training(cache, training, recipe)
    train.fit(
        recipe,
        trained_on,
        pictures,
        out,
        start,
        group or ProcessGroup(),
        other_patients=other_patients,
    )
    return ready


def evaluated(
    recipe: Recipe, served: Recipe, cache: Path, records: list[Record], ready: Path
) -> HeldOutPredictions:
    """The predictions of the fold's network for its held-out pictures, as served."""
    catalogue.check_crop(records, served)
    file = ready.parent / f"{TABLES}{_input_name(recipe, served)}.npz"
    if not file.exists():
        net = model.build(recipe, weights=False).eval()
        checkpoint.fill(net, checkpoint.weights(ready), str(ready))
        pictures = dataset.Pictures.read(cache, train.split(recipe, records)[1], recipe.classes)
        save(held_out.predict(net, pictures, served), file)
    return load(file)


def _other_predictions(
    other: Path, fold: int, cache: Path, records: list[Record]
) -> HeldOutPredictions:
    """Other networks' predictions for a fold, or those of one network not trained on it."""
    if not (other.is_file() or (other / session.CARD).exists()):
        file = other / f"fold-{fold}" / f"{TABLES}.npz"
        if not file.exists():
            raise BadInput(f"{other} has no predictions for fold {fold}: there is no {file}")
        return load(file)
    content, recipe = checkpoint.read_trained(other)
    unseen = checkpoint.unseen(other)
    if unseen is None or fold not in unseen:
        raise BadInput(f"{other} may have been trained on patients of fold {fold}: not comparable")
    catalogue.check_crop(records, recipe)
    net = model.build(recipe, weights=False).eval()
    checkpoint.fill(net, content["average"], str(other))
    pictures = dataset.Pictures.read(cache, catalogue.split(records, fold)[1], recipe.classes)
    return held_out.predict(net, pictures, recipe)


def _input_name(recipe: Recipe, served: Recipe) -> str:
    """A part of a file's name; empty where the input is that of training."""
    if served == recipe:
        return ""
    return f"-{served.crop or 'whole'}-{served.size}-{'mirror' if served.mirror else 'single'}"


def save(tables: HeldOutPredictions, path: Path) -> None:
    """Write predictions; a killed process leaves no incomplete file."""
    fresh = path.with_suffix(".new.npz")
    np.savez_compressed(fresh, **vars(tables))
    fresh.replace(path)


def load(path: Path) -> HeldOutPredictions:
    """What `save` wrote."""
    with np.load(path) as file:
        arrays: dict[str, Any] = {name: file[name] for name in file.files}
    arrays["size"] = int(arrays["size"])
    return HeldOutPredictions(**arrays)


def report(
    recipe: Recipe,
    records: list[Record],
    tables: dict[int, HeldOutPredictions],
    replicates: int = 2000,
) -> dict[str, Any]:
    """Pooled numbers with intervals, and each fold's own."""
    outline = recipe.image_weight == 0

    def measure(chosen: list[HeldOutPredictions]) -> dict[str, Any]:
        if outline:
            return held_out.outline_report(held_out.concatenated(chosen), replicates)
        found: dict[str, Any] = held_out.pooled(chosen, replicates)["metrics"]
        return found

    folds = {}
    evaluated: list[Record] = []
    for fold, table in tables.items():
        training, left_out = train.split(recipe.of_fold(fold), records)
        evaluated += left_out
        folds[str(fold)] = {
            "counts": catalogue.counts(training, left_out),
            "metrics": measure([table]),
        }
    every = list(tables.values())
    more: dict[str, Any] = {}
    if not outline:
        more["kaggle"] = held_out.for_kaggle(every, replicates)
        more["pixels"] = held_out.pixels(every, replicates)
        more["subgroups"] = held_out.groups(every, evaluated)
    return {
        "recipe": recipe.to_dict(),
        "how": POOLED,
        "data_share": recipe.data_share,
        "metrics": measure(every),
        **more,
        "folds": folds,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """A report in a few lines: the pooled numbers, each fold's, and what groups differ in."""
    folds = found["folds"].values()
    text = [
        f"{_line(name, value)}  folds: "
        + " ".join(number(fold["metrics"][name]["value"]) for fold in folds)
        for name, value in found["metrics"].items()
    ]
    for part in ("kaggle", "pixels"):
        text += [_line(name, value) for name, value in found.get(part, {}).items()]
    text += [
        _line(f"difference: {name}", value) for name, value in found.get("against", {}).items()
    ]
    for trait, groups in found.get("subgroups", {}).items():
        for group, part in groups.items():
            text += [
                _line(f"{trait} {group}: {name}", part[name])
                for name in ("positive_dice", "sensitivity", "specificity", "auc")
                if part.get(name, {}).get("value") is not None
            ]
    return text


def _line(name: str, value: dict[str, float | None]) -> str:
    mean, low, high = (number(value[key]) for key in ("value", "low", "high"))
    return f"{name:32} {mean} ({low}-{high})"
