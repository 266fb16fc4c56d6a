"""A PACS made with pynetdicom that is searched and hands out pictures, and can be faulty; and a
retriever over a clinic's core.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context
from sqlalchemy import select, update

from portal.access import Actor
from portal.database import DatabaseTime
from portal.dicom_network import classes
from portal.dicom_network.retrieving import triggers
from portal.dicom_network.retrieving.archive import GET, MOVE
from portal.dicom_network.retrieving.retriever import Retriever
from portal.dicom_network.sending.peer import FIND
from portal.models import DicomAskedObject, DicomNode, DicomRetrieval, Instance, Study
from portal.services import Services
from tests.support.clinic import Clinic
from tests.support.core import NOW, Clock
from tests.support.dicom.listening import add_node, settings_of
from tests.support.pictures import dicom
from xray_files import kinds

TITLE = "ARCHIVE"
PATIENT = "7731-A"
STORAGE = [build_context(one, [kinds.EXPLICIT, kinds.IMPLICIT]) for one in sorted(classes.PICTURES)]
_KEYS = {
    "STUDY": ("StudyInstanceUID", "StudyDate", "StudyTime", "PatientID", "ModalitiesInStudy"),
    "SERIES": ("SeriesInstanceUID", "Modality", "BodyPartExamined"),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID"),
}


def film(day: str = "20200102", **tags: Any) -> bytes:
    """A chest X-ray of the patient, of an exam of its own."""
    given: dict[str, Any] = {
        "PatientID": PATIENT,
        "StudyDate": day,
        "AcquisitionDate": day,
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "SOPInstanceUID": generate_uid(),
        "BodyPartExamined": "CHEST",
    }
    return dicom(**(given | tags))


@dataclass
class Archive:
    """What it has and how it behaves.

    endless: so many answers to each search. floods: sends a picture again and again, and never ends
    the retrieval. hangs: seconds before each answer to a search. aborts:
    the association in the middle of the first picture that it is asked for. ends: the
    association, as soon as a search is answered. also: another file
    that it sends with each. status: how it ends a retrieval. destination: where it moves to. knows:
    what it offers.
    """

    files: list[bytes] = field(default_factory=list)
    patient_id: str = ""
    endless: bool = False
    floods: bool = False
    hangs: float = 0.0
    aborts: bool = False
    ends: bool = False
    also: bytes = b""
    instead: bytes = b""
    status: int = 0
    destination: int = 0
    knows: tuple[str, ...] = (FIND, GET, MOVE)
    port: int = 0
    searched: list[Dataset] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        self.searched.append(query)
        if self.hangs:
            time.sleep(self.hangs)
        level = str(query.QueryRetrieveLevel)
        while True:
            for one in self._matching(query):
                answer = Dataset()
                answer.QueryRetrieveLevel = level
                for keyword in _KEYS[level]:
                    if keyword == "ModalitiesInStudy":
                        answer.ModalitiesInStudy = one.Modality
                    elif keyword in one:
                        setattr(answer, keyword, one[keyword].value)
                if self.patient_id and level == "STUDY":
                    answer.PatientID = self.patient_id
                yield 0xFF00, answer
            if self.ends:
                threading.Timer(0.1, event.assoc.abort).start()
            if not self.endless or event.is_cancelled or not event.assoc.is_established:
                return

    def get(self, event: Any) -> Iterator[Any]:
        yield from self._given(event)

    def move(self, event: Any) -> Iterator[Any]:
        if not self.destination:
            yield None, None
            return
        yield "127.0.0.1", self.destination, {"contexts": STORAGE}
        yield from self._given(event)

    def _given(self, event: Any) -> Iterator[Any]:
        self.asked.append(str(event.identifier.SOPInstanceUID))
        if self.aborts:
            event.assoc.abort()
            return
        found = self._matching(event.identifier)
        while self.floods and event.assoc.is_established:
            event.assoc.send_c_store(found[0])
        if self.instead:
            found = [dcmread(BytesIO(self.instead))]
        if self.also:
            found = [dcmread(BytesIO(self.also)), *found]
        yield len(found)
        if self.status:
            yield self.status, Dataset()
            return
        for one in found:
            yield 0xFF00, one

    def _matching(self, query: Dataset) -> list[Dataset]:
        """One data set for each study, series or picture; PatientID only where it is right."""
        found, seen = list[Dataset](), set[str]()
        key = {"STUDY": "Study", "SERIES": "Series", "IMAGE": "SOP"}[query.QueryRetrieveLevel]
        for data in self.files:
            one = dcmread(BytesIO(data))
            wrong = any(
                query.get(name) and str(query.get(name)) != str(one.get(name))
                for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
            )
            asked = str(query.get("PatientID", "") or "")
            if wrong or (asked and asked != one.PatientID and not self.patient_id):
                continue
            uid = str(one[f"{key}InstanceUID"].value)
            if uid not in seen:
                seen.add(uid)
                found.append(one)
        return found


@contextmanager
def running(archive: Archive, address: str) -> Iterator[Archive]:
    """The archive at an address of this machine that is no loopback."""
    entity = ApplicationEntity(TITLE)
    entity.network_timeout = entity.dimse_timeout = 30
    syntaxes = [kinds.EXPLICIT, kinds.IMPLICIT]
    for one in archive.knows:
        entity.add_supported_context(one, syntaxes)
    for one in sorted(classes.PICTURES):
        entity.add_supported_context(one, syntaxes, scu_role=False, scp_role=True)
    server = entity.start_server(
        (address, archive.port),
        block=False,
        evt_handlers=[
            (evt.EVT_C_FIND, archive.find),
            (evt.EVT_C_GET, archive.get),
            (evt.EVT_C_MOVE, archive.move),
        ],
    )
    assert server is not None
    archive.port = int(server.server_address[1])
    try:
        yield archive
    finally:
        server.shutdown()


def source(clinic: Clinic, at_port: int, address: str, **stated: Any) -> DicomNode:
    """A node that may be queried, and neither sends nor receives."""
    given: dict[str, Any] = {
        "name": "Archive",
        "ae_title": TITLE,
        "sends": False,
        "receives": False,
        "networks": f"127.0.0.1 {address}",
        "host": address,
        "port": str(at_port),
        "queried": "get",
        "priors": True,
        "at_once": "1",
    }
    return add_node(clinic, **(given | stated))


@contextmanager
def retrieving(
    clinic: Clinic,
    address: str,
    port: int,
    *,
    answer_seconds: float = 30.0,
    search_seconds: float = 30.0,
    clock: Clock | None = None,
    **environ: str,
) -> Iterator[Retriever]:
    """A retriever that may call the archive."""
    allowed = f"private:{address}:{port}"
    settings = settings_of(clinic, **({"PLEURA_OUTGOING_HOSTS": allowed} | environ))
    services = Services.open(settings, clock or Clock())
    try:
        yield Retriever(
            services,
            clinic.core.engine,
            answer_seconds=answer_seconds,
            search_seconds=search_seconds,
        )
    finally:
        services.broker.close()


def ask(clinic: Clinic, study_id: Any, actor: Actor | None = None) -> int:
    """As the button on the case page does."""
    with clinic.session as session:
        return triggers.ask(session, actor or clinic.owner, study_id, NOW)


def due(clinic: Clinic) -> None:
    """Let every retrieval be due now, and every claim lapse."""
    with clinic.session as session:
        session.execute(
            update(DicomRetrieval).values(next_at=DatabaseTime(-1.0), claimed_until=None)
        )
        session.commit()


def step(clinic: Clinic, retriever: Retriever, node: DicomNode) -> DicomRetrieval:
    """The next attempt of the only retrieval; how it stands then."""
    due(clinic)
    assert retriever.step(node.id)
    return the_retrieval(clinic)


def the_retrieval(clinic: Clinic) -> DicomRetrieval:
    with clinic.session as session:
        return session.scalars(select(DicomRetrieval)).one()


def asked_objects(clinic: Clinic) -> list[DicomAskedObject]:
    with clinic.session as session:
        return list(session.scalars(select(DicomAskedObject)))


def studies(clinic: Clinic) -> list[Study]:
    """The exams that are here, in the order of their arrival."""
    with clinic.session as session:
        return list(session.scalars(select(Study).order_by(Study.created, Study.id)))


def pictures(clinic: Clinic) -> int:
    with clinic.session as session:
        return len(session.scalars(select(Instance.id)).all())


def counts(one: DicomRetrieval) -> tuple[int, int, int, int, int]:
    """Found, known, retrieved, refused, failed."""
    return one.found, one.known, one.retrieved, one.refused, one.failed
