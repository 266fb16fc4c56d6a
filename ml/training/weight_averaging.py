"""Weight averaging over epochs: some epochs' weights are saved, and averaged at the end.

(Stochastic weight averaging, Izmailov et al. 2018.) `<run>/kept/<epochs done>.pt` holds the
averaged weights of one epoch, `<run>/averaged.pt` a checkpoint whose average is their mean.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ml.datasets import dataset
from ml.datasets.on_device.pictures import DevicePictures
from ml.recipe import Recipe
from ml.training import batch_norm, checkpoint, run_state
from ml.training.run_state import State

FOLDER, AVERAGED = "kept", "averaged.pt"


def keep(state: State, out: Path, measure: float | None) -> None:
    """Save the weights of the epoch just done, if it is one of the last, or of the best.

    They are written before the state that lists them, and `tidy` deletes those no longer listed
    after it: a run that is killed in between finds every listed file.
    """
    recipe = state.recipe
    if not recipe.keep or (recipe.keep_by == "best" and measure is None):
        return
    rank = float(state.epoch) if recipe.keep_by == "last" or measure is None else measure
    state.kept = sorted([*state.kept, (rank, state.epoch)], reverse=True)[: recipe.keep]
    if any(epoch == state.epoch for _, epoch in state.kept):
        (out / FOLDER).mkdir(exist_ok=True)
        run_state.write(state.average.state_dict(), _file(out, state.epoch))


def tidy(state: State, out: Path) -> None:
    """Delete the weights that the state no longer lists."""
    named = {_file(out, epoch) for _, epoch in state.kept}
    for path in (out / FOLDER).glob("*.pt"):
        if path not in named:
            path.unlink()


def average(
    state: State,
    recipe: Recipe,
    training: dataset.Pictures,
    out: Path,
    on_device: DevicePictures | None = None,
) -> None:
    """Replace the state's average by that of the kept epochs, and write it as `averaged.pt`."""
    parts = [torch.load(_file(out, epoch), weights_only=True) for _, epoch in sorted(state.kept)]
    checkpoint.fill(state.average, mean(parts), str(out / FOLDER))
    batch_norm.refresh(state.average, recipe, training, on_device)
    run_state.save(state, out / AVERAGED)


def mean(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of networks' weights; counters are those of the last."""
    return {
        name: torch.stack([part[name] for part in parts]).mean(0)
        if value.dtype.is_floating_point
        else value
        for name, value in parts[-1].items()
    }


def _file(out: Path, epochs_done: int) -> Path:
    return out / FOLDER / f"{epochs_done}.pt"
