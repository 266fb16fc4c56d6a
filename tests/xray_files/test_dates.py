"""Dates and ages as files write them: one reading for portal and model."""

import warnings
from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset

from ml.images import dicom_tags
from portal.formats import patient_tags
from xray_files import dates


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Values that the standard does not allow are what this is about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("20200131", "2020-01-31"),
        ("2020.01.31", "2020-01-31"),
        ("2020-01-31", "2020-01-31"),
        ("2020/01/31 ", "2020-01-31"),
        ("20200131\0", "2020-01-31"),
        ("20200131120000.000000+0100", "2020-01-31"),
        ("2020.01.31 12:00", "2020-01-31"),
        ("20200231", None),
        ("2020.01-31", None),
        ("2020.0131", None),
        ("31.12.1999x", None),
        ("2020", None),
        ("", None),
        ("20200131 of May", None),
    ],
)
def test_a_date_is_read_in_each_way_that_files_write_it(written: str, read: str | None) -> None:
    found = dates.day(written)
    assert (found.isoformat() if found else None) == read


@pytest.mark.parametrize(
    ("tag", "born", "taken", "text", "years", "disputed"),
    [
        ("045Y", "", "", "45Y", 45.0, False),
        ("45", "", "", "45Y", 45.0, False),
        ("0006M", "", "", "6M", 0.5, False),
        ("006W", "", "", "6W", 0.11, False),
        ("", "2020.01.01", "20260101", "6Y", 6.0, False),
        ("", "20200101", "2025.12.31", "5Y", 5.0, False),
        ("unknown", "20200102", "20260101", "5Y", 5.0, False),
        ("", "20200101", "20190101", "", None, False),
        ("", "18000101", "20260101", "", None, False),
        ("", "", "20260101", "", None, False),
        ("999Y", "20200101", "20260101", "6Y", 6.0, False),
        ("131Y", "", "", "", None, False),
        ("130Y", "", "", "130Y", 130.0, False),
        ("999M", "", "", "999M", 83.25, False),
        ("045Y", "20200101", "20260101", "6Y", 6.0, True),
        ("006Y", "19800101", "20260101", "6Y", 6.0, True),
        ("045Y", "19800101", "20260101", "45Y", 45.0, False),
        ("018M", "20200101", "20260101", "18M", 1.5, False),
        ("1.5Y", "", "", "1Y", 1.0, False),
        ("17 YRS", "", "", "17Y", 17.0, False),
        ("8 months", "", "", "8M", 0.67, False),
        ("17 or so", "", "", "", None, False),
        ("", "20100000", "20240506", "13Y", 13.0, False),
        ("", "2010", "20240506", "13Y", 13.0, False),
        ("", "201004", "20240506", "14Y", 14.0, False),
        ("", "20100600", "20240506", "13Y", 13.0, False),
        ("", "2010.00.00", "20240506", "13Y", 13.0, False),
        ("", "20100231", "20240506", "14Y", 14.0, False),
        ("", "5/6/2010", "20240506", "13Y", 13.0, False),
        ("", "2010-5-6", "20240506", "13Y", 13.0, False),
        ("", "19500000", "20240506", "73Y", 73.0, False),
        ("", "20240000", "20240506", "0Y", 0.0, False),
        ("", "20250000", "20240506", "", None, False),
        ("", "00000000", "20240506", "", None, False),
        ("018Y", "20060000", "20240506", "18Y", 18.0, False),
        ("017Y", "20060000", "20240506", "17Y", 17.0, False),
        ("045Y", "20100000", "20240506", "14Y", 14.0, True),
        ("006Y", "19800000", "20240506", "6Y", 6.0, True),
    ],
)
def test_an_age_is_the_same_for_display_and_for_the_model(
    tag: str, born: str, taken: str, text: str, years: float | None, disputed: bool
) -> None:
    header = Dataset()
    header.PatientAge, header.PatientBirthDate, header.StudyDate = tag, born, taken
    assert dates.patient_age(header) == patient_tags.age(header) == text
    assert dicom_tags.age_years(header) == years
    assert dates.is_age_disputed(header) == disputed


DATES = ("StudyDate", "AcquisitionDate", "ContentDate", "SeriesDate", "AcquisitionDateTime")


@pytest.mark.parametrize("keyword", DATES)
def test_the_day_of_a_picture_is_the_first_that_is_stated(keyword: str) -> None:
    header = Dataset()
    header.PatientBirthDate = "20200101"
    for other in DATES[: DATES.index(keyword)]:
        setattr(header, other, "")
    setattr(header, keyword, "20260101")
    for other in DATES[DATES.index(keyword) + 1 :]:
        setattr(header, other, "20500101")
    assert dates.patient_age(header) == "6Y"
