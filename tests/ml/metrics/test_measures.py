"""Measures against their definitions, written out the slow way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.metrics import measures
from ml.metrics.measures import Results
from tests.support.ml.random_results import random_results


def results(
    masks: list[tuple[np.ndarray, np.ndarray]],
    probability: list[float] | None = None,
    called: list[bool] | None = None,
) -> Results:
    """Results of pairs of masks: predicted, true."""
    n = len(masks)
    return Results(
        hits=np.array([(p & t).sum() for p, t in masks], dtype=np.int64),
        predicted=np.array([p.sum() for p, _ in masks], dtype=np.int64),
        truth=np.array([t.sum() for _, t in masks], dtype=np.int64),
        pixels=np.array([t.size for _, t in masks], dtype=np.int64),
        probability=np.array(probability if probability is not None else [0.5] * n),
        called=np.array(called if called is not None else [bool(p.any()) for p, _ in masks]),
    )


def mask(*on: int, size: int = 8) -> np.ndarray:
    flat = np.zeros(size, dtype=bool)
    flat[list(on)] = True
    return flat


EMPTY_CASES = [
    pytest.param(mask(), mask(), 1.0, 1.0, id="both empty"),
    pytest.param(mask(1, 2), mask(), 0.0, 0.0, id="something said, nothing there"),
    pytest.param(mask(), mask(1, 2), 0.0, 0.0, id="nothing said, something there"),
    pytest.param(mask(1), mask(2), 0.0, 0.0, id="apart"),
    pytest.param(mask(1, 2), mask(1, 2), 1.0, 1.0, id="the same"),
    pytest.param(mask(1, 2), mask(2, 3), 0.5, 1 / 3, id="half"),
]


@pytest.mark.parametrize(("predicted", "truth", "dice", "iou"), EMPTY_CASES)
def test_dice_and_iou_of_one_picture(predicted, truth, dice, iou):
    one = results([(predicted, truth)])
    assert measures.dice(one.hits, one.predicted, one.truth)[0] == pytest.approx(dice)
    assert measures.iou(one.hits, one.predicted, one.truth)[0] == pytest.approx(iou)
    assert measures.kaggle_dice(one) == pytest.approx(dice)


@st.composite
def many(draw: st.DrawFn) -> Results:
    """A few pictures of eight pixels, with empty masks on either side quite often."""
    count = draw(st.integers(1, 12))
    one = st.one_of(st.just(0), st.integers(0, 255))
    pairs = []
    for _ in range(count):
        bits = [np.unpackbits(np.uint8([draw(one)])).astype(bool) for _ in range(2)]
        pairs.append((bits[0], bits[1]))
    probability = draw(
        st.lists(st.sampled_from([0, 0.1, 0.5, 0.7, 1]), min_size=count, max_size=count)
    )
    return results(pairs, probability)


@given(many())
@settings(max_examples=200)
def test_kaggle_dice_is_made_of_positive_dice_and_specificity(drawn):
    share = drawn.positive.mean()
    parts = 0.0
    if share > 0:
        parts += share * measures.positive_dice(drawn)
    if share < 1:
        parts += (1 - share) * measures.image_specificity(drawn)
    assert measures.kaggle_dice(drawn) == pytest.approx(parts)


@given(many())
@settings(max_examples=200)
def test_dice_follows_from_iou(drawn):
    dice = measures.dice(drawn.hits, drawn.predicted, drawn.truth)
    iou = measures.iou(drawn.hits, drawn.predicted, drawn.truth)
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou))


@given(many())
@settings(max_examples=200)
def test_auc_counts_pairs(drawn):
    ones = drawn.probability[drawn.positive]
    zeros = drawn.probability[~drawn.positive]
    found = measures.auc(drawn.probability, drawn.positive)
    if not len(ones) or not len(zeros):
        assert math.isnan(found)
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in ones for b in zeros]
    assert found == pytest.approx(np.mean(pairs))


@given(many(), st.sampled_from([0.0, 0.5, 0.8, 0.93, 1.0]))
@settings(max_examples=200)
def test_sensitivity_at_specificity_tries_every_threshold(drawn, wanted):
    found = measures.sensitivity_at_specificity(drawn.probability, drawn.positive, wanted)
    ones = drawn.probability[drawn.positive]
    zeros = drawn.probability[~drawn.positive]
    if not len(ones) or not len(zeros):
        assert math.isnan(found)
        return
    allowed = [
        np.mean(ones > threshold)
        for threshold in (-np.inf, *drawn.probability)
        if np.mean(zeros <= threshold) >= wanted - 1e-9
    ]
    assert found == pytest.approx(max(allowed))


def test_pixel_measures_pool_all_pictures():
    two = results([(mask(0, 1, 2), mask(0, 1)), (mask(5), mask())])
    assert measures.pixel_precision(two) == pytest.approx(2 / 4)
    assert measures.pixel_recall(two) == 1.0
    assert measures.pixel_iou(two) == pytest.approx(2 / 4)
    assert measures.pixel_accuracy(two) == pytest.approx(14 / 16)
    assert measures.positive_iou(two) == pytest.approx(2 / 3)


def test_sensitivity_and_specificity_follow_the_call_not_the_outline():
    said = results(
        [(mask(), mask(1)), (mask(1), mask(1)), (mask(), mask()), (mask(2), mask())],
        called=[True, False, True, False],
    )
    assert measures.sensitivity(said) == 0.5
    assert measures.specificity(said) == 0.5
    assert measures.image_specificity(said) == 0.5


def test_calibration_errors_of_known_answers():
    positive = np.array([True, False, True, True])
    sure = np.array([1.0, 0.0, 1.0, 1.0])
    assert measures.ece(sure, positive) == 0.0
    assert measures.brier(sure, positive) == 0.0
    even = np.full(4, 0.5)
    assert measures.ece(even, positive) == pytest.approx(0.25)
    assert measures.brier(even, positive) == pytest.approx(0.25)
    # Two bins: 0.02 said where nothing is, 0.9 said where two of three are.
    mixed = np.array([0.9, 0.02, 0.9, 0.9])
    outcome = np.array([True, False, True, False])
    assert measures.ece(mixed, outcome) == pytest.approx((0.02 + 3 * abs(0.9 - 2 / 3)) / 4)
    bars = measures.reliability(mixed, outcome)
    assert [(bar.count, bar.share_positive) for bar in bars] == [
        (1, 0.0),
        (3, pytest.approx(2 / 3)),
    ]


def test_a_probability_of_one_belongs_to_the_last_bin():
    (bar,) = measures.reliability(np.array([1.0]), np.array([True]))
    assert (bar.low, bar.high) == (pytest.approx(14 / 15), 1.0)


@pytest.mark.parametrize(
    ("name", "masks"),
    [
        ("positive_dice", [(mask(), mask())]),
        ("positive_iou", [(mask(), mask())]),
        ("sensitivity", [(mask(), mask())]),
        ("auc", [(mask(), mask())]),
        ("pixel_recall", [(mask(), mask())]),
        ("pixel_precision", [(mask(), mask(1))]),
        ("pixel_iou", [(mask(), mask())]),
        ("image_specificity", [(mask(1), mask(1))]),
        ("specificity", [(mask(1), mask(1))]),
        ("sensitivity_at_specificity_0.93", [(mask(1), mask(1))]),
    ],
)
def test_a_measure_over_no_case_is_not_a_number(name, masks):
    assert math.isnan(measures.MEASURES[name](results(masks)))


def test_size_thirds_split_the_positives_and_keep_every_negative():
    drawn = random_results(200, 9)
    parts = [(name, drawn.take(part)) for name, part in measures.size_thirds(drawn)]
    assert [name for name, _ in parts] == ["small", "medium", "large"]
    assert sum(int(part.positive.sum()) for _, part in parts) == drawn.positive.sum()
    largest = [part.truth.max() for _, part in parts]
    assert largest == sorted(largest)
    for _, part in parts:
        assert (~part.positive).sum() == (~drawn.positive).sum()
