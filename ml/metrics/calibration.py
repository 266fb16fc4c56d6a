"""Temperature and thresholds from held-out pictures, and cross-fitted measures of both.

No torch. What is chosen on some pictures is never measured on the same ones: `cross_fitted`
splits the held-out patients into two halves, chooses on each and measures on the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from ml.errors import BadInput
from ml.metrics import measures
from ml.metrics.measures import Counts, Flags, Floats

# Pixel thresholds that are tried.
GRID: Floats = np.round(np.arange(0.05, 0.96, 0.05), 2)
# Smallest outlines that are tried, as shares of the network's square (58 px at 384).
AREA_SHARES = (0.0, 0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032)
# Outlined regions smaller than this share of the network's square are islands: at 384 px 22 px, a
# spot of about 5 mm in an adult. Fixed, not chosen: too few pictures have any to choose by.
ISLAND_SHARE = 0.00015
HIGH_SENSITIVITY = 0.95  # sensitivity that the first image threshold reaches
HIGH_SPECIFICITY = 0.97  # specificity that the last one reaches


@dataclass(frozen=True)
class HeldOutPredictions:
    """A network's predictions for n pictures, with T = len(GRID) outlines of each.

    patients: n names. image_logits: (n,), not calibrated. pixels, truth: (n,) pixels of the
    picture and of its true mask; hits, found: (n, T) pixels of the outline inside of the true
    mask and in all; area_px: (n, T) the same outline on the network's square of side `size`.
    """

    patients: NDArray[np.str_]
    image_logits: Floats
    pixels: Counts
    truth: Counts
    hits: Counts
    found: Counts
    area_px: Counts
    size: int

    @property
    def positive(self) -> Flags:
        return self.truth > 0

    def part(self, chosen: Flags) -> HeldOutPredictions:
        """Only the chosen pictures."""
        arrays = [f.name for f in fields(self) if f.name != "size"]
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})


@dataclass(frozen=True)
class Calibration:
    """probability = sigmoid(logit / temperature + bias).

    Guo et al. 2017, with a bias because training shows more positives than the clinic does.
    """

    temperature: float = 1.0
    bias: float = 0.0

    def probability(self, logits: Floats) -> Floats:
        """Calibrated image probabilities."""
        probability: Floats = expit(logits / self.temperature + self.bias)
        return probability


@dataclass(frozen=True)
class Thresholds:
    """mask: on a pixel's probability; area_px_min: on the network's square; the rest: image."""

    mask: float = 0.5
    area_px_min: int = 0
    high_sensitivity: float = 0.5
    balanced: float = 0.5
    high_precision: float = 0.5


def fit(logits: Floats, positive: Flags) -> Calibration:
    """Most likely temperature and bias: logistic regression on one number (Platt 1999).

    A weak prior towards "as it is" keeps the answer finite where the classes are separated.
    """

    def cost(weights: Floats) -> float:
        z = weights[0] * logits + weights[1]
        entropy = np.logaddexp(0, z) - positive * z
        return float(entropy.sum() + 0.005 * ((weights[0] - 1) ** 2 + weights[1] ** 2))

    slope, bias = minimize(cost, np.array([1.0, 0.0]), method="Nelder-Mead").x.tolist()
    return Calibration(temperature=1 / max(slope, 1e-3), bias=bias)


def results(
    held_out: HeldOutPredictions,
    calibration: Calibration,
    thresholds: Thresholds,
    called_only: bool = True,
) -> measures.Results:
    """The shown results: an outline only where the picture is called and it is large enough.

    called_only False: every outline counts, called or not.
    """
    column = int(np.abs(GRID - thresholds.mask).argmin())
    probability = calibration.probability(held_out.image_logits)
    called = probability >= thresholds.balanced
    large = held_out.area_px[:, column] >= max(thresholds.area_px_min, 1)
    shown = (called & large) | (not called_only)
    return measures.Results(
        hits=held_out.hits[:, column] * shown,
        predicted=held_out.found[:, column] * shown,
        truth=held_out.truth,
        pixels=held_out.pixels,
        probability=probability,
        called=called,
    )


def choose(held_out: HeldOutPredictions, calibration: Calibration) -> Thresholds:
    """Thresholds for these pictures.

    mask: best mean Dice over the positives. balanced: the most of sensitivity + specificity
    (Youden 1950), because Kaggle Dice rewards a weak model for calling nothing. area_px_min: best
    Kaggle Dice at that point.
    high_sensitivity, high_precision: the operating points named at the top of this module.
    Raises BadInput where a class is missing: no threshold follows from one class alone.
    """
    _require_both(held_out.positive)
    probability = calibration.probability(held_out.image_logits)

    def positive_dice(mask: float) -> float:
        return measures.positive_dice(
            results(held_out, calibration, Thresholds(mask), called_only=False)
        )

    mask = max(GRID.tolist(), key=positive_dice)
    positive = held_out.positive

    def youden(gate: float) -> float:
        called = probability >= gate
        return float(called[positive].mean() - called[~positive].mean())

    balanced = max(_gates(probability), key=youden)
    options = [
        Thresholds(mask, round(share * held_out.size**2), balanced=balanced)
        for share in AREA_SHARES
    ]
    best = max(options, key=lambda t: measures.kaggle_dice(results(held_out, calibration, t)))
    sensitive = np.quantile(probability[positive], 1 - HIGH_SENSITIVITY, method="lower")
    highest = np.quantile(probability[~positive], HIGH_SPECIFICITY, method="higher")
    precise = np.nextafter(
        highest, 1
    )  # a picture at the threshold is called, and this one should not be
    return replace(
        best,
        high_sensitivity=min(float(sensitive), best.balanced),
        high_precision=max(float(precise), best.balanced),
    )


def choose_for_kaggle(held_out: HeldOutPredictions, calibration: Calibration) -> Thresholds:
    """The thresholds of the best Kaggle Dice, for a comparison with numbers that were chosen so.

    Not for service: where most pictures are healthy it rewards a model for calling little.
    """
    usual = choose(held_out, calibration)
    options = [
        replace(usual, mask=mask, balanced=gate)
        for mask in GRID.tolist()
        for gate in _gates(calibration.probability(held_out.image_logits))
    ]
    return max(options, key=lambda t: measures.kaggle_dice(results(held_out, calibration, t)))


def cross_fitted(
    held_out: HeldOutPredictions,
    called_only: bool = True,
    chosen: Callable[[HeldOutPredictions, Calibration], Thresholds] = choose,
) -> measures.Results:
    """Choose on one half of the patients, apply to the other, both ways round, and pool."""

    def by_thresholds(
        source: HeldOutPredictions, target: HeldOutPredictions, fitted: Calibration
    ) -> measures.Results:
        return results(target, fitted, chosen(source, fitted), called_only)

    return pooled(held_out, by_thresholds)


def pooled(
    held_out: HeldOutPredictions,
    rule: Callable[[HeldOutPredictions, HeldOutPredictions, Calibration], measures.Results],
) -> measures.Results:
    """A rule's results on each half of the patients, in the order of the pictures.

    rule(source, target, calibration): chooses on the source, where the calibration was fitted,
    too, and gives its results on the target.
    """
    first = halves(held_out.patients)
    order, parts = [], []
    for target in (first, ~first):
        source = held_out.part(~target)
        fitted = fit(source.image_logits, source.positive)
        parts.append(rule(source, held_out.part(target), fitted))
        order.append(np.flatnonzero(target))
    back = np.argsort(np.concatenate(order))
    names = [f.name for f in fields(measures.Results)]
    return measures.Results(
        *(np.concatenate([getattr(part, name) for part in parts])[back] for name in names)
    )


def check_halves(patients: NDArray[np.str_], positive: Flags, what: str) -> None:
    """BadInput, naming `what`, where no thresholds can be chosen on one half of these pictures.

    For the time before a network predicts them, or is trained without them.
    """
    first = halves(patients)
    try:
        for half in (first, ~first):
            _require_both(positive[half])
    except BadInput as error:
        raise BadInput(f"{what}: {error}") from None


def _require_both(positive: Flags) -> None:
    some = int(positive.sum())
    if not 0 < some < len(positive):
        raise BadInput(
            f"thresholds are to be chosen on {some} pictures with the finding and "
            f"{len(positive) - some} without: hold out more (each half of the held-out patients "
            "needs both)"
        )


def halves(patients: NDArray[np.str_]) -> Flags:
    """Which pictures belong to the first half; a patient's pictures stay together."""
    digests = [hashlib.sha256(name.encode()).digest()[0] for name in patients.tolist()]
    return np.array([digest % 2 == 0 for digest in digests])


def _gates(probability: Floats, count: int = 60) -> list[float]:
    """Image thresholds to try: quantiles, so that dense regions are tried finely."""
    tried = np.quantile(probability, np.linspace(0.005, 0.995, count))
    return [float(gate) for gate in np.unique(tried)]
