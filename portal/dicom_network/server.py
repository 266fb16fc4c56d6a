"""The listening socket and its connections: how many at once, TLS in their own threads."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Any, Final

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.transport import AddressInformation, RequestHandler, ThreadedAssociationServer

from portal.dicom_network import classes, memory
from portal.dicom_network.admission import Reason
from portal.dicom_network.association import BoundedSocket, Incoming, Judge, Served
from portal.listeners import accepting
from portal.listeners.places import Known, Places
from portal.settings.network.dicom import Dicom

_log = logging.getLogger(__name__)

# Connections beside those that are associations: of those who are being refused.
_MORE_CONNECTIONS: Final = 20
_HANDSHAKE_SECONDS: Final = 10.0
_ASSOCIATE_SECONDS: Final = 15.0
_ANSWER_SECONDS: Final = 30.0

# A pynetdicom event and what is called with it.
Handlers = list[tuple[Any, Callable[[Any], Any]]]


class Server(ThreadedAssociationServer):
    """pynetdicom's server, whose accepting thread waits for nobody."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        entity: ApplicationEntity,
        address: tuple[str, int],
        handlers: Handlers,
        *,
        known: Known,
        refuse: Callable[[str, Reason], None],
        judge: Judge,
        served: Served,
        most_bytes: int,
        seconds: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.judge, self.served, self.most_bytes = judge, served, most_bytes
        self.data_sets = memory.DataSets(memory.LARGEST_AT_ONCE * most_bytes)
        self.seconds = seconds
        self._tls = tls
        self._known, self._refuse = known, refuse
        self.places = Places(entity.maximum_associations)
        self._stopping = threading.Event()
        self._failures = accepting.Failures()
        self._associations = set[Incoming]()
        self._lock = threading.Lock()
        super().__init__(
            entity,
            address,
            entity.ae_title,
            classes.contexts(),
            evt_handlers=list(handlers),
            request_handler=_Handler,
        )

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection. TLS begins in a thread: who is silent there keeps nobody waiting.
        Deaf where nothing could be accepted for a minute.
        """
        assert self.socket is not None
        try:
            accepted = self.socket.accept()
        except ConnectionError:
            raise
        except OSError as error:  # no file or memory left: again after a pause
            if not self._stopping.is_set():
                self._failures.wait(error, self._stopping)
            raise
        self._failures.over()
        return accepted

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a node calls from there, and there is room for one more connection of it."""
        address = str(client_address[0])
        if not self._known.has(address):
            self._refuse(address, "address")
            return False
        if not self.places.take(address):
            self._refuse(address, "too_many")
            return False
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection that there is room for."""
        try:
            super().process_request(request, client_address)
        except Exception:  # no thread left; the caller closes the connection
            self.places.leave(str(client_address[0]))
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands, then hand the connection to an association, which has a thread of its own
        and closes it.
        """
        connected: socket.socket = request
        try:
            connected.settimeout(_HANDSHAKE_SECONDS)
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_side=True)
            self.finish_request(connected, client_address)
        except Exception as error:
            _log.info("a connection ended before it began: %s", type(error).__name__)
            self.shutdown_request(connected)
            self.places.leave(str(client_address[0]))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: an error's text may quote what was sent."""
        _log.warning("a connection failed")

    def begin(self, association: Incoming, connected: socket.socket, address: str) -> None:
        """Count an association, until it ends."""
        with self._lock:
            self._associations.add(association)

        def watch() -> None:
            try:
                association.join()
                association.dul.join(self.seconds)
            except RuntimeError:  # it got no thread for its connection
                self.shutdown_request(connected)
            finally:
                association.held.end()
                with self._lock:
                    self._associations.discard(association)
                self.places.leave(address)

        try:
            association.start()
            threading.Thread(target=watch, name="association's end", daemon=True).start()
        except RuntimeError:  # no thread left; the caller closes the connection and its place
            association._kill = True
            association.held.end()
            with self._lock:
                self._associations.discard(association)
            raise

    @property
    def associations(self) -> list[Incoming]:
        """Those that are there just now, established or not."""
        with self._lock:
            return list(self._associations)

    def stop(self, seconds: float) -> None:
        """Take nobody any more, and end who is there: after what is being taken is answered."""
        self._stopping.set()
        with suppress(OSError, ValueError):
            self.shutdown()
        ends = threading.Event()
        for _ in range(max(1, round(seconds * 20))):
            if not any(one.is_established for one in self.associations):
                return
            ends.wait(0.05)
        for one in self.associations:
            with suppress(Exception):
                one.abort(block=False)


class _Handler(RequestHandler):
    """Makes the association of a connection."""

    server: Server

    def handle(self) -> None:
        """Start it."""
        association = self._create_association()
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        self.server.begin(association, self.request, str(self.client_address[0]))

    def _create_association(self) -> Incoming:
        server, entity = self.server, self.ae
        association = Incoming(
            entity,
            judge=server.judge,
            served=server.served,
            most_bytes=server.most_bytes,
            data_sets=server.data_sets,
        )
        association._server = server
        association.name = "AcceptorThread"  # by which pynetdicom counts them
        connection = BoundedSocket(association, self.request, server.seconds)
        association.set_socket(connection)
        association.acceptor.maximum_length = entity.maximum_pdu_size
        association.acceptor.ae_title = server.ae_title
        association.acceptor.address_info = AddressInformation.from_tuple(
            self.request.getsockname()
        )
        association.acceptor.implementation_class_uid = entity.implementation_class_uid
        association.acceptor.implementation_version_name = entity.implementation_version_name
        association.acceptor.supported_contexts = deepcopy(server.contexts)
        association.requestor.address_info = AddressInformation.from_tuple(self.client_address)
        for event, handler in server._handlers.items():
            if event.is_intervention and handler:
                association.bind(event, *handler)
        return association


def entity_of(settings: Dicom) -> ApplicationEntity:
    """Who we are to others, and our limits."""
    entity = ApplicationEntity(settings.ae_title)
    entity.implementation_class_uid = classes.implementation_uid()
    entity.implementation_version_name = classes.IMPLEMENTATION_NAME
    entity.maximum_pdu_size = settings.max_pdu
    entity.maximum_associations = settings.max_associations + _MORE_CONNECTIONS  # `judge` decides
    entity.acse_timeout = min(_ASSOCIATE_SECONDS, float(settings.idle_seconds))
    entity.dimse_timeout = _ANSWER_SECONDS
    entity.network_timeout = settings.idle_seconds
    return entity
