"""The scheduler's monthly summaries: which are computed when, and that they follow the exams."""

from datetime import timedelta

from sqlalchemy import select

from portal.models import PerformanceMonth
from portal.performance import months, summaries
from portal.reading import reviews
from tests.support.clinic import Clinic, after
from tests.support.core import NOW


def all_computed(clinic: Clinic) -> None:
    with clinic.session as session:
        while summaries.refresh(session, NOW):
            pass


def alarms(clinic: Clinic) -> list[int]:
    """The alarms of the running month, by model."""
    with clinic.session as session:
        rows = session.scalars(
            select(PerformanceMonth).where(
                PerformanceMonth.month == "2026-03", PerformanceMonth.model_id.is_not(None)
            )
        ).all()
    return [group[3] for row in rows for group in row.content["groups"] if group[0] == "all"]


def test_every_month_is_computed_once_the_newest_first_and_a_few_at_a_time(
    clinic: Clinic,
) -> None:
    with clinic.session as session:
        assert summaries.refresh(session, NOW) == summaries.AT_ONCE
        assert set(session.scalars(select(PerformanceMonth.month))) == {
            month.name for month in months.until(NOW)[-summaries.AT_ONCE :]
        }
    all_computed(clinic)
    with clinic.session as session:
        rows = session.scalars(select(PerformanceMonth.month)).all()
        assert sorted(rows) == [month.name for month in months.until(NOW)]
        assert summaries.refresh(session, NOW + timedelta(minutes=1)) == 0


def test_the_running_month_follows_after_minutes_and_others_after_hours(clinic: Clinic) -> None:
    all_computed(clinic)
    clinic.done()
    assert alarms(clinic) == []
    with clinic.session as session:
        assert summaries.refresh(session, NOW + summaries.RUNNING_AGE) == 1
    assert alarms(clinic) == [1]
    with clinic.session as session:
        assert summaries.refresh(session, NOW + summaries.OTHER_AGE) == summaries.AT_ONCE


def test_a_summary_that_is_dated_ahead_is_computed_again(clinic: Clinic) -> None:
    with clinic.session as session:
        while summaries.refresh(session, NOW + timedelta(hours=1)):
            pass
        assert summaries.refresh(session, NOW) == summaries.AT_ONCE


def test_a_month_holds_one_summary_however_often_it_is_computed(clinic: Clinic) -> None:
    clinic.done()
    month = months.until(NOW)[-1]
    for _ in range(3):
        with clinic.session as session:
            summaries.compute(session, month, NOW)
    with clinic.session as session:
        assert len(session.scalars(select(PerformanceMonth)).all()) == 2
    assert alarms(clinic) == [1]


def test_what_is_stored_names_no_exam_and_nobody(clinic: Clinic) -> None:
    study = clinic.done()
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, study), finding="right", now=after(hours=1)
        )
        summaries.compute(session, months.until(NOW)[-1], NOW)
        contents = [row.content for row in session.scalars(select(PerformanceMonth))]
    # Readers by their ids, for whether their team has set that the board has the name.
    assert [row.pop("by_reader") for row in contents if "by_reader" in row] == [
        [[clinic.mate.user_id.hex, [], []]]
    ]
    stored = str(contents)
    for secret in (study.hex, str(study), clinic.mate.user_id.hex, "PHANTOM", "P-0001"):
        assert secret not in stored
