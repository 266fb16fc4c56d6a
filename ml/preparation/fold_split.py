"""Folds for patients that have none: no patient in two, and balanced folds.

Owns the assignment: stratified by whether patients have a pneumothorax, and by the size of their
largest one, because models miss small ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

FOLDS = 5
STRATA = 3  # of the patients with a pneumothorax, by size


def assign(sizes: Mapping[str, Sequence[float]], folds: int = FOLDS) -> dict[str, int]:
    """Patient → fold; sizes: of the outlines on each of a patient's pictures, 0 where none is.

    Within a stratum, patients with many pictures are assigned first, each to the fold that has the
    fewest pictures of that stratum, then the fewest of all. The same patients give the same folds
    whatever their order.
    """
    stratum = strata(sizes)
    in_stratum = np.zeros((STRATA + 1, folds), dtype=np.int64)
    in_all = np.zeros(folds, dtype=np.int64)
    chosen = {}
    order = sorted(sizes, key=lambda name: (-stratum[name], -len(sizes[name]), _shuffled(name)))
    for name in order:
        own = in_stratum[stratum[name]]
        fold = min(range(folds), key=lambda k: (int(own[k]), int(in_all[k]), k))
        own[fold] += len(sizes[name])
        in_all[fold] += len(sizes[name])
        chosen[name] = fold
    return chosen


def strata(sizes: Mapping[str, Sequence[float]]) -> dict[str, int]:
    """Patient → 0 without a pneumothorax, else 1 to STRATA by the size of the largest one."""
    largest = {name: max(found, default=0.0) for name, found in sizes.items()}
    some = sorted(name for name, size in largest.items() if size > 0)
    some.sort(key=lambda name: largest[name])
    rank = {name: 1 + place * STRATA // len(some) for place, name in enumerate(some)}
    return {name: rank.get(name, 0) for name in sizes}


def by_name(name: str, folds: int = FOLDS) -> int:
    """A fold that follows from a picture's name alone, where its patient is unknown."""
    return hashlib.sha256(name.encode()).digest()[0] % folds


def _shuffled(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
