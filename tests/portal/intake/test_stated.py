"""What a sender states: typed for a file without a header, never instead of one; old exams wait."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from ml.inference import measurements
from portal.errors import Invalid
from portal.intake import stated, submission
from portal.jobs import claims
from portal.models import POSITIVE, REST, Job, JobState, Study
from portal.reading import case, worklist
from portal.reading.viewer_preferences import Preferences
from portal.studies import sealed_fields, worklist_order
from portal.web.present import case_view
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import facts_of, prediction_of, rendered, segmented
from tests.support.pictures import dicom, picture

DAY = timedelta(hours=24)
TYPED = {
    "patient_id": "P-0001",
    "patient_name": "Müller, Anna",
    "birth_date": "1961-05-04",
    "exam_date": "2026-03-04",
    "side_marker": "usual",
}


def sent(clinic: Clinic, data: bytes, now: datetime = NOW, **about: Any) -> submission.Submitted:
    with clinic.session as session:
        return submission.submit(
            *(session, clinic.vault, clinic.owner, "x.png", data, now),
            stated=stated.read(about, now, DAY),
        )


def test_what_is_typed_for_a_png_is_sealed_found_and_marked(clinic: Clinic) -> None:
    of_header = clinic.submit(dicom(PatientID="P-0001", IssuerOfPatientID=None)).study_id
    typed = sent(clinic, picture(), **TYPED)
    assert typed.patient_name == "Müller, Anna"
    with clinic.session as session:
        study = session.get_one(Study, typed.study_id)
        data_key = sealed_fields.key_of(clinic.vault, study)
        patient = sealed_fields.open_patient(clinic.vault, data_key, study)
        view = case.open_study(session, clinic.vault, clinic.mate, typed.study_id, NOW)
        found = {
            query: worklist.worklist(session, clinic.vault, clinic.mate, query=query, now=NOW).total
            for query in ("muller", "p-0001", "anna")
        }
        assert study.acquired == clinic.vault.acquired(seconds("2026-03-04"))
    assert (patient.patient_name, patient.birth_date) == ("Müller, Anna", "1961-05-04")
    assert (patient.study_date, patient.side_marker) == ("2026-03-04", "usual")
    assert patient.typed == "patient_id,patient_name,birth_date,study_date,side_marker"
    assert found == {"muller": 1, "p-0001": 2, "anna": 0}
    assert [prior.study_id for prior in view.priors] == [of_header]


@pytest.mark.parametrize(
    ("typed", "years"),
    [
        ({"birth_date": "2015-05-04", "exam_date": "2026-03-04"}, 10),
        ({"birth_date": (NOW - timedelta(days=10 * 366)).date().isoformat()}, 10),
        ({"birth_date": "1961-05-04", "exam_date": "2026-03-04"}, 64),
        ({"exam_date": "2026-03-04"}, None),
        ({}, None),
    ],
)
def test_a_worker_is_given_the_age_that_follows_from_typed_dates(
    clinic: Clinic, typed: dict[str, str], years: int | None
) -> None:
    """Else a child's photograph would be analysed as an adult's."""
    study_id = sent(clinic, picture(), **typed).study_id
    segment = clinic.render(study_id, patient_age_years=None)
    with clinic.session as session:
        claimed = claims.claim(session, clinic.core.settings, clinic.vault, segment, "w", NOW)
    assert claimed is not None
    assert claimed.claim.facts is not None
    assert claimed.claim.facts.patient_age_years == years


@pytest.mark.parametrize(
    ("marker", "of_header", "expected", "letter"),
    [
        ("mirrored", None, ("R", "F"), "L"),
        ("usual", None, ("L", "F"), "R"),
        ("", None, None, "R?"),
        ("mirrored", ["L", "F"], ("L", "F"), "R"),
    ],
)
def test_the_side_of_a_result_goes_by_the_marker_that_the_sender_has_seen(
    clinic: Clinic,
    marker: str,
    of_header: list[str] | None,
    expected: tuple[str, str] | None,
    letter: str,
) -> None:
    """Else `A` would sign the wrong side of a mirrored picture."""
    about = {"patient_id": "P-0001", "side_marker": marker}
    study_id = sent(clinic, picture(), **about).study_id
    segment = clinic.render(study_id, orientation=of_header, view=None)
    with clinic.session as session:
        claimed = claims.claim(session, clinic.core.settings, clinic.vault, segment, "w", NOW)
    assert claimed is not None
    assert claimed.claim.facts is not None
    given = claimed.claim.facts.orientation
    assert (tuple(given) if given else None) == expected
    at_left_edge = measurements.side(1, 3, expected)
    assert at_left_edge == {"L": "left", "R": "right"}[letter[0]]
    ticket = claims.open_ticket(clinic.core.settings, claimed.claim.ticket, segment)
    clinic.store(ticket, NOW, **segmented())
    clinic.finish(ticket, {"prediction": prediction_of()}, NOW)
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)
    page = case_view.case_page(view, clinic.mate, Preferences())
    assert page.viewer["leftSide"] == letter


def test_a_header_is_not_replaced_by_what_is_typed(clinic: Clinic) -> None:
    found = sent(clinic, dicom(PatientName="REAL^ONE"), **TYPED)
    assert "typed_not_used" in found.remarks
    assert found.patient_name == "REAL, ONE"
    with clinic.session as session:
        study = session.get_one(Study, found.study_id)
        data_key = sealed_fields.key_of(clinic.vault, study)
        assert sealed_fields.open_patient(clinic.vault, data_key, study).typed == ""


BAD = [
    ({"patient_id": "x" * 65}, "patient_id"),
    ({"patient_name": "x" * 201}, "name"),
    ({"birth_date": "4.5.1961"}, "birth_date"),
    ({"birth_date": "1492-01-01"}, "birth_date"),
    ({"exam_date": "2026-03-06"}, "exam_date"),
    ({"birth_date": "2020-01-02", "exam_date": "2020-01-01"}, "birth_date"),
    ({"side_marker": "up"}, "side_marker"),
]


@pytest.mark.parametrize(("about", "code"), BAD)
def test_what_cannot_be_is_refused_with_a_sentence(about: dict[str, str], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        stated.read(about, NOW, DAY)
    assert refused.value.code == code
    assert refused.value.message.endswith(".")


def seconds(text: str) -> int:
    return int((datetime.fromisoformat(text) - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001 by the clock of the place


AGES = [
    (None, False),
    ("2026-03-04T08:45:00", False),
    ("2026-03-03T09:00:00", False),
    ("2026-03-03T08:59:59", True),
    ("2026-03-03T00:00:00", False),  # a date alone counts as its end
    ("2026-03-02T00:00:00", True),
    ("2031-01-01T00:00:00", False),
]


@pytest.mark.parametrize(("taken", "is_old"), AGES)
def test_how_long_ago_makes_an_exam_old(
    taken: str | None, is_old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = stated.Stated(old_after=DAY)
    assert here.is_old(None if taken is None else seconds(taken), NOW) == is_old
    assert stated.Stated(is_import=True).is_old(None if taken is None else seconds(taken), NOW)


def test_an_old_exam_waits_and_is_not_raised(clinic: Clinic) -> None:
    new = clinic.done()
    found = sent(clinic, dicom(StudyDate="20200101"), after(minutes=-5))
    imported = sent(clinic, dicom(), **{"import": "yes"})
    for old in (found, imported):
        clinic.segment(clinic.render(old.study_id))
        with clinic.session as session:
            study = session.get_one(Study, old.study_id)
            assert (study.is_old, study.rank, study.band) == (True, REST, "likely")
            jobs = session.query(Job.priority).filter_by(study_id=old.study_id).all()
        assert jobs == [(submission.OLD_PRIORITY,)] * 2
    with clinic.session as session:
        page = worklist.worklist(session, clinic.vault, clinic.mate, now=NOW)
        assert [row.study_id for row in page.rows] == [new, found.study_id, imported.study_id]
        assert [row.is_old for row in page.rows] == [False, True, True]
        assert (page.counts.positive, session.get_one(Study, new).rank) == (1, POSITIVE)


def test_a_new_picture_of_an_old_exam_makes_it_new(clinic: Clinic) -> None:
    """It is raised, and what waits of its older picture waits behind nobody any more."""
    uid, later = "1.2.3.4", after(hours=1)
    first = sent(clinic, dicom(StudyInstanceUID=uid, StudyDate="20200101"))
    begun = clinic.claim(clinic.job(first.study_id).id)  # prepared when the second picture comes
    assert begun is not None
    third = sent(clinic, dicom(StudyInstanceUID=uid, StudyDate="20200101", InstanceNumber="3"))
    with clinic.session as session:
        assert session.get_one(Study, first.study_id).new_since is None
    second = sent(clinic, dicom(StudyInstanceUID=uid, InstanceNumber="2"), later)
    assert {second.study_id, third.study_id} == {first.study_id}
    with clinic.session as session:
        study = session.get_one(Study, first.study_id)
        assert (study.is_old, study.new_since) == (False, later)
        waiting = session.query(Job.priority).filter_by(state=JobState.QUEUED).all()
        assert waiting == [(0,), (0,)]
        worklist_order.place(session, first.study_id)
    clinic.store(begun, later, **rendered(8, 6))
    follower = clinic.finish(begun, {"facts": facts_of(8, 6)}, later)
    assert follower is not None
    with clinic.session as session:
        assert session.get_one(Job, follower).priority == 0
    clinic.segment(follower, later)
    with clinic.session as session:
        assert session.get_one(Study, first.study_id).rank == POSITIVE


def test_an_exam_of_today_stays_one_where_an_old_picture_comes(clinic: Clinic) -> None:
    uid = "1.2.3.4"
    sent(clinic, dicom(StudyInstanceUID=uid))
    old = sent(clinic, dicom(StudyInstanceUID=uid, StudyDate="20200101", InstanceNumber="2"))
    with clinic.session as session:
        study = session.get_one(Study, old.study_id)
        assert (study.is_old, study.new_since) == (False, None)
        assert session.query(Job.priority).all() == [(0,), (0,)]
