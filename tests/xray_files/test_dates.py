"""Dates and ages as files write them: one reading for portal and model."""

import pytest

from xray_files import dates


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
    ("tag", "born", "taken", "text", "years"),
    [
        ("045Y", "", "", "45Y", 45.0),
        ("45", "", "", "45Y", 45.0),
        ("0006M", "", "", "6M", 0.5),
        ("006W", "", "", "6W", 0.11),
        ("", "2020.01.01", "20260101", "6Y", 6.0),
        ("", "20200101", "2025.12.31", "5Y", 5.0),
        ("unknown", "20200102", "20260101", "5Y", 5.0),
        ("", "20200101", "20190101", "", None),
        ("", "18000101", "20260101", "", None),
        ("", "", "20260101", "", None),
    ],
)
def test_an_age_is_the_same_for_display_and_for_the_model(
    tag: str, born: str, taken: str, text: str, years: float | None
) -> None:
    assert dates.age_text(tag, born, taken) == text
    assert dates.age_years(tag, born, taken) == years
    assert dates.age_years(text, "", "") == years
