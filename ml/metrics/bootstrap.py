"""Measures with 95 % intervals, by bootstrap draws of patients.

Whole patients are drawn with replacement, because the pictures of one patient are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.metrics.measures import MEASURES, Results


@dataclass(frozen=True)
class Measure:
    """A value with its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def draws(clusters: NDArray[Any], replicates: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Bootstrap draws of pictures: whole patients with replacement, since theirs are alike.

    clusters (n,): the patient of each picture.
    """
    _, patient = np.unique(clusters, return_inverse=True)
    members = np.split(np.argsort(patient, kind="stable"), np.cumsum(np.bincount(patient))[:-1])
    random = np.random.default_rng(seed)
    for _ in range(replicates):
        chosen = random.integers(0, len(members), len(members))
        yield np.concatenate([members[k] for k in chosen])


def summary(
    results: Results,
    clusters: NDArray[Any],
    replicates: int = 1000,
    seed: int = 0,
    names: Iterable[str] | None = None,
) -> dict[str, Measure]:
    """Every measure, or those named, with a percentile bootstrap interval over patients.

    A draw in which a measure is undefined is left out for it.
    """
    wanted = list(MEASURES if names is None else names)

    def values(chosen: NDArray[np.int64]) -> dict[str, float]:
        sample = results.take(chosen)
        return {name: MEASURES[name](sample) for name in wanted}

    return _with_intervals(values, clusters, replicates, seed)


def difference(
    one: Results,
    other: Results,
    clusters: NDArray[Any],
    replicates: int = 1000,
    seed: int = 0,
    names: Iterable[str] | None = None,
) -> dict[str, Measure]:
    """The difference of two results in every measure, or in those named.

    Both are of the same pictures and of the same draws, so that differences between pictures do not
    widen the interval.
    """
    wanted = list(MEASURES if names is None else names)

    def values(chosen: NDArray[np.int64]) -> dict[str, float]:
        mine, theirs = one.take(chosen), other.take(chosen)
        return {name: MEASURES[name](mine) - MEASURES[name](theirs) for name in wanted}

    return _with_intervals(values, clusters, replicates, seed)


def _with_intervals(
    values: Callable[[NDArray[np.int64]], dict[str, float]],
    clusters: NDArray[Any],
    replicates: int,
    seed: int,
) -> dict[str, Measure]:
    """The measures of all pictures, with the intervals of the draws."""
    drawn = [values(chosen) for chosen in draws(clusters, replicates, seed)]
    found = {}
    for name, value in values(np.arange(len(clusters))).items():
        defined = [one[name] for one in drawn if not np.isnan(one[name])]
        low, high = np.percentile(defined, (2.5, 97.5)) if defined else (np.nan, np.nan)
        found[name] = Measure(value, float(low), float(high))
    return found
