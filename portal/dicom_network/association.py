"""Associations within limits: pynetdicom's, whose parts read as much as is sent.

What it lacks is added where it reads from the socket (how long a part may be, and how long it may
take), where it gathers a message (how large a data set may be), and where it decides whether to
associate. It never writes data sets to files.
"""

import logging
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Final

from pynetdicom import _config
from pynetdicom.acse import ACSE
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE, N_ACTION
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket

from portal.dicom_network.memory import DataSets, Held
from portal.models import DicomNode

_log = logging.getLogger(__name__)

# An association request lists up to 128 contexts with their transfer syntaxes.
_LONGEST_REQUEST: Final = 256 * 1024
# What comes before a data set: a command has a few UIDs.
_LONGEST_COMMAND: Final = 16 * 1024
# What a request for storage commitment has: 4096 pairs of UIDs.
_LONGEST_ACTION: Final = 1024 * 1024
# Of a data set that is too large anyway so much is read (and dropped), then it is ended.
_PATIENCE: Final = 4
# A message may take so long in all, and more by its size: at this many bytes a second.
_MESSAGE_SECONDS: Final = 120.0
_SLOWEST: Final = 16 * 1024
# A query has several answers, which come without being waited for.
_MOST_ANSWERS: Final = 100
_ABORT: Final = "Evt19"  # an invalid part: the state machine sends an A-ABORT
_C_STORE_RQ: Final = 0x0001


