"""A number's distribution on reference pictures, and how far other values are from it.

Owns the two distances: the population stability index over tenths of the reference (Siddiqi, Credit
Risk Scorecards, 2006), with its 95 % point by chance (Yurdakul and Naranjo, Statistical properties
of the population stability index, 2020), and the Kolmogorov-Smirnov distance.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import kolmogorov
from scipy.stats import chi2

from ml.errors import BadInput
from ml.metrics.measures import Floats

LEVELS: Floats = np.round(np.linspace(0, 1, 21), 2)
# Shares of nothing would be infinite.
FLOOR = 1e-4


@dataclass(frozen=True)
class Reference:
    """A number's distribution on n pictures, as its quantiles at LEVELS."""

    quantiles: Floats
    n: int

    def below(self, values: Floats) -> Floats:
        """Share of the reference below each value, linear between quantiles."""
        return _cumulated(self.quantiles, values, "left")

    def up_to(self, values: Floats) -> Floats:
        """Share of the reference at or below each value."""
        return _cumulated(self.quantiles, values, "right")


def facts(rows: Iterable[Mapping[str, float]]) -> dict[str, Any]:
    """The card's `reference` from predictions' numbers: their count, and quantiles of each."""
    values_by_name = columns(rows)
    return {
        "n": max((len(values) for values in values_by_name.values()), default=0),
        "levels": LEVELS.tolist(),
        "quantiles": {
            name: [round(float(value), 6) for value in np.quantile(values, LEVELS)]
            for name, values in values_by_name.items()
        },
    }


def of_card(card: Path) -> dict[str, Reference]:
    """A card's reference by number; BadInput where it has none."""
    try:
        stored = json.loads(card.read_text(encoding="utf-8")).get("reference")
    except (ValueError, AttributeError) as error:
        raise BadInput(f"{card} is not a model's card") from error
    return of_reference(stored, str(card))


def of_reference(stored: Any, what: str) -> dict[str, Reference]:
    """The distributions of a card's `reference`, by number; `what` names the card in errors."""
    if not stored:
        raise BadInput(f"{what} has no reference: export the model again, with --cache")
    try:
        levels = stored["levels"]
        found = {
            name: Reference(np.array(values, dtype=np.float64), int(stored["n"]))
            for name, values in stored["quantiles"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"the reference of {what} is damaged") from error
    if levels != LEVELS.tolist() or any(
        len(one.quantiles) != len(LEVELS) for one in found.values()
    ):
        raise BadInput(f"the reference of {what} has quantiles at other levels")
    return found


def psi(known: Reference, values: Floats) -> float:
    """Sum of (actual - expected) ln(actual / expected) over the tenths of the reference.

    A value that many pictures of the reference share is a bin of its own.
    """
    edges = _edges(known)
    expected = np.diff(known.below(edges), prepend=0.0, append=1.0)
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    actual = np.maximum(counts / len(values), FLOOR)
    expected = np.maximum(expected, FLOOR)
    return float(((actual - expected) * np.log(actual / expected)).sum())


def psi_by_chance(known: Reference, n: int, share: float = 0.95) -> float:
    """The quantile of PSI without any change: (1/n + 1/m) times a chi-square of bins - 1."""
    shares = np.diff(known.below(_edges(known)), prepend=0.0, append=1.0)
    bins = max(int((shares > FLOOR).sum()), 2)
    return chi_square(share, bins - 1) * (1 / n + 1 / known.n)


@cache
def chi_square(share: float, freedom: int) -> float:
    """The quantile of a chi-square distribution."""
    return float(chi2.ppf(share, freedom))


def ks(known: Reference, values: Floats) -> tuple[float, float]:
    """Largest distance of the two cumulated shares, and its p-value for large samples."""
    points = np.union1d(values, known.quantiles)
    ordered = np.sort(values)
    at_or_below = np.searchsorted(ordered, points, side="right") / len(values)
    below = np.searchsorted(ordered, points, side="left") / len(values)
    distance = max(
        float(np.abs(at_or_below - known.up_to(points)).max()),
        float(np.abs(below - known.below(points)).max()),
    )
    effective = len(values) * known.n / (len(values) + known.n)
    return distance, float(kolmogorov(math.sqrt(effective) * distance))


def bars(known: Reference, values: Floats, count: int) -> list[tuple[float, float, float, float]]:
    """Equal parts of the range of both: low and high end, share of the reference, of the values.

    None where all of them are the same number.
    """
    low = min(float(known.quantiles[0]), float(values.min()))
    high = max(float(known.quantiles[-1]), float(values.max()))
    if high <= low:
        return []
    edges = np.linspace(low, high, count + 1)
    of_values = np.histogram(values, edges)[0] / len(values)
    cumulated = known.below(edges)
    cumulated[-1] = 1.0
    of_reference = np.clip(np.diff(cumulated), 0.0, 1.0)
    ends = zip(edges[:-1], edges[1:], of_reference, of_values, strict=True)
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in ends]


def _edges(known: Reference) -> Floats:
    """Where the tenths of the reference end; a repeated value ends before and after itself.

    A tenth that ends within a step of the levels after a repeated value is left out: how many
    pictures lie between the two is not known.
    """
    values, counts = np.unique(known.quantiles, return_counts=True)
    repeated = values[counts > 1]
    tenths = range(2, len(LEVELS) - 1, 2)
    apart = [k for k in tenths if known.quantiles[k - 1] not in repeated]
    after = np.nextafter(repeated, np.inf)
    edges: Floats = np.unique(np.concatenate([known.quantiles[apart], repeated, after]))
    return edges


def _cumulated(quantiles: Floats, values: Floats, side: str) -> Floats:
    """Levels at values, linear between quantiles; side: of a jump, where quantiles repeat."""
    # Of equal quantiles the first level is what lies below them, the last what lies up to them.
    at, first = np.unique(quantiles, return_index=True)
    last = len(quantiles) - 1 - np.unique(quantiles[::-1], return_index=True)[1]
    low, high = LEVELS[first], LEVELS[last]
    low[0] = 0.0
    place = np.searchsorted(at, values, side="right") - 1
    inside = np.clip(place, 0, len(at) - 1)
    following = np.minimum(inside + 1, len(at) - 1)
    width = at[following] - at[inside]
    share = np.where(width > 0, (values - at[inside]) / np.where(width > 0, width, 1), 0.0)
    between = high[inside] + share * (low[following] - high[inside])
    exact = (place >= 0) & (values == at[inside])
    found: Floats = np.where(exact, low[inside] if side == "left" else high[inside], between)
    found = np.where(place < 0, 0.0, found)
    return np.where(values > at[-1], 1.0, found)


def columns(rows: Iterable[Mapping[str, float]]) -> dict[str, Floats]:
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
