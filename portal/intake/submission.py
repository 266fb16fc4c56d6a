"""Submitting a picture: rows, sealed file, audit row and render job, all of them or none.
Duplicates are recognised by content (`known_pictures`), and by unique indexes of the database where
several pictures come at once: the second request begins anew and finds the first picture.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission
from portal.database import DatabaseTime
from portal.governance import quarantine
from portal.intake import arrival, check, known_pictures
from portal.intake.known_pictures import Changed, Known
from portal.intake.stated import Stated
from portal.jobs.claims import enqueue
from portal.models import Blob, BlobKind, Instance, JobKind, Study
from portal.studies import (
    exams,
    header_columns,
    patient_names,
    sealed_fields,
    worklist_order,
)
from portal.teams.rules.conditions import Facts
from portal.vault import Vault, WrappedKey

DEFAULT_LIMITS: Final = check.Limits(64 * 1024 * 1024)
NOTHING_STATED: Final = Stated()
# Of the jobs of old exams: behind all others.
OLD_PRIORITY: Final = -10
Remark = Literal[
    "transfer_syntax_wrong", "not_exportable", "not_dicom", "stored_again", "typed_not_used"
]
# A try fails when another request has just stored the same content, UID or exam.
_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a file. A duplicate leads to the existing study.

    `same_uid`: another picture had come under the same SOPInstanceUID; both are stored. `joined`:
    it was added to an existing exam. A duplicate has a `job_id` where its stored file was lost and
    put back, and the job had failed without it. `patient_name` is that of the file itself, for who
    sent it. `remarks`: codes of what the sender should know about the file (`Remark`).
    """

    study_id: UUID
    case_number: str
    instance_id: UUID
    job_id: UUID | None
    duplicate: bool
    same_uid: bool = False
    joined: bool = False
    patient_name: str = field(default="", repr=False)
    remarks: tuple[Remark, ...] = ()


def submit(
    session: Session,
    vault: Vault,
    actor: Actor,
    filename: str,
    data: bytes,
    now: datetime,
    *,
    limits: check.Limits = DEFAULT_LIMITS,
    work: check.Work | None = None,
    stated: Stated = NOTHING_STATED,
    by_rules: bool = True,
) -> Submitted:
    """Check and store a file; the caller announces `job_id` afterwards. `work`: see `check`.
    `stated`: what its sender states about it. `by_rules`: whether the team's rules hold for it;
    a file that one puts into quarantine is kept there, and Refused.

    Raises Refused (the file), Conflict (see `known_pictures.decide`) or VaultError (nothing is left
    behind). The same file, or another with the same SOPInstanceUID and the same pixels, is
    recognised within the team; where its stored file is lost, this one takes its place. Other
    pixels under a known
    UID are stored beside the first: some machines and copying tools give a UID twice, and a picture
    taken for a duplicate would never be read. Pictures of one StudyInstanceUID are one exam of the
    team; a file without one is an exam of its own.
    """
    actor.require(Permission.STUDY_SUBMIT)
    work = check.Work() if work is None else work
    upload = check.check(filename, data, limits, work)
    return submit_checked(
        session, vault, actor, upload, data, now, work=work, stated=stated, by_rules=by_rules
    )


def submit_checked(
    session: Session,
    vault: Vault,
    actor: Actor,
    upload: check.Upload,
    data: bytes,
    now: datetime,
    *,
    work: check.Work | None = None,
    stated: Stated = NOTHING_STATED,
    by_rules: bool = True,
    announced: bool = False,
) -> Submitted:
    """The same for a file whose header `check.check` has read: `upload` is that of `data`.
    `announced`: its new job is marked as announced, see `claims.enqueue`.
    """
    actor.require(Permission.STUDY_SUBMIT)
    work = check.Work() if work is None else work
    upload = stated.added_to(upload)
    how = _How(
        facts=arrival.facts_of(upload, stated, now),
        is_old=stated.is_old(upload.header.get("acquired"), now),
        by_rules=by_rules,
        announced=announced,
    )
    try:
        taken = _taken(session, vault, actor, upload, data, now, work, how)
    except arrival.ToQuarantine as kept:
        study_uid = upload.keys.get("study_uid", "")
        reason = quarantine.Reason(kept.code, kept.rule_id, study_uid)
        given = stated.as_json() | {"filename": upload.phi.get("filename", "")}
        quarantine.keep(session, vault, actor, data, reason, now, stated=given)
        raise
    name = upload.phi.get("patient_name", "")
    return replace(taken, patient_name=name, remarks=(*_remarks(upload, stated), *taken.remarks))


def _remarks(upload: check.Upload, stated: Stated) -> tuple[Remark, ...]:
    found: dict[Remark, bool] = {
        "transfer_syntax_wrong": upload.header.get("mislabelled", False),
        "not_exportable": not upload.header.get("exportable", True),
        "not_dicom": upload.media_type != "application/dicom",
        "typed_not_used": stated.is_about_patient and upload.media_type == "application/dicom",
    }
    return tuple(code for code, holds in found.items() if holds)


@dataclass(frozen=True, slots=True)
class _How:
    """How a picture arrives: what rules ask for, whether they hold, whether it is an old exam, and
    whether its job is announced by the caller for sure.
    """

    facts: Facts
    is_old: bool
    by_rules: bool
    announced: bool


def _taken(
    session: Session,
    vault: Vault,
    actor: Actor,
    upload: check.Upload,
    data: bytes,
    now: datetime,
    work: check.Work,
    how: _How,
) -> Submitted:
    for _ in range(_TRIES - 1):
        try:
            return _take(session, vault, actor, upload, data, now, work, how)
        except (IntegrityError, Changed):
            session.rollback()  # another request has stored this picture, UID or exam
    return _take(session, vault, actor, upload, data, now, work, how)


