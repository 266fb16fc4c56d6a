"""The two distances to a reference, against scipy and their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ml.errors import BadInput
from ml.metrics import drift, reference_distribution
from ml.metrics.reference_distribution import LEVELS, Reference

KNOWN = np.random.default_rng(0).normal(0, 1, 5000)


def known(values: np.ndarray = KNOWN) -> Reference:
    return Reference(np.quantile(values, LEVELS), len(values))


def test_the_distance_is_scipys_for_the_same_cumulated_share():
    for shift in (0.0, 0.3, 1.0):
        values = np.random.default_rng(1).normal(shift, 1, 400)
        ours, _ = reference_distribution.ks(known(), values)
        theirs = stats.ks_1samp(values, lambda x: known().up_to(np.asarray(x))).statistic
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_distance_and_p_value_are_near_scipys_of_the_samples_themselves():
    for shift in (0.0, 0.1, 0.3):
        values = np.random.default_rng(2).normal(shift, 1, 400)
        distance, p_value = reference_distribution.ks(known(), values)
        theirs = stats.ks_2samp(values, KNOWN, method="asymp")
        # Quantiles at every twentieth stand for 5,000 numbers: so exact they are.
        assert distance == pytest.approx(theirs.statistic, abs=0.02)
        if theirs.pvalue < 1e-3:
            assert p_value < 1e-2
        else:
            assert p_value > 1e-3


def test_the_index_is_that_of_its_definition():
    values = np.random.default_rng(3).normal(0.4, 1.2, 3000)
    edges = np.quantile(KNOWN, np.linspace(0.1, 0.9, 9))
    actual = np.bincount(np.searchsorted(edges, values), minlength=10) / len(values)
    slow = sum((a - 0.1) * np.log(a / 0.1) for a in actual)
    assert reference_distribution.psi(known(), values) == pytest.approx(slow, rel=1e-3)


def test_without_change_it_is_below_its_chance_level_nineteen_times_of_twenty():
    random = np.random.default_rng(4)
    level = reference_distribution.psi_by_chance(known(), 200)
    indices = [reference_distribution.psi(known(), random.normal(0, 1, 200)) for _ in range(400)]
    assert 0.91 < np.mean(np.array(indices) < level) < 0.985


@pytest.mark.parametrize("other", [0.7, 1.3])
def test_a_number_that_was_always_the_same_may_change_either_way(other):
    square = known(np.ones(500))
    same, changed = np.ones(100), np.where(np.arange(100) % 2, 1.0, other)
    assert reference_distribution.psi(square, same) == pytest.approx(0, abs=1e-3)
    assert reference_distribution.psi(square, changed) > drift.SHIFTED
    assert reference_distribution.ks(square, same)[0] == 0
    assert reference_distribution.ks(square, changed)[0] == pytest.approx(0.5)


def test_values_that_half_of_the_pictures_share_are_no_drift():
    random = np.random.default_rng(6)

    def mixed(n: int) -> np.ndarray:
        return np.where(random.random(n) < 0.5, 0.0, random.random(n))

    reference = known(mixed(4000))
    assert reference_distribution.psi(reference, mixed(4000)) < 0.05
    assert reference_distribution.ks(reference, mixed(4000))[0] < 0.06


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nothing", "not a model's card"),
        ("{}", "has no reference"),
        ('{"reference": {"levels": [0, 1], "n": 3, "quantiles": {}}}', "other levels"),
        ('{"reference": {"levels": 1}}', "damaged"),
        ('{"reference": {"n": 1}}', "damaged"),
    ],
)
def test_a_card_without_a_reference_is_a_sentence(tmp_path, content, reason):
    path = tmp_path / "card.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=reason):
        reference_distribution.of_card(path)
