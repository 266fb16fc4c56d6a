"""Shares of reference pictures, and how surely those of recent ones differ.

A change of who is examined moves distributions little: the share of AP views and the prevalence
are tested by themselves. `view_ap` is the share of AP among frontal views, `called` that of
pictures called positive at the balanced threshold; both by Fisher's exact test. `prevalence` is the
mean of the calibrated probabilities, which is the share of positives that they add up to. Of all
tests of a prevalence that one loses least for small changes, because the score of a mixture's share
is linear in the calibrated probability; the two means are compared as Welch does, with the normal
distribution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import fisher_exact, norm

from ml.errors import BadInput
from ml.metrics.measures import Floats
from ml.metrics.reference_distribution import chi_square

FLOOR = 1e-4
VIEW = "view_ap"
CALLED = "called"
PREVALENCE = "prevalence"
PROBABILITY = "probability"


@dataclass(frozen=True)
class KnownShare:
    """A share of n reference pictures: those whose number `of` is at least `at`."""

    name: str
    n: int
    count: int
    of: str
    at: float

    @property
    def share(self) -> float:
        """Of the reference."""
        return self.count / self.n

    def of_values(self, values: Floats) -> float:
        """Of recent pictures."""
        return float((values >= self.at).mean())

    def p_value(self, values: Floats) -> float:
        """Fisher's exact test, two-sided."""
        count = int((values >= self.at).sum())
        table = [[count, len(values) - count], [self.count, self.n - self.count]]
        return float(min(1.0, fisher_exact(table).pvalue))


@dataclass(frozen=True)
class KnownMean:
    """The mean of a number between 0 and 1 on n reference pictures, and its standard deviation."""

    name: str
    n: int
    mean: float
    sd: float
    of: str = PROBABILITY

    @property
    def share(self) -> float:
        """Of the reference."""
        return self.mean

    def of_values(self, values: Floats) -> float:
        """Of recent pictures."""
        return float(values.mean())

    def p_value(self, values: Floats) -> float:
        """Of the difference of the two means, two-sided."""
        variance = self.sd**2 / self.n + float(values.var(ddof=1)) / len(values)
        difference = abs(float(values.mean()) - self.mean)
        if variance == 0:
            return 1.0 if math.isclose(difference, 0, abs_tol=1e-9) else 0.0
        return float(2 * norm.sf(difference / math.sqrt(variance)))


Known = KnownShare | KnownMean


def facts(rows: Iterable[Mapping[str, float]], threshold: float) -> dict[str, Any]:
    """The card's `reference.shares` from predictions' numbers; threshold: the balanced one.

    A share is left out where no picture has its number.
    """
    stored, rows = {}, list(rows)
    for name, of, at in ((VIEW, VIEW, 0.5), (CALLED, PROBABILITY, threshold)):
        values = np.array([row[of] for row in rows if of in row], dtype=np.float64)
        if len(values):
            count = int((values >= at).sum())
            stored[name] = {"n": len(values), "count": count, "of": of, "at": round(at, 6)}
    values = np.array([row[PROBABILITY] for row in rows if PROBABILITY in row], dtype=np.float64)
    if len(values) > 1:
        mean, sd = float(values.mean()), float(values.std(ddof=1))
        stored[PREVALENCE] = {"n": len(values), "mean": round(mean, 6), "sd": round(sd, 6)}
    return stored


def of_reference(stored: Mapping[str, Any], what: str) -> list[Known]:
    """The shares of a card's `reference`: none in one of an older version. BadInput: damaged."""
    found = list[Known]()
    try:
        for name, share in dict(stored.get("shares") or {}).items():
            n = int(share["n"])
            if "mean" in share:
                mean, sd = float(share["mean"]), float(share["sd"])
                fits = 0 <= mean <= 1 and sd >= 0
                found.append(KnownMean(name, n, mean, sd))
            else:
                count = int(share["count"])
                fits = 0 <= count <= n
                found.append(KnownShare(name, n, count, str(share["of"]), float(share["at"])))
            if n < 1 or not fits:
                raise ValueError(name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"the shares in the reference of {what} are damaged") from error
    return found


def psi(expected: float, actual: float) -> float:
    """The population stability index of a share: of it and of the rest."""
    parts = ((expected, actual), (1 - expected, 1 - actual))
    floored = [(max(e, FLOOR), max(a, FLOOR)) for e, a in parts]
    return sum((a - e) * math.log(a / e) for e, a in floored)


def psi_by_chance(known: Known, n: int, quantile: float = 0.95) -> float:
    """The quantile of a share's PSI without any change."""
    return chi_square(quantile, 1) * (1 / n + 1 / known.n)
