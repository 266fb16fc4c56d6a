"""Purging a study: its keys are destroyed, so that no copy of its data can be read again.

These are the study's own key and those of its pictures. Studies that were joined are purged
together.

Owns the purge, its written proof (`purges.proof`, whose digest stands in the access log) and the
look at what is left afterwards. Ids, the log, and the numbers of model and readers stay.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.governance.legal_holds import check_reference, held, locked
from portal.models import Blob, Instance, Job, JobState, Purge, PurgeReason, Sex, Study
from portal.studies import exams
from portal.vault import Vault, VaultError

# What of a study's row can lead to a patient; nothing of it is left.
_KEY: Final = ("wrapped_key", "key_id")
_SEALED: Final = ("sealed_phi",)
_LOOKUPS: Final = (
    *("patient_key", "patient_id_key", "accession_key", "study_uid_key", "acquired", "age_band"),
)
# The same of a picture's row.
_PICTURE_SEALED: Final = ("sealed_phi", "sealed_facts")
_PICTURE_LOOKUPS: Final = ("sop_key", "content_key", "series_uid_key", "acquired")


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
    only_if: Callable[[UUID], bool] | None = None,
) -> Purge:
    """Destroy a study's data keys, patient data, lookups and files; returns the written proof.

    For administrators (who need not see the case), the command line and retention (`actor` None).
    Its jobs end; a worker that is at one loses it. `only_if` is asked last, about the study that is
    locked: something may have come to it. Raises Denied, or Conflict `no_such_case`,
    `already_purged`, `held`, `bad_reference`, `not_due`.
    """
    if actor is not None:
        actor.require(Permission.DATA_MANAGE)
    reference = check_reference(reference)
    # Jobs before their study (see `worklist_order`): a result that is coming in is waited for.
    session.scalars(
        select(Job.id)
        .where(Job.study_id == exams.survivor_of(session, study_id))
        .order_by(Job.id)
        .with_for_update()
    ).all()
    study = locked(session, study_id)
    study_id = study.id
    if study.purged_at is not None:
        raise Conflict("already_purged", "This case was purged before.")
    if held(session, study_id) is not None:
        raise Conflict("held", "This case is under a legal hold. Lift the hold first.")
    if only_if is not None and not only_if(study_id):
        raise Conflict("not_due", "Something came to this case: its time has not ended.")
    gone = _ToDestroy.of(session, study)
    proof = _proof(session, gone, actor, now, reason, reference)
    for one in gone.studies:
        for column in (*_KEY, *_SEALED, *_LOOKUPS):
            setattr(one, column, None)
        one.sex, one.purged_at, one.needs_upgrade = Sex.UNKNOWN, now, False
    for picture in gone.pictures:
        for column in (*_KEY, *_PICTURE_SEALED, *_PICTURE_LOOKUPS):
            setattr(picture, column, None)
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
    names = [blob.name for blob in gone.blobs]
    session.execute(delete(Blob).where(Blob.instance_id.in_(gone.picture_ids)))
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
        # Unreadable in any case, the key being gone; `residual_data` lists what is left, the sweep
        # removes it.
        with contextlib.suppress(OSError, VaultError):
            vault.destroy(name)
    return proof


def residual_data(session: Session, vault: Vault, study_id: UUID) -> ResidualData:
    """Look, now, at what is left of a purged study in the database and on the disk."""
    study_id = exams.survivor_of(session, study_id)
    found = _ToDestroy.of(session, session.get_one(Study, study_id, populate_existing=True))
    proof = json.loads(session.get_one(Purge, study_id).proof)
    names = {blob.name for blob in found.blobs}
    names |= {str(blob["name"]) for blob in proof["destroyed"]["files"]}
    left = ResidualData(
        key=found.filled(_KEY, _KEY) > 0,
        sealed_values=found.filled(_SEALED, _PICTURE_SEALED),
        lookups=found.filled(_LOOKUPS, _PICTURE_LOOKUPS),
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
    return session.get(Purge, exams.survivor_of(session, study_id))


def is_genuine(session: Session, proof: Purge) -> bool:
    """Whether a proof is what was written: its digest is its own and stands in the log."""
    if hashlib.sha256(proof.proof.encode()).hexdigest() != proof.digest:
        return False
    logged = audit.details(session, "study_purged", proof.study_id)
    return [detail.get("proof") for detail in logged] == [proof.digest]


@dataclass(frozen=True, slots=True)
class _ToDestroy:
    """What a purge is about: the study and those that were joined into it, pictures and files."""

    studies: list[Study]
    pictures: list[Instance]
    blobs: list[Blob]

    @classmethod
    def of(cls, session: Session, study: Study) -> "_ToDestroy":
        fresh = {"populate_existing": True}
        joined = select(Study).where(Study.joined_into == study.id).order_by(Study.id)
        pictures = exams.pictures(session, [study.id])[study.id]
        files = select(Blob).where(Blob.instance_id.in_([row.id for row in pictures]))
        return cls(
            studies=[study, *session.scalars(joined, execution_options=fresh)],
            pictures=pictures,
            blobs=list(session.scalars(files.order_by(Blob.id), execution_options=fresh)),
        )

    @property
    def picture_ids(self) -> list[UUID]:
        return [row.id for row in self.pictures]

    def filled(self, of_studies: tuple[str, ...], of_pictures: tuple[str, ...]) -> int:
        """How many values stand in these columns of all of them."""
        return sum(_filled(row, of_studies) for row in self.studies) + sum(
            _filled(row, of_pictures) for row in self.pictures
        )


def _proof(
    session: Session,
    gone: _ToDestroy,
    actor: Actor | None,
    now: datetime,
    reason: PurgeReason,
    reference: str,
) -> Purge:
    """What will be destroyed, written down before it is: ids, kinds, sizes, digests."""
    study = gone.studies[0]
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
            "key": _destroyed_key(study),
            "pictures": [{"id": str(row.id), "key": _destroyed_key(row)} for row in gone.pictures],
            "joined": [
                {"study": str(row.id), "case": row.case_number, "key": _destroyed_key(row)}
                for row in gone.studies[1:]
            ],
            "sealed_values": gone.filled(_SEALED, _PICTURE_SEALED),
            "lookups": gone.filled(_LOOKUPS, _PICTURE_LOOKUPS),
            "jobs_ended": session.scalar(ended),
            "files": [
                {"id": str(b.id), "kind": b.kind.value, "name": b.name, "bytes": b.size}
                for b in gone.blobs
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


def _destroyed_key(row: Study | Instance) -> dict[str, str | None]:
    return {
        "ring_key": row.key_id,
        "sha256_of_wrapped": hashlib.sha256(row.wrapped_key or b"").hexdigest(),
    }


def _filled(row: Study | Instance, columns: tuple[str, ...]) -> int:
    return sum(getattr(row, column) is not None for column in columns)
