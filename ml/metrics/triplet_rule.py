"""The triplet rule compared with the serving rule, both cross-fitted.

The triplet rule (its inventors won the competition of 2019 with it): where fewer than `area` pixels
reach `top` nothing is outlined, else everything that reaches `bottom`. Ours asks the image's own
probability first, and compares the area at `bottom`. The triplet rule is compared alone and after
our image threshold. All are chosen on one half of the patients and measured on the other, both ways
round (see calibration.pooled); only a rule that is better by its paired interval is worth serving.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.metrics import bootstrap, calibration, measures
from ml.metrics.calibration import GRID, Calibration, HeldOutPredictions
from ml.metrics.measures import Flags, Floats, Results

# Tried: the competition's usual range, areas as shares of the network's square.
TOPS = tuple(float(level) for level in GRID if level >= 0.3)
AREAS = (0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064)
SCORES: dict[str, Callable[[Results], float]] = {
    "kaggle_dice": measures.kaggle_dice,
    "positive_dice": measures.positive_dice,
}


@dataclass(frozen=True)
class Triplet:
    """top and bottom: of a pixel's probability; area_px: on the network's square."""

    top: float
    area_px: int
    bottom: float


@dataclass(frozen=True)
class Comparison:
    """Scores of each rule on pictures that did not choose it, and what others gain on 'present'.

    chosen: the rules of all pictures. better: those whose gain in Kaggle Dice has an interval above
    0 and whose positive Dice, which counts a missed pneumothorax as 0, is not clearly lower.
    """

    scores: dict[str, dict[str, float]]
    differences: dict[str, dict[str, dict[str, float]]]
    chosen: dict[str, Triplet]
    better: list[str]

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def apply(
    held_out: HeldOutPredictions, probability: Floats, rule: Triplet, gate: Flags | None = None
) -> Results:
    """What the rule outlines, only on pictures that pass the gate where there is one."""
    top, bottom = _column(rule.top), _column(rule.bottom)
    outlined = held_out.area_px[:, top] >= max(rule.area_px, 1)
    outlined &= True if gate is None else gate
    return Results(
        hits=held_out.hits[:, bottom] * outlined,
        predicted=held_out.found[:, bottom] * outlined,
        truth=held_out.truth,
        pixels=held_out.pixels,
        probability=probability,
        called=outlined if gate is None else gate,
    )


def choose(held_out: HeldOutPredictions, gate: Flags | None = None) -> Triplet:
    """The triplet of the best Kaggle Dice, which it was made for, on these pictures."""
    flat = np.zeros(len(held_out.truth))
    rules = [
        Triplet(top, round(area * held_out.size**2), float(bottom))
        for top in TOPS
        for area in AREAS
        for bottom in GRID
        if bottom <= top
    ]
    return max(rules, key=lambda rule: measures.kaggle_dice(apply(held_out, flat, rule, gate)))


def compare(held_out: HeldOutPredictions, replicates: int = 1000, seed: int = 0) -> Comparison:
    """Cross-fit all rules and compare them on the same draws of patients.

    BadInput where a half lacks positives or negatives.
    """

    def alone(
        source: HeldOutPredictions, target: HeldOutPredictions, fitted: Calibration
    ) -> Results:
        return apply(target, fitted.probability(target.image_logits), choose(source))

    def gated(
        source: HeldOutPredictions, target: HeldOutPredictions, fitted: Calibration
    ) -> Results:
        level = calibration.choose(source, fitted).balanced
        rule = choose(source, fitted.probability(source.image_logits) >= level)
        probability = fitted.probability(target.image_logits)
        return apply(target, probability, rule, probability >= level)

    present = calibration.cross_fitted(held_out)
    others = {
        "triplet": calibration.pooled(held_out, alone),
        "gated_triplet": calibration.pooled(held_out, gated),
    }
    fitted = calibration.fit(held_out.image_logits, held_out.positive)
    level = calibration.choose(held_out, fitted).balanced
    draws = list(bootstrap.draws(held_out.patients, replicates, seed))
    differences = {
        name: {key: _difference(other, present, score, draws) for key, score in SCORES.items()}
        for name, other in others.items()
    }
    return Comparison(
        scores={
            name: {key: round(score(results), 4) for key, score in SCORES.items()}
            for name, results in {"present": present, **others}.items()
        },
        differences=differences,
        chosen={
            "triplet": choose(held_out),
            "gated_triplet": choose(held_out, fitted.probability(held_out.image_logits) >= level),
        },
        better=[
            name
            for name, found in differences.items()
            if found["kaggle_dice"]["low"] > 0 and found["positive_dice"]["high"] >= 0
        ],
    )


def _difference(
    first: Results,
    second: Results,
    score: Callable[[Results], float],
    draws: list[NDArray[np.int64]],
) -> dict[str, float]:
    """first - second with a paired 95 % interval."""
    drawn = [score(first.take(chosen)) - score(second.take(chosen)) for chosen in draws]
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return {
        "value": round(score(first) - score(second), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def _column(level: float) -> int:
    return int(np.abs(GRID - level).argmin())
