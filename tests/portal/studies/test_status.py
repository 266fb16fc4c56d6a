"""Where an exam of several pictures stands, in its state, in the worklist and in its filters."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.errors import Conflict
from portal.jobs.claims import enqueue
from portal.models import POSITIVE, REST, UNAIDED, Instance, Job, JobKind, Study
from portal.reading import reviews, worklist
from portal.studies import status
from portal.studies.status import State, StudyState
from portal.web.present import list_rows
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED, facts_of, rendered
from tests.support.pictures import dicom

NONE_FOUND = {"band": "none_found", "probability": 0.03}


def send(clinic: Clinic, shade: int, view: str = "PA") -> UUID:
    """One more picture of the exam; returns its render job."""
    sent = clinic.submit(
        dicom(StudyInstanceUID="1.2.3.7", ViewPosition=view, pixels=bytes([shade, 0]) * 48),
        now=after(minutes=shade),
    )
    assert sent.job_id is not None
    return sent.job_id


def work(clinic: Clinic, render: UUID, end: str, **changes: Any) -> None:
    """Do a picture's jobs as far as this."""
    if end == "received":
        return
    ticket = clinic.claim(render)
    assert ticket is not None
    if end == "failed":
        clinic.fail(ticket, "decode_failed", "permanent")
    if end in ("preparing", "failed"):
        return
    clinic.store(ticket, **rendered(8, 6))
    segment = clinic.finish(ticket, {"facts": facts_of(8, 6)})
    assert segment is not None
    if end != "analysing":
        clinic.segment(segment, **(REFUSED if end == "refused" else changes))


def state(clinic: Clinic) -> tuple[StudyState, Study]:
    with clinic.session as session:
        study = session.scalars(select(Study)).one()
        return status.of_studies(session, [study.id])[study.id], study


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (("received", "received"), State.RECEIVED),
        (("preparing", "received"), State.PREPARING),
        (("analysing", "received"), State.ANALYSING),
        (("done", "received"), State.ANALYSING),
        (("failed", "preparing"), State.ANALYSING),
        (("done", "done"), State.DONE),
        (("done", "refused"), State.DONE),
        (("done", "failed"), State.DONE),
        (("failed", "refused"), State.FAILED),
        (("failed", "failed"), State.FAILED),
        (("refused", "refused"), State.NO_RESULT),
    ],
)
def test_the_state_is_that_of_the_pictures_together_and_the_filters_know_it(
    clinic: Clinic, ends: tuple[str, ...], expected: State
) -> None:
    jobs = [send(clinic, shade) for shade in range(1, len(ends) + 1)]
    for job, end in zip(jobs, ends, strict=True):
        work(clinic, job, end)
    found, study = state(clinic)
    assert found.state is expected
    assert len(found.pictures) == len(ends)
    assert found.is_settled == (expected in (State.DONE, State.FAILED, State.NO_RESULT))
    assert (found.error_code == "decode_failed") == (expected is State.FAILED)
    for wanted in State:
        with clinic.session as session:
            page = worklist.worklist(
                session, clinic.vault, clinic.mate, state=wanted.value, now=NOW
            )
        assert [row.study_id for row in page.rows] == ([study.id] if wanted is expected else [])


def test_the_most_suspicious_picture_decides(clinic: Clinic) -> None:
    first, second = send(clinic, 1), send(clinic, 2)
    work(clinic, first, "done", **NONE_FOUND)
    found, study = state(clinic)
    assert (found.state, study.rank, study.band) == (State.ANALYSING, REST, "none_found")
    work(clinic, second, "done", band="possible", probability=0.4)
    found, study = state(clinic)
    assert found.result is not None
    assert (found.result.band, found.result.probability) == ("possible", 0.4)
    assert (study.rank, study.band) == (POSITIVE, "possible")


def test_a_failed_picture_beside_one_without_finding_is_to_be_read_unaided(clinic: Clinic) -> None:
    work(clinic, send(clinic, 1), "done", **NONE_FOUND)
    work(clinic, send(clinic, 2), "failed")
    found, study = state(clinic)
    assert (found.state, found.unaided, study.rank) == (State.DONE, 1, UNAIDED)
    assert study.is_without_result
    with clinic.session as session:
        (row,) = worklist.worklist(session, clinic.vault, clinic.mate, now=NOW).rows
    shown = list_rows.row(row)
    assert "1 of 2 pictures failed" in str(shown)


def test_a_refused_lateral_view_beside_a_result_changes_nothing(clinic: Clinic) -> None:
    work(clinic, send(clinic, 1), "done", **NONE_FOUND)
    work(clinic, send(clinic, 2, "LL"), "refused")
    found, study = state(clinic)
    assert (found.state, found.unaided, study.rank) == (State.DONE, 0, REST)


def test_nobody_agrees_with_a_picture_that_came_in_behind_their_back(clinic: Clinic) -> None:
    work(clinic, send(clinic, 1), "done")
    work(clinic, send(clinic, 2), "done")
    _, study = state(clinic)
    with clinic.session as session, pytest.raises(Conflict) as changed:
        reviews.add_review(
            session,
            clinic.vault,
            clinic.mate,
            study.id,
            finding="right",
            seen="done",
            now=NOW,
        )
    assert changed.value.code == "changed"
    with clinic.session as session:
        reviews.add_review(
            session,
            clinic.vault,
            clinic.mate,
            study.id,
            finding="right",
            seen="done/2",
            now=NOW,
        )


def test_a_job_that_is_asked_for_again_is_the_one_that_is_there(clinic: Clinic) -> None:
    send(clinic, 1)
    with clinic.session as session:
        picture = session.scalars(select(Instance)).one()
        first = enqueue(session, JobKind.MEASURE, NOW, instance=picture, priority=3)
        again = enqueue(session, JobKind.MEASURE, NOW, instance=picture)
        whole = enqueue(session, JobKind.REPORT, NOW, study_id=picture.study_id)
        sends = [
            enqueue(session, JobKind.SEND, NOW, study_id=picture.study_id, target=node)
            for node in ("ARCHIVE", "READING", "ARCHIVE")
        ]
        session.commit()
        assert first.id == again.id
        assert (whole.instance_id, whole.study_id) == (None, picture.study_id)
        assert sends[0].id == sends[2].id != sends[1].id
        assert len(session.scalars(select(Job)).all()) == 5
    found, _ = state(clinic)
    assert found.state is State.RECEIVED  # other kinds of jobs decide nothing about the picture
