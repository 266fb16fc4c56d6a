"""An association on which objects are stored, committed and looked for. Data sets go out as they
are encoded, from memory: nothing is decoded, encoded anew or written to a file.
"""

import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context

from portal.dicom_network import association, classes
from portal.dicom_network.outgoing import calling
from portal.exchange.outbound import NotAllowed
from portal.models import DicomNode
from portal.settings import Settings
from xray_files import kinds

FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve Information Model, FIND
_STORAGE_COMMITMENT: Final = 1  # the one Action Type ID
_PENDING: Final = (0xFF00, 0xFF01)
_PREAMBLE: Final = 128
_MOST_MATCHES: Final = 10
_LOOK: Final = 0.02
# Its thread pauses at once, but for a report that it is taking.
_PAUSES_WITHIN: Final = 60.0


class NoAnswer(Exception):
    """The node can't be called, or does not answer any more. `code`: why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class File:
    """A DICOM file in its parts: what its meta information states, and its data set."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data_set: memoryview


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a C-STORE."""

    status: int
    comment: str


def parts_of(data: bytes) -> File:
    """A file of ours in its parts; ValueError for bytes that are none."""
    if data[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        raise ValueError("no DICOM file")
    at, found = _PREAMBLE + 4, dict[int, str]()
    while True:
        group, number, vr = struct.unpack_from("<HH2s", data, at)
        if group != 2:
            break
        is_long = vr in (b"OB", b"UN", b"UT", b"OW", b"SQ")
        (length,) = struct.unpack_from("<L" if is_long else "<H", data, at + (8 if is_long else 6))
        at += 12 if is_long else 8
        if vr == b"UI":
            found[number] = data[at : at + length].decode("ascii").rstrip("\0 ")
        at += length
    uids = found.get(0x02, ""), found.get(0x03, ""), found.get(0x10, "")
    if not all(classes.is_uid(one) for one in uids):
        raise ValueError("no class, instance or transfer syntax")
    return File(*uids, memoryview(data)[at:])


class Peer:
    """A node that is associated with."""

    def __init__(self, associated: Any, reported: "Reported") -> None:
        self._associated = associated
        self._reported = reported
        self._contexts = {
            (str(one.abstract_syntax), str(one.transfer_syntax[0])): int(one.context_id)
            for one in associated.accepted_contexts
        }

    def accepts(self, sop_class: str, transfer_syntax: str | None = None) -> bool:
        """Whether the node has accepted a class, in a transfer syntax or in any."""
        if transfer_syntax is not None:
            return (sop_class, transfer_syntax) in self._contexts
        return any(one == sop_class for one, _ in self._contexts)

    def store(self, number: int, file: File) -> Answer:
        """Store one object by C-STORE; NoAnswer where none comes."""
        request = C_STORE()
        request.MessageID = number
        request.AffectedSOPClassUID = UID(file.sop_class)
        request.AffectedSOPInstanceUID = UID(file.sop_instance)
        request.Priority = 0
        request.DataSet = BytesIO(file.data_set)
        context = self._contexts[(file.sop_class, file.transfer_syntax)]
        response = self._ask(request, context)
        if not isinstance(response, C_STORE) or response.Status is None:
            raise NoAnswer("no_answer")
        return Answer(int(response.Status), str(response.ErrorComment or ""))

    def _ask(self, request: Any, context: int) -> Any:
        associated = self._associated
        if not associated.is_established:
            raise NoAnswer("ended")
        # Its thread would take the answer for a request of the node's.
        associated._reactor_checkpoint.clear()
        try:
            ends = time.monotonic() + _PAUSES_WITHIN
            while not associated._is_paused:  # nor when its thread has ended
                if time.monotonic() > ends:
                    raise NoAnswer("no_answer")
                time.sleep(0.0005)
            if not associated.is_alive():
                raise NoAnswer("ended")
            associated.dimse.send_msg(request, context)
            _, response = associated.dimse.get_msg(block=True)
        finally:
            associated._reactor_checkpoint.set()
        if response is None:
            raise NoAnswer("ended" if not associated.is_established else "no_answer")
        return response

    def ask_for_commitment(self, transaction: str, named: Sequence[tuple[str, str]]) -> bool:
        """Ask by N-ACTION whether these are stored; whether the node will answer."""
        asked = Dataset()
        asked.TransactionUID = transaction
        asked.ReferencedSOPSequence = [_reference(one) for one in named]
        try:
            status, _ = self._associated.send_n_action(
                asked, _STORAGE_COMMITMENT, classes.COMMITMENT, classes.COMMITMENT_INSTANCE
            )
        except (RuntimeError, ValueError):
            return False
        return "Status" in status and status.Status == 0

    def await_report(self, seconds: float) -> None:
        """Give the node a while to report on this association."""
        ends = time.monotonic() + seconds
        while self._associated.is_established and time.monotonic() < ends:
            if self._reported.came.wait(_LOOK):
                return

    def has(self, study_uid: str, series_uid: str, instance_uid: str) -> bool | None:
        """Whether C-FIND has an object, by its UIDs; None where it can't be asked."""
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID, query.SeriesInstanceUID = study_uid, series_uid
        query.SOPInstanceUID = instance_uid
        found, matches = False, 0
        try:
            for status, match in self._associated.send_c_find(query, FIND):
                if "Status" not in status:
                    return None
                if status.Status in _PENDING:
                    matches += 1
                    # Who leaves keys aside has others, too.
                    found = found or str(match.get("SOPInstanceUID", "")) == instance_uid
                    if matches > _MOST_MATCHES:
                        self._associated.abort()
                        return True if found else None
                elif status.Status != 0:
                    return None
        except (RuntimeError, ValueError, AttributeError):
            return None
        return found


