"""How the result of a storage commitment reaches who asked: on the association on which it was
asked while that one goes on, else by a new one to the node's host and port.
"""

import logging
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
from portal.dicom_network.outgoing import calling
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
    association = calling.associate(
        settings,
        entity.ae_title,
        report.node,
        [build_context(classes.COMMITMENT, [kinds.EXPLICIT, kinds.IMPLICIT])],
        roles=[build_role(classes.COMMITMENT, scp_role=True)],
    )
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
