"""Curves against their definitions, by trying every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.metrics import curves, measures

ANSWERS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]), st.booleans()),
    min_size=2,
    max_size=30,
)


def split(answers: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    probability, positive = zip(*answers, strict=True)
    return np.array(probability), np.array(positive)


@given(ANSWERS)
@settings(max_examples=200)
def test_the_area_under_the_roc_is_the_auc(answers):
    probability, positive = split(answers)
    curve = curves.roc(probability, positive)
    if curve is None:
        assert positive.all() or not positive.any()
        return
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(measures.auc(probability, positive))
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)


@given(ANSWERS)
@settings(max_examples=200)
def test_precision_and_recall_are_those_of_each_threshold(answers):
    probability, positive = split(answers)
    curve = curves.precision_recall(probability, positive)
    if curve is None:
        assert not positive.any()
        assert math.isnan(curves.average_precision(probability, positive))
        return
    for recall, precision, threshold in zip(curve.x, curve.y, curve.threshold, strict=True):
        called = probability >= threshold
        assert recall == pytest.approx(called[positive].mean())
        assert precision == pytest.approx(positive[called].mean())


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.5, 2.0]), st.booleans()), min_size=1, max_size=20)
)
@settings(max_examples=200)
def test_risk_is_the_mean_loss_of_the_pictures_kept(pairs):
    sure, wrong = split(pairs)
    curve = curves.risk_coverage(sure, wrong.astype(float))
    for coverage, risk, level in zip(curve.x, curve.y, curve.threshold, strict=True):
        kept = sure >= level
        assert coverage == pytest.approx(kept.mean())
        assert risk == pytest.approx(wrong[kept].mean())
    assert curves.risk_at(curve, 1.0) == pytest.approx(wrong.mean())


def test_keeping_the_surest_lowers_the_risk_only_if_confidence_tells_something():
    sure = np.arange(100.0)
    wrong = (np.arange(100) < 20).astype(float)  # exactly the least sure are wrong
    curve = curves.risk_coverage(sure, wrong)
    assert curves.risk_at(curve, 0.8) == 0.0
    assert curves.risk_at(curve, 0.9) == pytest.approx(1 / 9)
    assert curves.area_under_risk(sure, wrong) < curves.area_under_risk(-sure, wrong)
    assert curves.area_under_risk(np.ones(100), wrong) == pytest.approx(0.2)


def test_confidence_is_the_distance_from_the_threshold_not_from_one_half():
    sure = curves.confidence(np.array([0.1, 0.05, 0.3, 0.0, 1.0]), 0.1)
    assert sure[0] == pytest.approx(0, abs=1e-9)
    assert sure[1] == pytest.approx(np.log(9 / 1) * -1 + np.log(19))
    assert np.isfinite(sure).all()
    assert sure[4] > sure[2] > sure[1]


def test_points_keep_both_ends_and_stay_few():
    random = np.random.default_rng(0)
    curve = curves.roc(random.random(3000), random.random(3000) < 0.5)
    assert curve is not None
    points = curve.points(50)
    assert len(points) == 50
    assert (points[0], points[-1]) == ([0, 0], [1, 1])
