"""From an exam to the objects that a node gets of it: report and objects are asked for as a reader
asks for them, made by the render workers, and listed here once they are there.

What is not to be seen by everybody in the team is not sent either: it waits, or is dropped. What
has changed since its objects were made gets new ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Actor, Denied
from portal.dicom_network import nodes
from portal.dicom_network.sending import ledger
from portal.errors import Conflict
from portal.jobs import sweeper
from portal.jobs.results import object_archive
from portal.jobs.results.object_archive import BadArchive
from portal.models import (
    AiShown,
    Blob,
    DicomDestination,
    DicomNode,
    DicomSend,
    DicomSentObject,
    Instance,
    SendMoment,
    SendState,
    SentState,
    Study,
)
from portal.reading import case
from portal.reports import made, objects, requests
from portal.sends import queue
from portal.sends.queue import Claim
from portal.services import Services
from portal.studies import exams, sealed_fields, status, stored_files
from portal.teams import ai_visibility
from portal.vault import NotReadable, Vault
from worker.contract.contents.object_content import MadeObject

AGAIN: Final = "again"  # why a send waits that an administrator tries again
# How soon it is looked again whether a worker is done.
_SOON: Final = 2.0


_OVER: Final = (SentState.PROVEN, SentState.FAILED)


@dataclass(frozen=True, slots=True)
class Composes:
    """How the texts of a report and of its objects are written: the pages' wording."""

    report: requests.Compose
    objects: objects.Compose


@dataclass(frozen=True, slots=True)
class Made:
    """An object that is made, its whole file, and the picture that it is about."""

    about: MadeObject
    instance_id: UUID
    study_uid: str = field(repr=False)
    data: bytes = field(repr=False)
    data_key: bytes = field(repr=False)


class _Over(Exception):
    """The send was settled: there is nothing more to be done now."""


def prepare(
    services: Services, session: Session, composes: Composes, claimed: Claim, now: datetime
) -> bool:
    """Bring a send to where its objects are listed; False where it waits, or has ended."""
    try:
        study, actor = check(session, services.vault, claimed, now)
        return _prepared(services, session, composes, claimed, study, actor, now)
    except _Over:
        return False


def is_to_be_sent(session: Session, vault: Vault, claimed: Claim, now: datetime) -> bool:
    """Whether the objects of a prepared send are still those to be sent; else it was settled."""
    row = ledger.QUEUE.of(session, claimed)
    listed = ledger.objects_of(session, row.id)
    session.commit()
    if listed and all(one.state in _OVER for one in listed):
        return True  # its report came after the process had ended that asked for it
    try:
        study, actor = check(session, vault, claimed, now)
    except _Over:
        return False
    row = ledger.QUEUE.of(session, claimed)
    report_id, listed = row.report_id, ledger.objects_of(session, row.id)
    session.commit()
    # A set that the node has a part of is completed: what has changed since is sent by its own.
    if any(one.state not in (SentState.WAITING, SentState.FAILED) for one in listed):
        return True
    if report_id is not None and objects.is_current(session, vault, actor, study, report_id, now):
        session.commit()
        return True
    row = ledger.QUEUE.of(session, claimed)
    _begin_anew(session, row)
    ledger.QUEUE.wait(session, row, SendState.PREPARING, 0.0, "changed")
    return False


def files(session: Session, vault: Vault, report_id: UUID) -> list[Made]:
    """The objects of a report with their files, all of them; NotReadable for damaged ones."""
    archives = list[tuple[Blob, bytes, Instance]]()
    for instance_id, blob in objects.archives_of(session, report_id).items():
        instance = session.get_one(Instance, instance_id, populate_existing=True)
        archives.append((blob, sealed_fields.instance_key_of(vault, instance), instance))
    session.commit()
    found = list[Made]()
    for blob, data_key, instance in archives:
        uids = sealed_fields.open_picture_uids(vault, data_key, instance)
        try:
            data = stored_files.read(vault, data_key, blob)
            packed = object_archive.files(data)
            listed = object_archive.listed(data)
        except BadArchive:
            raise NotReadable("an archive of objects is damaged") from None
        study_uid = uids[0] if uids else ""
        found += [
            Made(one, instance.id, study_uid, packed.get(one.file, b""), data_key) for one in listed
        ]
    return found


def check(session: Session, vault: Vault, claimed: Claim, now: datetime) -> tuple[Study, Actor]:
    """The exam of a send and in whose name it is opened, where it may be sent now; else the send
    is settled and `_Over` raised.
    """
    row = ledger.QUEUE.of(session, claimed)
    node = session.get_one(DicomNode, row.node_id, populate_existing=True)
    study = session.get(Study, exams.survivor_of(session, row.study_id), populate_existing=True)
    actor = nodes.receiver_of(node)
    if study is None or study.purged_at is not None:
        _drop(session, row, "purged", now)
    try:
        study = case.load(session, actor, row.study_id)
    except Denied:  # the node belongs to another team now
        _drop(session, row, "other_team", now)
    assert study is not None
    if _is_superseded(session, row, study):
        _drop(session, row, "superseded", now)
    if session.get(DicomDestination, node.id) is None:
        _drop(session, row, "not_wanted", now)
    _check_visible(session, row, study, actor, now)
    predictions = exams.last_predictions(session, [study.id]).values()
    is_retracted = any(one.model.retracted_at is not None for one in predictions)
    if row.moment is SendMoment.RESULT and is_retracted:
        _drop(session, row, "retracted", now)
    session.commit()
    return study, actor


