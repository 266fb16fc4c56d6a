"""Reading what a training run wrote: a checkpoint's content, its recipe, its networks' weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ml.errors import BadInput
from ml.recipe import Recipe
from ml.runtime import session

NEEDED = ("config", "net", "average")


class BadCheckpoint(BadInput):
    """A file that is no checkpoint of ours, or one of another recipe or architecture."""


def read(path: Path) -> tuple[dict[str, Any], Recipe]:
    """A checkpoint's content on the CPU and its recipe.

    Recipe keys that an older checkpoint lacks have their defaults. A shipped
    model's folder is read like the checkpoint that it came from.
    Raises BadCheckpoint where the file is none, OSError where there is no file.
    """
    if path.is_dir():
        return _shipped(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise BadCheckpoint(f"{path} is not a checkpoint") from error
    if not isinstance(content, dict) or any(name not in content for name in NEEDED):
        raise BadCheckpoint(f"{path} is not a checkpoint of `train`")
    try:
        return content, Recipe.from_dict(content["config"])
    except BadInput as error:
        raise BadCheckpoint(f"{path}: {error}") from error


def read_trained(path: Path) -> tuple[dict[str, Any], Recipe]:
    """`read`; BadCheckpoint for a network that was pretrained by masked image modelling only."""
    content, recipe = read(path)
    if recipe.hidden:
        raise BadCheckpoint(
            f"{path} was pretrained on hidden patches and has no image-level output: start a run "
            f"from it "
            "(`train --start`)"
        )
    return content, recipe


def _shipped(folder: Path) -> tuple[dict[str, Any], Recipe]:
    """A model's folder as a checkpoint's content, with the name and version of the model."""
    card = session.read_card(folder)
    tensors = safetensors.torch.load(session.checked(folder, card, session.TENSORS))
    average = {name: value.float() for name, value in tensors.items()}
    try:
        trained = card["trained"]
        content = {
            "config": trained["config"],
            "net": average,
            "average": average,
            "elapsed": 60 * float(trained["minutes"]),
            "epoch": trained["epochs"],
            "date": trained["date"],
            "of": f"{card['name']} {card['version']}",
            "begun_with": trained.get("begun_with", []),
        }
        return content, Recipe.from_dict(trained["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(f"the card in {folder} has no record of its training") from error


def weights(path: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, or those of a shipped model (`model.safetensors`)."""
    if path.suffix != ".safetensors":
        content, _ = read(path)
        average: dict[str, Tensor] = content["average"]
        return average
    try:
        return {name: value.float() for name, value in safetensors.torch.load_file(path).items()}
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{path} is not there") from error
    except safetensors.SafetensorError as error:
        raise BadCheckpoint(f"{path} is no safetensors file") from error


def history(path: Path) -> list[dict[str, Any]]:
    """The runs that trained the weights, the first one first; none where there is no record."""
    try:
        content, recipe = read(path.parent if path.suffix == ".safetensors" else path)
    except (BadInput, OSError):  # weights without a card, or with one that has no record
        return []
    return runs_of(content, recipe)


def runs_of(content: dict[str, Any], recipe: Recipe) -> list[dict[str, Any]]:
    """`history` of a content that was read.

    For each run: its recipe's name, the pretrained weights, the number of augmented pictures and
    the minutes.
    """
    if not {"epoch", "elapsed"} <= set(content):
        return []
    drawn = content["epoch"] * recipe.epoch_pictures
    if "step" in content:  # the last epoch may have ended early
        drawn = content["step"] * recipe.batch * recipe.accumulate
    run = {
        "recipe": recipe.name,
        "pretrained": recipe.pretrained,
        "pictures": drawn,
        "minutes": round(content["elapsed"] / 60, 1),
    }
    return [*content.get("begun_with", []), run]


def unseen(path: Path) -> set[int] | None:
    """The folds whose patients a checkpoint was not trained on; None where there is no record.

    For weights alone (`model.safetensors`) the card beside them is read. An ensemble whose members
    held different folds out was trained on all of them.
    """
    if path.suffix == ".safetensors":
        path = path.parent
        if not (path / session.CARD).is_file():
            return None
    content, recipe = read(path)
    if "unseen" in content:
        return set(content["unseen"])
    folds = set(content.get("folds", [recipe.held_out_fold]))
    return folds if len(folds) == 1 else set()


def fill(net: nn.Module, weights: dict[str, Tensor], what: str) -> None:
    """Load weights strictly; BadCheckpoint, naming `what`, where they do not fit the network."""
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise BadCheckpoint(f"{what} holds another architecture than its recipe") from error
