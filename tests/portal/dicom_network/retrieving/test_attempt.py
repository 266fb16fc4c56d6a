"""Earlier X-rays from an archive that can be faulty: what is asked for comes in, nothing else."""

import json
import time
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from portal.dicom_network import nodes
from portal.dicom_network.retrieving import ledger, search
from portal.dicom_network.retrieving.archive import GET, MOVE
from portal.dicom_network.sending.peer import FIND
from portal.models import (
    Arrival,
    AuditEvent,
    DicomNode,
    DicomRefusal,
    DicomRetrieval,
    DicomSource,
    Job,
    QuarantinedFile,
    RetrievalState,
)
from tests.portal.dicom_network.test_commitment import own_address
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.dicom import archive
from tests.support.dicom.archive import PATIENT, Archive, film, retrieving, source, step
from tests.support.dicom.listening import listening
from tests.support.wait import until

DAYS = ("20210101", "20230101", "20220101", "20200101")
WAYS = ("get", "move")


def exam(clinic: Clinic, **tags: Any) -> Any:
    """An exam of the patient of today, which was taken an hour before it arrives."""
    taken = {"StudyDate": f"{NOW:%Y%m%d}", "AcquisitionDate": f"{NOW:%Y%m%d}"}
    return clinic.submit(film(**(taken | {"day": f"{NOW:%Y%m%d}"} | tags))).study_id


def attempt(clinic: Clinic, pacs: Archive, way: str = "get", **options: Any) -> Any:
    """One exam arrives, and the archive is asked once about it."""
    address = own_address()
    with (
        listening(clinic, PLEURA_DICOM_HOST="0.0.0.0") as listens,
        archive.running(pacs, address),
        retrieving(clinic, address, pacs.port, **options) as retriever,
    ):
        pacs.destination = pacs.destination or listens.port
        node = source(clinic, pacs.port, address, queried=way)
        exam(clinic)
        assert retriever.look() == 1
        found = step(clinic, retriever, node)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_the_newest_earlier_films_come_in_as_old_exams(clinic: Clinic, way: str) -> None:
    pacs = Archive([film(day) for day in DAYS])
    found = attempt(clinic, pacs, way)
    assert (found.state, found.reason) == (RetrievalState.DONE, "")
    assert archive.counts(found) == (3, 0, 3, 0, 0)
    assert sorted(one.is_old for one in archive.studies(clinic)) == [False, True, True, True]
    with clinic.session as session:
        jobs = session.scalars(select(Job).order_by(Job.created, Job.id)).all()
        assert sorted(one.priority for one in jobs) == [-10, -10, -10, 0]
        assert len(session.scalars(select(Arrival)).all()) == 4
        assert not session.scalars(select(DicomRefusal)).all()
    assert archive.asked_objects(clinic) == []


@pytest.mark.parametrize("way", WAYS)
def test_what_is_here_is_not_asked_for(clinic: Clinic, way: str) -> None:
    films = [film(day) for day in DAYS[:2]]
    clinic.submit(films[0])
    pacs = Archive(films)
    address = own_address()
    with (
        listening(clinic, PLEURA_DICOM_HOST="0.0.0.0") as listens,
        archive.running(pacs, address),
        retrieving(clinic, address, pacs.port) as retriever,
    ):
        pacs.destination = listens.port
        node = source(clinic, pacs.port, address, queried=way)
        exam(clinic)
        retriever.look()
        found = step(clinic, retriever, node)
    assert archive.counts(found) == (2, 1, 1, 0, 0)
    assert len(pacs.asked) == 1


