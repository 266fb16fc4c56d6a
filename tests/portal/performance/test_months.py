"""The months that can be chosen."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest

from portal.performance import months

NOW = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)


def test_the_months_follow_each_other_without_a_gap_up_to_the_running_one() -> None:
    found = months.until(NOW)
    assert len(found) == months.MOST
    assert (found[0].name, found[-1].name) == ("2024-04", "2026-03")
    assert found[-1].start <= NOW < found[-1].end
    assert all(a.end == b.start for a, b in itertools.pairwise(found))


def test_months_are_those_of_utc() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=14)))
    assert east.month == 4
    assert months.until(east) == months.until(NOW)


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        ("2026-01", "2026-02", ("2026-01", "2026-02")),
        ("2026-02", "2026-01", ("2026-01", "2026-02")),
        ("2025-12", "2025-12", ("2025-12", "2025-12")),
        ("", "", ("2025-04", "2026-03")),
        ("1999-01", "' OR 1=1", ("2025-04", "2026-03")),
    ],
)
def test_what_is_chosen_and_what_stands_for_anything_else(
    first: str, last: str, found: tuple[str, str]
) -> None:
    chosen = months.chosen(first, last, NOW)
    assert (chosen[0].name, chosen[-1].name) == found