def silence() -> None:
    """Let pynetdicom and pydicom log nothing: their lines quote what was sent, which names
    patients.
    """
    for name in ("pynetdicom", "pydicom"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
    warnings.filterwarnings("ignore", module=r"pynetdicom|pydicom")
    _config.LOG_HANDLER_LEVEL = "none"
    _config.STORE_RECV_CHUNKED_DATASET = False  # it writes plain bytes to temporary files


def log_kinds_of_errors() -> None:
    """Threads of pynetdicom end in errors whose texts quote what was sent: log their kinds."""
    threading.excepthook = _log_its_kind


def _log_its_kind(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_type is not SystemExit:
        _log.error("a thread ended: %s", failed.exc_type.__name__)


class Incoming(Association):
    """An association that a peer asks for.

    judge: returns None for one that may begin, else result, source and reason of the refusal
    (PS3.8 9.3.4). served: called after each request that was answered.
    """

    def __init__(
        self,
        entity: ApplicationEntity,
        *,
        judge: "Judge",
        served: "Served",
        most_bytes: int,
        data_sets: DataSets,
    ) -> None:
        super().__init__(entity, "acceptor")
        self.acse = _Judged(self, judge)
        self.held = Held(data_sets)
        self.dimse = self.bounded = Bounded(self, most_bytes, held=self.held)
        self._after = served
        # Who it is, once it was let in; and what follows an answer.
        self.node: DicomNode | None = None
        self.follows: Any = None

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if not msg.is_valid_request:  # it would be left without an answer, and its sender waiting
            self.abort()
            return
        try:
            super()._serve_request(msg, context_id)
        finally:
            if isinstance(msg, C_STORE):
                self.held.answered()
        self._is_paused = True  # as it is while a request is served: `served` may send one
        try:
            self._after(self, msg)
        finally:
            self._is_paused = False

    @property
    def certificate(self) -> bytes | None:
        """The peer's TLS certificate (DER); None without TLS."""
        connected = self.dul.socket.socket if self.dul.socket is not None else None
        if not isinstance(connected, ssl.SSLSocket):
            return None
        return connected.getpeercert(binary_form=True)


Judge = Callable[[Incoming], tuple[int, int, int] | None]
Served = Callable[[Incoming, C_STORE | N_ACTION | Any], None]


class _Judged(ACSE):
    """Decides before anything is negotiated; what goes wrong there is a refusal."""

    def __init__(self, association: Incoming, judge: Judge) -> None:
        super().__init__(association)
        self._judge = judge

    def negotiate_association(self) -> None:
        incoming = self.assoc
        assert isinstance(incoming, Incoming)
        try:
            refused = self._judge(incoming)
            if refused is None:
                super().negotiate_association()
                return
        except Exception as error:
            _log.error("an association could not be judged: %s", type(error).__name__)
            refused = (2, 3, 1)  # transient: temporary congestion
        self.send_reject(*refused)
        incoming.is_rejected = True
        incoming.kill()


class Bounded(DIMSEServiceProvider):
    """Gathers messages up to a size, while no more than so many wait. `is_too_large`: the message
    before was larger, and its data set was dropped while it came. `is_without_room`: it was dropped
    because the data sets of all associations were too much. A message that takes too long in all
    ends its association, however often a part of it comes.
    """

    def __init__(
        self,
        association: Association,
        most_bytes: int,
        *,
        most_waiting: int = 0,
        held: Held | None = None,
    ) -> None:
        super().__init__(association)
        self._most_bytes = most_bytes
        self._most_waiting = most_waiting
        self._held = held
        self._commands = self._data = 0
        self._began = 0.0
        self.is_too_large = self.is_without_room = False

    def receive_primitive(self, primitive: P_DATA) -> None:
        """One part of a message, or of several."""
        for context_id, part in primitive.presentation_data_value_list:
            bounded = self._bounded(part)
            if bounded is None or not self._gather(context_id, bounded):
                self._end()
                return

    def _bounded(self, part: bytes) -> bytes | None:
        """What is kept of a part; None where it ends the association."""
        if not self._commands:
            self._began = time.monotonic()
        if not part or self._is_too_slow():
            return None
        if part[0] & 1:
            if not self._commands:
                self.is_too_large = self.is_without_room = False  # another message
            self._commands += len(part)
            if self._commands > _LONGEST_COMMAND or self.msg_queue.qsize() > self._most_waiting:
                return None  # who does not wait for answers fills the memory
            return part
        is_store = self._is_store()
        if is_store and not self._data and self._held is not None:
            self._held.begin()
        self._data += len(part)
        most = self._most_bytes if is_store else _LONGEST_ACTION
        if self._data > most:
            if self._data > _PATIENCE * most:
                return None
            self.is_too_large = True
        elif is_store and not self._has_room(len(part)):
            self.is_without_room = True
        if self.is_too_large or self.is_without_room:
            self._drop()
            return part[:1]
        return part

    def _gather(self, context_id: int, part: bytes) -> bool:
        """Add a part to its message; False for a command that is none."""
        one = P_DATA()
        pair: Any = [context_id, part]  # it takes lists alone
        one.presentation_data_value_list = [pair]
        before = self.message
        if before is None:
            before = self.message = DIMSEMessage()
        try:
            super().receive_primitive(one)
        except Exception as error:
            _log.info("a message could not be read: %s", type(error).__name__)
            return False
        if self.message is not before:  # it was complete
            self._commands = self._data = 0
        return True

    def _is_store(self) -> bool:
        """Whether the message is a C-STORE, of which the command is known by now."""
        command = getattr(self.message, "command_set", None)
        return command is not None and command.get("CommandField") == _C_STORE_RQ

    def _has_room(self, size: int) -> bool:
        """Whether there is room for so much more; never again once a data set was dropped."""
        return not self.is_without_room and (self._held is None or self._held.grow(size))

    def _is_too_slow(self) -> bool:
        lasted = time.monotonic() - self._began
        return lasted > _MESSAGE_SECONDS + self._data / _SLOWEST

    def _drop(self) -> None:
        if self._held is not None:
            self._held.drop()
        data_set = self.message.data_set if self.message is not None else None
        if data_set is not None:
            data_set.seek(0)
            data_set.truncate()

    def _end(self) -> None:
        self.dul.event_queue.put(_ABORT)


class BoundedSocket(AssociationSocket):
    """A socket from which a part is read only up to its allowed length and within its time."""

    def __init__(self, association: Incoming, connected: socket.socket, seconds: float) -> None:
        super().__init__(association, client_socket=connected)
        self.limit(association.ae.maximum_pdu_size, seconds)
        connected.settimeout(seconds)

    def limit(self, most_bytes: int, seconds: float) -> None:
        """How long a part may be, and how long it may take."""
        self._seconds = seconds
        self._longest = max(most_bytes, _LONGEST_REQUEST)

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, or what came before the end; OSError where it is too much or too slow."""
        if nr_bytes > self._longest:
            raise OSError("a part is longer than allowed")
        data = bytearray(nr_bytes)
        view, at = memoryview(data), 0
        ends = time.monotonic() + self._seconds
        connected = self.socket
        if connected is None:
            return bytearray()
        while at < nr_bytes:
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connected.settimeout(left)
            count = connected.recv_into(view[at:])
            if not count:
                break
            at += count
        connected.settimeout(self._seconds)
        view.release()
        del data[at:]
        return data


class Outgoing(Association):
    """An association that we have asked for. What is sent waits until its thread pauses, which a
    thread that has ended does for good: its last state may be that it did not.
    """

    @property
    def _is_paused(self) -> bool:
        return bool(self.__dict__.get("_is_paused")) or not self.is_alive()

    @_is_paused.setter
    def _is_paused(self, is_paused: bool) -> None:
        self.__dict__["_is_paused"] = is_paused


def bound(
    outgoing: Association,
    seconds: float,
    *,
    most_bytes: int = _LONGEST_ACTION,
    held: Held | None = None,
) -> None:
    """Put the same limits on an association that we asked for, once it is there: before the first
    request of ours its peer has nothing to send. `most_bytes`, `held`: of the data sets that come
    on it by C-GET.
    """
    outgoing.__class__ = Outgoing
    outgoing.dimse = Bounded(outgoing, most_bytes, most_waiting=_MOST_ANSWERS, held=held)
    connected: Any = outgoing.dul.socket
    if connected is not None:
        connected.__class__ = BoundedSocket
        connected.limit(outgoing.ae.maximum_pdu_size, seconds)
