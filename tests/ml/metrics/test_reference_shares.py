"""Shares and their tests against scipy and definitions, and what they detect."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.drift import alarms as benchmark
from ml.errors import BadInput
from ml.metrics import drift, reference_distribution, reference_shares
from ml.metrics.reference_shares import KnownMean, KnownShare


def values(count: int, n: int = 300) -> np.ndarray:
    return np.r_[np.ones(count), np.zeros(n - count)]


def test_a_share_is_tested_exactly():
    known = KnownShare("view_ap", 292, 113, "view_ap", 0.5)
    for count in (0, 90, 117, 200, 300):
        theirs = stats.fisher_exact([[count, 300 - count], [113, 292 - 113]]).pvalue
        assert known.p_value(values(count)) == pytest.approx(theirs)
        assert known.of_values(values(count)) == count / 300


def test_a_mean_is_tested_as_welch_does():
    draw = np.random.default_rng(0)
    reference, recent = draw.beta(0.6, 1.7, 292), draw.beta(0.9, 1.7, 300)
    known = KnownMean("prevalence", 292, float(reference.mean()), float(reference.std(ddof=1)))
    theirs = stats.ttest_ind(reference, recent, equal_var=False).pvalue
    assert known.p_value(recent) == pytest.approx(theirs, rel=0.1)


def test_numbers_that_are_all_the_same_differ_surely_or_not_at_all():
    known = KnownMean("prevalence", 292, 0.25, 0.0)
    assert known.p_value(np.full(300, 0.25)) == 1
    assert known.p_value(np.full(300, 0.5)) == 0


def test_the_shares_of_predictions_are_those_that_a_card_then_has():
    rows = [{"probability": p, "view_ap": float(k % 2)} for k, p in enumerate([0.1, 0.2, 0.3, 0.8])]
    rows.append({"probability": 0.6})  # a view that is not known
    stored = reference_shares.facts(rows, 0.25)
    found = {one.name: one for one in reference_shares.of_reference({"shares": stored}, "it")}
    assert (found["view_ap"].n, found["view_ap"].share) == (4, 0.5)
    assert (found["called"].n, found["called"].share) == (5, 0.6)
    assert found["prevalence"].share == pytest.approx(0.4)
    assert reference_shares.of_reference({}, "of an older version") == []


@pytest.mark.parametrize(
    "shares",
    [
        [],
        {"called": 3},
        {"called": {"n": 0, "count": 0, "of": "x", "at": 1}},
        {"called": {"n": 3, "count": 4, "of": "x", "at": 1}},
        {"called": {"n": 3, "of": "x", "at": 1}},
        {"prevalence": {"n": 3, "mean": 1.2, "sd": 1}},
    ],
)
def test_damaged_shares_are_a_sentence(shares: Any):
    if shares == []:
        assert reference_shares.of_reference({"shares": shares}, "it") == []
        return
    with pytest.raises(BadInput, match="shares in the reference of it are damaged"):
        reference_shares.of_reference({"shares": shares}, "it")


def test_a_share_s_psi_is_that_of_two_parts():
    slow = (0.7 - 0.4) * np.log(0.7 / 0.4) + (0.3 - 0.6) * np.log(0.3 / 0.6)
    assert reference_shares.psi(0.4, 0.7) == pytest.approx(slow)
    assert reference_shares.psi(0.4, 0.0) > 0


@pytest.mark.parametrize(
    ("count", "word", "is_alarm"), [(120, "stable", False), (220, "shifted", True)]
)
def test_a_share_is_judged_by_its_own_test(count, word, is_alarm):
    known = [KnownShare("view_ap", 292, 113, "view_ap", 0.5)]
    (found,) = drift.compare_columns({}, {"view_ap": values(count)}, known)
    assert (found.status, found.is_alarm) == (word, is_alarm)
    assert (found.expected, found.reference_n) == (113 / 292, 292)
    assert ("view_ap" in drift.table([found])) is True


def test_of_few_predictions_no_share_is_judged():
    known = [KnownShare("view_ap", 292, 113, "view_ap", 0.5)]
    (found,) = drift.compare_columns({}, {"view_ap": values(40, 40)}, known)
    assert (found.status, found.is_alarm) == ("too few", False)


# The measurement of docs/measured.md in small, on numbers that are made up: probabilities of two
# classes with an AUC of 0.88, calibrated for 26 positives of 100.
PREVALENCE, DISTANCE = 0.264, 1.69


def population(count: int = 1500) -> list[benchmark.Shown]:
    draw = random.Random(4)
    found = []
    for number in range(count):
        positive = draw.random() < PREVALENCE
        seen = draw.gauss(DISTANCE * positive, 1)
        odds = np.exp(DISTANCE * seen - DISTANCE**2 / 2) * PREVALENCE / (1 - PREVALENCE)
        numbers = {
            "probability": float(odds / (1 + odds)),
            "view_ap": float(draw.random() < 0.38),
            "input_mean": draw.gauss(0.2, 0.1),
        }
        found.append(benchmark.Shown(numbers, str(number // 2), positive))
    return found


def some(pictures: list[benchmark.Shown], draw: random.Random, n: int = 292) -> benchmark.Card:
    rows = [one.numbers for one in draw.sample(pictures, n)]
    stored = reference_distribution.facts(rows) | {"shares": reference_shares.facts(rows, 0.21)}
    return benchmark.Card.of(stored, "it")


@pytest.mark.parametrize(
    ("shift", "least", "most"),
    [
        ("prevalence twice as high", 15, 20),
        ("AP 30 points more", 20, 20),
        ("AP 30 points less", 20, 20),
        ("no change", 0, 1),
    ],
)
def test_named_shifts_are_found_within_300_pictures(shift, least, most):
    pictures, rng = population(), random.Random(9)
    draw = benchmark.shifts_of(pictures, pictures, pictures)[shift]
    raised = [
        bool(some(pictures, rng).alarms([draw(rng) for _ in range(drift.ALARM_WINDOW)]))
        for _ in range(20)
    ]
    assert least <= sum(raised) <= most


def test_a_year_without_a_change_has_one_false_alarm_at_most():
    pictures, rng = population(), random.Random(10)
    counts = [benchmark.year(some(pictures, rng), pictures, rng)[0] for _ in range(3)]
    assert sum(counts) <= 3
    assert sorted(counts)[1] <= 1
