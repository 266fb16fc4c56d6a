"""Dates and ages of DICOM headers: one reading of them for portal and model.

A wrong reading can let a child's picture through to a model that was made for adults.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date
from typing import Final

from pydicom.dataset import Dataset

from xray_files import values

OLDEST: Final = 130
ADULT_YEARS: Final = 18
DISPUTED: Final = "age_disputed"
"""The remark on a picture whose tag and dates disagree on whether the patient is an adult."""
_TAKEN: Final = (
    *("StudyDate", "AcquisitionDate", "ContentDate", "SeriesDate", "AcquisitionDateTime"),
)
_DATE: Final = re.compile(r"(\d{4})([.\-/]?)(\d{2})\2(\d{2})", re.ASCII)
# Without a day, or without one that there is, as of births that are not known to the day.
_MONTH: Final = re.compile(r"(\d{4})[.\-/]?(\d{2})(?:[.\-/]?\d{1,2})?", re.ASCII)
_YEAR: Final = re.compile(r"(\d{4})(?:[.\-/]\d{1,2}){0,2}|(?:\d{1,2}[.\-/]){1,2}(\d{4})", re.ASCII)
_AGE: Final = re.compile(r"0*(\d{1,3})(?:[.,]\d*)?\s*(?:([DWMY])[A-Z]*\.?)?", re.ASCII)
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


def birth(text: str) -> tuple[date, date] | None:
    """The first and the last day on which a patient may be born, by a DA element of the birth.

    Files write 20100000, 2010, 201005 or 31/05/2010 (or is it 05/31?): then the days of that month
    or year. None where no year is stated.
    """
    written = text.strip(" \0")
    if (known := day(written)) is not None:
        return known, known
    match = _MONTH.fullmatch(written)
    if match is not None and int(match[1]) and 1 <= int(match[2]) <= 12:
        year, month = int(match[1]), int(match[2])
        return date(year, month, 1), date(year, month, monthrange(year, month)[1])
    match = match or _YEAR.fullmatch(written)
    found = match and next(part for part in match.groups() if part)
    if not found or not int(found):
        return None
    return date(int(found), 1, 1), date(int(found), 12, 31)


def _may_follow(rest: str) -> bool:
    """Whether what stands behind the date is a time, in digits."""
    return all(letter in "0123456789.:+- T" for letter in rest)


def age(text: str) -> tuple[int, str] | None:
    """An AS element as a number and its unit (D, W, M, Y); a bare number counts years, 1.5Y is 1Y.

    None where it is none, or no one gets so old.
    """
    match = _AGE.fullmatch(text.strip(" \0").upper())
    if match is None:
        return None
    found = int(match[1]), match[2] or "Y"
    return found if in_years(found) <= OLDEST else None


def taken(dataset: Dataset) -> date | None:
    """The day of the picture, for the patient's age: the study's, else the first of `_TAKEN`."""
    days = (day(values.code(dataset, tag)) for tag in _TAKEN)
    return next((found for found in days if found is not None), None)


def patient_age(dataset: Dataset) -> str:
    """The patient's age for display and model, 63Y, 8M, 2W or 5D; empty where it is unknown.

    The tag's, if one can be so old; else whole years between birth and picture: a difference to the
    day would reveal too much about one of the dates. Where the two disagree on whether the patient
    is an adult, the younger one, and of a birth that is not known to the day the youngest that the
    patient may be: the model was made for adults.
    """
    stated = age(values.code(dataset, "PatientAge"))
    oldest, youngest = _counted(dataset)
    if stated is None:
        return "" if youngest is None else f"{youngest}Y"
    years = in_years(stated)
    if oldest is not None and oldest < ADULT_YEARS <= years:
        return f"{oldest}Y"
    return f"{stated[0]}{stated[1]}"


def is_age_disputed(dataset: Dataset) -> bool:
    """Whether by one of tag and dates the patient is an adult, and by the other not."""
    stated = age(values.code(dataset, "PatientAge"))
    oldest, youngest = _counted(dataset)
    if stated is None or oldest is None or youngest is None:
        return False
    is_adult = in_years(stated) >= ADULT_YEARS
    return oldest < ADULT_YEARS if is_adult else youngest >= ADULT_YEARS


def _counted(dataset: Dataset) -> tuple[int | None, int | None]:
    """Whole years between birth and picture, the most and the least that they may be."""
    born, on = birth(values.code(dataset, "PatientBirthDate")), taken(dataset)
    if born is None:
        return None, None
    oldest, youngest = (years_between(one, on) for one in born)
    # Born in the year of the picture: the last day of it may be behind the picture.
    return oldest, youngest if oldest is None or youngest is not None else 0


def in_years(stated: tuple[int, str]) -> float:
    """A number and its unit, as `age` gives them, in years."""
    return round(stated[0] / _PER_YEAR[stated[1]], 2)


def years_between(born: date | None, taken: date | None) -> int | None:
    """Completed years; None where a date is missing or no one gets so old."""
    if born is None or taken is None:
        return None
    years = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return years if 0 <= years <= OLDEST else None
