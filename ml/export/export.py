"""From a checkpoint to what is shipped: `python -m ml export --checkpoint FILE --out DIR`.

Writes `<out>/<name>/` with `model.safetensors` (fp16), `model.xml` and `model.bin` (OpenVINO,
weights in float32) and `card.json`, and, if the model was measured, names that folder in
`<out>/CURRENT`: what is served is never a model without numbers, unless `--current` asks for it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ml import cli_options, output_places
from ml.errors import BadInput
from ml.evaluation import card_numbers
from ml.export import cascade, exported_card, graph
from ml.metrics.calibration import Calibration, Thresholds
from ml.network import model
from ml.recipe import Recipe
from ml.runtime import session
from ml.training import checkpoint, requirements

FILES = (session.TENSORS, session.GRAPH, session.GRAPH_WEIGHTS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--checkpoint", type=Path, help="checkpoint.pt of a run, or the folder of a shipped model"
    )
    source.add_argument(
        "--from-weights",
        type=Path,
        metavar="FOLDER",
        help="a shipped model's folder: only its graph is exported again",
    )
    parser.add_argument("--out", type=Path, default=session.WEIGHTS, help="folder of all models")
    parser.add_argument("--name", help="the model's name, instead of the recipe's")
    parser.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        help="average with the prediction for the mirror image, instead of the recipe's setting",
    )
    parser.add_argument(
        "--crop", choices=("", "lungs"), help="the model's crop, instead of the recipe's"
    )
    parser.add_argument(
        "--size",
        type=cli_options.within(int, 32, 4096),
        help="side of its input, instead of the recipe's, px",
    )
    parser.add_argument(
        "--gate",
        type=Path,
        metavar="FOLDER",
        help="a measured model that runs first: a picture that it does not call at its point of "
        "high sensitivity is not outlined; it must have held out the same fold",
    )
    parser.add_argument("--version", default="1", help="the model's version")
    parser.add_argument(
        "--cache",
        type=Path,
        help="folder made by `prepare`: calibrate and choose thresholds on the held-out fold; "
        "without it the model is uncalibrated and unmeasured, as its card states",
    )
    parser.add_argument(
        "--current",
        action="store_true",
        help="serve the model although it was not measured; a measured one always is",
    )


def run(args: argparse.Namespace) -> int:
    """Export one checkpoint and, if it was measured, make it the current model."""
    output_places.check_folder(args.out, make=False)
    if args.from_weights:
        print(
            f"{importlib.import_module('ml.export.reexport').reexport(args.from_weights, args.out)}"
        )
        return 0
    content, recipe = checkpoint.read_trained(args.checkpoint)
    recipe = recipe.served(args.crop, args.size, args.mirror)
    name = args.name or recipe.name
    if args.size:
        requirements.check_sizes(recipe)
    measured = args.cache is not None
    if Path(name).name != name or name.startswith("."):
        raise BadInput(f"a model cannot be called {name!r}: its name is that of a folder")
    folds: list[int] = content.get("folds", [recipe.held_out_fold])
    if measured and min(folds) < 0:
        raise BadInput("this run held no fold out: it cannot be measured (no --cache)")
    if not measured and not args.current and _current(args.out) == name:
        raise BadInput(
            f"{name} is the model that is served; an unmeasured one needs another --name, "
            "or --current to take its place"
        )
    net = model.build(recipe, weights=False).eval()
    checkpoint.fill(net, content["average"], str(args.checkpoint))
    facts: dict[str, Any] = {
        "name": name,
        "version": args.version,
        "trained": {
            "date": content.get("date")
            or datetime.fromtimestamp(args.checkpoint.stat().st_mtime, UTC).date().isoformat(),
            "minutes": round(content["elapsed"] / 60, 1),
            "epochs": content["epoch"],
            "config": recipe.to_dict(),
            **({"weights_of": content["of"]} if "of" in content else {}),
            **({"begun_with": content["begun_with"]} if content.get("begun_with") else {}),
        },
    }
    first = None
    if args.gate:
        facts["gate"], first = cascade.first_stage(args.gate, folds)
    calibration, thresholds = Calibration(), Thresholds()
    limits = list(exported_card.LIMITS)
    if recipe.image_weight == 0:  # an outline alone: the lung fields
        limits = list(exported_card.OUTLINE_LIMITS)
        facts["data"] = dict(exported_card.OUTLINE_DATA)
    if measured:
        net.load_state_dict(half_precision(net))  # measure exactly what is shipped
        calibration, thresholds, found = card_numbers.of(net, recipe, args.cache, folds, first)
        facts |= found | {"data": facts.get("data", {}) | found["data"]}
    else:
        limits.append("Neither calibrated nor measured: not for any use but building software.")
    folder = write(args.out, net, recipe, calibration, thresholds, facts, limits)
    if recipe.image_weight == 0:
        print("a lung finder: opened by its name, never as the model that is served")
    elif measured or args.current:
        _make_current(args.out, folder.name)
    else:
        print("not measured, so not made the model that is served (--current would)")
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def _current(out: Path) -> str:
    try:
        return (out / "CURRENT").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _make_current(out: Path, name: str) -> None:
    fresh = out / ".CURRENT.new"
    fresh.write_text(name + "\n", encoding="utf-8")
    os.replace(fresh, out / "CURRENT")


def write(
    out: Path,
    net: model.Network,
    recipe: Recipe,
    calibration: Calibration,
    thresholds: Thresholds,
    facts: dict[str, Any],
    limits: list[str],
) -> Path:
    """Write one model's folder; facts: the card's parts that do not follow from the rest.

    Written beside the folder of that name, which it replaces when it is complete: a worker that
    starts meanwhile, or an export that fails, never sees half of a model.
    """
    name = str(facts["name"])
    folder = out / f".{name}.new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    half = half_precision(net)
    net.load_state_dict(half)
    (folder / session.TENSORS).write_bytes(safetensors.torch.save(half))
    graph.save(graph.to_openvino(net, recipe, calibration), folder)
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    card = exported_card.build(recipe, calibration, thresholds, facts, limits, sums)
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (folder / session.CARD).write_text(text, encoding="utf-8")
    return replace_folder(folder, out / name)


def replace_folder(fresh: Path, place: Path) -> Path:
    """Rename a folder to `place`; an old folder there is deleted afterwards."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return place


def half_precision(net: nn.Module) -> dict[str, Tensor]:
    """The network's state in fp16; BadInput where a weight overflows that.

    Batch-norm statistics stay as they are: they are few, and a variance can be of any size.
    """
    state = {}
    for name, value in net.state_dict().items():
        weight = value.dtype.is_floating_point and not name.endswith(
            ("running_mean", "running_var")
        )
        half = value.half() if weight else value
        if not bool(torch.isfinite(half.float()).all()):
            raise BadInput(f"{name} does not fit into fp16")
        state[name] = half.contiguous()
    return state
