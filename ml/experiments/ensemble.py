"""Several trained networks become one model: `python -m ml committee --member RUN --out FILE`.

A committee answers with the mean of what its members say. Members of one recipe may have held
different folds out: `export` then measures every picture by the member that never saw its patient.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from ml.errors import BadInput
from ml.recipe import MEMBERS_MAX, Recipe
from ml.training import checkpoint, run_state

# What a committee's members must have in common beside their architecture: what they are shown.
SHOWN = ("size", "crop", "denoise", "clahe", "classes", "mirror")


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
    """Write the committee's checkpoint."""
    content = of([checkpoint.read_trained(path) for path in args.member])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    run_state.write(content, args.out)
    print(f"{args.out}: {len(args.member)} members, held-out folds {content['folds']}")
    return 0


def of(members: list[tuple[dict[str, Any], Recipe]]) -> dict[str, Any]:
    """The checkpoint of a committee, from its members' (content, recipe).

    `folds` lists each member's held-out fold. BadInput where members do not go together.
    """
    recipes = [recipe for _, recipe in members]
    first = recipes[0]
    if not 2 <= len(members) <= MEMBERS_MAX:
        raise BadInput(f"a committee has 2 to {MEMBERS_MAX} members")
    if any(recipe.members > 1 for recipe in recipes):
        raise BadInput("a committee is no member of another one")
    for name in SHOWN:
        if len({getattr(recipe, name) for recipe in recipes}) > 1:
            raise BadInput(f"the members differ in their {name}")
    folds = [recipe.held_out_fold for recipe in recipes]
    same = len(set(folds)) == 1
    if not same and len(set(folds)) < len(folds):
        raise BadInput("members hold one fold out together, or each of them another one")
    weights: dict[str, Tensor] = {}
    for number, (content, _) in enumerate(members):
        _must_fit(members[0][0]["average"], content["average"], number)
        weights |= {f"members.{number}.{k}": v for k, v in content["average"].items()}
    joint = dataclasses.replace(
        first,
        members=len(members),
        held_out_fold=folds[0] if same else -1,
        patience=0,  # a matter of the members' training
        keep=0,
    )
    earlier: list[dict[str, Any]] = []  # members may share a beginning
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
        raise BadInput(f"member {number + 1} is of another architecture than the first")
