"""The listener's process: associations in, each in threads of its own, until it is stopped.

It opens vault and database as the portal does, gives a sign of life while it listens, and removes
old refusals. Nothing of what is sent is logged.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE, N_ACTION
from sqlalchemy import Engine

from portal import audit, database
from portal.dicom_network import (
    admission,
    arrivals,
    classes,
    commitment,
    nodes,
    refusals,
    reports,
    server,
)
from portal.dicom_network.admission import Caller, Reason
from portal.dicom_network.association import Incoming, log_kinds_of_errors, silence
from portal.dicom_network.sending import peer, proofs
from portal.formats.refusals import Refused
from portal.governance import clock, scheduler_signs
from portal.intake import check
from portal.listeners import nodes as of_any_kind
from portal.listeners import peers, process
from portal.listeners.places import Known
from portal.models import DicomNode
from portal.services import Services
from portal.settings.network.dicom import Dicom

_log = logging.getLogger(__name__)

_TIDY_EVERY: Final = 360  # signs: an hour
_STORAGE_COMMITMENT: Final = 1  # the one Action Type ID
_NO_SUCH_ACTION: Final = 0x0123
_INVALID_ARGUMENT: Final = 0x0115


class Listener:
    """What the events of associations lead to."""

    def __init__(self, services: Services, engine: Engine, settings: Dicom) -> None:
        self._services = services
        self._sessions = database.sessions(engine)
        self._settings = settings
        self._refusals = admission.Refusals()
        entity = server.entity_of(settings)
        self._calls = reports.Calls(services.settings, entity)
        files = settings.tls_files
        self.server = server.Server(
            entity,
            (settings.host, settings.port),
            [
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_N_ACTION, self._commit),
                (evt.EVT_N_EVENT_REPORT, self._reported),
            ],
            known=Known(self._networks),
            refuse=self._refuse,
            judge=self._judge,
            served=self._served,
            most_bytes=services.settings.max_upload_bytes,
            seconds=settings.idle_seconds,
            tls=peers.tls_context(files) if files else None,
        )
        self.accepts: threading.Thread | None = None  # in which the server runs

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.server_address[1])

    def serve(self) -> None:
        """Accept connections until `stop`; to be called in a thread."""
        self.server.serve_forever(0.2)

    def _networks(self) -> list[str]:
        with self._sessions() as session:
            return of_any_kind.networks(session, DicomNode)

    def _refuse(self, address: str, reason: Reason) -> None:
        """Note a connection that was closed before anything was asked for on it."""
        caller = Caller(calling="", called="", address=address)
        try:
            with self._sessions() as session:
                self._refusals.note(session, caller, reason, self._services.clock())
        except Exception as error:  # the accepting thread goes on
            _log.warning("a refusal could not be noted: %s", type(error).__name__)

    def _judge(self, incoming: Incoming) -> tuple[int, int, int] | None:
        request = incoming.requestor.primitive
        assert request is not None
        caller = Caller(
            calling=request.calling_ae_title.strip(),
            called=request.called_ae_title.strip(),
            address=incoming.requestor.address,
            certificate=incoming.certificate,
        )
        with self._sessions() as session:
            found = admission.judge(session, caller, self._settings.ae_title)
            if isinstance(found, DicomNode) and self._is_full():
                found = "too_many"
            if isinstance(found, DicomNode):
                incoming.node = found
                return None
            self._refusals.note(session, caller, found, self._services.clock())
            return admission.ANSWERS[found]

    def _is_full(self) -> bool:
        established = sum(one.is_established for one in self.server.associations)
        return established >= self._settings.max_associations

    def _store(self, event: Any) -> int | Dataset:
        """C-STORE: the answer's status, with a comment where it is a refusal."""
        incoming, request = event.assoc, event.request
        node = incoming.node
        assert node is not None  # it was let in
        bounded = incoming.bounded
        is_dropped = bounded.is_too_large or bounded.is_without_room
        sent = arrivals.Sent(
            sop_class=str(request.AffectedSOPClassUID),
            sop_instance=str(request.AffectedSOPInstanceUID),
            context_class=str(event.context.abstract_syntax),
            transfer_syntax=str(event.context.transfer_syntax),
            data_set=b"" if is_dropped else event.encoded_dataset(include_meta=False),
            is_too_large=bounded.is_too_large,
            is_without_room=bounded.is_without_room,
        )
        request.DataSet = None  # one copy is enough
        answer = arrivals.take(
            self._services, self._sessions, node.id, incoming.requestor.address, sent
        )
        return arrivals.as_status(answer)

    def _commit(self, event: Any) -> tuple[int, None]:
        """N-ACTION of storage commitment: looked up, answered, then reported by `_served`."""
        incoming, request = event.assoc, event.request
        if request.ActionTypeID != _STORAGE_COMMITMENT:
            return _NO_SUCH_ACTION, None
        try:
            return self._looked_up(incoming, request, event.context), None
        except Exception as error:  # its text may quote what was sent
            _log.error("a commitment could not be looked up: %s", type(error).__name__)
            return arrivals.PROCESSING_FAILURE, None

    def _looked_up(self, incoming: Incoming, request: N_ACTION, context: Any) -> int:
        information = request.ActionInformation
        raw = information.getvalue() if isinstance(information, BytesIO) else b""
        data = classes.as_file(
            classes.COMMITMENT, classes.COMMITMENT_INSTANCE, str(context.transfer_syntax), raw
        )
        try:
            asked = check.commitment(data)
        except Refused:
            return _INVALID_ARGUMENT
        if not asked.transaction or not asked.named:
            return _INVALID_ARGUMENT
        with self._sessions() as session:
            known = incoming.node
            node = session.get(DicomNode, known.id) if known is not None else None
            if node is None or node.disabled_at is not None or not node.sends:
                return arrivals.NOT_AUTHORISED
            result = commitment.look_up(session, self._services.vault, node, asked.named)
            audit.append(
                session,
                "dicom_commitment_answered",
                actor=nodes.actor_of(node, incoming.requestor.address),
                now=self._services.clock(),
                subject_id=node.id,
                detail={"stored": len(result.stored), "failed": len(result.failed)},
            )
            session.commit()
        report = reports.Report(
            node, result.event_type, commitment.report(asked.transaction, result)
        )
        incoming.follows = (report, context.context_id)
        return arrivals.SUCCESS

    def _reported(self, event: Any) -> tuple[int, None]:
        """N-EVENT-REPORT of storage commitment: a node states what it has stored of what was sent
        to it.
        """
        node = event.assoc.node
        assert node is not None
        try:
            report = proofs.read(peer.encoded_report(event))
            if report is None:
                return _INVALID_ARGUMENT, None
            with self._sessions() as session:
                known = proofs.apply(
                    session,
                    self._services.vault,
                    node.id,
                    report,
                    self._services.clock(),
                    settles=True,
                )
        except Exception as error:  # its text may quote what was sent
            _log.error("a report could not be noted: %s", type(error).__name__)
            return arrivals.PROCESSING_FAILURE, None
        return arrivals.SUCCESS if known else _INVALID_ARGUMENT, None

    def _served(self, incoming: Incoming, _message: C_STORE | N_ACTION | Any) -> None:
        """After a request was answered: the report of a commitment follows."""
        if incoming.follows is None:
            return
        (report, context_id), incoming.follows = incoming.follows, None
        try:
            if reports.on_same(incoming, context_id, 1, report):
                return
        except Exception as error:
            _log.warning("a report was not delivered: %s", type(error).__name__)
        if not self._calls.begin(report):
            _log.warning("a report was not delivered: the node has no host and port")

    def stop(self) -> None:
        """Take no new association; wait for what is being stored."""
        self._calls.stop()
        self.server.stop(process.GRACE_SECONDS)


