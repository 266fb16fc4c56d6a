"""From a send to its message: whether the report may be sent now, and what it states.

What is not to be seen by everybody in the team is not sent either: the send waits, or is dropped.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Denied
from portal.hl7.sending import content, ledger, oru, targets
from portal.hl7.sending.content import NotSigned, TooLong
from portal.hl7.sending.oru import Content, NotEncodable
from portal.models import ReportMoment, ReportSend, ReportTarget, SendState, Study, VerdictState
from portal.reading import case, signing
from portal.reports.requests import Compose
from portal.sends import queue
from portal.sends.queue import Claim
from portal.services import Services
from portal.studies import exams
from portal.studies.sealed_fields import Patient
from portal.teams import ai_visibility
from portal.vault import Vault

_LONGEST_ID: Final = 20  # of MSH-10


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message that is ready but for its first segment, and what names its patient."""

    target: ReportTarget
    control_id: str
    body: bytes = field(repr=False)
    patient: Patient = field(repr=False)


class _Over(Exception):
    """The send was settled: there is nothing more to be done now."""


def prepare(
    services: Services, session: Session, compose: Compose, claimed: Claim, now: datetime
) -> Prepared | None:
    """The message of a send, with its attempt in the ledger; None where it waits, or has ended."""
    try:
        return _prepared(services.vault, session, compose, claimed, now)
    except _Over:
        return None


def _prepared(
    vault: Vault, session: Session, compose: Compose, claimed: Claim, now: datetime
) -> Prepared:
    row = ledger.QUEUE.of(session, claimed)
    target = session.get_one(ReportTarget, row.target_id, populate_existing=True)
    study = _study(session, row, target, now)
    session.commit()
    try:
        found = content.of_exam(session, vault, targets.actor_of(target), study, compose, now)
    except NotSigned:
        _drop(session, ledger.QUEUE.of(session, claimed), "not_signed", now)
    except TooLong:
        ledger.fail(session, ledger.QUEUE.of(session, claimed), "too_long", now)
        raise _Over from None
    row = ledger.QUEUE.of(session, claimed)
    for value, reason in ((found.patient_id, "no_patient_id"), (found.accession, "no_accession")):
        if not value.strip():
            _drop(session, row, reason, now)
    found = replace(found, is_correction=_is_correction(session, row, study))
    try:
        key = _content_key(vault, target, study, found)
        body = oru.body(target, found)
    except NotEncodable:
        ledger.fail(session, row, "charset_lacks", now)
        raise _Over from None
    # An attempt without an answer may have brought the target something else meanwhile.
    may_have_another = row.attempts > 0 and row.content_key != key
    if not may_have_another and key == _last_accepted(session, row, study):
        _drop(session, row, "unchanged", now)
    row.content_key = key
    ledger.begin(session, row, target, now)
    session.commit()
    control_id = vault.lookup("hl7:control_id", row.id.bytes + body)[:_LONGEST_ID].upper()
    patient = Patient(found.patient_name, found.patient_id, accession=found.accession)
    return Prepared(target, control_id, body, patient)


def _study(session: Session, row: ReportSend, target: ReportTarget, now: datetime) -> Study:
    """The exam of a send where it may be sent now; else the send is settled and `_Over` raised."""
    actor = targets.actor_of(target)
    known = session.get(Study, exams.survivor_of(session, row.study_id), populate_existing=True)
    if known is None or known.purged_at is not None:
        _drop(session, row, "purged", now)
    try:
        study = case.load(session, actor, row.study_id)
    except Denied:
        _drop(session, row, "other_team", now)
    newer = select(ReportSend.created, ReportSend.id).where(
        ReportSend.target_id == row.target_id,
        exams.within(ReportSend.study_id, study.id),
        ReportSend.created >= row.created,
        ReportSend.id != row.id,
        ReportSend.finished_at.is_(None),
    )
    if any((at, one) > (row.created, row.id) for at, one in session.execute(newer)):
        _drop(session, row, "superseded", now)
    if study.id in ai_visibility.readings(session, [study.id]).exams:
        waits = (now - row.created).total_seconds()
        ledger.QUEUE.wait(session, row, SendState.WAITING, queue.held_for(waits), "second_read")
        raise _Over
    return study


def _is_correction(session: Session, row: ReportSend, study: Study) -> bool:
    """Whether the target may have a report of the exam already, or the verdict was amended."""
    before = select(ReportSend.id).where(
        ReportSend.target_id == row.target_id,
        exams.within(ReportSend.study_id, study.id),
        ReportSend.id != row.id,
        ReportSend.attempts > 0,
    )
    is_amended = signing.state_of(session, study.id).state is VerdictState.AMENDED
    return (
        is_amended
        or row.moment is ReportMoment.RETRACTION
        or session.scalar(before.limit(1)) is not None
    )


def _content_key(vault: Vault, target: ReportTarget, study: Study, found: Content) -> str:
    """A digest of what is stated, whether as final or as corrected."""
    body = oru.body(target, replace(found, is_correction=True))
    return vault.lookup("hl7:report", study.id.bytes + body)


def _last_accepted(session: Session, row: ReportSend, study: Study) -> str | None:
    """The digest of what the target has accepted last of the exam."""
    return session.scalar(
        select(ReportSend.content_key)
        .where(
            ReportSend.target_id == row.target_id,
            exams.within(ReportSend.study_id, study.id),
            ReportSend.state == SendState.PROVEN,
        )
        .order_by(ReportSend.finished_at.desc(), ReportSend.id)
        .limit(1)
    )


def _drop(session: Session, row: ReportSend, reason: str, now: datetime) -> NoReturn:
    ledger.drop(session, row, reason, now)
    raise _Over
