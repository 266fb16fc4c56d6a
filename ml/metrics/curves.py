"""Curves of a classifier: ROC, precision-recall, and risk against coverage. Pure functions.

Every curve has one point for each distinct threshold, no smoothing and no interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.metrics.measures import Flags, Floats


@dataclass(frozen=True)
class Curve:
    """Points in the order in which a plot joins them; x and y (n,), threshold (n,)."""

    x: Floats
    y: Floats
    threshold: Floats

    def points(self, most: int = 200) -> list[list[float]]:
        """At most so many [x, y], the first and the last among them, for JSON and plots."""
        chosen = np.unique(np.linspace(0, len(self.x) - 1, min(most, len(self.x))).round())
        return [
            [round(float(self.x[k]), 4), round(float(self.y[k]), 4)] for k in chosen.astype(int)
        ]


def _counts(probability: Floats, positive: Flags) -> tuple[Floats, Floats, Floats]:
    """Distinct thresholds from high to low, and the positives and negatives at or above each."""
    order = np.argsort(-probability, kind="stable")
    sorted_, labels = probability[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(sorted_)), len(sorted_) - 1)
    ones = np.cumsum(labels)[last].astype(np.float64)
    return sorted_[last], ones, last + 1 - ones


def roc(probability: Floats, positive: Flags) -> Curve | None:
    """False positive share against sensitivity, from (0, 0) to (1, 1); None for one class only."""
    if positive.all() or not positive.any():
        return None
    threshold, ones, zeros = _counts(probability, positive)
    return Curve(
        np.append(0.0, zeros / zeros[-1]),
        np.append(0.0, ones / ones[-1]),
        np.append(np.inf, threshold),
    )


def precision_recall(probability: Floats, positive: Flags) -> Curve | None:
    """Recall against precision, recall rising; None without a positive."""
    if not positive.any():
        return None
    threshold, ones, zeros = _counts(probability, positive)
    return Curve(ones / ones[-1], ones / (ones + zeros), threshold)


def average_precision(probability: Floats, positive: Flags) -> float:
    """The step-wise area under the precision-recall curve, as scikit-learn defines it."""
    curve = precision_recall(probability, positive)
    if curve is None:
        return float("nan")
    return float((np.diff(curve.x, prepend=0.0) * curve.y).sum())


def confidence(probability: Floats, threshold: float) -> Floats:
    """How far a probability is from the threshold that calls a picture, in log odds.

    In log odds, because the threshold is far from 0.5 and one side would else look unsure.
    """

    def odds(p: Floats) -> Floats:
        kept = np.clip(p, 1e-6, 1 - 1e-6)
        found: Floats = np.log(kept / (1 - kept))
        return found

    distance: Floats = np.abs(odds(probability) - odds(np.array([threshold])))
    return distance


def risk_coverage(certainty: Floats, wrong: Floats) -> Curve:
    """Coverage against the mean error among the answered pictures, the most certain first.

    certainty (n,): confidence; wrong (n,): the loss of each, 0..1. Pictures of one confidence are
    kept or left together (El-Yaniv and Wiener 2010).
    """
    order = np.argsort(-certainty, kind="stable")
    sorted_ = certainty[order]
    last = np.append(np.flatnonzero(np.diff(sorted_)), len(sorted_) - 1)
    total = np.cumsum(wrong[order].astype(np.float64))[last]
    return Curve((last + 1) / len(certainty), total / (last + 1), sorted_[last])


def risk_at(curve: Curve, coverage: float) -> float:
    """The risk when at least this share of pictures is kept, as few more as possible."""
    return float(curve.y[np.searchsorted(curve.x, coverage - 1e-9)])


def area_under_risk(certainty: Floats, wrong: Floats) -> float:
    """AURC: the risk averaged over all coverages 1/n .. 1 (Geifman et al. 2019)."""
    curve = risk_coverage(certainty, wrong)
    return float((np.diff(curve.x, prepend=0.0) * curve.y).sum())