@dataclass(frozen=True, slots=True)
class Reported:
    """What is done with a report that comes on an association of ours, and whether one came."""

    take: Callable[[bytes], int]
    came: threading.Event

    def handle(self, event: Any) -> tuple[int, None]:
        """N-EVENT-REPORT: its data set as it is encoded, behind file meta information."""
        status = self.take(encoded_report(event))
        self.came.set()
        return status, None


def encoded_report(event: Any) -> bytes:
    """The data set of an N-EVENT-REPORT as a file, to be read in a confined process."""
    information = event.request.EventInformation
    raw = information.getvalue() if isinstance(information, BytesIO) else b""
    return classes.as_file(
        classes.COMMITMENT,
        classes.COMMITMENT_INSTANCE,
        str(event.context.transfer_syntax),
        raw,
    )


@contextmanager
def called(
    settings: Settings,
    node: DicomNode,
    files: Sequence[File],
    take_report: Callable[[bytes], int],
    *,
    seconds: float,
) -> Iterator[Peer]:
    """A node that is called for these objects, and left in any case; NoAnswer where it is away,
    refuses the association or everything that is asked for.
    """
    association.silence()
    reported = Reported(take_report, threading.Event())
    try:
        associated = calling.associate(
            settings,
            calling.own_title(settings),
            node,
            _contexts(files),
            handlers=[(evt.EVT_N_EVENT_REPORT, reported.handle)],
            seconds=seconds,
        )
    except NotAllowed:
        raise NoAnswer("not_allowed") from None
    except OSError:
        raise NoAnswer("no_association") from None
    if associated is None:
        raise NoAnswer("no_association")
    try:
        yield Peer(associated, reported)
    finally:
        if associated.is_established:
            associated.release()
        if not associated.is_released and not associated.is_aborted:
            associated.abort()


def _contexts(files: Sequence[File]) -> list[PresentationContext]:
    """Each object in the transfer syntax in which it is stored, and what proves that it was."""
    of_objects = sorted({(one.sop_class, one.transfer_syntax) for one in files})
    services = [kinds.EXPLICIT, kinds.IMPLICIT]
    return [
        *(build_context(sop_class, [syntax]) for sop_class, syntax in of_objects),
        build_context(classes.COMMITMENT, services),
        build_context(FIND, services),
    ]


def _reference(one: tuple[str, str]) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one
    return item
