"""The written proofs of purges: what they state, and the look at what is left afterwards.

A proof names ids, kinds, sizes and digests, never the patient; what was done so that old values are
in none of the database's files, and from when until when they still could be. Its digest stands in
the access log.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.models import (
    Blob,
    HospitalOrder,
    HospitalReport,
    Instance,
    OutlineDraft,
    Purge,
    PurgeReason,
    QuarantinedFile,
    ReviewDraft,
    StartedPurge,
    Study,
    StudyName,
)
from portal.studies import exams
from portal.vault import NONCE_BYTES, Vault

# What of a study's row can lead to a patient; nothing of it is left.
KEY: Final = ("wrapped_key", "key_id")
SEALED: Final = ("sealed_phi",)
LOOKUPS: Final = (
    *("patient_key", "patient_id_key", "accession_key", "study_uid_key", "acquired", "age_band"),
)
# The same of a picture's row.
PICTURE_SEALED: Final = ("sealed_phi", "sealed_facts")
PICTURE_LOOKUPS: Final = ("sop_key", "content_key", "series_uid_key", "acquired")
# What a file's removal is not: on many disks the old blocks stay for a time, whatever is written.
_FILES: Final = "removed, not overwritten; their keys are destroyed"


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


@dataclass(frozen=True, slots=True)
class ToDestroy:
    """What a purge is about: the study and those that were joined into it, pictures and files."""

    studies: list[Study]
    pictures: list[Instance]
    blobs: list[Blob]
    drafts: list[ReviewDraft]
    names: list[StudyName]
    outline_drafts: list[OutlineDraft]
    quarantined: list[QuarantinedFile]
    hospital: list[HospitalOrder | HospitalReport]

    @classmethod
    def of(cls, session: Session, study: Study) -> "ToDestroy":
        """Everything of a study as it is in the database now."""
        fresh = {"populate_existing": True}
        joined = select(Study).where(Study.joined_into == study.id).order_by(Study.id)
        pictures = exams.pictures(session, [study.id])[study.id]
        ids = [row.id for row in pictures]
        files = select(Blob).where(Blob.instance_id.in_(ids))
        drafts = select(ReviewDraft).where(ReviewDraft.instance_id.in_(ids))
        outlines = select(OutlineDraft).where(OutlineDraft.instance_id.in_(ids))
        studies = [study, *session.scalars(joined, execution_options=fresh)]
        return cls(
            studies=studies,
            pictures=pictures,
            blobs=list(session.scalars(files.order_by(Blob.id), execution_options=fresh)),
            names=list(session.scalars(_names_of(study), execution_options=fresh)),
            drafts=list(session.scalars(drafts, execution_options=fresh)),
            outline_drafts=list(session.scalars(outlines, execution_options=fresh)),
            quarantined=list(session.scalars(_kept_apart(session, study), execution_options=fresh)),
            hospital=_hospital(session, studies),
        )

    @property
    def study_ids(self) -> list[UUID]:
        """The ids of the study and of those that were joined into it."""
        return [row.id for row in self.studies]

    @property
    def lookups(self) -> int:
        """How many values there are by which the patient can be found."""
        own = self.filled(LOOKUPS, PICTURE_LOOKUPS)
        return own + len(self.names) + 2 * len(self.hospital)  # accession number and patient ID

    @property
    def picture_ids(self) -> list[UUID]:
        """The ids of its pictures."""
        return [row.id for row in self.pictures]

    def filled(self, of_studies: tuple[str, ...], of_pictures: tuple[str, ...]) -> int:
        """How many values stand in these columns of all of them."""
        return len(self.values(of_studies, of_pictures))

    def values(self, of_studies: tuple[str, ...], of_pictures: tuple[str, ...]) -> list[Any]:
        """The values in these columns of all of them."""
        found = [getattr(row, column) for row in self.studies for column in of_studies]
        found += [getattr(row, column) for row in self.pictures for column in of_pictures]
        return [value for value in found if value is not None]

    def marks(self) -> list[str]:
        """The nonces of all wrapped keys and sealed values, in hexadecimal.

        A nonce is no secret, and no other value begins with it.
        """
        columns = (("wrapped_key", *SEALED), ("wrapped_key", *PICTURE_SEALED))
        kept = [v for row in self.quarantined for v in (row.wrapped_key, row.sealed_stated)]
        kept += [row.wrapped_key for row in self.hospital]
        sealed = [*self.values(*columns), *self._drawn, *kept, *self._stated]
        return [value[:NONCE_BYTES].hex() for value in sealed]

    @property
    def sealed_values(self) -> int:
        """How many sealed values there are in all."""
        return self.filled(SEALED, PICTURE_SEALED) + len(self._drawn) + len(self._stated)

    @property
    def _stated(self) -> list[bytes]:
        """What the hospital's systems have stated of it."""
        return [
            row.sealed_location if isinstance(row, HospitalOrder) else row.sealed_text
            for row in self.hospital
        ]

    @property
    def _drawn(self) -> list[bytes]:
        """What readers have drawn and not finished."""
        runs = [row.sealed_runs for row in self.outline_drafts if row.sealed_runs is not None]
        return [*(draft.sealed_rulers for draft in self.drafts), *runs]


def _names_of(study: Study) -> Select[StudyName]:
    return select(StudyName).where(exams.within(StudyName.study_id, study.id))


