"""What the hospital's systems have stated of an exam, for who has opened its case."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import database
from portal.access import Actor, Permission
from portal.hl7.context import is_patient_of
from portal.models import (
    Hl7Node,
    HospitalOrder,
    HospitalReport,
    HospitalReportState,
    OrderPriority,
    Study,
)
from portal.reading import case
from portal.studies import exams, sealed_fields
from portal.vault import NotReadable, Vault


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order: its priority, None where none was stated, and where the patient is."""

    priority: OrderPriority | None
    location: str = field(repr=False)
    is_cancelled: bool
    changed: datetime
    sender: str


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report of the hospital's."""

    state: HospitalReportState
    text: str = field(repr=False)
    created: datetime
    sender: str


@dataclass(frozen=True, slots=True)
class Stated:
    """All of it; `reports` has the newest first. `of_another`: something under the accession number
    names another patient, or can't be opened, and is not shown. `hides_report`: there is one, which
    the actor may see after their own finding. `is_damaged`: it can't be read whether there is any.
    """

    order: OrderView | None = None
    reports: Sequence[ReportView] = ()
    of_another: bool = False
    hides_report: bool = False
    is_damaged: bool = False


def of_case(
    session: Session, vault: Vault, actor: Actor, study_id: UUID, *, hides_findings: bool
) -> Stated:
    """What is known of an exam that the actor has opened (the row of the log is that of the case).
    `hides_findings`: a report is a colleague's finding, so it is left out where these are. Where
    that is damaged the session is rolled back, and the exam itself is shown as it is.
    """
    actor.require(Permission.STUDY_READ)
    study = case.look(session, actor, study_id)
    try:
        return _stated(session, vault, study, hides_findings=hides_findings)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        return Stated(is_damaged=True)


def _stated(session: Session, vault: Vault, study: Study, *, hides_findings: bool) -> Stated:
    own = select(Study.accession_key).where(exams.is_of([study.id]))
    keys = [key for key in session.scalars(own) if key is not None]
    if not keys:
        session.commit()
        return Stated()
    order: OrderView | None = None
    reports, of_another = list[ReportView](), False
    orders = session.execute(
        select(HospitalOrder, Hl7Node.name)
        .join(Hl7Node, Hl7Node.id == HospitalOrder.node_id)
        .where(HospitalOrder.team_id == study.team_id, HospitalOrder.accession_key.in_(keys))
        .order_by(HospitalOrder.changed.desc(), HospitalOrder.id)
    )
    for ordered, sender in orders.all():
        try:
            if not is_patient_of(session, study, ordered.patient_id_key):
                raise NotReadable("another patient's")
            location = sealed_fields.open_location(vault, ordered)
        except NotReadable:
            of_another = True
            continue
        order = order or OrderView(
            ordered.priority, location, ordered.is_cancelled, ordered.changed, sender
        )
    rows = session.execute(
        select(HospitalReport, Hl7Node.name)
        .join(Hl7Node, Hl7Node.id == HospitalReport.node_id)
        .where(HospitalReport.team_id == study.team_id, HospitalReport.accession_key.in_(keys))
        .order_by(HospitalReport.created.desc(), HospitalReport.id)
    )
    for row, sender in rows.all():
        try:
            if not is_patient_of(session, study, row.patient_id_key):
                raise NotReadable("another patient's")
            text = sealed_fields.open_hospital_report(vault, row)
        except NotReadable:
            of_another = True
            continue
        reports.append(ReportView(row.state, text, row.created, sender))
    session.commit()
    if hides_findings:
        return Stated(order, (), of_another, bool(reports))
    return Stated(order, tuple(reports), of_another)
