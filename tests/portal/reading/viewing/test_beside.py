"""The picture beside another: the latest comparable prior, and what else can hang there."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.models import AuditEvent, Instance, JobKind
from portal.reading.viewing import beside
from portal.web.present.viewing import beside as texts
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.jobs import facts_of, rendered


def exam(clinic: Clinic, day: str, *, rendered: bool = True, **tags: str) -> UUID:
    given = {"PatientID": "P-1", "StudyDate": day, "ViewPosition": "PA"} | tags
    study_id = clinic.submit(**given).study_id
    if rendered:
        clinic.segment(clinic.render(study_id, view=given["ViewPosition"]))
    return study_id


def opened(
    clinic: Clinic, study_id: UUID, wanted: UUID | None = None, actor: object = None
) -> beside.Beside:
    with clinic.session as session:
        return beside.open_beside(
            *(session, clinic.vault, actor or clinic.mate, study_id, None, wanted, NOW)  # type: ignore[arg-type]
        )


def rows(clinic: Clinic, events: tuple[str, ...]) -> list[tuple[str, UUID | None]]:
    with clinic.session as session:
        found = session.scalars(select(AuditEvent).where(AuditEvent.event.in_(events)))
        return [(row.event, row.study_id) for row in found]


def picture_of(clinic: Clinic, study_id: UUID) -> UUID:
    with clinic.session as session:
        return session.scalars(select(Instance.id).where(Instance.study_id == study_id)).one()


def test_the_latest_frontal_prepared_exam_before_hangs_by_itself(clinic: Clinic) -> None:
    current = exam(clinic, "20250601")
    exam(clinic, "20230101")
    latest = exam(clinic, "20240601", ViewPosition="AP")
    exam(clinic, "20250101", ViewPosition="LL")  # no frontal picture
    exam(clinic, "20250201", rendered=False)
    exam(clinic, "20260101")  # later
    exam(clinic, "20250301", PatientID="P-2")
    found = opened(clinic, current)
    assert found.shown is not None
    assert found.view is not None
    assert found.shown.study_id == found.view.study_id == latest
    assert found.shown.is_comparable
    assert texts.interval(found.shown) == "1 year before"
    assert [one.exam_date for one in found.choices] == [
        "2026-01-01",
        "2025-01-01",
        "2024-06-01",
        "2023-01-01",
    ]
    assert rows(clinic, ("study_opened", "priors_listed")) == [("study_opened", latest)]


def test_another_one_can_be_chosen_and_nothing_else(clinic: Clinic) -> None:
    current, later = exam(clinic, "20250601"), exam(clinic, "20250603")
    other = exam(clinic, "20250101", PatientID="P-2")
    found = opened(clinic, current, picture_of(clinic, later))
    assert found.shown is not None
    assert texts.interval(found.shown) == "2 days later"
    for wanted in (picture_of(clinic, other), picture_of(clinic, current), uuid4()):
        with pytest.raises(Denied):
            opened(clinic, current, wanted)
    for actor in (clinic.outsider, clinic.admin):
        with pytest.raises(Denied):
            opened(clinic, current, actor=actor)


def test_without_a_prior_the_choices_are_listed_in_one_row(clinic: Clinic) -> None:
    current = exam(clinic, "20250601")
    later = exam(clinic, "20250603")
    found = opened(clinic, current)
    assert (found.shown, found.view) == (None, None)
    assert [one.study_id for one in found.choices] == [later]
    assert rows(clinic, ("study_opened", "priors_listed")) == [("priors_listed", current)]


def test_another_picture_of_the_exam_is_a_choice(clinic: Clinic) -> None:
    current = exam(clinic, "20250601", StudyInstanceUID="1.2.3")
    second = clinic.submit(
        PatientID="P-1", StudyDate="20250601", ViewPosition="LL", StudyInstanceUID="1.2.3"
    )
    assert second.study_id == current
    with clinic.session as session:
        lateral = session.scalars(
            select(Instance.id).where(Instance.study_id == current, Instance.view == "LL")
        ).one()
    assert opened(clinic, current).choices == []  # it is not prepared yet
    ticket = clinic.claim(clinic.queued(current, JobKind.RENDER).id)
    assert ticket is not None
    clinic.store(ticket, NOW, **rendered(8, 6))
    clinic.finish(ticket, {"facts": facts_of(8, 6, view="LL")}, NOW)
    found = opened(clinic, current, lateral)
    assert found.shown is not None
    assert found.shown.is_same_exam
    assert texts.interval(found.shown) == "same exam"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 minutes before"),
        (59 * 60, "59 minutes before"),
        (3600, "1 hour before"),
        (47 * 3600, "47 hours before"),
        (2 * 86400, "2 days before"),
        (59 * 86400, "59 days before"),
        (61 * 86400, "2 months before"),
        (365 * 86400, "1 year before"),
        (548 * 86400, "1 year 6 months before"),
        (-3 * 86400, "3 days later"),
        (None, "interval not known"),
    ],
)
def test_intervals_in_words(seconds: int | None, words: str) -> None:
    choice = beside.Choice(
        *(uuid4(), uuid4(), "ABC123", None, beside.View.PA, "", seconds, False, True)
    )
    assert texts.interval(choice) == words
