"""The ledger of retrievals: one process has one, so many of a node at once, and its end."""

import pytest
from sqlalchemy import delete, select, update

from portal.access import Denied
from portal.database import DatabaseTime
from portal.dicom_network import nodes
from portal.dicom_network.retrieving import asking, ledger, overview
from portal.dicom_network.retrieving.ledger import Claim
from portal.dicom_network.storing import MISMATCH, NO_RESOURCES, STORED, Answer, refused
from portal.errors import Conflict
from portal.governance import purges
from portal.models import (
    AskedState,
    DicomAskedObject,
    DicomNode,
    DicomRetrieval,
    PurgeReason,
    RetrievalState,
)
from portal.sends.queue import Lapsed
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.dicom import archive
from tests.support.dicom.archive import film, source


@pytest.fixture
def node(clinic: Clinic) -> DicomNode:
    """A node of which two retrievals may go on at once."""
    return source(clinic, 104, "10.1.2.3", at_once="2", priors=False)


def asked(clinic: Clinic, count: int) -> None:
    for _ in range(count):
        archive.ask(clinic, clinic.submit(film(f"{NOW:%Y%m%d}")).study_id)


def claim(clinic: Clinic, node: DicomNode) -> Claim | None:
    with clinic.session as session:
        return ledger.claim(session, node.id)


def claimed(clinic: Clinic, node: DicomNode) -> Claim:
    found = claim(clinic, node)
    assert found is not None
    return found


def test_so_many_at_once_as_the_node_may_have(clinic: Clinic, node: DicomNode) -> None:
    asked(clinic, 3)
    with clinic.session as session:
        assert ledger.nodes_with_due(session) == {node.id: 2}
    first, second = claimed(clinic, node), claimed(clinic, node)
    assert first.retrieval_id != second.retrieval_id
    assert claim(clinic, node) is None
    with clinic.session as session:
        ledger.drop(session, ledger.of(session, first), "not_queried", NOW)
    assert claim(clinic, node) is not None


def test_a_claim_that_lapsed_is_another_process_s(clinic: Clinic, node: DicomNode) -> None:
    asked(clinic, 1)
    first = claimed(clinic, node)
    archive.due(clinic)
    second = claimed(clinic, node)
    assert second.retrieval_id == first.retrieval_id
    with clinic.session as session:
        with pytest.raises(Lapsed):
            ledger.prolong(session, first)
        with pytest.raises(Lapsed):
            ledger.of(session, first)
        assert ledger.prolong(session, second).until > second.until


def test_after_the_last_attempt_it_has_failed(clinic: Clinic, node: DicomNode) -> None:
    asked(clinic, 1)
    for attempt in range(1, ledger.MOST_ATTEMPTS + 1):
        archive.due(clinic)
        mine = claimed(clinic, node)
        with clinic.session as session:
            row = ledger.of(session, mine)
            row.attempts = attempt
            ledger.settle(session, row, "no_answer", NOW)
    found = archive.the_retrieval(clinic)
    assert (found.state, found.reason) == (RetrievalState.FAILED, "no_answer")
    with clinic.session as session:
        overview.again(session, clinic.admin, found.id, NOW)
    found = archive.the_retrieval(clinic)
    assert (found.state, found.attempts, found.finished_at) == (RetrievalState.WAITING, 0, None)
    assert claim(clinic, node) is not None
    with clinic.session as session, pytest.raises(Conflict):
        overview.again(session, clinic.admin, found.id, NOW)
    with clinic.session as session, pytest.raises(Denied):
        overview.again(session, clinic.mate, found.id, NOW)


def test_failed_ones_stay_listed_however_many_came_after(
    clinic: Clinic, node: DicomNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MOST", 2)
    asked(clinic, 1)
    study_id = archive.the_retrieval(clinic).study_id
    states = [RetrievalState.FAILED, *[RetrievalState.DONE] * 3]
    with clinic.session as session:
        session.execute(delete(DicomRetrieval))
        for hours, state in enumerate(states):
            row = ledger.add(session, node.id, study_id, None, after(hours=hours))
            row.state, row.finished_at = state, NOW
        session.commit()
        found = overview.retrievals(session, clinic.admin, after(hours=4))
    assert [one.state for one in found] == [RetrievalState.DONE, RetrievalState.FAILED]


def test_what_waits_for_a_node_that_is_off_is_not_being_looked_for(
    clinic: Clinic, node: DicomNode
) -> None:
    asked(clinic, 1)
    study_id = archive.the_retrieval(clinic).study_id
    assert study_id is not None
    with clinic.session as session:
        found = overview.of_case(session, study_id)
        assert found is not None
        assert (found.is_open, found.has_failed) == (True, False)
        nodes.switch(session, clinic.admin, node.id, NOW, on=False)
        found = overview.of_case(session, study_id)
        assert found is not None
        assert (found.is_open, found.has_failed) == (False, True)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (STORED, AskedState.STORED),
        (refused(NO_RESOURCES, "disk_full"), AskedState.FAILED),
        (refused(MISMATCH, "other_patient"), AskedState.REFUSED),
    ],
)
def test_what_became_of_an_object(
    clinic: Clinic, node: DicomNode, answer: Answer, state: AskedState
) -> None:
    asked(clinic, 1)
    mine = claimed(clinic, node)
    key = asking.key_of(clinic.vault, "1.2.3")
    with clinic.session as session:
        asking.begin(session, ledger.of(session, mine), key, "", 60.0)
        session.commit()
        one = asking.open_one(session, clinic.vault, node.id, "1.2.3")
        assert one is not None
        assert asking.open_one(session, clinic.vault, node.id, "1.2.4") is None
        asking.note(session, one, answer)
        assert asking.of(session, mine.retrieval_id) == {key: state}
        # It came once; what comes later is not taken, and its end stands.
        assert asking.open_one(session, clinic.vault, node.id, "1.2.3") is None
        asking.close(session, mine.retrieval_id, key, "not_sent")
        assert asking.of(session, mine.retrieval_id) == {key: state}


def test_an_object_that_is_late_is_not_taken(clinic: Clinic, node: DicomNode) -> None:
    asked(clinic, 1)
    mine = claimed(clinic, node)
    key = asking.key_of(clinic.vault, "1.2.3")
    with clinic.session as session:
        asking.begin(session, ledger.of(session, mine), key, "", 60.0)
        session.execute(update(DicomAskedObject).values(until=DatabaseTime(-1.0)))
        session.commit()
        assert asking.open_one(session, clinic.vault, node.id, "1.2.3") is None


def test_a_purge_ends_what_is_looked_for(clinic: Clinic, node: DicomNode) -> None:
    asked(clinic, 1)
    mine = claimed(clinic, node)
    with clinic.session as session:
        row = ledger.of(session, mine)
        study_id = row.study_id
        asking.begin(session, row, asking.key_of(clinic.vault, "1.2.3"), "", 60.0)
        session.commit()
    with clinic.session as session:
        purges.purge(
            *(session, clinic.vault, clinic.admin, study_id, NOW),
            reason=PurgeReason.PATIENT_REQUEST,
        )
    found = archive.the_retrieval(clinic)
    assert (found.state, found.reason) == (RetrievalState.DROPPED, "purged")
    assert archive.asked_objects(clinic) == []
    with clinic.session as session:
        with pytest.raises(Lapsed):
            ledger.of(session, mine)
        assert session.scalars(select(DicomRetrieval.claimed_until)).all() == [None]