def _check_visible(
    session: Session, row: DicomSend, study: Study, actor: Actor, now: datetime
) -> None:
    """Held until everybody who reads a PACS may see the result; dropped where nobody ever may."""
    ai = ai_visibility.of_exam(session, actor, study)
    if ai.policy is AiShown.NEVER:
        _drop(session, row, "ai_hidden", now)
    if not ai.is_visible:
        _hold(session, row, "verdict_first", now)
    if study.id in ai_visibility.readings(session, [study.id]).exams:
        _hold(session, row, "second_read", now)
    if not status.of_studies(session, [study.id])[study.id].is_settled:
        _hold(session, row, "not_analysed_yet", now)


def _is_superseded(session: Session, row: DicomSend, study: Study) -> bool:
    """Whether something newer of the same exam is to be sent to the same node, so that this is not
    sent any more; what the node has taken already is still proven.
    """
    if row.state is SendState.PROVING:
        return False
    newer = (
        select(DicomSend.id)
        .where(
            DicomSend.node_id == row.node_id,
            exams.within(DicomSend.study_id, study.id),
            DicomSend.created >= row.created,
            DicomSend.id != row.id,
            DicomSend.state.in_((SendState.PREPARING, SendState.WAITING)),
        )
        .order_by(DicomSend.created.desc(), DicomSend.id.desc())
        .limit(1)
    )
    found = session.scalar(newer)
    if found is None:
        return False
    other = session.get_one(DicomSend, found)
    return (other.created, other.id) > (row.created, row.id)


def _prepared(
    services: Services,
    session: Session,
    composes: Composes,
    claimed: Claim,
    study: Study,
    actor: Actor,
    now: datetime,
) -> bool:
    vault, study_id = services.vault, study.id
    row = ledger.QUEUE.of(session, claimed)
    report_id, is_again = row.report_id, row.reason == AGAIN
    session.commit()
    try:
        if report_id is None or not objects.is_current(
            session, vault, actor, study, report_id, now
        ):
            asked = requests.request(session, vault, actor, study_id, composes.report, now)
            report_id = asked.report.id
            row = ledger.QUEUE.of(session, claimed)
            if row.report_id != report_id:
                _begin_anew(session, row)
            row.report_id = report_id
            session.commit()
            if asked.job_id is not None:
                sweeper.notify(session, services.broker, asked.job_id)
        view = next(one for one in made.of_exam(session, study_id) if one.report_id == report_id)
        session.commit()
        has_failed = view.objects is not None and view.objects.failed > 0
        if view.state == "ready" and (view.objects is None or (is_again and has_failed)):
            jobs = objects.request(
                *(session, vault, actor, study_id, report_id), composes.objects, now
            )
            for job_id in jobs:
                sweeper.notify(session, services.broker, job_id)
    except Conflict as conflict:
        session.rollback()
        _after_conflict(session, claimed, conflict.code, now)
    except Denied:
        session.rollback()
        _drop(session, ledger.QUEUE.of(session, claimed), "purged", now)
    row = ledger.QUEUE.of(session, claimed)
    if view.state == "failed":
        ledger.fail(session, row, "report_failed", now)
        return False
    if view.objects is None or view.objects.state == "waiting" or (is_again and has_failed):
        ledger.QUEUE.wait(session, row, SendState.PREPARING, _SOON, "being_made")
        return False
    if view.objects.state == "failed":
        ledger.fail(session, row, "objects_failed", now)
        return False
    session.commit()
    return _list(session, vault, claimed, report_id, now)


def _list(session: Session, vault: Vault, claimed: Claim, report_id: UUID, now: datetime) -> bool:
    """Write down which objects the node is to get."""
    found = files(session, vault, report_id)
    row = ledger.QUEUE.of(session, claimed)
    wanted = session.get(DicomDestination, row.node_id)
    kinds = set(wanted.objects) if wanted is not None else set()
    chosen = [one for one in found if one.about.kind.value in kinds]
    if not chosen:
        ledger.drop(session, row, "nothing_to_send", now)
        return False
    known = {one.sop_key for one in ledger.objects_of(session, row.id)}
    for one in chosen:
        key = vault.lookup("sop_uid", one.about.instance)
        if key not in known:
            session.add(_row(row, one, key, now))
    row.state, row.reason = SendState.WAITING, ""
    session.commit()
    return True


def _row(row: DicomSend, one: Made, key: str, now: datetime) -> DicomSentObject:
    return DicomSentObject(
        send_id=row.id,
        sop_key=key,
        instance_id=one.instance_id,
        kind=one.about.kind.value,
        sop_class=one.about.sop_class,
        state=SentState.WAITING,
        code="",
        attempts=0,
        changed=now,
    )


def _begin_anew(session: Session, row: DicomSend) -> None:
    """Forget the objects of a report that is not about the exam as it is; in the caller's
    transaction.
    """
    found: Sequence[DicomSentObject] = ledger.objects_of(session, row.id)
    for one in found:
        session.delete(one)
    row.report_id = None


def _after_conflict(session: Session, claimed: Claim, code: str, now: datetime) -> NoReturn:
    row = ledger.QUEUE.of(session, claimed)
    if code in ("no_dicom", "no_ai_result"):
        _drop(session, row, code, now)
    if code == "changed":
        row.report_id = None
    ledger.QUEUE.wait(session, row, SendState.PREPARING, _SOON, code[:40])
    raise _Over


def _drop(session: Session, row: DicomSend, reason: str, now: datetime) -> NoReturn:
    ledger.drop(session, row, reason, now)
    raise _Over


def _hold(session: Session, row: DicomSend, reason: str, now: datetime) -> NoReturn:
    """Look again later, the more seldom the longer it waits."""
    waits = (now - row.created).total_seconds()
    pause = queue.held_for(waits)
    if reason == "not_analysed_yet":
        pause = min(pause, 5.0 + 0.1 * waits)
    ledger.QUEUE.wait(session, row, SendState.PREPARING, max(1.0, pause), reason)
    raise _Over
