"""A sample of the campaign: no file of a megabyte costs more than 0.5 s or 50 MB."""

import pytest

from tests.campaigns import file_cost
from tests.support.hostile_files import costly


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", costly.KINDS)
def test_no_file_of_a_megabyte_costs_more_than_it_may(kind: str, seed: int) -> None:
    row = file_cost.row(kind, seed, files=4)
    assert row.passed, row.cells


def test_the_same_seed_makes_the_same_files() -> None:
    for kind in costly.KINDS:
        files = [costly.made(kind, 7, number, 300_000) for number in (0, 0, 1)]
        assert files[0] == files[1] != files[2]
        assert max(map(len, files)) <= 300_000
