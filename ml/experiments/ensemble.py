"""Several trained networks as one model: `python -m ml ensemble --member RUN --out FILE`.

An ensemble predicts the mean of its members. Members of one recipe may have held different folds
out: `export` then measures every picture by the member that held its patient out.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from ml import output_places
from ml.errors import BadInput
from ml.recipe import MEMBERS_MAX, Recipe
from ml.training import checkpoint, run_state

# What the members of an ensemble must have in common beside their architecture: the input.
SAME_INPUT = ("size", "crop", "denoise", "clahe", "classes", "mirror")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--member",
        type=Path,
        action="append",
        required=True,
        help="a checkpoint.pt or a shipped model's folder; given once for each member",
    )
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")


def run(args: argparse.Namespace) -> int:
    """Write the ensemble's checkpoint."""
    output_places.check_file(args.out)
    content = of([checkpoint.read_trained(path) for path in args.member])
    run_state.write(content, args.out)
    print(f"{args.out}: {len(args.member)} members, held-out folds {content['folds']}")
    return 0


def of(members: list[tuple[dict[str, Any], Recipe]]) -> dict[str, Any]:
    """The checkpoint of an ensemble, from its members' (content, recipe).

    `folds` lists each member's held-out fold. BadInput where members do not go together.
    """
    recipes = [recipe for _, recipe in members]
    first = recipes[0]
    if not 2 <= len(members) <= MEMBERS_MAX:
        raise BadInput(f"an ensemble has 2 to {MEMBERS_MAX} members")
    if any(recipe.members > 1 for recipe in recipes):
        raise BadInput("an ensemble cannot be a member of another one")
    for name in SAME_INPUT:
        if len({getattr(recipe, name) for recipe in recipes}) > 1:
            raise BadInput(f"the members differ in their {name}")
    folds = [recipe.held_out_fold for recipe in recipes]
    same = len(set(folds)) == 1
    if not same and len(set(folds)) < len(folds):
        raise BadInput("members hold out the same fold, or each another one")
    weights: dict[str, Tensor] = {}
    for number, (content, _) in enumerate(members):
        _must_fit(members[0][0]["average"], content["average"], number)
        weights |= {f"members.{number}.{k}": v for k, v in content["average"].items()}
    joint = dataclasses.replace(
        first,
        members=len(members),
        held_out_fold=folds[0] if same else -1,
        patience=0,  # settings of the members' training
        keep=0,
    )
    earlier: list[dict[str, Any]] = []  # members may share earlier runs
    for content, recipe in members:
        earlier += [run for run in checkpoint.runs_of(content, recipe) if run not in earlier]
    return {
        "begun_with": earlier,
        "config": joint.to_dict(),
        "net": weights,
        "average": weights,
        "elapsed": sum(content["elapsed"] for content, _ in members),
        "epoch": max(content["epoch"] for content, _ in members),
        "folds": folds,
    }


def _must_fit(first: dict[str, Tensor], other: dict[str, Tensor], number: int) -> None:
    if {k: v.shape for k, v in first.items()} != {k: v.shape for k, v in other.items()}:
        raise BadInput(f"member {number + 1} has another architecture than the first")
