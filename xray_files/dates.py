"""Dates and ages of DICOM headers: one reading of them for portal and model.

A wrong reading can let a child's picture through to a model that was made for adults.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

OLDEST: Final = 130
_DATE: Final = re.compile(r"(\d{4})([.\-/]?)(\d{2})\2(\d{2})", re.ASCII)
_AGE: Final = re.compile(r"0*(\d{1,3})([DWMY]?)", re.ASCII)
_PER_YEAR: Final = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}


def day(text: str) -> date | None:
    """A date of a DA element: YYYYMMDD (PS3.5), YYYY.MM.DD (ACR-NEMA), also with - or /.

    Of a date with a time behind it (DT) the date; None where it is no day of the calendar.
    """
    written = text.strip(" \0")
    match = _DATE.fullmatch(written[:10]) or _DATE.fullmatch(written[:8])
    if match is None or not _may_follow(written[match.end() :]):
        return None
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None


def _may_follow(rest: str) -> bool:
    """Whether what stands behind the date is a time, in digits."""
    return all(letter in "0123456789.:+- T" for letter in rest)


def age(text: str) -> tuple[int, str] | None:
    """An AS element as a number and its unit (D, W, M, Y); a bare number counts years."""
    match = _AGE.fullmatch(text.strip(" \0").upper())
    return (int(match[1]), match[2] or "Y") if match else None


def age_text(age_tag: str, born: str, taken: str) -> str:
    """The age for display, 63Y, 8M, 2W or 5D: the tag's, else whole years between the dates."""
    stated = age(age_tag)
    if stated is not None:
        return f"{stated[0]}{stated[1]}"
    years = years_between(day(born), day(taken))
    return "" if years is None else f"{years}Y"


def age_years(age_tag: str, born: str, taken: str) -> float | None:
    """The same in years.

    Whole years between dates: a difference to the day would reveal too much about one of them.
    """
    stated = age(age_tag)
    if stated is not None:
        return round(stated[0] / _PER_YEAR[stated[1]], 2)
    years = years_between(day(born), day(taken))
    return None if years is None else float(years)


def years_between(born: date | None, taken: date | None) -> int | None:
    """Completed years; None where a date is missing or no one gets so old."""
    if born is None or taken is None:
        return None
    years = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return years if 0 <= years <= OLDEST else None
