"""How long exams take: percentiles by hand, and which exams belong to a step."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.models import JobKind, ProofMethod, Study
from portal.performance import months
from portal.performance.turnaround import STEPS, turnaround
from portal.reading import reviews, signing
from portal.reading.case import open_study
from portal.reading.lists import claims
from portal.reading.signing import Proof
from portal.reading.viewing import shown
from portal.studies import exams
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.jobs import facts_of, rendered

MONTH = months.until(NOW)[-1]


def sign(clinic: Clinic, study: UUID, now: datetime, comment: str = "") -> None:
    with clinic.session as session:
        view = open_study(session, clinic.vault, clinic.mate, study, now)
        signing.sign(
            *(session, clinic.vault, clinic.mate, study),
            finding="right",
            comment=comment,
            shown=view.shown,
            after=view.reviews[-1].review_id.hex,
            proof=Proof(ProofMethod.PASSWORD_CODE, now),
            now=now,
        )


def review(clinic: Clinic, study: UUID, now: datetime, finding: str = "right") -> None:
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, study, finding=finding, now=now)


def test_the_percentiles_of_each_step_by_nearest_rank(clinic: Clinic) -> None:
    for number in range(1, 11):
        arrived = NOW + timedelta(hours=number)
        study = clinic.submit(now=arrived).study_id
        job = clinic.render(study, arrived)
        clinic.segment(job, arrived + timedelta(seconds=number))
        with clinic.session as session:
            reviews.add_review(
                *(session, clinic.vault, clinic.mate, study),
                finding="right",
                now=arrived + timedelta(minutes=number),
            )
            claims.claim(session, clinic.mate, study, arrived + timedelta(seconds=21 * number))
            claims.release(session, clinic.mate, study, arrived + timedelta(seconds=40 * number))
            claims.claim(session, clinic.mate, study, arrived + timedelta(seconds=50 * number))
        sign(clinic, study, arrived + timedelta(minutes=2 * number))
        sign(clinic, study, arrived + timedelta(minutes=3 * number), comment="Once more.")
    with clinic.session as session:
        found = turnaround(session, MONTH)
    units = {
        "arrival_to_ai": 1,
        "ai_to_look": 20,
        "look_to_signature": 99,
        "arrival_to_look": 21,
        "arrival_to_review": 60,
        "ai_to_review": 59,
        "arrival_to_signature": 120,
    }
    assert {step: times.count for step, times in found.items()} == dict.fromkeys(STEPS, 10)
    # Of 1 to 10 the ranks of 50, 90 and 95 % are the 5th, the 9th and the 10th.
    for step, unit in units.items():
        seconds = [found[step].seconds[percent] for percent in (50, 90, 95)]
        assert seconds == pytest.approx([5 * unit, 9 * unit, 10 * unit], abs=0.01), step


def test_the_first_look_is_a_picture_on_the_screen_and_not_the_page_that_was_opened(
    clinic: Clinic,
) -> None:
    study = clinic.submit().study_id
    clinic.segment(clinic.render(study))
    with clinic.session as session:
        picture = exams.pictures(session, [study])[study][0].id
        claims.claim(session, clinic.mate, study, NOW + timedelta(seconds=60))
        assert turnaround(session, MONTH)["arrival_to_look"].seconds[50] == pytest.approx(60)
        for seconds in (90, 120):
            shown.note(session, clinic.mate, study, picture, NOW + timedelta(seconds=seconds))
        found = turnaround(session, MONTH)
    assert found["arrival_to_look"].seconds[50] == pytest.approx(90)


def test_an_exam_that_was_read_before_its_result_is_in_no_step_from_result_to_review(
    clinic: Clinic,
) -> None:
    study = clinic.submit().study_id
    job = clinic.render(study)
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, study),
            finding="none",
            now=NOW + timedelta(minutes=1),
        )
    clinic.segment(job, NOW + timedelta(minutes=2))
    with clinic.session as session:
        assert set(turnaround(session, MONTH)) == {"arrival_to_ai", "arrival_to_review"}


def test_an_old_exam_is_in_no_step(clinic: Clinic) -> None:
    clinic.done()
    clinic.done(now=NOW + timedelta(days=3))  # taken more than a day before it arrived
    with clinic.session as session:
        assert sorted(session.scalars(select(Study.is_old))) == [False, True]
        assert turnaround(session, MONTH)["arrival_to_ai"].count == 1


def test_an_old_exam_counts_from_its_first_picture_of_today_on(clinic: Clinic) -> None:
    """Not what was found, looked at and read before; and in the month in which that one came."""
    uid, before = "1.2.3.4", NOW - timedelta(days=60)
    old = clinic.submit(StudyInstanceUID=uid, StudyDate="20200101", now=before).study_id
    clinic.segment(clinic.render(old, before), before)
    review(clinic, old, before + timedelta(hours=1))
    assert clinic.submit(StudyInstanceUID=uid, InstanceNumber="2").study_id == old
    ticket = clinic.claim(clinic.queued(old, JobKind.RENDER).id)
    assert ticket is not None
    clinic.store(ticket, **rendered(8, 6))
    follower = clinic.finish(ticket, {"facts": facts_of(8, 6)})
    assert follower is not None
    clinic.segment(follower, NOW + timedelta(minutes=2))
    with clinic.session as session:
        claims.claim(session, clinic.mate, old, NOW + timedelta(minutes=3))
    review(clinic, old, NOW + timedelta(minutes=5), finding="none")
    with clinic.session as session:
        then = next(month for month in months.until(NOW) if month.start <= before < month.end)
        assert turnaround(session, then) == {}
        found = turnaround(session, MONTH)
    seconds = {step: times.seconds[50] for step, times in found.items()}
    assert seconds == pytest.approx(
        {
            "arrival_to_ai": 120,
            "arrival_to_look": 180,
            "arrival_to_review": 300,
            "ai_to_look": 60,
            "ai_to_review": 180,
        },
        abs=0.01,
    )


def test_without_exams_there_is_no_step(clinic: Clinic) -> None:
    with clinic.session as session:
        assert turnaround(session, MONTH) == {}