def _take(
    session: Session,
    vault: Vault,
    actor: Actor,
    upload: check.Upload,
    data: bytes,
    now: datetime,
    work: check.Work,
    how: _How,
) -> Submitted:
    is_old = how.is_old
    found = known_pictures.look_up(session, vault, actor, upload, data, work)
    if found.known is not None:
        session.commit()  # what only reads ends here
        return _duplicate(known_pictures.decide(session, vault, actor, found, data, now))
    keys, namesake = found.keys, found.namesake
    met = arrival.meet(session, actor.team_id, how.facts, by_rules=how.by_rules)
    exam = exam_of(session, actor, keys.study)
    session.commit()  # the file is written while nothing is locked

    study_id = exam.id if exam else uuid4()
    instance = Instance(
        id=uuid4(),
        study_id=study_id,
        arrived_in=study_id,
        team_id=actor.team_id,
        uploaded_by=actor.user_id,
        sop_key=keys.sop,
        content_key=keys.content,
        media_type=upload.media_type,
        size=len(data),
        rows=upload.header["rows"],
        columns=upload.header["columns"],
        same_uid_as=namesake.id if namesake else None,
        created=now,
    )
    data_key, wrapped = vault.new_data_key(study_id, instance.id)
    instance.wrapped_key, instance.key_id = wrapped.wrapped, wrapped.key_id
    instance.sealed_phi = sealed_fields.seal_picture_phi(vault, data_key, instance.id, upload.phi)
    header_columns.describe_picture(vault, instance, upload.keys, upload.header)
    own = vault.new_data_key(study_id) if exam is None else None
    blob = Blob(
        id=uuid4(),
        instance_id=instance.id,
        kind=BlobKind.SOURCE,
        size=len(data),
        media_type=upload.media_type,
        current=True,
        created=now,
    )
    blob.name = vault.put(data_key, blob_id=blob.id, kind=blob.kind, attempt=0, data=data)
    try:
        if own is not None:
            study = _new_exam(session, vault, actor, upload, study_id, own, now, is_old=is_old)
        else:
            study = _joined(session, instance)
            if study.is_old and not is_old:  # one that is new is enough
                exams.make_new(session, study, now)
        for row in (instance, blob, arrival.note(vault, data_key, instance, met, now)):
            session.add(row)
            session.flush()
        priority = OLD_PRIORITY if study.is_old else 0
        job = enqueue(
            session,
            JobKind.RENDER,
            now,
            instance=instance,
            priority=priority,
            announced=how.announced,
        )
        if exam is not None:  # a new one stands where its columns begin
            worklist_order.place(session, study.id)
        detail = {"picture": instance.id.hex} if exam else {}
        if met.rule is not None and met.rule.id is not None:
            detail["rule"] = met.rule.id.hex
        if namesake is not None:
            detail["same_uid_as"] = namesake.study_id.hex
        audit.append(
            session, "study_submitted", actor=actor, now=now, study_id=study.id, detail=detail
        )
    except BaseException:
        session.rollback()
        vault.destroy(blob.name)
        raise
    database.commit(session)
    return Submitted(
        study.id,
        study.case_number,
        instance.id,
        job.id,
        duplicate=False,
        same_uid=namesake is not None,
        joined=exam is not None,
    )


def _duplicate(known: Known) -> Submitted:
    """The study that holds this picture already."""
    return Submitted(
        known.study.id,
        known.study.case_number,
        known.instance_id,
        known.job_id,
        duplicate=True,
        remarks=("stored_again",) if known.stored_again else (),
    )


def exam_of(session: Session, actor: Actor, uid_key: str | None) -> Study | None:
    """The team's exam of this StudyInstanceUID that has not been purged."""
    if uid_key is None:
        return None
    same_uid = select(exams.exam_id()).where(
        Study.team_id == actor.team_id, Study.study_uid_key == uid_key
    )
    return session.scalars(
        select(Study)
        .where(Study.id.in_(same_uid), Study.purged_at.is_(None))
        .order_by(Study.created, Study.id)
        .limit(1)
    ).first()


def _new_exam(
    session: Session,
    vault: Vault,
    actor: Actor,
    upload: check.Upload,
    study_id: UUID,
    own: tuple[bytes, WrappedKey],
    now: datetime,
    *,
    is_old: bool,
) -> Study:
    """Add the exam of a first picture; IntegrityError where its UID has one by now."""
    data_key, wrapped = own
    study = Study(
        id=study_id,
        team_id=actor.team_id,
        uploaded_by=actor.user_id,
        created=now,
        case_number=study_id.hex[:6].upper(),
        wrapped_key=wrapped.wrapped,
        key_id=wrapped.key_id,
        weight=worklist_order.by_arrival(now),
        changed=DatabaseTime(),
        is_old=is_old,
    )
    study.sealed_phi = sealed_fields.seal_phi(vault, data_key, study.id, upload.phi)
    header_columns.describe_study(
        vault, study, upload.phi, upload.keys, upload.header.get("acquired")
    )
    session.add(study)
    session.flush()
    session.add_all(patient_names.rows(vault, study.id, upload.phi.get("patient_name", "")))
    session.flush()
    return study


def _joined(session: Session, instance: Instance) -> Study:
    """The exam of the picture, locked; Changed where it was purged or joined meanwhile."""
    weak = {"key_share": True}
    study = session.get_one(Study, instance.study_id, with_for_update=weak, populate_existing=True)
    if study.purged_at is not None or study.joined_into is not None:
        raise Changed
    if instance.acquired is not None:
        study.acquired = min(instance.acquired, study.acquired or instance.acquired)
    return study