def _kept_apart(session: Session, study: Study) -> Select[QuarantinedFile]:
    """The files in quarantine that are of this exam, by its UID and those of joined ones."""
    keys = select(Study.study_uid_key).where(
        exams.within(Study.id, study.id), Study.study_uid_key.is_not(None)
    )
    return select(QuarantinedFile).where(
        QuarantinedFile.team_id == study.team_id,
        QuarantinedFile.study_key.in_(session.scalars(keys).all()),
    )


def _hospital(session: Session, studies: Sequence[Study]) -> list[HospitalOrder | HospitalReport]:
    """Orders and reports under the accession numbers of these exams, where no other exam of the
    team has the same number.
    """
    ids, of_team = [row.id for row in studies], studies[0].team_id
    found: list[HospitalOrder | HospitalReport] = []
    for key in sorted({row.accession_key for row in studies if row.accession_key is not None}):
        others = select(Study.id).where(
            Study.team_id == of_team, Study.accession_key == key, Study.id.not_in(ids)
        )
        if session.scalar(others.limit(1)) is not None:
            continue
        fresh = {"populate_existing": True}
        orders = select(HospitalOrder).where(
            HospitalOrder.team_id == of_team, HospitalOrder.accession_key == key
        )
        reports = select(HospitalReport).where(
            HospitalReport.team_id == of_team, HospitalReport.accession_key == key
        )
        found += session.scalars(orders, execution_options=fresh)
        found += session.scalars(reports.order_by(HospitalReport.id), execution_options=fresh)
    return found


def statement(
    gone: ToDestroy,
    actor: Actor | None,
    now: datetime,
    reason: PurgeReason,
    reference: str,
    jobs_ended: int,
) -> dict[str, Any]:
    """What will be destroyed, written down before it is: ids, kinds, sizes, digests."""
    study = gone.studies[0]
    return {
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
            "sealed_values": gone.sealed_values,
            "lookups": gone.lookups,
            "jobs_ended": jobs_ended,
            "files": [
                {"id": str(b.id), "kind": b.kind.value, "name": b.name, "bytes": b.size}
                for b in gone.blobs
            ]
            + [
                {"id": str(q.id), "kind": "quarantined", "name": q.name, "bytes": q.size}
                for q in gone.quarantined
            ],
            "hospital": [
                {"id": str(row.id), "kind": row.__tablename__, "key": _destroyed_key(row)}
                for row in gone.hospital
            ],
        },
    }


def proof_from(started: StartedPurge, erased: dict[str, Any], now: datetime) -> Purge:
    """The proof of a purge whose old values were cleared (`erasure.erase`)."""
    erasure = {
        **erased,
        "from": started.started_at.isoformat(),
        "until": now.isoformat(),
        "files": _FILES,
    }
    stated = started.statement
    text = json.dumps({**stated, "erasure": erasure}, sort_keys=True, separators=(",", ":"))
    return Purge(
        study_id=started.study_id,
        case_number=stated["case"],
        purged_at=started.started_at,
        purged_by=started.started_by,
        reason=PurgeReason(stated["reason"]),
        reference=stated["reference"],
        proof=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def names_of_files(stated: dict[str, Any]) -> list[str]:
    """The names of the files that a statement or a proof lists."""
    return [str(file["name"]) for file in stated["destroyed"]["files"]]


def residual_data(session: Session, vault: Vault, study_id: UUID) -> ResidualData:
    """Look, now, at what is left of a purged study in the database and on the disk.

    Files in quarantine, orders and reports are looked for by the ids that the proof lists: the
    exam's own digests, by which they were found, are gone.
    """
    study_id = exams.survivor_of(session, study_id)
    found = ToDestroy.of(session, session.get_one(Study, study_id, populate_existing=True))
    started = session.get(StartedPurge, study_id)
    stated = started.statement if started else json.loads(session.get_one(Purge, study_id).proof)
    names = {blob.name for blob in found.blobs} | set(names_of_files(stated))
    rows = _rows_left(session, stated["destroyed"])
    left = ResidualData(
        key=found.filled(KEY, KEY) > 0 or rows > 0,
        sealed_values=found.sealed_values + rows,
        lookups=found.lookups + 2 * rows,
        files=sum(vault.has(name) for name in names),
    )
    session.commit()
    return left


def _rows_left(session: Session, destroyed: dict[str, Any]) -> int:
    """How many rows are still there of those with a key of their own. A proof of a version before
    lists no orders and reports.
    """
    listed = [*destroyed["files"], *destroyed.get("hospital", [])]
    left = 0
    for table, kind in (
        (QuarantinedFile, "quarantined"),
        (HospitalOrder, HospitalOrder.__tablename__),
        (HospitalReport, HospitalReport.__tablename__),
    ):
        ids = [UUID(one["id"]) for one in listed if one["kind"] == kind]
        if ids:
            query = select(func.count()).select_from(table).where(table.id.in_(ids))
            left += session.scalar(query) or 0
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


def _destroyed_key(row: Study | Instance | HospitalOrder | HospitalReport) -> dict[str, str | None]:
    return {
        "ring_key": row.key_id,
        "sha256_of_wrapped": hashlib.sha256(row.wrapped_key or b"").hexdigest(),
    }
