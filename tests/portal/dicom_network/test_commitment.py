"""Storage commitment: answered for what is stored, on the same association and on a new one."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context
from sqlalchemy import select

from portal.dicom_network import classes, commitment
from portal.dicom_network.outgoing import echo
from portal.models import AuditEvent, Blob, DicomNode
from tests.support.clinic import Clinic
from tests.support.dicom import sender
from tests.support.dicom.listening import OURS, TITLE, add_node, listening, settings_of
from xray_files import kinds

PUSH = classes.COMMITMENT
INSTANCE = classes.COMMITMENT_INSTANCE


def request(uids: list[str], transaction: str | None = None) -> Dataset:
    """What an N-ACTION asks for."""
    asked = Dataset()
    asked.TransactionUID = transaction or generate_uid()
    asked.ReferencedSOPSequence = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sender.DX, uid
        asked.ReferencedSOPSequence.append(item)
    return asked


@dataclass
class Peer:
    """Who asks, and the reports that reach it: Event Type ID and information."""

    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)

    def take(self, event: Any) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        self.came.set()
        return 0, None

    def wait(self) -> tuple[int, Dataset]:
        assert self.came.wait(60), "no report came"
        return self.reports[-1]


@contextmanager
def asking(listens: Any, peer: Peer) -> Iterator[Any]:
    entity = ApplicationEntity(TITLE)
    entity.add_requested_context(PUSH, [kinds.EXPLICIT])
    association = entity.associate(
        "127.0.0.1",
        listens.port,
        ae_title=OURS,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, peer.take)],
    )
    assert association.is_established
    yield association
    if association.is_established:
        association.release()


def uids_of(item: Dataset, keyword: str) -> list[str]:
    return [str(one.ReferencedSOPInstanceUID) for one in item.get(keyword) or []]


def test_the_report_comes_on_the_same_association_where_that_goes_on(clinic: Clinic) -> None:
    node, peer = add_node(clinic), Peer()
    clinic.submit(SOPInstanceUID="1.2.3.1")
    asked = request(["1.2.3.1", "1.2.3.2"])
    with listening(clinic) as listens, asking(listens, peer) as association:
        status, _ = association.send_n_action(asked, 1, PUSH, INSTANCE)
        assert status.Status == 0
        event_type, report = peer.wait()
    assert event_type == commitment.SOME_FAILED
    assert report.TransactionUID == asked.TransactionUID
    assert uids_of(report, "ReferencedSOPSequence") == ["1.2.3.1"]
    assert uids_of(report, "FailedSOPSequence") == ["1.2.3.2"]
    assert report.FailedSOPSequence[0].FailureReason == commitment.NO_SUCH_INSTANCE
    with clinic.session as session:
        row = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "dicom_commitment_answered")
        ).one()
    assert (row.subject_id, row.detail) == (node.id, '{"failed":1,"stored":1}')


def test_all_that_is_asked_for_and_stored_is_a_success(clinic: Clinic) -> None:
    add_node(clinic)
    peer = Peer()
    clinic.submit(SOPInstanceUID="1.2.3.1")
    with listening(clinic) as listens, asking(listens, peer) as association:
        association.send_n_action(request(["1.2.3.1"]), 1, PUSH, INSTANCE)
        event_type, report = peer.wait()
        assert association.is_established
    assert event_type == commitment.ALL_STORED
    assert "FailedSOPSequence" not in report


def test_what_another_team_has_or_what_lost_its_file_does_not_count(clinic: Clinic) -> None:
    node = add_node(clinic)
    clinic.submit(actor=clinic.outsider, SOPInstanceUID="1.2.3.1")
    lost = clinic.submit(SOPInstanceUID="1.2.3.2")
    with clinic.session as session:
        blob = session.scalars(select(Blob).where(Blob.instance_id == lost.instance_id)).one()
        clinic.vault.destroy(blob.name)
        row = session.get_one(DicomNode, node.id)
        named = [(sender.DX, f"1.2.3.{n}") for n in (1, 2, 3)]
        found = commitment.look_up(session, clinic.vault, row, named)
    assert found.stored == []
    assert [reason for _, reason in found.failed] == [commitment.NO_SUCH_INSTANCE] * 3


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda asked: asked.__delattr__("TransactionUID"), 0x0115),
        (lambda asked: asked.__delattr__("ReferencedSOPSequence"), 0x0115),
        (lambda asked: asked.__setattr__("ReferencedSOPSequence", []), 0x0115),
    ],
)
def test_a_request_that_names_nothing_is_refused(
    clinic: Clinic, change: Callable[[Dataset], None], status: int
) -> None:
    add_node(clinic)
    asked = request(["1.2.3"])
    change(asked)
    with listening(clinic) as listens, asking(listens, Peer()) as association:
        answer, _ = association.send_n_action(asked, 1, PUSH, INSTANCE)
        assert answer.Status == status
        answer, _ = association.send_n_action(request(["1.2.3"]), 2, PUSH, INSTANCE)
        assert answer.Status == 0x0123


def own_address() -> str:
    """An address of this machine that is no loopback: those are never called."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found = str(probe.getsockname()[0])
        except OSError:
            found = "127.0.0.1"
    if found.startswith("127."):
        pytest.skip("this machine has no address but its loopback")
    return found


@contextmanager
def called(peer: Peer, address: str) -> Iterator[int]:
    """A node that is called with reports; its port."""
    entity = ApplicationEntity(TITLE)
    roles = build_context(PUSH, [kinds.EXPLICIT])
    roles.scu_role, roles.scp_role = True, True
    entity.supported_contexts = [roles, build_context(classes.VERIFICATION)]
    server = entity.start_server(
        (address, 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, peer.take)]
    )
    assert server is not None
    yield int(server.server_address[1])
    server.shutdown()


def test_who_releases_is_called_at_its_host_and_port(clinic: Clinic) -> None:
    address, peer = own_address(), Peer()
    clinic.submit(SOPInstanceUID="1.2.3.1")
    with called(peer, address) as port:
        add_node(clinic, host=address, port=str(port))
        allowed = f"private:{address}:{port}"
        with listening(clinic, PLEURA_OUTGOING_HOSTS=allowed) as listens:
            with asking(listens, Peer()) as association:
                status, _ = association.send_n_action(request(["1.2.3.1"]), 1, PUSH, INSTANCE)
                assert status.Status == 0
            event_type, report = peer.wait()
    assert event_type == commitment.ALL_STORED
    assert uids_of(report, "ReferencedSOPSequence") == ["1.2.3.1"]


def test_a_node_is_called_only_where_the_list_of_hosts_has_it(clinic: Clinic) -> None:
    address, peer = own_address(), Peer()
    with called(peer, address) as port:
        node = add_node(clinic, host=address, port=str(port))
        nowhere = add_node(clinic, ae_title="NOWHERE")
        allowed = settings_of(clinic, PLEURA_OUTGOING_HOSTS=f"private:{address}:{port}")
        with clinic.session as session:
            assert echo.test(session, clinic.admin, allowed, node.id) == "answers"
            assert echo.test(session, clinic.admin, settings_of(clinic), node.id) == "not_allowed"
            assert echo.test(session, clinic.admin, allowed, nowhere.id) == "no_place"
    with clinic.session as session:
        assert echo.test(session, clinic.admin, allowed, node.id) == "no_association"
