"""How a run changes with its progress: learning rate, size, share of positives, early stopping.

`progress` is the share of the run that is done, 0..1. Sources: one-cycle, Smith and Topin 2018,
with the shape of torch's OneCycleLR (momentum stays as it is); the plateau rule is that of torch's
ReduceLROnPlateau in its relative mode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ml.recipe import Recipe

ONECYCLE_START, ONECYCLE_END = 1 / 25, 1 / 25e4  # of the highest rate


@dataclass
class ScheduleState:
    """The plateau's state and the best epoch of a run. (The names are those in a checkpoint.)"""

    plateau_factor: float = 1.0
    best_loss: float = math.inf
    waited: int = 0  # epochs since best_loss
    best_measure: float = -math.inf  # the best `stop_on` of the held-out fold
    best_epoch: int = 0  # epochs done when it was measured


def rate_at(recipe: Recipe, progress: float) -> float:
    """Factor on the learning rates, 0..1.

    Linear warm-up, then a cosine, or flat for "plateau"; "onecycle" has its own slow rise.
    """
    progress = min(progress, 1.0)
    if recipe.schedule == "onecycle":
        if progress < recipe.onecycle_rise:
            return _cosine(ONECYCLE_START, 1.0, progress / recipe.onecycle_rise)
        fallen = (progress - recipe.onecycle_rise) / (1 - recipe.onecycle_rise)
        return _cosine(1.0, ONECYCLE_END, fallen)
    if progress < recipe.warmup:
        return max(progress / recipe.warmup, 0.01)
    if recipe.schedule == "plateau":
        return 1.0
    return _cosine(1.0, 0.0, (progress - recipe.warmup) / (1 - recipe.warmup))


def _cosine(begin: float, end: float, progress: float) -> float:
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * progress))


def size_at(recipe: Recipe, progress: float) -> int:
    """Side of the training pictures at this progress, px."""
    return [size for begin, size in recipe.size_from if begin <= progress][-1]


def share_at(recipe: Recipe, progress: float) -> float:
    """Share of positives among the pictures that are drawn."""
    first, last = recipe.positive_share
    return first + (last - first) * progress


def record_loss(state: ScheduleState, recipe: Recipe, loss: float) -> None:
    """Record an epoch's training loss; lower the rate where it has stopped falling."""
    if loss < state.best_loss * (1 - recipe.plateau_threshold):
        state.best_loss, state.waited = float(loss), 0
    else:
        state.waited += 1
    if recipe.schedule == "plateau" and state.waited > recipe.plateau_patience:
        state.plateau_factor, state.waited = state.plateau_factor * recipe.plateau_factor, 0


def record_measure(state: ScheduleState, measure: float, epochs_done: int) -> None:
    """Record a measure of the held-out fold after so many epochs."""
    if measure > state.best_measure:
        state.best_measure, state.best_epoch = measure, epochs_done


def is_over(state: ScheduleState, recipe: Recipe, epochs_done: int) -> bool:
    """Early stopping: whether the held-out measure has not risen for `patience` epochs."""
    return 0 < recipe.patience <= epochs_done - state.best_epoch
