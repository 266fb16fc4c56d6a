"""Asking for a report of an exam: what it holds is stored, and a worker makes the PDF.

What a report is about is fixed when it is asked for. The same once more is the same report; what
has changed since makes another one, and earlier ones stay.
"""

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict
from portal.jobs import claims
from portal.jobs.attempts import destroy_files
from portal.languages import _, speaking
from portal.models import (
    Blob,
    BlobKind,
    Instance,
    Job,
    JobKind,
    JobState,
    Language,
    Report,
    Study,
)
from portal.reading import case
from portal.reading.case_records import StudyView
from portal.reports import pictures
from portal.reports.pictures import PictureFile
from portal.studies import exams, reader_outlines, sealed_fields
from portal.studies.status import State
from portal.teams.settings import settings_of
from portal.vault import Vault, VaultError
from worker.contract.contents import report_content
from worker.contract.contents.report_content import ReportContent
from worker.contract.files import BYTES

# Raised with what a report holds: what was made by the version before is then made anew.
FORM: Final = 3
_log = logging.getLogger(__name__)

# The report's text, in the language that is spoken: of the exam, its pictures, a number that nobody
# knows, the time, and whether it may hold what the AI found.
Compose = Callable[[StudyView, Sequence[PictureFile], str, datetime, bool], ReportContent]


@dataclass(frozen=True, slots=True)
class Requested:
    """A report, and the job to be announced; None where it waits, runs or is done already."""

    report: Report
    job_id: UUID | None


def request(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    compose: Compose,
    now: datetime,
    *,
    with_ai: bool = True,
) -> Requested:
    """Ask for a report of the exam as it is, with one audit row.

    Where there is one about the same it is that one; if it has failed, it is tried again.
    Denied where the actor may not see the exam, or it was purged; Conflict `not_ready` while a
    picture is being prepared, `own_finding_first` where it would hold what the actor does not see
    yet, `changed` where something came in meanwhile.
    """
    actor.require(Permission.STUDY_EXPORT)
    study = case.load(session, actor, study_id)
    view = case.view_of(session, vault, actor, study, study_id, now, with_others=False)
    if view.state.state in (State.RECEIVED, State.PREPARING):
        session.commit()
        raise Conflict(
            "not_ready", _("The picture is still being prepared: a report can't be made.")
        )
    if view.state.standing.is_hidden:
        session.commit()
        raise Conflict(
            "own_finding_first",
            _("A report holds what a colleague found. State your own finding first."),
        )
    with_ai = with_ai and view.ai.is_visible
    language = settings_of(session, study.team_id).language
    basis = basis_of(view, with_ai=with_ai, language=language)
    known = _again(session, actor, study, basis, now)
    if known is not None:
        return known
    leading = session.get_one(Instance, exams.leading(_rows(session, study.id)).id)
    data_key = sealed_fields.instance_key_of(vault, leading)
    files = pictures.of(session, vault, view, with_ai=with_ai)
    with speaking(language):  # whatever who asks speaks
        content = compose(view, files, secrets.token_hex(16), now, with_ai)
    parts = [part for one in files for part in (one.jpeg, *(o.data for o in one.outlines))]
    data = report_content.pack(content, parts)
    blob = Blob(
        id=uuid4(),
        instance_id=leading.id,
        kind=BlobKind.REPORT_CONTENT,
        size=len(data),
        media_type=BYTES,
        current=True,
        created=now,
    )
    blob.name = vault.put(data_key, blob_id=blob.id, kind=blob.kind, attempt=0, data=data)
    try:
        requested = _add(session, vault, actor, study_id, blob, basis, with_ai, language, now)
    except BaseException:
        session.rollback()
        destroy_files(vault, [blob.name])
        raise
    database.commit(session)
    return requested


def request_signed(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    compose: Compose,
    now: datetime,
) -> UUID | None:
    """Ask for the report of an exam that the actor has just signed; its job, to be announced.

    The signature stands in any case: where no report can be asked for now, a reader asks later.
    """
    if not actor.may(Permission.STUDY_EXPORT):
        return None
    try:
        return request(session, vault, actor, study_id, compose, now).job_id
    except (Conflict, Denied, VaultError, OSError) as error:
        session.rollback()
        _log.warning("no report after a signature: %s", type(error).__name__)
        return None


def basis_of(view: StudyView, *, with_ai: bool, language: Language) -> str:
    """A digest of the ids of all that a report of the exam is about: nothing of the patient."""
    newest = reader_outlines.newest_counting(view.outlines)
    signature_id = view.state.standing.signature_id
    about = [
        FORM,
        language.value,
        with_ai,
        signature_id.hex if signature_id else None,
        [(one.author_id.hex, one.created.isoformat()) for one in view.addenda],
        [one.instance_id.hex for one in view.pictures],
        [
            (one.prediction.prediction_id.hex, one.prediction.retraction)
            for one in view.pictures
            if one.prediction and with_ai
        ],
        [(one.outline_id.hex, one.measuring) for one in newest.values()],
        [one.review_id.hex for one in view.reviews],
    ]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _add(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    blob: Blob,
    basis: str,
    with_ai: bool,
    language: Language,
    now: datetime,
) -> Requested:
    """Add the rows, in one transaction in which the exam is locked; the caller commits."""
    study = case.load(session, actor, study_id)
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    view = case.view_of(session, vault, actor, study, study_id, now, with_others=False)
    if basis_of(view, with_ai=with_ai, language=language) != basis:
        raise Conflict("changed", _("The case has changed just now. Ask for the report again."))
    report = Report(
        id=uuid4(),
        study_id=study.id,
        instance_id=blob.instance_id,
        author_id=actor.user_id,
        signature_id=view.state.standing.signature_id,
        blob_id=blob.id,
        basis=basis,
        with_ai=with_ai,
        created=now,
    )
    session.add_all([blob, report])
    session.flush()
    instance = session.get_one(Instance, blob.instance_id)
    job = claims.enqueue(session, JobKind.REPORT, now, instance=instance, target=report.id.hex)
    audit.append(
        session,
        "report_requested",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=report.id,
        detail={"with_ai": with_ai},
        bound=[report],
    )
    return Requested(report, job.id)


def _again(
    session: Session, actor: Actor, study: Study, basis: str, now: datetime
) -> Requested | None:
    """The report about the same, if there is one; one that has failed is queued again."""
    newest = session.scalars(
        select(Report)
        .join(Study, Study.id == Report.study_id)
        .where(exams.is_of([study.id]), Report.basis == basis)
        .order_by(Report.created.desc(), Report.id.desc())
        .limit(1)
    ).first()
    if newest is None:
        return None
    job = session.scalars(
        select(Job)
        .where(Job.kind == JobKind.REPORT, Job.target == newest.id.hex)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    again = job.state is JobState.FAILED
    if again:
        claims.queue_again(session, job)
        audit.append(
            session,
            "report_requested",
            actor=actor,
            now=now,
            study_id=study.id,
            subject_id=newest.id,
            detail={"again": True},
        )
    session.commit()
    return Requested(newest, job.id if again else None)


def _rows(session: Session, study_id: UUID) -> list[Instance]:
    return exams.pictures(session, [study_id])[study_id]
