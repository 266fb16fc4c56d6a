"""Purging a study: its key is destroyed, so that no copy of its data can be read again."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.casefile import load
from portal.models import Blob, Instance, Job, JobState
from portal.vault import Vault


def purge(s: Session, vault: Vault, actor: Actor, study_id: UUID, now: datetime) -> None:
    """Destroy a study's data key, patient data, lookups and files; ids and the log stay.

    For who may review the study or has sent it. Its jobs end; a worker that is at one loses it.
    """
    actor.require(Permission.STUDY_READ)
    study = load(s, actor, study_id)
    # Jobs before their study (see `ranking`): a result that is coming in is waited for.
    s.scalars(
        select(Job.id).where(Job.study_id == study.id).order_by(Job.id).with_for_update()
    ).all()
    names = list(s.scalars(select(Blob.name).where(Blob.study_id == study.id)))
    study.wrapped_key = study.key_id = study.sealed_phi = None
    study.patient_key = study.accession_key = study.study_uid_key = None
    study.purged_at = now
    s.execute(
        update(Instance)
        .where(Instance.study_id == study.id)
        .values(sealed_facts=None, sop_key=None, content_key=None)
    )
    s.execute(
        update(Job)
        .where(Job.study_id == study.id, Job.state.in_((JobState.QUEUED, JobState.RUNNING)))
        .values(
            state=JobState.FAILED,
            attempts=Job.attempts + 1,
            error_code="purged",
            lease_until=None,
            finished_at=now,
        )
    )
    s.execute(delete(Blob).where(Blob.study_id == study.id))
    audit.append(
        s, "study_purged", actor=actor, now=now, study_id=study.id, detail={"files": len(names)}
    )
    s.commit()
    for name in names:
        vault.destroy(name)
