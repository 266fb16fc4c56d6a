"""Numbers of all exams, estimated from those that were drawn for a second read.

An exam that was drawn with probability p stands for 1/p exams (Horvitz and Thompson, J Am Stat
Assoc 47 (1952) 663-685). Pure functions on sums over exams, so that months can be added up.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from portal.performance.intervals import LEAST, Z, wilson


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval, and how many exams it is from. None: too few, or none."""

    value: float | None
    low: float | None
    high: float | None
    count: int

    @property
    def is_small(self) -> bool:
        """Whether it is from too few exams to be shown."""
        return self.count < LEAST


@dataclass(frozen=True, slots=True)
class Cell:
    """Exams of one kind: how many, and the sums of their weights 1/p and of these squared."""

    count: int = 0
    weight: float = 0.0
    squares: float = 0.0

    def __add__(self, other: "Cell") -> "Cell":
        return Cell(
            self.count + other.count,
            self.weight + other.weight,
            self.squares + other.squares,
        )


@dataclass(frozen=True, slots=True)
class Stratum:
    """The exams of one stratum of which the second read has ended with "yes" or "no", and those of
    them with a pneumothorax.
    """

    all: Cell
    positive: Cell

    def __add__(self, other: "Stratum") -> "Stratum":
        return Stratum(self.all + other.all, self.positive + other.positive)


NONE: Final = Estimate(None, None, None, 0)


def sensitivity(alarms: Iterable[Stratum], others: Iterable[Stratum]) -> Estimate:
    """The share of exams with a pneumothorax in which the AI found one.

    `alarms`: the strata in which it did, `others`: those in which it found none. The interval: of
    the share of positive exams in each stratum Wilson's, on Kish's effective number (Σw)²/Σw²
    (Survey Sampling, 1965); of their sums and of the ratio by the method of variance estimates
    recovery (Zou and Donner, Stat Med 27 (2008) 1693-1702; Donner and Zou, Stat Methods Med Res 21
    (2012) 347-359). Other than an interval of one weighted share it stays wide where no exam that
    the AI missed was drawn. Exams count as independent; several of one patient are not quite.
    """
    found, missed = list(alarms), list(others)
    count = sum(one.positive.count for one in (*found, *missed))
    a, a_low, a_high = _total(found)
    m, m_low, m_high = _total(missed)
    if count == 0 or a + m <= 0:
        return Estimate(None, None, None, count)
    least, most = _ratio((m, m_low, m_high), (a, a_low, a_high))
    return Estimate(a / (a + m), 1 / (1 + most), 1 / (1 + least), count)


def kappa(pairs: Mapping[tuple[str, str], Cell]) -> Estimate:
    """Cohen's kappa of two readers' findings (Educ Psychol Meas 20 (1960) 37-46), each pair of
    findings weighted. The interval is normal, by linearization: the variance of a weighted mean of
    each pair's influence (Fleiss, Cohen and Everitt, Psychol Bull 72 (1969) 323-327, for weights).
    Where no pair differs its lower end follows from Wilson's for the agreement.
    """
    count = sum(cell.count for cell in pairs.values())
    total = sum(cell.weight for cell in pairs.values())
    if not total:
        return NONE
    codes = sorted({code for pair in pairs for code in pair})
    rows = {c: sum(v.weight for k, v in pairs.items() if k[0] == c) / total for c in codes}
    columns = {c: sum(v.weight for k, v in pairs.items() if k[1] == c) / total for c in codes}
    observed = sum(v.weight for k, v in pairs.items() if k[0] == k[1]) / total
    by_chance = sum(rows[c] * columns[c] for c in codes)
    if by_chance >= 1:  # all findings are the same one
        return Estimate(None, None, None, count)
    rest = 1 - by_chance
    value = 1 - (1 - observed) / rest

    def influence(one: str, other: str) -> float:
        change = (one == other) - observed
        shift = columns[one] + rows[other] - 2 * by_chance
        return change / rest - (1 - observed) / rest**2 * shift

    if observed >= 1:  # no pair differs, which is no certainty
        effective = total**2 / sum(v.squares for v in pairs.values())
        return Estimate(1.0, 1 - (1 - wilson(effective, effective)[0]) / rest, 1.0, count)
    squares = sum(v.squares * influence(*k) ** 2 for k, v in pairs.items())
    half = Z * math.sqrt(squares) / total
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half), count)


def _total(strata: Sequence[Stratum]) -> tuple[float, float, float]:
    """How many positive exams there are in these strata, with the ends of the interval."""
    value = below = above = 0.0
    for one in strata:
        if not one.all.count:
            continue
        share = one.positive.weight / one.all.weight
        effective = one.all.weight**2 / one.all.squares
        low, high = wilson(share * effective, effective)
        value += one.positive.weight
        below += (one.all.weight * (share - low)) ** 2
        above += (one.all.weight * (high - share)) ** 2
    return value, max(0.0, value - math.sqrt(below)), value + math.sqrt(above)


def _ratio(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> tuple[float, float]:
    """The interval of the ratio of two independent numbers, each with its own interval."""
    (x, x_low, x_high), (y, y_low, y_high) = one, other
    both = x * y
    rest = x_low * (2 * x - x_low)
    root = math.sqrt(max(0.0, both**2 - y_high * (2 * y - y_high) * rest))
    low = max(0.0, rest) / (both + root) if both + root > 0 else 0.0
    base = y_low * (2 * y - y_low)
    root = math.sqrt(max(0.0, both**2 - base * x_high * (2 * x - x_high)))
    return low, (both + root) / base if base > 0 else math.inf
