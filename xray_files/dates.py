"""Dates and ages of DICOM headers: one reading of them for portal and model.

A wrong reading can let a child's picture through to a model that was made for adults.
"""

from __future__ import annotations

import re
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
    """An AS element as a number and its unit (D, W, M, Y); a bare number counts years.

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
    is an adult, the younger one: the model was made for adults.
    """
    stated = age(values.code(dataset, "PatientAge"))
    counted = years_between(day(values.code(dataset, "PatientBirthDate")), taken(dataset))
    if stated is None:
        return "" if counted is None else f"{counted}Y"
    years = in_years(stated)
    if counted is not None and counted < ADULT_YEARS <= years:
        return f"{counted}Y"
    return f"{stated[0]}{stated[1]}"


def is_age_disputed(dataset: Dataset) -> bool:
    """Whether by one of tag and dates the patient is an adult, and by the other not."""
    stated = age(values.code(dataset, "PatientAge"))
    counted = years_between(day(values.code(dataset, "PatientBirthDate")), taken(dataset))
    if stated is None or counted is None:
        return False
    return (counted < ADULT_YEARS) != (in_years(stated) < ADULT_YEARS)


def in_years(stated: tuple[int, str]) -> float:
    """A number and its unit, as `age` gives them, in years."""
    return round(stated[0] / _PER_YEAR[stated[1]], 2)


def years_between(born: date | None, taken: date | None) -> int | None:
    """Completed years; None where a date is missing or no one gets so old."""
    if born is None or taken is None:
        return None
    years = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return years if 0 <= years <= OLDEST else None
