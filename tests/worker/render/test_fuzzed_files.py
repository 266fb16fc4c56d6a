"""Mutated files through intake and decoder; `tests.support.hostile_files.fuzz` runs more."""

from __future__ import annotations

from tests.support.hostile_files import fuzz
from tests.support.paths import XRAYS


def test_mutated_files_get_a_reason_each_and_leave_nothing_half_stored() -> None:
    report = fuzz.run(240, seed=20, data=XRAYS)
    assert report.faults == []
    assert sum(report.intake.values()) == sum(report.decoder.values()) == 240
    # It tries both sides: files that are refused and files that are still good.
    assert report.intake["accepted"] > 20
    assert len(report.intake) > 5
    assert report.decoder["decoded"] > 20