@contextmanager
def listening(services: Services, engine: Engine, settings: Dicom) -> Iterator[Listener]:
    """A listener that takes associations until the end of the block."""
    silence()
    log_kinds_of_errors()
    listener = Listener(services, engine, settings)
    with process.accepting_in_thread(listener, listener.serve):
        yield listener


def run(services: Services, engine: Engine, settings: Dicom) -> None:
    """Listen until SIGTERM or SIGINT, with signs of life in between; Deaf where no connection can
    be accepted any more.
    """
    stop = threading.Event()
    process.begin(services.settings.log_level, stop)
    with listening(services, engine, settings) as listener:
        _log.info("%s", first_line(settings, listener.port))
        give_signs(listener, services, engine, stop)
        _log.info("stopping")


def first_line(settings: Dicom, port: int) -> str:
    """Where it listens, and whether in the clear."""
    where = f"{settings.ae_title} listens at port {port} of {settings.host}"
    if settings.tls_files is not None:
        return f"{where}, by TLS"
    return f"{where}, WITHOUT TLS: pictures and names come in the clear"


def give_signs(
    listener: Listener, services: Services, engine: Engine, stop: threading.Event
) -> None:
    """Give signs of life, and tidy now and then, until `stop` is set; Deaf as `run`."""
    process.give_signs(listener.accepts, partial(sign, services, engine), stop)


def sign(services: Services, engine: Engine, rounds: int) -> None:
    """Give one, after so many before."""
    with database.sessions(engine)() as session:
        scheduler_signs.give(session, scheduler_signs.DICOM)
        if rounds % _TIDY_EVERY == 0 and clock.is_right(session, services.clock()):
            refusals.forget_old(session, services.clock())
