"""What an evaluation reports: one dictionary, ready for JSON, text and pages.

Owns its layout. Everything that depends on a number chosen on these same pictures is cross-fitted
(`triplet`), or not in here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import BadInput
from ml.metrics import bootstrap, curves, measures, subgroups, triplet_rule
from ml.metrics.calibration import HeldOutPredictions
from ml.metrics.measures import Floats, Results
from ml.metrics.subgroups import Traits

# Shares of the pictures that a model may keep, leaving the rest to people alone.
COVERAGES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


def measured(
    results: Results,
    patients: NDArray[np.str_],
    known: list[Traits],
    threshold: float,
    replicates: int,
) -> dict[str, Any]:
    """All that follows from the results; threshold: the image probability that calls a picture."""
    probability, positive = results.probability, results.positive
    found = bootstrap.summary(results, patients, replicates)
    return {
        "measures": {name: asdict(measure) for name, measure in found.items()},
        "subgroups": subgroups.report(results, patients, known, min(replicates, 500)),
        "reliability": [asdict(bar) for bar in measures.reliability(probability, positive)],
        "roc": _points(curves.roc(probability, positive)),
        "precision_recall": _points(curves.precision_recall(probability, positive)),
        "average_precision": curves.average_precision(probability, positive),
        "abstention": abstention(results, threshold),
        "sizes": sizes(results),
    }


def abstention(results: Results, threshold: float) -> dict[str, Any]:
    """Errors of the call, and loss of Kaggle Dice, when the least certain pictures are left out."""
    certainty = curves.confidence(results.probability, threshold)
    losses = {
        "wrong_call": (results.called != results.positive).astype(np.float64),
        "dice_loss": 1 - measures.dice(results.hits, results.predicted, results.truth),
    }
    report = {}
    for name, loss in losses.items():
        curve = curves.risk_coverage(certainty, loss)
        report[name] = {
            "curve": curve.points(),
            "area": curves.area_under_risk(certainty, loss),
            "at": {f"{share:g}": curves.risk_at(curve, share) for share in COVERAGES},
        }
    return report


def sizes(results: Results) -> list[list[float]]:
    """[share of the picture that the true outline covers, Dice] of every positive."""
    some = results.take(results.positive)
    dice = measures.dice(some.hits, some.predicted, some.truth)
    share = some.truth / some.pixels
    return [[round(float(a), 6), round(float(b), 4)] for a, b in zip(share, dice, strict=True)]


def borders(mean: Floats, hausdorff95: Floats) -> dict[str, Any]:
    """Medians over pictures where both outlines exist, in pixels of the masks."""
    there = ~np.isnan(mean)
    return {
        "pictures": int(there.sum()),
        "mean_px": _median(mean[there]),
        "hausdorff95_px": _median(hausdorff95[there]),
    }


def rules(held_out: HeldOutPredictions, replicates: int) -> dict[str, Any] | None:
    """The cross-fitted comparison with the triplet rule; None where there are too few pictures."""
    try:
        return triplet_rule.compare(held_out, replicates).facts()
    except BadInput:
        return None


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _points(curve: curves.Curve | None) -> list[list[float]] | None:
    return None if curve is None else curve.points()
