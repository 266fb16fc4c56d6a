"""The ledger: one process has a send, a lapsed claim is another's, and pauses grow."""

from uuid import uuid4

import pytest
from sqlalchemy import select, update

from portal.access import Denied
from portal.database import DatabaseTime
from portal.dicom_network import nodes
from portal.dicom_network.sending import ledger, overview
from portal.errors import Conflict
from portal.models import AuditEvent, DicomNode, DicomSend, SendMoment, SendState
from portal.sends import queue
from portal.sends.queue import Lapsed
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.dicom.pacs import Pacs
from tests.support.dicom.sending import due, receiver, the_send


def added(clinic: Clinic) -> DicomNode:
    node = receiver(clinic, Pacs(), "10.1.2.3")
    study = clinic.submit().study_id
    with clinic.session as session:
        ledger.add(session, node.id, study, SendMoment.RESULT, uuid4(), NOW)
        session.commit()
    return node


def test_a_send_is_one_process_until_its_claim_lapses(clinic: Clinic) -> None:
    node = added(clinic)
    with clinic.session as session:
        assert ledger.QUEUE.receivers_with_due(session) == [node.id]
        first = ledger.QUEUE.claim(session, node.id)
        assert first is not None
        assert ledger.QUEUE.claim(session, node.id) is None
        assert ledger.QUEUE.receivers_with_due(session) == []
        session.execute(update(DicomSend).values(claimed_until=DatabaseTime(-1.0)))
        session.commit()
        second = ledger.QUEUE.claim(session, node.id)
        assert second is not None
        for use in (ledger.QUEUE.of, ledger.QUEUE.prolong):
            with pytest.raises(Lapsed):
                use(session, first)
        longer = ledger.QUEUE.prolong(session, second, 900.0)
        assert ledger.QUEUE.of(session, longer).id == second.send_id


@pytest.mark.parametrize("change", ["off", "receives"])
def test_nothing_is_due_for_a_node_that_is_off_or_may_not_receive(
    clinic: Clinic, change: str
) -> None:
    node = added(clinic)
    with clinic.session as session:
        row = session.get_one(DicomNode, node.id)
        if change == "off":
            row.disabled_at = NOW
        else:
            row.receives = False
        session.commit()
        assert ledger.QUEUE.receivers_with_due(session) == []
        assert ledger.QUEUE.claim(session, node.id) is None


def test_pauses_grow_and_the_last_attempt_fails_with_a_row_in_the_log(clinic: Clinic) -> None:
    node = added(clinic)
    pauses = [queue.pause_after(n) for n in range(1, queue.MOST_ATTEMPTS)]
    assert pauses[:5] == [60, 300, 1800, 7200, 21600]
    assert 24 < sum(pauses) / 3600 < 72
    with clinic.session as session:
        claimed = ledger.QUEUE.claim(session, node.id)
        assert claimed is not None
        row = ledger.QUEUE.of(session, claimed)
        row.attempts = queue.MOST_ATTEMPTS
        ledger.try_later(session, row, "no_answer", NOW)
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "dicom_send_failed")
        ).one()
    assert (event.subject_id, '"no_answer"' in event.detail) == (node.id, True)
    assert the_send(clinic).state is SendState.FAILED


def test_an_administrator_has_a_failed_send_tried_again_and_nobody_else(clinic: Clinic) -> None:
    node = added(clinic)
    with clinic.session as session:
        claimed = ledger.QUEUE.claim(session, node.id)
        assert claimed is not None
        ledger.fail(session, ledger.QUEUE.of(session, claimed), "report_failed", NOW)
        send_id = claimed.send_id
        for actor in (clinic.mate, clinic.owner, clinic.auditor):
            with pytest.raises(Denied):
                overview.again(session, actor, send_id, NOW)
        found = overview.sends(session, clinic.vault, clinic.admin, NOW)
        assert [(one.state, one.reason) for one in found.lines] == [
            (SendState.FAILED, "report_failed")
        ]
        overview.again(session, clinic.admin, send_id, NOW)
        with pytest.raises(Conflict):
            overview.again(session, clinic.admin, send_id, NOW)
        with pytest.raises(Denied):
            overview.again(session, clinic.admin, uuid4(), NOW)
    due(clinic)
    assert the_send(clinic).state is SendState.PREPARING
    with clinic.session as session:
        assert ledger.QUEUE.receivers_with_due(session) == [node.id]


def test_what_a_node_gets_is_in_the_log_and_can_be_taken_back(clinic: Clinic) -> None:
    node = receiver(clinic, Pacs(), "10.1.2.3", objects=("sr", "ko"), moments=("signature",))
    with clinic.session as session:
        stated = nodes.described(session, node)
        assert (stated.objects, stated.moments) == (("sr", "ko"), ("signature",))
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "dicom_node_added")
        ).one()
        assert '"objects":["sr","ko"]' in event.detail
