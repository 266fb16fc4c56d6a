"""A case: who may open it, what is in it, and that every look is written down."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text, update

from portal.access import Denied
from portal.jobs import workers
from portal.models import AuditEvent, Blob, BlobKind, Instance, JobState, Study
from portal.reading import case, worklist
from portal.reading.shown_results import Shown
from portal.studies import status
from portal.vault import NotReadable
from tests.portal.vault.test_vault import files
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED, hello_of, rendered, segmented
from tests.support.pictures import dicom

PEOPLE = {
    "owner": True,
    "mate": True,
    "outsider": False,
    "colleague": False,
    "admin": False,
    "auditor": False,
}
WAYS = {
    "open": lambda c, session, a, i: case.open_study(session, c.vault, a, i, NOW),
    "state": lambda c, session, a, i: case.study_state(session, a, i),
    "pixels": lambda c, session, a, i: case.read_blob(session, c.vault, a, i, "pixels", NOW),
    "preview": lambda c, session, a, i: case.read_blob(session, c.vault, a, i, "preview", NOW),
    "thumb": lambda c, session, a, i: case.read_blob(session, c.vault, a, i, "thumb", NOW),
    "probability": lambda c, session, a, i: case.read_blob(
        session, c.vault, a, i, "probability", NOW
    ),
    "mask": lambda c, session, a, i: case.read_blob(session, c.vault, a, i, "mask", NOW),
    "overlay": lambda c, session, a, i: case.read_blob(session, c.vault, a, i, "overlay", NOW),
}


@pytest.mark.parametrize("person", PEOPLE)
def test_a_case_opens_for_its_owner_and_the_teams_readers_alone(
    clinic: Clinic, person: str
) -> None:
    study_id = clinic.done()
    actor = getattr(clinic, person)
    for way in WAYS.values():
        for asked, allowed in ((study_id, PEOPLE[person]), (uuid4(), False)):
            with clinic.session as session:
                if allowed:
                    assert way(clinic, session, actor, asked) is not None
                else:
                    with pytest.raises(Denied):
                        way(clinic, session, actor, asked)
    with clinic.session as session:
        if PEOPLE[person]:
            assert list(case.states(session, actor, [study_id, uuid4()], NOW, Shown())) == [
                study_id
            ]
        elif person == "outsider" or person == "colleague":
            assert case.states(session, actor, [study_id], NOW, Shown()) == {}
        else:
            with pytest.raises(Denied):
                case.states(session, actor, [study_id], NOW, Shown())


def events(clinic: Clinic, since: int) -> list[tuple[str, Any]]:
    with clinic.session as session:
        rows = session.scalars(
            select(AuditEvent).where(AuditEvent.seq > since).order_by(AuditEvent.seq)
        )
        return [(row.event, row.study_id) for row in rows]


def last_event(clinic: Clinic) -> int:
    with clinic.session as session:
        return session.scalar(text("SELECT max(seq) FROM audit_events")) or 0


def test_every_access_to_patient_data_writes_exactly_one_row(clinic: Clinic) -> None:
    study_id = clinic.done()
    expected = {"open": "study_opened", "state": None} | dict.fromkeys(
        ("pixels", "preview", "thumb", "probability", "mask", "overlay"), "picture_read"
    )
    for name, way in WAYS.items():
        before = last_event(clinic)
        with clinic.session as session:
            way(clinic, session, clinic.mate, study_id)
        event = expected[name]
        assert events(clinic, before) == ([(event, study_id)] if event else [])


def test_the_pictures_are_the_ones_that_the_worker_stored(clinic: Clinic) -> None:
    study_id = clinic.done()
    for kind, data in (rendered(8, 6) | segmented()).items():
        with clinic.session as session:
            found = case.read_blob(session, clinic.vault, clinic.owner, study_id, kind, NOW)
        assert found.data == data


@pytest.mark.parametrize("kind", ["source", "review_mask", "facts", "", "../pixels", "SOURCE"])
def test_the_source_and_unknown_pictures_look_like_not_found(clinic: Clinic, kind: str) -> None:
    study_id = clinic.done()
    with clinic.session as session, pytest.raises(Denied):
        case.read_blob(session, clinic.vault, clinic.mate, study_id, kind, NOW)


def test_a_refused_picture_has_a_reason_and_no_overlay(clinic: Clinic) -> None:
    study_id = clinic.done(**REFUSED)
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)
    assert view.state.state is status.State.NO_RESULT
    assert view.state.result is not None
    assert view.state.result.probability is None
    assert view.state.result.reasons[0]["code"] == "lateral_view"
    assert set(view.picture.blobs) == {BlobKind.PIXELS, BlobKind.PREVIEW, BlobKind.THUMB}
    with clinic.session as session, pytest.raises(Denied):
        case.read_blob(session, clinic.vault, clinic.mate, study_id, "mask", NOW)


def test_the_state_follows_the_jobs(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    seen = []

    def look() -> None:
        with clinic.session as session:
            found = case.study_state(session, clinic.owner, study_id)
        seen.append((found.state.value, found.waiting_for, found.is_settled))

    look()
    ticket = clinic.claim(clinic.job(study_id).id)
    assert ticket is not None
    look()
    clinic.fail(ticket, "decoder_lost", "transient")
    look()
    segment = clinic.render(study_id)
    look()
    clinic.segment(segment)
    look()
    assert seen == [
        ("received", "redis", False),
        ("preparing", None, False),
        ("received", "redis", False),
        ("analysing", "redis", False),
        ("done", None, True),
    ]


def test_a_failed_job_means_read_unaided_with_a_reason(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    ticket = clinic.claim(clinic.job(study_id).id)
    assert ticket is not None
    clinic.fail(ticket, "decode_failed", "permanent")
    with clinic.session as session:
        found = case.study_state(session, clinic.owner, study_id)
    assert (found.state, found.error_code) == (status.State.FAILED, "decode_failed")
    assert not found.has_picture


def test_waiting_for_a_worker_is_distinguished_from_waiting_for_redis(clinic: Clinic) -> None:
    from portal.models import Job

    study_id = clinic.submit().study_id
    with clinic.session as session:
        session.execute(update(Job).values(rung_at=NOW))
        session.commit()
        assert case.study_state(session, clinic.owner, study_id).waiting_for == "worker"
        workers.hello(session, hello_of("render"))
        assert case.study_state(session, clinic.owner, study_id).waiting_for is None
    clinic.pass_time(after(minutes=5))
    with clinic.session as session:
        assert case.study_state(session, clinic.owner, study_id).waiting_for == "worker"


def test_priors_are_the_same_patients_pictures_in_the_same_team(clinic: Clinic) -> None:
    def send(patient: str, actor: Any = None) -> Any:
        return clinic.submit(dicom(PatientID=patient), actor=actor).study_id

    mine, prior, _other = send("P-1"), send("P-1"), send("P-2")
    send("P-1", clinic.outsider)
    hidden = send("P-1", clinic.colleague)
    with clinic.session as session:
        by_reader = case.open_study(session, clinic.vault, clinic.mate, mine, NOW).priors
        by_owner = case.open_study(session, clinic.vault, clinic.owner, mine, NOW).priors
    assert {row.study_id for row in by_reader} == {prior, hidden}
    assert {row.study_id for row in by_owner} == {prior}


def test_a_damaged_file_fails_closed(clinic: Clinic) -> None:
    study_id = clinic.done()
    for path in files(clinic.core.data_dir):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
    with clinic.session as session, pytest.raises(NotReadable):
        case.read_blob(session, clinic.vault, clinic.mate, study_id, "pixels", NOW)
    with clinic.session as session:
        row = worklist.worklist(session, clinic.vault, clinic.mate, now=NOW).rows[0]
    assert row.thumb is None


def test_two_patients_files_swapped_by_row_do_not_open(clinic: Clinic) -> None:
    one, two = clinic.done(), clinic.done()
    with clinic.session as session:
        first, second = (
            session.scalars(
                select(Blob)
                .join(Instance, Instance.id == Blob.instance_id)
                .where(Instance.study_id == i, Blob.kind == BlobKind.PIXELS)
            ).one()
            for i in (one, two)
        )
        names = first.name, second.name
        first.name = "0" * 32 + "-0"
        session.flush()
        second.name = names[0]
        session.flush()
        first.name = names[1]
        session.commit()
    for study_id in (one, two):
        with clinic.session as session, pytest.raises(NotReadable):
            case.read_blob(session, clinic.vault, clinic.mate, study_id, "pixels", NOW)


def test_two_patients_sealed_data_swapped_do_not_open(clinic: Clinic) -> None:
    one, two = clinic.done(), clinic.done()
    with clinic.session as session:
        first, second = session.get_one(Study, one), session.get_one(Study, two)
        first.sealed_phi, second.sealed_phi = second.sealed_phi, first.sealed_phi
        session.commit()
    with clinic.session as session, pytest.raises(NotReadable):
        case.open_study(session, clinic.vault, clinic.mate, one, NOW)


def test_two_studies_keys_swapped_do_not_open(clinic: Clinic) -> None:
    one, two = clinic.done(), clinic.done()
    with clinic.session as session:
        first, second = session.get_one(Study, one), session.get_one(Study, two)
        first.wrapped_key, second.wrapped_key = second.wrapped_key, first.wrapped_key
        session.commit()
    with clinic.session as session, pytest.raises(NotReadable):
        case.open_study(session, clinic.vault, clinic.mate, two, NOW)


def test_outputs_of_a_running_attempt_are_not_seen(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    ticket = clinic.claim(clinic.job(study_id).id)
    assert ticket is not None
    clinic.store(ticket, **rendered(8, 6))
    assert clinic.state_of(ticket.job_id) is JobState.RUNNING
    with clinic.session as session, pytest.raises(Denied):
        case.read_blob(session, clinic.vault, clinic.mate, study_id, "preview", NOW)
