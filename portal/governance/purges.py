"""Purging a study: its key is destroyed, so that no copy of its data can be read again.

Owns the purge, its written proof (`purges.proof`, whose digest stands in the access log) and the
look at what is left afterwards. Ids, the log, and the numbers of model and readers stay.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.governance.legal_holds import check_reference, held
from portal.models import Blob, Instance, Job, JobState, Purge, PurgeReason, Study
from portal.vault import Vault, VaultError

# What of a study's row can lead to a patient; nothing of it is left.
_KEY: Final = ("wrapped_key", "key_id")
_SEALED: Final = ("sealed_phi",)
_LOOKUPS: Final = ("patient_key", "accession_key", "study_uid_key")


@dataclass(frozen=True, slots=True)
class ResidualData:
    """What is still there of a purged study: all of it must be nothing."""

    key: bool
    sealed_values: int
    lookups: int
    files: int

    @property
    def is_empty(self) -> bool:
        """Whether the purge is complete."""
        return not (self.key or self.sealed_values or self.lookups or self.files)


def purge(
    session: Session,
    vault: Vault,
    actor: Actor | None,
    study_id: UUID,
    now: datetime,
    *,
    reason: PurgeReason,
    reference: str = "",
) -> Purge:
    """Destroy a study's data key, patient data, lookups and files; returns the written proof.

    For administrators (who need not see the case), the command line and the clock (`actor` None).
    Its jobs end; a worker that is at one loses it. Raises Denied, or Conflict `no_such_case`,
    `already_purged`, `held`, `bad_reference`.
    """
    if actor is not None:
        actor.require(Permission.DATA_MANAGE)
    reference = check_reference(reference)
    # Jobs before their study (see `ranking`): a result that is coming in is waited for.
    session.scalars(
        select(Job.id).where(Job.study_id == study_id).order_by(Job.id).with_for_update()
    ).all()
    study = session.get(
        Study, study_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if study is None:
        raise Conflict("no_such_case", "There is no such case.")
    if study.purged_at is not None:
        raise Conflict("already_purged", "This case was purged before.")
    if held(session, study_id) is not None:
        raise Conflict("held", "This case is under a legal hold. Lift the hold first.")
    blobs = session.scalars(select(Blob).where(Blob.study_id == study_id).order_by(Blob.id)).all()
    proof = _proof(session, study, blobs, actor, now, reason, reference)
    for column in (*_KEY, *_SEALED, *_LOOKUPS):
        setattr(study, column, None)
    study.purged_at = now
    session.execute(
        update(Instance)
        .where(Instance.study_id == study_id)
        .values(sealed_facts=None, sop_key=None, content_key=None)
    )
    session.execute(
        update(Job)
        .where(Job.study_id == study_id, Job.state.in_((JobState.QUEUED, JobState.RUNNING)))
        .values(
            state=JobState.FAILED,
            attempts=Job.attempts + 1,
            error_code="purged",
            lease_until=None,
            finished_at=now,
        )
    )
    names = [blob.name for blob in blobs]
    session.execute(delete(Blob).where(Blob.study_id == study_id))
    session.add(proof)
    audit.append(
        session,
        "study_purged",
        actor=actor,
        now=now,
        study_id=study_id,
        detail={
            "files": len(names),
            "reason": reason.value,
            "reference": reference,
            "proof": proof.digest,
        },
    )
    session.commit()
    for name in names:
        # Unreadable in any case, the key being gone; `remains` tells, the sweep goes on.
        with contextlib.suppress(OSError, VaultError):
            vault.destroy(name)
    return proof


def residual_data(session: Session, vault: Vault, study_id: UUID) -> ResidualData:
    """Look, now, at what is left of a purged study in the database and on the disk."""
    study = session.get_one(Study, study_id, populate_existing=True)
    row = session.scalars(
        select(Instance)
        .where(Instance.study_id == study_id)
        .execution_options(populate_existing=True)
    ).one()
    proof = json.loads(session.get_one(Purge, study_id).proof)
    still = set(session.scalars(select(Blob.name).where(Blob.study_id == study_id)))
    names = still | {str(blob["name"]) for blob in proof["destroyed"]["files"]}
    left = ResidualData(
        key=_filled(study, _KEY) > 0,
        sealed_values=_filled(study, _SEALED) + _filled(row, ("sealed_facts",)),
        lookups=_filled(study, _LOOKUPS) + _filled(row, ("sop_key", "content_key")),
        files=sum(vault.has(name) for name in names),
    )
    session.commit()
    return left


def proofs(session: Session, actor: Actor, *, limit: int = 50) -> list[Purge]:
    """The newest purges, for administrators."""
    actor.require(Permission.DATA_MANAGE)
    query = select(Purge).order_by(Purge.purged_at.desc(), Purge.study_id)
    return list(session.scalars(query.limit(limit)))


def proof_of(session: Session, actor: Actor, study_id: UUID) -> Purge | None:
    """The proof of one purge, for administrators."""
    actor.require(Permission.DATA_MANAGE)
    return session.get(Purge, study_id)


def is_genuine(session: Session, proof: Purge) -> bool:
    """Whether a proof is what was written: its digest is its own and stands in the log."""
    if hashlib.sha256(proof.proof.encode()).hexdigest() != proof.digest:
        return False
    logged = audit.details(session, "study_purged", proof.study_id)
    return [detail.get("proof") for detail in logged] == [proof.digest]


def _proof(
    session: Session,
    study: Study,
    blobs: Any,
    actor: Actor | None,
    now: datetime,
    reason: PurgeReason,
    reference: str,
) -> Purge:
    """What will be destroyed, written down before it is: ids, kinds, sizes, digests."""
    instance = session.scalars(select(Instance).where(Instance.study_id == study.id)).one()
    ended = select(func.count()).where(
        Job.study_id == study.id, or_(Job.state == JobState.QUEUED, Job.state == JobState.RUNNING)
    )
    statement = {
        "study": str(study.id),
        "case": study.case_number,
        "purged_at": now.isoformat(),
        "purged_by": str(actor.user_id) if actor else None,
        "reason": reason.value,
        "reference": reference,
        "destroyed": {
            "key": {
                "ring_key": study.key_id,
                "sha256_of_wrapped": hashlib.sha256(study.wrapped_key or b"").hexdigest(),
            },
            "sealed_values": _filled(study, _SEALED) + _filled(instance, ("sealed_facts",)),
            "lookups": _filled(study, _LOOKUPS) + _filled(instance, ("sop_key", "content_key")),
            "jobs_ended": session.scalar(ended),
            "files": [
                {"id": str(b.id), "kind": b.kind.value, "name": b.name, "bytes": b.size}
                for b in blobs
            ],
        },
    }
    text = json.dumps(statement, sort_keys=True, separators=(",", ":"))
    return Purge(
        study_id=study.id,
        case_number=study.case_number,
        purged_at=now,
        purged_by=actor.user_id if actor else None,
        reason=reason,
        reference=reference,
        proof=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _filled(row: Study | Instance, columns: tuple[str, ...]) -> int:
    return sum(getattr(row, column) is not None for column in columns)
