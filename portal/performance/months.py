"""The calendar months of the boards, in UTC, and which of them a person chose."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

# So many months back can be looked at, the running one included; so many are shown at first.
MOST: Final = 24
AT_FIRST: Final = 12


@dataclass(frozen=True, slots=True)
class Month:
    """One month: exams that arrived from `start` on and before `end`. `name` is like "2026-03"."""

    name: str
    start: datetime
    end: datetime


def until(now: datetime) -> list[Month]:
    """The last MOST months, the running one included, the oldest first."""
    at = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = list[Month]()
    for _ in range(MOST):
        following = (at + timedelta(days=32)).replace(day=1)
        found.append(Month(at.strftime("%Y-%m"), at, following))
        at = (at - timedelta(days=1)).replace(day=1)
    return found[::-1]


def chosen(first: str, last: str, now: datetime) -> list[Month]:
    """The months from one name to another. A name that is none of them stands for the default;
    names in the wrong order are turned round.
    """
    known = until(now)
    names = [month.name for month in known]
    begin = names.index(first) if first in names else MOST - AT_FIRST
    end = names.index(last) if last in names else MOST - 1
    begin, end = sorted((begin, end))
    return known[begin : end + 1]
