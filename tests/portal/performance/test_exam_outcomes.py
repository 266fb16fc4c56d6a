"""What counts as an alarm, a first verdict, a confirmation: case by case, with real reviews."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.access import Actor
from portal.models import ModelVersion, Prediction
from portal.performance import exam_outcomes, months
from portal.reading import reviews
from tests.portal.reading.test_signing import sign
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import facts_of, rendered
from tests.support.pictures import dicom

MONTH = months.until(NOW)[-1]
REFUSED: dict[str, Any] = dict.fromkeys(
    (
        *("probability", "band", "map", "measurements", "uncertainty", "region"),
        *("threshold", "image_threshold", "likely_threshold", "operating_point"),
    )
) | {"quality": {"verdict": "refused", "reasons": [{"code": "not_frontal", "message": "Side."}]}}


def counts(clinic: Clinic, dimension: str = "all") -> dict[str, dict[str, int]]:
    """The counts that are not 0, by group; of one model."""
    with clinic.session as session:
        rows = session.execute(exam_outcomes.grouped(MONTH)).all()
    return {
        row.name: {name: getattr(row, name) for name in exam_outcomes.COUNTS if getattr(row, name)}
        for row in rows
        if row.dimension == dimension
    }


def read(
    clinic: Clinic, study_id: UUID, finding: str, hours: float = 1, actor: Actor | None = None
) -> None:
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, actor or clinic.mate, study_id),
            finding=finding,
            now=after(hours=hours),
        )


ANALYSED = {"exams": 1}
ALARM = ANALYSED | {"alarms": 1}
SEEN = {"read": 1}


@pytest.mark.parametrize(
    ("result", "findings", "expected"),
    [
        ({}, [], ALARM),
        ({}, ["right"], ALARM | SEEN | {"confirmed": 1, "agreed": 1}),
        # A pneumothorax on the other side is one; the side is what the reader disagrees on.
        ({}, ["left"], ALARM | SEEN | {"confirmed": 1, "disagreed": 1}),
        ({}, ["none"], ALARM | SEEN | {"rejected": 1, "disagreed": 1}),
        ({}, ["unsure"], ALARM | SEEN | {"unsure": 1}),
        # Of an exam that nobody has signed the first review counts.
        ({}, ["none", "right"], ALARM | SEEN | {"rejected": 1, "disagreed": 1}),
        ({"band": "possible"}, ["right"], ALARM | SEEN | {"confirmed": 1, "agreed": 1}),
        ({"band": "none_found"}, ["none"], ANALYSED | SEEN | {"agreed": 1}),
        ({"band": "none_found"}, ["right"], ANALYSED | SEEN | {"disagreed": 1}),
        (REFUSED, [], ANALYSED | {"unanswered": 1}),
        (REFUSED, ["right"], ANALYSED | {"unanswered": 1}),
    ],
)
def test_what_an_exam_counts_as(
    clinic: Clinic, result: dict[str, Any], findings: list[str], expected: Mapping[str, int]
) -> None:
    study = clinic.done(**result)
    for hours, finding in enumerate(findings, 1):
        read(clinic, study, finding, hours)
    assert counts(clinic) == {"": expected}


def test_the_signed_verdict_is_the_reference_whatever_was_stated_before_and_after(
    clinic: Clinic,
) -> None:
    study_id = clinic.done()
    read(clinic, study_id, "none", hours=0.1)
    sign(clinic, study_id, now=after(minutes=20))
    right = ALARM | SEEN | {"confirmed": 1, "agreed": 1}
    assert counts(clinic) == {"": right}
    read(clinic, study_id, "none", hours=0.5)
    assert counts(clinic) == {"": right}
    sign(clinic, study_id, finding="none", now=after(minutes=40))  # amended
    assert counts(clinic) == {"": ALARM | SEEN | {"rejected": 1, "disagreed": 1}}


def test_what_was_read_before_the_result_came_has_no_verdict_on_it(clinic: Clinic) -> None:
    study = clinic.submit().study_id
    job = clinic.render(study)
    read(clinic, study, "none", 1)
    clinic.segment(job, after(hours=2))
    read(clinic, study, "right", 3)
    assert counts(clinic) == {"": ALARM}


def test_a_verdict_beside_one_models_result_is_none_on_anothers(clinic: Clinic) -> None:
    study = clinic.done()
    read(clinic, study, "right")
    with clinic.session as session:
        of_first = session.scalars(select(Prediction)).one()
        other = ModelVersion(name="other", version="2", sha256="cd" * 32, created=NOW)
        session.add(other)
        session.flush()
        columns = {
            column.key: getattr(of_first, column.key)
            for column in Prediction.__table__.columns
            if column.key not in ("id", "model_id")
        }
        session.add(Prediction(**columns, model_id=other.id))
        session.commit()
        rows = session.execute(exam_outcomes.grouped(MONTH)).all()
    found = {row.model_id: row for row in rows if row.dimension == "all"}
    assert (found[of_first.model_id].alarms, found[of_first.model_id].confirmed) == (1, 1)
    assert (found[other.id].alarms, found[other.id].read, found[other.id].confirmed) == (1, 0, 0)


def test_an_exam_of_two_pictures_counts_once_and_its_most_suspicious_picture_makes_the_alarm(
    clinic: Clinic,
) -> None:
    uid = {"StudyInstanceUID": "1.2.3.4"}
    study = clinic.submit(dicom(**uid)).study_id
    clinic.segment(clinic.render(study), **REFUSED)
    late = clinic.submit(dicom(**uid, pixels=bytes([7, 0]) * 48), now=after(minutes=1))
    assert late.study_id == study
    ticket = clinic.claim(late.job_id, after(minutes=1))
    assert ticket is not None
    clinic.store(ticket, after(minutes=1), **rendered(8, 6))
    job = clinic.finish(ticket, {"facts": facts_of(8, 6)}, after(minutes=1))
    assert job is not None
    clinic.segment(job, after(minutes=1))
    read(clinic, study, "right")
    assert counts(clinic) == {"": ALARM | SEEN | {"confirmed": 1, "agreed": 1}}


def test_exams_of_other_months_are_not_counted(clinic: Clinic) -> None:
    clinic.done(now=after(days=-31))
    assert counts(clinic) == {}


def test_the_groups_of_an_exam(clinic: Clinic) -> None:
    clinic.done()
    found = {name: list(counts(clinic, name)) for name in exam_outcomes.DIMENSIONS[1:]}
    assert found == {"view": ["PA"], "age": ["60"], "sex": ["F"], "size": ["moderate"]}


def test_an_exam_without_an_alarm_has_no_size(clinic: Clinic) -> None:
    clinic.done(band="none_found")
    assert counts(clinic, "size") == {}
