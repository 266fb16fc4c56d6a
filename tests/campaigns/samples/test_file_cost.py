"""A sample of the campaign: no file of a megabyte costs more than 0.5 s or 50 MB."""

import pytest

from portal.reading import drawn_overlay
from tests.campaigns import file_cost
from tests.support.hostile_files import costly

# The overlay of a picture of 100 megapixels takes seconds, so one seed of these is enough.
LARGE = "large pictures"
SEEDS = [(kind, seed) for kind in costly.KINDS for seed in (1, 2, 3) if kind != LARGE or seed == 1]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("kind", "seed"), SEEDS)
def test_no_file_of_a_megabyte_costs_more_than_it_may(kind: str, seed: int) -> None:
    row = file_cost.row(kind, seed, files=4)
    assert row.passed, row.cells


def test_pictures_are_drawn_near_the_limits_too() -> None:
    """Of one seed, within and beyond what is accepted, and beyond what is drawn pixel by pixel."""
    row = file_cost.row(LARGE, 1, files=12)
    assert row.passed, row.cells
    assert "too_many_pixels" in row.cells[4]
    rows, columns = map(int, row.cells[8].split(" × "))
    assert rows * columns > drawn_overlay.MOST_PIXELS


def test_the_same_seed_makes_the_same_files() -> None:
    for kind in costly.KINDS:
        files = [costly.made(kind, 7, number, 300_000) for number in (0, 0, 1)]
        assert files[0] == files[1] != files[2]
        assert max(map(len, files)) <= 300_000
