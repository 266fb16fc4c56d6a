"""The size class of an outline, by its share of the hemithorax."""

import numpy as np
import pytest

from ml.inference import severity
from ml.runtime.lung_finder import LungFields


def lungs() -> LungFields:
    """Two lungs of 60 x 30 cells on a picture of 100 x 100."""
    mask = np.zeros((100, 100), dtype=bool)
    mask[20:80, 10:40] = mask[20:80, 60:90] = True
    return LungFields(mask)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(0, None), (1, "small"), (2, "small"), (3, "moderate"), (9, "moderate"), (12, "large")],
)
def test_the_class_follows_from_the_share_of_the_worse_side(
    columns: int, expected: str | None
) -> None:
    air = np.zeros((200, 200), dtype=bool)
    air[40:160, 120 : 120 + 2 * columns] = True  # of 30 columns of the lung at the right
    assert severity.of_mask(air, lungs()) == expected


def test_without_lungs_the_class_is_unknown() -> None:
    nothing = LungFields(np.zeros((100, 100), dtype=bool))
    assert severity.of_mask(np.ones((200, 200), dtype=bool), nothing) == "unknown"
    assert severity.of_shares([]) == "unknown"
    assert severity.of_shares([0.05, None]) == "unknown"


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0999, "small"), (0.1, "moderate"), (0.3, "moderate"), (0.3001, "large")],
)
def test_the_limits_are_ten_and_thirty_percent(share: float, expected: str) -> None:
    assert severity.of_shares([0.01, share]) == expected
