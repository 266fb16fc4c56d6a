"""Measures of a segmentation model, as pure functions on counts and probabilities.

Conventions, because libraries differ on empty masks:

==================  ==========  ==========
truth, prediction   Dice        IoU
==================  ==========  ==========
empty, empty        1           1
empty, something    0           0
something, empty    0           0
==================  ==========  ==========

A measure over no case at all (such as positive Dice without positives) is NaN. Kaggle Dice is the
plain mean of the per-picture Dice above, so Kaggle = share of positives x positive Dice
+ share of negatives x image specificity; Dice = 2 IoU / (1 + IoU) for every picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]

# The specificity at which sensitivities are compared: that of a cleared product.
SPECIFICITY = 0.93
BINS = 15


@dataclass(frozen=True)
class Results:
    """The results of a model on n pictures; every array has the shape (n,).

    hits, predicted, truth, pixels: pixels in both masks, in each, and in the picture.
    probability: calibrated, of the picture; called: whether it was called positive.
    """

    hits: Counts
    predicted: Counts
    truth: Counts
    pixels: Counts
    probability: Floats
    called: Flags

    @property
    def positive(self) -> Flags:
        return self.truth > 0

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, chosen: NDArray[Any]) -> Results:
        """The chosen pictures, by index (repeats allowed) or by flag."""
        return Results(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def concatenated(parts: list[Results]) -> Results:
    """The pictures of several results in one."""
    names = Results.__dataclass_fields__
    return Results(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def dice(hits: Counts, predicted: Counts, truth: Counts) -> Floats:
    """Dice of each picture, 1 where both masks are empty."""
    total = predicted + truth
    return np.where(total == 0, 1.0, 2 * hits / np.maximum(total, 1))


def iou(hits: Counts, predicted: Counts, truth: Counts) -> Floats:
    """Intersection over union of each picture, 1 where both masks are empty."""
    union = predicted + truth - hits
    return np.where(union == 0, 1.0, hits / np.maximum(union, 1))


def kaggle_dice(results: Results) -> float:
    """The competition's score: the mean Dice over all pictures."""
    return _mean(dice(results.hits, results.predicted, results.truth))


def positive_dice(results: Results) -> float:
    """The mean Dice over pictures that have a pneumothorax; a missed one counts 0."""
    some = results.take(results.positive)
    return _mean(dice(some.hits, some.predicted, some.truth))


def positive_iou(results: Results) -> float:
    """The mean IoU over pictures that have a pneumothorax."""
    some = results.take(results.positive)
    return _mean(iou(some.hits, some.predicted, some.truth))


def image_specificity(results: Results) -> float:
    """Share of pictures without a pneumothorax on which nothing was outlined."""
    return _mean(results.predicted[~results.positive] == 0)


def sensitivity(results: Results) -> float:
    """Share of pictures with a pneumothorax that were called positive."""
    return _mean(results.called[results.positive])


def specificity(results: Results) -> float:
    """Share of pictures without a pneumothorax that were not called positive."""
    return _mean(~results.called[~results.positive])


def pixel_precision(results: Results) -> float:
    """Share of all outlined pixels that are right, over all pictures together."""
    return _ratio(results.hits.sum(), results.predicted.sum())


def pixel_recall(results: Results) -> float:
    """Share of all pneumothorax pixels that were outlined, over all pictures together."""
    return _ratio(results.hits.sum(), results.truth.sum())


def pixel_iou(results: Results) -> float:
    """Intersection over union of all outlined and all pneumothorax pixels together."""
    union = results.predicted.sum() + results.truth.sum() - results.hits.sum()
    return _ratio(results.hits.sum(), union)


def pixel_accuracy(results: Results) -> float:
    """Share of all pixels that are right; high for any model, as most pixels are background."""
    wrong = results.predicted.sum() + results.truth.sum() - 2 * results.hits.sum()
    return 1 - _ratio(wrong, results.pixels.sum())


def auc(probability: Floats, positive: Flags) -> float:
    """Area under the ROC curve: how often a positive ranks above a negative, ties half.

    By ranks (Mann-Whitney U), so exact.
    """
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return float("nan")
    _, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    rank = (last - (count - 1) / 2)[place]  # tied values share their mean rank
    return float((rank[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def sensitivity_at_specificity(
    probability: Floats, positive: Flags, wanted: float = SPECIFICITY
) -> float:
    """The best sensitivity of any threshold whose specificity is at least ``wanted``.

    A picture is called positive when its probability is above the threshold.
    """
    negatives = np.sort(probability[~positive])
    if not len(negatives) or not positive.any():
        return float("nan")
    # The lowest threshold that leaves at least the wanted share of negatives at or below it.
    needed = int(np.ceil(wanted * len(negatives) - 1e-9))
    threshold = negatives[needed - 1] if needed else -np.inf
    return _mean(probability[positive] > threshold)


def brier(probability: Floats, positive: Flags) -> float:
    """Mean squared difference between probability and truth."""
    return _mean((probability - positive) ** 2)


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability plot: pictures, mean probability and share of positives."""

    low: float
    high: float
    count: int
    mean_probability: float
    share_positive: float


def reliability(probability: Floats, positive: Flags, bins: int = BINS) -> list[Bin]:
    """The non-empty ones of ``bins`` equally wide bins over 0..1."""
    number = np.minimum((probability * bins).astype(np.int64), bins - 1)
    found = []
    for k in np.unique(number):
        inside = number == k
        found.append(
            Bin(
                low=float(k / bins),
                high=float((k + 1) / bins),
                count=int(inside.sum()),
                mean_probability=_mean(probability[inside]),
                share_positive=_mean(positive[inside]),
            )
        )
    return found


def ece(probability: Floats, positive: Flags, bins: int = BINS) -> float:
    """Expected calibration error: the mean gap of the reliability plot, weighted by pictures."""
    if not len(probability):
        return float("nan")
    bars = reliability(probability, positive, bins)
    gaps = sum(bar.count * abs(bar.mean_probability - bar.share_positive) for bar in bars)
    return gaps / len(probability)


MEASURES: dict[str, Callable[[Results], float]] = {
    "kaggle_dice": kaggle_dice,
    "positive_dice": positive_dice,
    "image_specificity": image_specificity,
    "auc": lambda r: auc(r.probability, r.positive),
    "sensitivity": sensitivity,
    "specificity": specificity,
    "sensitivity_at_specificity_0.93": lambda r: sensitivity_at_specificity(
        r.probability, r.positive
    ),
    "ece": lambda r: ece(r.probability, r.positive),
    "brier": lambda r: brier(r.probability, r.positive),
    "positive_iou": positive_iou,
    "pixel_iou": pixel_iou,
    "pixel_precision": pixel_precision,
    "pixel_recall": pixel_recall,
    "pixel_accuracy": pixel_accuracy,
}


def size_thirds(results: Results) -> list[tuple[str, NDArray[np.int64]]]:
    """Which pictures are the positives of one third by the size of the true outline.

    Each third is joined with all negatives, so that an AUC exists.
    """
    order = np.flatnonzero(results.positive)
    order = order[np.argsort(results.truth[order], kind="stable")]
    negatives = np.flatnonzero(~results.positive)
    parts = zip(("small", "medium", "large"), np.array_split(order, 3), strict=True)
    return [(name, np.concatenate([part, negatives])) for name, part in parts]


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else float("nan")
