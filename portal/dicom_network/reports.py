"""How the result of a storage commitment reaches who asked: on the association on which it was
asked while that one goes on, else by a new one to the node's host and port.
"""

import hashlib
import logging
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.presentation import build_context, build_role

from portal.dicom_network import classes
from portal.dicom_network.association import Incoming
from portal.exchange import outbound
from portal.models import DicomNode
from portal.settings import Settings
from xray_files import kinds

_log = logging.getLogger(__name__)

# A sender that wants the report on a new association releases this one at once.
_WAIT_FOR_RELEASE: Final = 1.0
_ANSWER_SECONDS: Final = 20.0
# So often a node is called anew, with so long in between.
_PAUSES: Final = (0.0, 5.0, 30.0, 120.0)
_MOST_WAITING: Final = 100
_LOOK: Final = 0.02


@dataclass(frozen=True, slots=True)
class Report:
    """A result that is to reach a node."""

    node: DicomNode
    event_type: int
    information: Dataset


def on_same(incoming: Incoming, context_id: int, message_id: int, report: Report) -> bool:
    """Send the report on the association on which it was asked for; whether it was acknowledged.

    To be called in the association's own thread, after its request was answered.
    """
    ends = time.monotonic() + _WAIT_FOR_RELEASE
    while time.monotonic() < ends:
        if not _goes_on(incoming):
            return False
        if not incoming.dimse.msg_queue.empty():
            break  # it sends more
        time.sleep(_LOOK)
    syntax = incoming._accepted_cx[context_id].transfer_syntax[0]
    encoded = encode(report.information, syntax.is_implicit_VR, syntax.is_little_endian)
    if encoded is None:
        return False
    request = N_EVENT_REPORT()
    request.MessageID = message_id
    request.AffectedSOPClassUID = UID(classes.COMMITMENT)
    request.AffectedSOPInstanceUID = UID(classes.COMMITMENT_INSTANCE)
    request.EventTypeID = report.event_type
    request.EventInformation = BytesIO(encoded)
    incoming.dimse.send_msg(request, context_id)
    return _is_acknowledged(incoming, message_id)


def _is_acknowledged(incoming: Incoming, message_id: int) -> bool:
    """Wait for the response; what else comes meanwhile is put back and served afterwards."""
    others = deque[Any]()
    ends = time.monotonic() + _ANSWER_SECONDS
    try:
        while time.monotonic() < ends and _goes_on(incoming):
            found, message = incoming.dimse.get_msg(block=False)
            if message is None:
                time.sleep(_LOOK)
            elif (
                isinstance(message, N_EVENT_REPORT)
                and message.MessageIDBeingRespondedTo == message_id
            ):
                return message.Status == 0
            else:
                others.append((found, message))
        return False
    finally:
        for one in others:
            incoming.dimse.msg_queue.put(one)


def _goes_on(incoming: Incoming) -> bool:
    """Whether the peer neither releases nor aborts."""
    return incoming.is_established and incoming.dul.peek_next_pdu() is None


class Calls:
    """Calls nodes with their reports, one after the other in a thread; with pauses where a node is
    away. What waits is lost when the listener ends: the node asks again.
    """

    def __init__(self, settings: Settings, entity: ApplicationEntity) -> None:
        self._settings = settings
        self._entity = entity
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)
        self._stop = threading.Event()

    def begin(self, report: Report) -> bool:
        """Call the node of a report; False where it has no host, or too many wait."""
        if report.node.host is None or not self._waiting.acquire(blocking=False):
            return False
        threading.Thread(target=self._call, args=(report,), daemon=True, name="report").start()
        return True

    def stop(self) -> None:
        """Begin no further call."""
        self._stop.set()

    def _call(self, report: Report) -> None:
        try:
            for pause in _PAUSES:
                if self._stop.wait(pause):
                    return
                try:
                    if send(self._settings, self._entity, report):
                        return
                except Exception as error:
                    _log.warning("a report was not delivered: %s", type(error).__name__)
        finally:
            self._waiting.release()


def send(settings: Settings, entity: ApplicationEntity, report: Report) -> bool:
    """Call the node and give it the report; whether it acknowledged it. Raises NotAllowed where
    the list of outgoing hosts does not have it, OSError where its name leads nowhere.
    """
    association = associate(settings, entity.ae_title, report.node, classes.COMMITMENT, as_scp=True)
    if association is None:
        return False
    try:
        status, _reply = association.send_n_event_report(
            report.information, report.event_type, classes.COMMITMENT, classes.COMMITMENT_INSTANCE
        )
        return "Status" in status and status.Status == 0
    finally:
        if association.is_established:
            association.release()


def associate(
    settings: Settings,
    own_title: str,
    node: DicomNode,
    sop_class: str,
    *,
    as_scp: bool = False,
    seconds: float = _ANSWER_SECONDS,
) -> Any:
    """An association with a node for one class, None where it refuses it or does not answer.

    A node with a fingerprint is called by TLS alone, and is left where it shows another certificate
    or we have none. Raises NotAllowed, see `send`.
    """
    assert node.host is not None
    assert node.port is not None
    target = outbound.judge_peer(node.host, node.port, settings.outgoing_hosts)
    tls = _tls(settings, node)
    if node.fingerprint is not None and tls is None:
        return None
    entity = ApplicationEntity(own_title)
    entity.implementation_class_uid = classes.implementation_uid()
    entity.implementation_version_name = classes.IMPLEMENTATION_NAME
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = seconds
    entity.connection_timeout = seconds
    context = build_context(sop_class, [kinds.EXPLICIT, kinds.IMPLICIT])
    association = entity.associate(
        target.address,
        target.port,
        contexts=[context],
        ae_title=node.ae_title,
        ext_neg=[build_role(sop_class, scp_role=True)] if as_scp else [],
        tls_args=tls,
    )
    if not association.is_established:
        return None
    if node.fingerprint is not None and not _shows(association, node.fingerprint):
        association.abort()
        return None
    return association


def _shows(association: Any, fingerprint: str) -> bool:
    """Whether the peer's certificate is the one that is stated of the node."""
    connected = association.dul.socket.socket
    shown = (
        connected.getpeercert(binary_form=True) if isinstance(connected, ssl.SSLSocket) else None
    )
    return shown is not None and hashlib.sha256(shown).hexdigest() == fingerprint


def _tls(settings: Settings, node: DicomNode) -> tuple[ssl.SSLContext, str] | None:
    """By TLS with our certificate, to a peer whose certificate one of the authorities has signed.

    A node is known by its fingerprint, not by a host name: equipment has certificates without.
    """
    files = settings.dicom.tls_files if settings.dicom is not None else None
    if node.fingerprint is None or files is None:
        return None
    certificate, key, authorities = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authorities)
    return context, node.host or ""
