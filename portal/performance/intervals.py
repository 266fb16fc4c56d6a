"""Shares with their uncertainty: the Wilson interval, and which groups are too small to show."""

import math
from dataclasses import dataclass
from typing import Final

# The normal distribution's 97.5 % point: intervals are of 95 %.
Z: Final = 1.959963984540054
# Of a smaller group no number is shown: a share of a few exams means little, and counts of a few
# could lead to a patient.
LEAST: Final = 10


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many. `value`, `low` and `high` are 0 to 1, None where `of` is 0."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share itself."""
        return self.count / self.of if self.of else None

    @property
    def is_small(self) -> bool:
        """Whether the group is too small to be shown."""
        return self.of < LEAST

    @property
    def low(self) -> float | None:
        """The lower end of the 95 % interval."""
        return wilson(self.count, self.of)[0] if self.of else None

    @property
    def high(self) -> float | None:
        """The upper end of the 95 % interval."""
        return wilson(self.count, self.of)[1] if self.of else None


def wilson(count: float, of: float) -> tuple[float, float]:
    """The 95 % interval of a share, 0 to 1; ValueError without a group.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), with p = count/of and n = of: Wilson,
    Probable inference, the law of succession, and statistical inference, J Am Stat Assoc 22 (1927)
    209-212. Unlike p ± z √(p(1-p)/n) it stays within 0 and 1 and holds for few exams.
    """
    if not 0 <= count <= of or of < 1:
        raise ValueError("a share is of at least one, and at most all")
    p, square = count / of, Z * Z / of
    middle = p + square / 2
    half = Z * math.sqrt(p * (1 - p) / of + square / (4 * of))
    # Where none or all are counted an end is exactly that: no rounding error stays beyond it.
    low = 0.0 if count == 0 else (middle - half) / (1 + square)
    high = 1.0 if count == of else (middle + half) / (1 + square)
    return low, high
