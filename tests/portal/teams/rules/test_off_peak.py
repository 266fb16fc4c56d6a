"""When a job of the off-peak hours may begin."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.teams.rules.off_peak import not_before
from portal.teams.settings import TeamSettings

# Hours of the setting, the hour of the arrival, and in how many hours it may begin.
TABLE = [
    (20, 6, 12, 8),
    (20, 6, 19, 1),
    (20, 6, 20, 0),
    (20, 6, 23, 0),
    (20, 6, 5, 0),
    (20, 6, 6, 14),
    (12, 14, 13, 0),
    (12, 14, 14, 22),
    (12, 14, 3, 9),
    (0, 1, 23, 1),
    (9, 9, 15, 0),
]


@pytest.mark.parametrize(("start", "end", "hour", "wait"), TABLE)
def test_it_waits_until_the_hours_begin(start: int, end: int, hour: int, wait: int) -> None:
    settings = TeamSettings(off_peak_from=start, off_peak_until=end)
    here = datetime(2026, 3, 4, hour).astimezone()  # by the clock of this machine
    assert not_before(here, settings) == here + timedelta(hours=wait)
    late = here + timedelta(minutes=59)
    expected = late if wait == 0 else here + timedelta(hours=wait)
    assert not_before(late.astimezone(UTC), settings) == expected
