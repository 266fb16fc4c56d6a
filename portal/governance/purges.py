"""Purging a study: its keys are destroyed, so that no copy of its data can be read again.

These are the study's own key and those of its pictures. Studies that were joined are purged
together. Ids, the log, and the numbers of model and readers stay.

A purge has three steps, of which the sweep takes up what a stop or a reader left undone: one
transaction destroys keys, values and lookups; then files are removed and the database's old pages
are cleared (`erasure`); a last transaction writes the proof (`purge_proofs`).
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.critical import findings as critical_findings
from portal.errors import Conflict
from portal.governance import erasure, patient_merges, purge_proofs
from portal.governance.erasure import NotErased
from portal.governance.legal_holds import check_reference, held
from portal.governance.purge_proofs import KEY, LOOKUPS, PICTURE_LOOKUPS, PICTURE_SEALED, SEALED
from portal.governance.purge_proofs import is_genuine as is_genuine
from portal.governance.purge_proofs import proof_of as proof_of
from portal.governance.purge_proofs import proofs as proofs
from portal.governance.purge_proofs import residual_data as residual_data
from portal.languages import _, lazy
from portal.models import (
    Arrival,
    Blob,
    DicomAskedObject,
    DicomObject,
    DicomRetrieval,
    DicomSend,
    DicomSentObject,
    Job,
    JobState,
    OutlineDraft,
    Purge,
    PurgeReason,
    ReportSend,
    RetrievalState,
    ReviewDraft,
    SendState,
    Sex,
    StartedPurge,
    StudyName,
)
from portal.studies.locks import lock_exam
from portal.vault import Vault, VaultError

PROOF_FOLLOWS: Final = lazy(
    "The case is purged. Its proof is written once all files are removed and nothing reads the "
    "database’s older pages any more."
)
_log = logging.getLogger(__name__)


def purge(
    session: Session,
    vault: Vault,
    actor: Actor | None,
    study_id: UUID,
    now: datetime,
    *,
    reason: PurgeReason,
    reference: str = "",
    only_if: Callable[[UUID], bool] | None = None,
) -> Purge | None:
    """Destroy a study's data keys, patient data, lookups and files; returns the written proof.

    None: all of it is destroyed, and the proof follows (`finish_started`): a file can't be removed
    just now, or another connection still reads the database's older pages.

    For administrators (who need not see the case), the command line and retention (`actor` None).
    Its jobs end; a worker that is at one loses it. `only_if` is asked last, about the study that is
    locked: something may have come to it. Raises Denied, or Conflict `no_such_case`,
    `already_purged`, `held`, `bad_reference`, `not_due`.
    """
    if actor is not None:
        actor.require(Permission.DATA_MANAGE)
    began = time.monotonic()
    reference = check_reference(reference)
    study_id = _destroy(session, actor, study_id, now, reason, reference, only_if)
    try:
        later = now + timedelta(seconds=time.monotonic() - began)
        return finish(session, vault, study_id, later)
    except (NotErased, OperationalError, VaultError, OSError) as error:
        session.rollback()
        _log.warning("the proof of a purge is not written yet: %s", type(error).__name__)
        return None


def finish(session: Session, vault: Vault, study_id: UUID, now: datetime) -> Purge | None:
    """Do the rest of a purge that was started; its proof, None where there is no such purge.

    Raises NotErased, VaultError or OSError as long as it can't be done; it can be tried again.
    """
    started = session.get(StartedPurge, study_id, populate_existing=True)
    session.commit()
    if started is not None:
        for name in purge_proofs.names_of_files(started.statement):
            vault.destroy(name)
        erased = erasure.erase(session, [bytes.fromhex(mark) for mark in started.marks])
        # Another process may have been quicker.
        started = session.get(StartedPurge, study_id, with_for_update=True, populate_existing=True)
    if started is None:
        written = session.get(Purge, study_id, populate_existing=True)
        session.commit()
        return written
    proof = purge_proofs.proof_from(started, erased, now)
    session.delete(started)
    session.add(proof)
    audit.append(
        session,
        "study_purged",
        actor_id=started.started_by,
        now=now,
        study_id=study_id,
        detail={
            "files": len(started.statement["destroyed"]["files"]),
            "reason": proof.reason.value,
            "reference": proof.reference,
            "proof": proof.digest,
        },
        bound=[proof],
    )
    session.commit()
    return proof


def finish_started(session: Session, vault: Vault, now: datetime) -> int:
    """Finish every purge that was started and has no proof; returns how many have one now."""
    query = select(StartedPurge.study_id).order_by(StartedPurge.started_at, StartedPurge.study_id)
    waiting = session.scalars(query).all()
    session.commit()
    finished = 0
    for study_id in waiting:
        try:
            finished += finish(session, vault, study_id, now) is not None
        except NotErased:
            session.rollback()
            break  # another connection is reading: all others would wait for it too
        except (VaultError, OSError):
            session.rollback()
    return finished


def _destroy(
    session: Session,
    actor: Actor | None,
    study_id: UUID,
    now: datetime,
    reason: PurgeReason,
    reference: str,
    only_if: Callable[[UUID], bool] | None,
) -> UUID:
    """The first step: one transaction after which no row has a key, a sealed value or a lookup.

    Returns the study that holds the pictures.
    """
    # With its jobs: a result that is coming in is waited for.
    study = lock_exam(session, study_id)
    if study is None:
        raise Conflict("no_such_case", _("There is no such case."))
    study_id = study.id
    if study.purged_at is not None:
        raise Conflict("already_purged", _("This case was purged before."))
    if held(session, study_id) is not None:
        raise Conflict("held", _("This case is under a legal hold. Lift the hold first."))
    if only_if is not None and not only_if(study_id):
        raise Conflict("not_due", _("Something came to this case: its time has not ended."))
    gone = purge_proofs.ToDestroy.of(session, study)
    open_jobs = (
        Job.study_id == study_id,
        or_(Job.state == JobState.QUEUED, Job.state == JobState.RUNNING),
    )
    ended = session.scalars(select(Job.id).where(*open_jobs)).all()
    stated = purge_proofs.statement(gone, actor, now, reason, reference, len(ended))
    session.add(
        StartedPurge(
            study_id=study_id,
            started_at=now,
            started_by=actor.user_id if actor else None,
            statement=stated,
            marks=gone.marks(),
        )
    )
    patient_merges.go_on_without(session, gone.studies, now)
    for one in gone.studies:
        for column in (*KEY, *SEALED, *LOOKUPS):
            setattr(one, column, None)
        one.sex, one.purged_at, one.needs_upgrade = Sex.UNKNOWN, now, False
    for picture in gone.pictures:
        for column in (*KEY, *PICTURE_SEALED, *PICTURE_LOOKUPS):
            setattr(picture, column, None)
    session.execute(
        update(Job)
        .where(*open_jobs)
        .values(
            state=JobState.FAILED,
            attempts=Job.attempts + 1,
            error_code="purged",
            lease_until=None,
            finished_at=now,
        )
    )
    session.execute(delete(Blob).where(Blob.instance_id.in_(gone.picture_ids)))
    session.execute(delete(StudyName).where(StudyName.study_id.in_(gone.study_ids)))
    for rows in (ReviewDraft, OutlineDraft, DicomObject, DicomSentObject, Arrival):
        session.execute(delete(rows).where(rows.instance_id.in_(gone.picture_ids)))
    session.execute(
        update(DicomSend)
        .where(DicomSend.study_id.in_(gone.study_ids), DicomSend.finished_at.is_(None))
        .values(state=SendState.DROPPED, reason="purged", claimed_until=None, finished_at=now)
    )
    # Its pictures that come by C-MOVE just now are refused with it: nothing is taken that is not
    # asked for.
    looked_for = select(DicomRetrieval.id).where(
        DicomRetrieval.study_id.in_(gone.study_ids), DicomRetrieval.finished_at.is_(None)
    )
    session.execute(delete(DicomAskedObject).where(DicomAskedObject.retrieval_id.in_(looked_for)))
    session.execute(
        update(DicomRetrieval)
        .where(DicomRetrieval.study_id.in_(gone.study_ids), DicomRetrieval.finished_at.is_(None))
        .values(state=RetrievalState.DROPPED, reason="purged", claimed_until=None, finished_at=now)
    )
    of_gone = ReportSend.study_id.in_(gone.study_ids)
    session.execute(
        update(ReportSend)
        .where(of_gone, ReportSend.finished_at.is_(None))
        .values(state=SendState.DROPPED, reason="purged", claimed_until=None, finished_at=now)
    )
    session.execute(update(ReportSend).where(of_gone).values(sealed_remark=None, content_key=None))
    for kept in gone.quarantined:
        session.delete(kept)
    for stated_outside in gone.hospital:
        session.delete(stated_outside)
    critical_findings.end_for_purge(session, gone.study_ids, now)
    audit.append(
        session,
        "purge_started",
        actor=actor,
        now=now,
        study_id=study_id,
        detail={
            "files": len(gone.blobs) + len(gone.quarantined),
            "reason": reason.value,
            "reference": reference,
        },
    )
    session.commit()
    return study_id
