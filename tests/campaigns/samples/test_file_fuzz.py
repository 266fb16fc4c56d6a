"""A sample of the campaign: each mutated file gets a reason, and nothing is half stored."""

import pytest

from tests.campaigns import file_fuzz


@pytest.mark.parametrize("kind", file_fuzz.KINDS)
def test_mutated_files_are_answered_one_by_one(kind: str) -> None:
    row = file_fuzz.row(kind, 1, files=60, sent=8)
    assert row.passed, row.cells
    again = [list(file_fuzz.mutated(kind, 3, 5)) for _ in range(2)]
    assert again[0] == again[1]