def test_only_chest_radiography_of_earlier_days_is_asked_for(clinic: Clinic) -> None:
    pacs = Archive(
        [
            film("20200101", BodyPartExamined="HAND"),
            film("20200102", Modality="CT"),
            film("20200103", BodyPartExamined=""),
            film("20991231"),
            film("20200104", SOPClassUID="1.2.840.10008.5.1.4.1.1.2"),
        ]
    )
    found = attempt(clinic, pacs)
    assert archive.counts(found) == (1, 0, 1, 0, 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("patient_id", ["SOMEBODY", PATIENT.lower()])
def test_another_patients_film_is_not_kept(clinic: Clinic, patient_id: str, way: str) -> None:
    """The archive finds a film under the patient's ID, and sends one whose header has another."""
    right = film("20200101", SOPInstanceUID="1.2.3.9")
    other = film("20200101", SOPInstanceUID="1.2.3.9", PatientID=patient_id)
    found = attempt(clinic, Archive([right], instead=other), way)
    assert archive.counts(found) == (1, 0, 0, 1, 0)
    assert archive.pictures(clinic) == 1
    with clinic.session as session:
        assert [one.code for one in session.scalars(select(DicomRefusal))] == ["other_patient"]
        assert not session.scalars(select(QuarantinedFile)).all()


def test_answers_about_another_patient_are_left_out(clinic: Clinic) -> None:
    pacs = Archive([film("20200101")], patient_id="SOMEBODY")
    found = attempt(clinic, pacs)
    assert archive.counts(found) == (0, 0, 0, 0, 0)
    assert pacs.asked == []
    assert left_out(clinic) == 1


@pytest.mark.parametrize("way", WAYS)
def test_what_was_not_asked_for_is_refused(clinic: Clinic, way: str) -> None:
    pacs = Archive([film("20200101")], also=film("20190101"))
    found = attempt(clinic, pacs, way)
    assert archive.counts(found) == (1, 0, 1, 0, 0)
    assert archive.pictures(clinic) == 2


def test_an_endless_answer_ends_it(clinic: Clinic) -> None:
    """By number: on a busy machine so many take longer than a search may."""
    found = attempt(clinic, Archive([film("20200101")], endless=True), search_seconds=250.0)
    assert (found.state, found.reason) == (RetrievalState.FAILED, "too_many_answers")


def test_pictures_without_end_end_the_association(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node sends on and on what was asked for, and never that this was all."""
    monkeypatch.setattr("portal.dicom_network.retrieving.archive.OBJECT_SECONDS", 0.5)
    pacs = Archive([film("20200101")], floods=True)
    found = attempt(clinic, pacs, answer_seconds=3.0)
    assert (found.state, found.reason) == (RetrievalState.WAITING, "no_answer")
    assert archive.counts(found) == (1, 0, 1, 0, 0)


def test_a_node_that_hangs_is_asked_again_later(clinic: Clinic) -> None:
    pacs = Archive([film("20200101")], hangs=3.0)
    found = attempt(clinic, pacs, answer_seconds=1.0)
    assert (found.state, found.reason) == (RetrievalState.WAITING, "no_answer")
    assert found.claimed_until is None


@pytest.mark.parametrize("way", WAYS)
def test_an_association_that_ends_is_made_again(clinic: Clinic, way: str) -> None:
    pacs = Archive([film("20200101"), film("20210101")], aborts=True)
    address = own_address()
    with (
        listening(clinic, PLEURA_DICOM_HOST="0.0.0.0") as listens,
        archive.running(pacs, address),
        retrieving(clinic, address, pacs.port) as retriever,
    ):
        pacs.destination = listens.port
        node = source(clinic, pacs.port, address, queried=way)
        exam(clinic)
        retriever.look()
        found = step(clinic, retriever, node)
        assert found.state is RetrievalState.WAITING
        assert found.reason == "no_answer"
        assert archive.counts(found)[2:] == (0, 0, 1)
        pacs.aborts = False
        found = step(clinic, retriever, node)
    assert (found.state, found.attempts) == (RetrievalState.DONE, 2)
    assert archive.counts(found) == (2, 0, 2, 0, 0)


def test_an_association_that_ends_between_two_searches_is_made_again(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next search finds no association."""
    priors = search.priors

    def slowly(called: Any, wanted: Any) -> Any:
        called.find("STUDY", 10, PatientID=PATIENT, StudyInstanceUID="")
        assert until(lambda: not called._associated.is_established)
        return priors(called, wanted)

    monkeypatch.setattr(search, "priors", slowly)
    found = attempt(clinic, Archive([film("20200101")], ends=True))
    assert (found.state, found.reason) == (RetrievalState.WAITING, "no_answer")


def test_each_search_prolongs_the_claim(clinic: Clinic) -> None:
    """A patient with many exams takes longer than one claim."""
    claims = list[Any]()

    class Slow(Archive):
        def find(self, event: Any) -> Any:
            claims.append(archive.the_retrieval(clinic).claimed_until)
            time.sleep(0.05)
            yield from super().find(event)

    found = attempt(clinic, Slow([film("20200101")]))
    assert found.state is RetrievalState.DONE
    assert len(claims) == len(set(claims)) == 3


def test_attempts_that_were_killed_count(clinic: Clinic) -> None:
    address, pacs = own_address(), Archive([film("20200101")])
    with archive.running(pacs, address), retrieving(clinic, address, pacs.port) as retriever:
        node = source(clinic, pacs.port, address)
        exam(clinic)
        retriever.look()
        with clinic.session as session:
            session.execute(update(DicomRetrieval).values(attempts=ledger.MOST_ATTEMPTS))
            session.commit()
        found = step(clinic, retriever, node)
    assert (found.state, found.reason) == (RetrievalState.FAILED, "no_answer")
    assert pacs.searched == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("status", "reason"),
    [(0xB000, "sub_operation_failed"), (0xA702, "put_off"), (0xC001, "node_failed")],
)
def test_a_picture_that_does_not_come_is_asked_for_again(
    clinic: Clinic, way: str, status: int, reason: str
) -> None:
    found = attempt(clinic, Archive([film("20200101")], status=status), way)
    assert (found.state, found.reason) == (RetrievalState.WAITING, reason)
    assert archive.counts(found) == (1, 0, 0, 0, 1)


def test_a_node_that_does_not_know_us_states_so(clinic: Clinic) -> None:
    address = own_address()
    pacs = Archive([film("20200101")])
    with archive.running(pacs, address), retrieving(clinic, address, pacs.port) as retriever:
        node = source(clinic, pacs.port, address, queried="move")
        exam(clinic)
        retriever.look()
        found = step(clinic, retriever, node)
    assert (found.state, found.reason) == (RetrievalState.WAITING, "destination_unknown")


@pytest.mark.parametrize(("way", "knows"), [("get", (FIND, MOVE)), ("move", (FIND, GET))])
def test_a_way_that_the_node_does_not_offer_ends_it(
    clinic: Clinic, way: str, knows: tuple[str, ...]
) -> None:
    found = attempt(clinic, Archive([film("20200101")], knows=knows), way)
    assert (found.state, found.reason) == (RetrievalState.FAILED, "context_refused")


@pytest.mark.parametrize("patient_id", ["*", "77?1", "77*"])
def test_an_id_that_would_match_others_is_not_searched(clinic: Clinic, patient_id: str) -> None:
    address, pacs = own_address(), Archive([film("20200101")])
    with archive.running(pacs, address), retrieving(clinic, address, pacs.port) as retriever:
        node = source(clinic, pacs.port, address)
        exam(clinic, PatientID=patient_id)
        retriever.look()
        found = step(clinic, retriever, node)
    assert (found.state, found.reason) == (RetrievalState.FAILED, "id_not_searchable")
    assert pacs.searched == []


def test_the_access_log_has_each_query_without_the_patient(clinic: Clinic) -> None:
    attempt(clinic, Archive([film("20200101")]))
    with clinic.session as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.seq)).all()
        events = [one.event for one in rows if one.event.startswith(("dicom_q", "dicom_retr"))]
        assert events == ["dicom_query_begun", "dicom_queried", "dicom_retrieval_done"]
        assert not any(PATIENT in str(one.detail) for one in rows)
        (queried,) = [json.loads(one.detail) for one in rows if one.event == "dicom_queried"]
    assert (queried["exams"], queried["pictures"], queried["known"]) == (1, 1, 0)


