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
    ) -> None:
        super().__init__(entity, "acceptor")
        self.acse = _Judged(self, judge)
        self.dimse = self.bounded = _Bounded(self, most_bytes)
        self._after = served
        # Who it is, once it was let in; and what follows an answer.
        self.node: DicomNode | None = None
        self.follows: Any = None

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if not msg.is_valid_request:  # it would be left without an answer, and its sender waiting
            self.abort()
            return
        super()._serve_request(msg, context_id)
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


class _Bounded(DIMSEServiceProvider):
    """Gathers messages up to a size, while no more than so many wait. `is_too_large`: the message
    before was larger, and its data set was dropped while it came.
    """

    def __init__(self, association: Association, most_bytes: int, *, most_waiting: int = 0) -> None:
        super().__init__(association)
        self._most_bytes = most_bytes
        self._most_waiting = most_waiting
        self._commands = self._data = 0
        self.is_too_large = False

    def receive_primitive(self, primitive: P_DATA) -> None:
        """One part of a message, or of several."""
        bounded = list[Any]()
        for context_id, part in primitive.presentation_data_value_list:
            if not part:
                self._end()
                return
            if part[0] & 1:
                if not self._commands:
                    self.is_too_large = False  # another message
                self._commands += len(part)
                waiting = self.msg_queue.qsize()
                if self._commands > _LONGEST_COMMAND or waiting > self._most_waiting:
                    self._end()  # who does not wait for answers fills the memory
                    return
            else:
                self._data += len(part)
                most = self._most_bytes if self._is_store() else _LONGEST_ACTION
                if self._data > most:
                    if self._data > _PATIENCE * most:
                        self._end()
                        return
                    self._drop()
                    part = part[:1]
            bounded.append([context_id, part])
        whole = P_DATA()
        whole.presentation_data_value_list = bounded
        before = self.message
        if before is None:
            before = self.message = DIMSEMessage()
        try:
            super().receive_primitive(whole)
        except Exception as error:  # a command that is none
            _log.info("a message could not be read: %s", type(error).__name__)
            self._end()
            return
        if self.message is not before:  # it was complete
            self._commands = self._data = 0

    def _is_store(self) -> bool:
        """Whether the message is a C-STORE, of which the command is known by now."""
        command = getattr(self.message, "command_set", None)
        return command is not None and command.get("CommandField") == _C_STORE_RQ

    def _drop(self) -> None:
        self.is_too_large = True
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


def bound(outgoing: Association, seconds: float) -> None:
    """Put the same limits on an association that we asked for, once it is there: before the first
    request of ours its peer has nothing to send.
    """
    outgoing.dimse = _Bounded(outgoing, _LONGEST_ACTION, most_waiting=_MOST_ANSWERS)
    connected: Any = outgoing.dul.socket
    if connected is not None:
        connected.__class__ = BoundedSocket
        connected.limit(outgoing.ae.maximum_pdu_size, seconds)
