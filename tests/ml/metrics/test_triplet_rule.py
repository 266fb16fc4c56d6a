"""The triplet rule, and that it never flatters itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.errors import BadInput
from ml.metrics import calibration, measures, triplet_rule
from ml.metrics.calibration import GRID, HeldOutPredictions
from ml.metrics.triplet_rule import Triplet


def pictures(count: int = 200, seed: int = 0, peak_tells: bool = True) -> HeldOutPredictions:
    """Pictures of 100 x 100; on negatives outlines are as large, but never reach 0.7 if peak_tells.

    The image's own logit tells nothing.
    """
    rng = np.random.default_rng(seed)
    positive = rng.random(count) < 0.4
    truth = np.where(positive, rng.integers(300, 900, count), 0)
    size = np.where(positive, truth, rng.integers(300, 900, count))[:, None]
    found = size * np.ones(len(GRID))
    if peak_tells:
        found = np.where((GRID >= 0.7) & ~positive[:, None], 0, found)
    counts = found.astype(np.int64)
    return HeldOutPredictions(
        patients=np.array([f"patient {number}" for number in range(count)]),
        image_logits=rng.normal(0, 1, count),
        pixels=np.full(count, 10_000),
        truth=truth,
        hits=np.minimum(counts, truth[:, None]),
        found=counts,
        area_px=counts,
        size=100,
    )


def test_below_the_area_at_the_top_nothing_is_outlined_else_all_above_the_bottom():
    drawn = pictures(50)
    said = triplet_rule.apply(drawn, np.zeros(50), Triplet(top=0.75, area_px=10, bottom=0.3))
    assert (said.called == drawn.positive).all()
    assert (said.predicted[drawn.positive] == drawn.truth[drawn.positive]).all()
    assert (said.predicted[~drawn.positive] == 0).all()


def test_a_gate_takes_away_and_never_adds():
    drawn = pictures(50)
    rule = Triplet(0.75, 10, 0.3)
    gate = np.arange(50) % 2 == 0
    said = triplet_rule.apply(drawn, np.zeros(50), rule, gate)
    assert (said.called == gate).all()
    assert (said.predicted[~gate] == 0).all()


def test_the_chosen_rule_is_the_best_of_those_that_are_tried():
    drawn = pictures(80)
    chosen = triplet_rule.choose(drawn)
    assert chosen.top >= 0.7
    assert measures.kaggle_dice(triplet_rule.apply(drawn, np.zeros(80), chosen)) == 1.0


def test_a_rule_that_is_truly_better_is_found_so():
    found = triplet_rule.compare(pictures(), replicates=200)
    assert "triplet" in found.better
    assert found.scores["triplet"]["kaggle_dice"] == 1.0
    assert found.differences["triplet"]["kaggle_dice"]["low"] > 0
    assert found.facts()["chosen"]["triplet"]["top"] >= 0.7


def test_chance_alone_is_not_called_better():
    """Where nothing tells, a search on the same pictures would find a gain; cross-fitted, none."""
    for seed in range(3):
        drawn = pictures(120, seed=seed, peak_tells=False)
        rng = np.random.default_rng(100 + seed)
        shuffled = rng.permutation(120)
        drawn = replace(drawn, area_px=drawn.area_px[shuffled])
        found = triplet_rule.compare(drawn, replicates=200)
        chosen = triplet_rule.choose(drawn)
        flattered = measures.kaggle_dice(triplet_rule.apply(drawn, np.zeros(120), chosen))
        assert found.scores["triplet"]["kaggle_dice"] <= flattered + 1e-4
        assert found.better == []


def test_the_present_rules_scores_are_the_cross_fitted_ones():
    drawn = pictures(seed=4)
    found = triplet_rule.compare(drawn, replicates=20)
    ours = calibration.cross_fitted(drawn)
    assert found.scores["present"]["kaggle_dice"] == pytest.approx(
        measures.kaggle_dice(ours), abs=1e-4
    )


def test_without_both_classes_there_is_nothing_to_choose():
    drawn = pictures(40)
    with pytest.raises(BadInput):
        triplet_rule.compare(drawn.part(drawn.positive))
