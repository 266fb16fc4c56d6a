"""A sender over a clinic's core: cases with results, jobs done as workers do, and its steps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from portal.access import Actor
from portal.database import DatabaseTime
from portal.dicom_network.sending import ledger
from portal.dicom_network.sending.preparation import Composes
from portal.dicom_network.sending.sender import Sender
from portal.models import DicomNode, DicomSend, DicomSentObject, Job, JobKind, JobState
from portal.reading.reviews import add_review
from portal.services import Services
from portal.web.present.reports import objects as object_text
from portal.web.present.reports import text as report_text
from tests.portal.reports.test_objects import encode
from tests.portal.reports.test_requests import PDF, result_of
from tests.support.clinic import Clinic
from tests.support.core import NOW, Clock
from tests.support.dicom.listening import add_node, settings_of
from tests.support.dicom.pacs import ALL, TITLE, Pacs

COMPOSES = Composes(report_text.compose, object_text.compose)


def receiver(clinic: Clinic, pacs: Pacs, address: str, **stated: Any) -> DicomNode:
    """A node that gets everything with each result, unless stated otherwise."""
    given: dict[str, Any] = {
        "name": "Archive",
        "ae_title": TITLE,
        "sends": False,
        "receives": True,
        "networks": f"127.0.0.1 {address}",
        "host": address,
        "port": str(pacs.port or 104),
        "objects": tuple(ALL.split(",")),
        "moments": ("result",),
    }
    return add_node(clinic, **(given | stated))


@contextmanager
def sending(
    clinic: Clinic,
    address: str,
    pacs: Pacs,
    *,
    answer_seconds: float = 30.0,
    clock: Callable[[], datetime] | None = None,
    **environ: str,
) -> Iterator[Sender]:
    """A sender that may call the PACS."""
    allowed = f"private:{address}:{pacs.port or 104}"
    settings = settings_of(clinic, **({"PLEURA_OUTGOING_HOSTS": allowed} | environ))
    services = Services.open(settings, clock or Clock())
    try:
        yield Sender(
            services, clinic.core.engine, COMPOSES, answer_seconds=answer_seconds, same_seconds=1.0
        )
    finally:
        services.broker.close()


def work(clinic: Clinic) -> int:
    """Do the report and encode jobs that wait, as the render workers do; how many."""
    with clinic.session as session:
        waiting = session.execute(
            select(Job.id, Job.kind).where(
                Job.kind.in_((JobKind.REPORT, JobKind.ENCODE)), Job.state == JobState.QUEUED
            )
        ).all()
    for job_id, kind in waiting:
        if kind is JobKind.ENCODE:
            encode(clinic, job_id)
            continue
        ticket = clinic.claim(job_id, NOW)
        assert ticket is not None
        clinic.store(ticket, NOW, report=PDF)
        clinic.finish(ticket, result_of(PDF), NOW)
    return len(waiting)


def due(clinic: Clinic) -> None:
    """Let every send be due now, and every claim lapse."""
    with clinic.session as session:
        session.execute(update(DicomSend).values(next_at=DatabaseTime(-1.0), claimed_until=None))
        session.commit()


def prepared(clinic: Clinic, sender: Sender, node: DicomNode) -> None:
    """Bring the sends of a node to where their objects are made, without sending them."""
    sender.look()
    for _ in range(2):
        due(clinic)
        sender.step(node.id)
        work(clinic)


def sent(clinic: Clinic, sender: Sender, node: DicomNode) -> DicomSend:
    """One attempt of the only open send of a node, from the beginning; how it stands then."""
    prepared(clinic, sender, node)
    return again(clinic, sender, node)


def again(clinic: Clinic, sender: Sender, node: DicomNode) -> DicomSend:
    """The next attempt, or the look for a proof."""
    due(clinic)
    assert sender.step(node.id)
    return the_send(clinic)


def the_send(clinic: Clinic) -> DicomSend:
    with clinic.session as session:
        return session.scalars(select(DicomSend)).one()


def sends(clinic: Clinic) -> list[DicomSend]:
    with clinic.session as session:
        return list(session.scalars(select(DicomSend).order_by(DicomSend.created, DicomSend.id)))


def objects(clinic: Clinic, send: DicomSend) -> dict[str, DicomSentObject]:
    """By kind."""
    with clinic.session as session:
        return {one.kind: one for one in ledger.objects_of(session, send.id)}


def review(clinic: Clinic, study: UUID, actor: Actor | None = None, finding: str = "right") -> None:
    with clinic.session as session:
        add_review(session, clinic.vault, actor or clinic.mate, study, finding=finding, now=NOW)
