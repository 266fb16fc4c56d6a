"""Folds that are alike, and no patient in two."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.preparation import fold_split

SIZES = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=6),
    st.lists(st.sampled_from([0.0, 0.0, 10.0, 200.0, 3000.0]), min_size=1, max_size=5),
    min_size=1,
    max_size=40,
)


@given(SIZES)
@settings(max_examples=100)
def test_every_patient_has_one_fold_whatever_the_order(sizes):
    chosen = fold_split.assign(sizes)
    assert set(chosen) == set(sizes)
    assert set(chosen.values()) <= set(range(fold_split.FOLDS))
    assert fold_split.assign(dict(reversed(sizes.items()))) == chosen


def test_small_and_large_ones_are_spread_evenly():
    random = np.random.default_rng(0)
    sizes = {
        f"patient {number}": [
            float(random.integers(1, 10_000)) if random.random() < 0.25 else 0.0
            for _ in range(random.integers(1, 5))
        ]
        for number in range(600)
    }
    chosen = fold_split.assign(sizes)
    stratum = fold_split.strata(sizes)
    for level in range(fold_split.STRATA + 1):
        counts = np.zeros(fold_split.FOLDS)
        for name in sizes:
            if stratum[name] == level:
                counts[chosen[name]] += len(sizes[name])
        assert counts.max() - counts.min() <= 4  # one patient's pictures at most
    largest = [max(max(sizes[name]) for name in sizes if chosen[name] == k) for k in range(5)]
    assert min(largest) > 6000


def test_strata_follow_the_largest_outline():
    sizes = {"none": [0.0], "small": [0.0, 5.0], "middle": [50.0], "large": [1.0, 500.0]}
    assert fold_split.strata(sizes) == {"none": 0, "small": 1, "middle": 2, "large": 3}


def test_a_fold_by_name_stays_the_same():
    assert [fold_split.by_name(name) for name in ("a", "b", "c")] == [2, 2, 1]