def test_a_node_that_was_switched_off_is_not_asked(clinic: Clinic) -> None:
    address, pacs = own_address(), Archive([film("20200101")])
    with archive.running(pacs, address), retrieving(clinic, address, pacs.port) as retriever:
        node = source(clinic, pacs.port, address)
        exam(clinic)
        retriever.look()
        with clinic.session as session:
            nodes.switch(session, clinic.admin, node.id, NOW, on=False)
        assert not retriever.step(node.id)
    assert pacs.searched == []


@pytest.mark.parametrize("change", ["off", "not queried", "another team"])
def test_a_node_that_is_changed_while_it_answers_is_asked_for_nothing_more(
    clinic: Clinic, change: str
) -> None:
    class Changed(Archive):
        def find(self, event: Any) -> Any:
            with clinic.session as session:
                node = session.scalars(select(DicomNode)).one()
                if change == "off":
                    nodes.switch(session, clinic.admin, node.id, NOW, on=False)
                elif change == "not queried":
                    session.execute(delete(DicomSource))
                else:
                    node.team_id = clinic.outsider.team_id
                session.commit()
            yield from super().find(event)

    pacs = Changed([film("20200101")])
    found = attempt(clinic, pacs)
    assert (found.state, found.attempts, pacs.asked) == (RetrievalState.WAITING, 0, [])
    assert archive.pictures(clinic) == 1


def left_out(clinic: Clinic) -> int:
    with clinic.session as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.event == "dicom_queried"))
        return int(json.loads(rows.one().detail)["left_out"])
