"""A spacing is used only where it makes the found lungs as large as an adult's."""

import pytest

from ml.images.picture import Spacing
from ml.inference import lung_size
from ml.inference.hemithorax import Thorax

WHOLE = Thorax(0.8, 0.7, (False, False))


@pytest.mark.parametrize(
    ("mm", "plausible"),
    [
        (0.35, True),  # 287 x 251 mm
        (0.23, False),  # 188 mm wide: narrower than any of a thousand adults
        (0.55, False),  # 450 mm wide
        (0.24, True),  # 197 x 172 mm
    ],
)
def test_lungs_have_the_size_of_an_adults(mm: float, plausible: bool) -> None:
    spacing = Spacing(mm, mm, "detector")
    assert lung_size.is_plausible(spacing, WHOLE, 1024, 1024) is plausible


@pytest.mark.parametrize(
    ("thorax", "plausible"),
    [
        (Thorax(0.5, 0.7, (True, False)), True),
        (Thorax(0.5, 0.7, (False, True)), False),
        (Thorax(0.8, 0.3, (False, True)), True),
        (Thorax(0.8, 0.3, (False, False)), False),
        (None, True),
    ],
)
def test_lungs_that_an_edge_cuts_off_may_be_smaller(thorax: Thorax | None, plausible: bool) -> None:
    assert lung_size.is_plausible(Spacing(0.35, 0.35, "detector"), thorax, 1024, 1024) is plausible
