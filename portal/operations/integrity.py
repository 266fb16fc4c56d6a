"""Inspection of the vault: every file and every sealed value is read and opened.

Owns what can be wrong with one of them, named by ids only: it is damaged (it does not open or has
another length), its key does not open, it is missing, its row can't be read; and files that no row
names. Nothing that is found stops the inspection.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, Literal, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, exists, func, not_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal import database
from portal.governance import quarantine
from portal.jobs.sweeper import STALE
from portal.models import (
    Addendum,
    Arrival,
    Blob,
    BreakGlass,
    Communication,
    DicomRefusal,
    DicomSentObject,
    ExamLinkKey,
    HospitalOrder,
    HospitalReport,
    Instance,
    Outline,
    OutlineDraft,
    QuarantinedFile,
    RefusedFile,
    ReportSend,
    Review,
    ReviewAnnotations,
    ReviewDraft,
    Study,
    User,
)
from portal.reading import refused_files
from portal.studies import sealed_fields, stored_files
from portal.teams import exam_links
from portal.vault import NotReadable, Vault

Problem = Literal["damaged", "missing", "key", "unreadable"]
ReportProgress = Callable[[int, int], None]

Row = TypeVar(
    "Row",
    Instance,
    Review,
    Addendum,
    ReviewDraft,
    ReviewAnnotations,
    OutlineDraft,
    Outline,
    BreakGlass,
    Blob,
    HospitalOrder,
    HospitalReport,
    Arrival,
    Communication,
    DicomSentObject,
    ReportSend,
)
Apart = TypeVar("Apart", DicomRefusal, ExamLinkKey, RefusedFile, HospitalOrder, HospitalReport)
_AT_ONCE: Final = 200
_SHARDS: Final = 256


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written. `what` is a table, its column or a kind of file.

    `row_id` is None where it is not known which rows of the table can't be read.
    """

    problem: Problem
    what: str
    row_id: UUID | None
    study_id: UUID | None

    def __str__(self) -> str:
        if self.row_id is None:
            of = f" of study {self.study_id}" if self.study_id else ""
            return f"{self.problem}: rows of {self.what}{of}"
        of = f" of study {self.study_id}" if self.study_id not in (None, self.row_id) else ""
        return f"{self.problem}: {self.what} {self.row_id}{of}"


@dataclass
class Report:
    """What was looked at, what was found, and the files that belong to nothing."""

    studies: int = 0
    files: int = 0
    values: int = 0
    size: int = 0
    findings: list[Finding] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)


def inspect(session: Session, vault: Vault, now: datetime, *, progress: ReportProgress) -> Report:
    """Read everything, while the portal runs; `progress(done, all)` is called for each study.

    What disappears meanwhile by a purge, or moves to another key, is no finding. Files younger than
    an hour are not called orphans: their rows may not be committed yet.
    """
    report = Report()
    total = _count(session)
    with _noting(session, "studies", None, report.findings):
        for study_id in _study_ids(session):
            found = _study(session, vault, study_id, report)
            if found:  # check again: it may have changed meanwhile
                session.expire_all()
                found = _study(session, vault, study_id, Report())
            if found is None:
                continue
            report.findings += found
            report.studies += 1
            progress(report.studies, max(total, report.studies))
    _people(session, vault, report)
    _apart_from_studies(session, vault, report)
    with _noting(session, "quarantined_files", None, report.findings):
        _quarantine(session, vault, report)
    with _noting(session, "blobs", None, report.findings):
        report.orphans = _orphans(session, vault, now)
    return report


def sample(session: Session, vault: Vault, studies: int) -> Report:
    """Read everything of some studies chosen at random."""
    report = Report()
    query = select(Study.id).order_by(Study.id).limit(studies)
    with _noting(session, "studies", None, report.findings):
        chosen = list(session.scalars(query.where(Study.id > uuid4())))
        if len(chosen) < studies:
            chosen += set(session.scalars(query)) - set(chosen)
        session.commit()
        for study_id in chosen[:studies]:
            found = _study(session, vault, study_id, report)
            if found:
                session.expire_all()
                found = _study(session, vault, study_id, Report())
            report.findings += found or []
            report.studies += 1
    return report


@contextlib.contextmanager
def _noting(
    session: Session, what: str, study_id: UUID | None, found: list[Finding]
) -> Iterator[None]:
    """Note rows that can't be read and go on."""
    try:
        yield
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        found.append(Finding("unreadable", what, None, study_id))


def _count(session: Session) -> int:
    """How many studies there are to read; where that can't be read, all that there ever were."""
    everything = select(func.count()).select_from(Study)
    try:
        total = session.scalar(everything.where(Study.purged_at.is_(None)))
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        total = 0
    session.commit()
    return total or 0


def _study_ids(session: Session) -> Iterator[UUID]:
    """All ids, read off their index alone: the rows themselves may be damaged."""
    query = select(Study.id).order_by(Study.id).limit(_AT_ONCE)
    batch = session.scalars(query).all()
    while batch:
        session.commit()
        yield from batch
        batch = session.scalars(query.where(Study.id > batch[-1])).all()
    session.commit()


def _study(session: Session, vault: Vault, study_id: UUID, report: Report) -> list[Finding] | None:
    """What is wrong with a study and its pictures; None if it is purged."""
    found = list[Finding]()
    study: Study | None = None
    with _noting(session, "studies", study_id, found):
        study = session.get(Study, study_id, populate_existing=True)
        if study is None or study.purged_at is not None:
            session.commit()
            return None

    def rows(table: type[Row], *where: ColumnElement[bool]) -> Sequence[Row]:
        with _noting(session, table.__tablename__, study_id, found):
            fresh = {"populate_existing": True}
            return session.scalars(select(table).where(*where), execution_options=fresh).all()
        return []

    instances = rows(Instance, Instance.study_id == study_id)
    reviews = rows(Review, Review.study_id == study_id)
    addenda = rows(Addendum, Addendum.study_id == study_id)
    grants = rows(BreakGlass, BreakGlass.study_id == study_id)
    of_these = [row.id for row in instances]
    blobs = rows(Blob, Blob.instance_id.in_(of_these))
    drafts = rows(ReviewDraft, ReviewDraft.instance_id.in_(of_these))
    drawn = rows(ReviewAnnotations, ReviewAnnotations.instance_id.in_(of_these))
    edited = rows(OutlineDraft, OutlineDraft.instance_id.in_(of_these))
    outlines = rows(Outline, Outline.instance_id.in_(of_these))
    arrivals = rows(Arrival, Arrival.instance_id.in_(of_these))
    sent = rows(DicomSentObject, DicomSentObject.instance_id.in_(of_these))
    informed = rows(Communication, Communication.study_id == study_id)
    reports = rows(ReportSend, ReportSend.study_id == study_id)
    session.commit()  # files are read while nothing is locked
    data_key = b""
    if study is None:  # what its key has sealed can't be opened; its pictures have their own
        reviews, addenda, grants, informed, reports = [], [], [], [], []
    else:
        try:
            data_key = sealed_fields.key_of(vault, study)
        except NotReadable:
            return [*found, Finding("key", "studies.wrapped_key", study_id, study_id)]

    def opens(what: str, row_id: UUID, open_: Callable[[], object]) -> None:
        report.values += 1
        try:
            open_()
        except (NotReadable, ValueError):
            found.append(Finding("damaged", what, row_id, study_id))

    if study is not None and study.accession_key is not None:
        ordered = (HospitalOrder.team_id, HospitalOrder.accession_key)
        for order in rows(HospitalOrder, *_of_study(study, *ordered)):
            opens(
                "hospital_orders.sealed_location",
                order.id,
                partial(sealed_fields.open_location, vault, order),
            )
        reported = (HospitalReport.team_id, HospitalReport.accession_key)
        for stated in rows(HospitalReport, *_of_study(study, *reported)):
            opens(
                "hospital_reports.sealed_text",
                stated.id,
                partial(sealed_fields.open_hospital_report, vault, stated),
            )
    if study is not None:
        open_patient = partial(sealed_fields.open_patient, vault, data_key, study)
        opens("studies.sealed_phi", study_id, open_patient)
    keys = dict[UUID, bytes]()
    for row in instances:
        try:
            key = keys[row.id] = sealed_fields.instance_key_of(vault, row)
        except NotReadable:
            found.append(Finding("key", "instances.wrapped_key", row.id, study_id))
            continue
        for what, open_ in (
            ("sealed_phi", sealed_fields.open_picture_patient),
            ("sealed_facts", sealed_fields.open_facts),
        ):
            if getattr(row, what) is not None:
                opens(f"instances.{what}", row.id, partial(open_, vault, key, row))
    for review in reviews:
        if review.sealed_comment is not None:
            opens(
                "reviews.sealed_comment",
                review.id,
                partial(sealed_fields.open_comment, vault, data_key, review),
            )
    for added in addenda:
        opens(
            "addenda.sealed_text",
            added.id,
            partial(sealed_fields.open_addendum, vault, data_key, added),
        )
    for draft in drafts:
        if draft.instance_id in keys:
            key = keys[draft.instance_id]
            opens(
                "review_drafts.sealed_rulers",
                draft.instance_id,
                partial(sealed_fields.open_annotations, vault, key, draft),
            )
    for stored in drawn:
        if stored.instance_id in keys:
            key = keys[stored.instance_id]
            opens(
                "review_annotations.sealed_annotations",
                stored.review_id,
                partial(sealed_fields.open_review_annotations, vault, key, stored),
            )
    for one in edited:
        if one.instance_id in keys:
            key = keys[one.instance_id]
            opens(
                "outline_drafts.sealed_runs",
                one.instance_id,
                partial(sealed_fields.open_outline, vault, key, one),
            )
    for arrival in arrivals:
        if arrival.instance_id in keys:
            key = keys[arrival.instance_id]
            opens(
                "arrivals.sealed_facts",
                arrival.instance_id,
                partial(sealed_fields.open_arrival, vault, key, arrival),
            )
    for node_answer in sent:
        if node_answer.instance_id in keys and node_answer.sealed_comment is not None:
            key = keys[node_answer.instance_id]
            opens(
                "dicom_sent_objects.sealed_comment",
                node_answer.send_id,
                partial(sealed_fields.open_answer, vault, key, node_answer),
            )
    for send in reports:
        if send.sealed_remark is not None:
            opens(
                "report_sends.sealed_remark",
                send.id,
                partial(sealed_fields.open_remark, vault, data_key, send),
            )
    for record in informed:
        opens(
            "communications.sealed_person",
            record.id,
            partial(sealed_fields.open_informed, vault, data_key, record),
        )
    files = {blob.id: blob for blob in blobs}
    for outline in outlines:
        opens("outlines.blob_id", outline.id, partial(_outline, vault, files, outline))
    for grant in grants:
        opens(
            "break_glass.sealed_words",
            grant.id,
            partial(sealed_fields.open_explanation, vault, data_key, grant),
        )
    for blob in blobs:
        if blob.instance_id not in keys:
            continue  # its picture's key was reported already
        problem = _file(vault, keys[blob.instance_id], blob, report)
        if problem:
            found.append(Finding(problem, blob.kind.value, blob.id, study_id))
    return found


def _of_study(
    study: Study,
    team_id: InstrumentedAttribute[UUID],
    accession_key: InstrumentedAttribute[str],
) -> tuple[ColumnElement[bool], ...]:
    return team_id == study.team_id, accession_key == study.accession_key


def _outline(vault: Vault, files: Mapping[UUID, Blob], outline: Outline) -> None:
    """NotReadable unless the outline's file is the one that was written with its row."""
    blob = files.get(outline.blob_id)
    if blob is None or blob.instance_id != outline.instance_id:
        raise NotReadable("an outline has no file")
    if hashlib.sha256(vault.sealed_file(blob.name)).hexdigest() != outline.file_sha256:
        raise NotReadable("an outline's file is another one")


def _file(vault: Vault, data_key: bytes, blob: Blob, report: Report) -> Problem | None:
    report.files += 1
    if not vault.has(blob.name):
        return "missing"
    try:
        report.size += len(stored_files.read(vault, data_key, blob))
    except NotReadable:
        return "damaged"
    return None


def _people(session: Session, vault: Vault, report: Report) -> None:
    def read(some: Sequence[UUID]) -> dict[UUID, tuple[bytes | None, bytes | None]]:
        columns = select(User.id, User.sealed_totp, User.sealed_totp_pending)
        rows = session.execute(columns.where(User.id.in_(some))).all()
        return {user_id: (sealed, pending) for user_id, sealed, pending in rows}

    people = dict[UUID, tuple[bytes | None, bytes | None]]()
    with _noting(session, "users", None, report.findings):
        people, damaged = database.read_readable(
            session, session.scalars(select(User.id).order_by(User.id)).all(), read
        )
        report.findings += [Finding("unreadable", "users", i, None) for i in sorted(damaged)]
    session.commit()
    for user_id, values in people.items():
        for name, value in zip(("sealed_totp", "sealed_totp_pending"), values, strict=True):
            if value is None:
                continue
            report.values += 1
            try:
                vault.open_totp(user_id, value)
            except (NotReadable, ValueError):
                report.findings.append(Finding("damaged", f"users.{name}", user_id, None))


def _apart_from_studies(session: Session, vault: Vault, report: Report) -> None:
    """Open what belongs to no exam: keys of links, what was refused, and orders and reports whose
    exam is not here.
    """
    _apart(session, report, ExamLinkKey, "sealed_secret", partial(exam_links.open_, vault))
    _apart(session, report, RefusedFile, "sealed_refusal", partial(refused_files.open_, vault))
    refused = partial(sealed_fields.open_refused_uid, vault)
    _apart(session, report, DicomRefusal, "sealed_sop_uid", refused)
    order = partial(sealed_fields.open_location, vault)
    lonely = _has_no_study(HospitalOrder.team_id, HospitalOrder.accession_key)
    _apart(session, report, HospitalOrder, "sealed_location", order, lonely)
    text = partial(sealed_fields.open_hospital_report, vault)
    lonely = _has_no_study(HospitalReport.team_id, HospitalReport.accession_key)
    _apart(session, report, HospitalReport, "sealed_text", text, lonely)


def _has_no_study(
    team_id: InstrumentedAttribute[UUID], accession_key: InstrumentedAttribute[str]
) -> ColumnElement[bool]:
    same = (Study.team_id == team_id, Study.accession_key == accession_key)
    return not_(exists().where(*same))


def _apart(
    session: Session,
    report: Report,
    table: type[Apart],
    column: str,
    open_: Callable[[Apart], object],
    *where: ColumnElement[bool],
) -> None:
    """Open a column of every row; what is removed or moved to another key meanwhile is none."""

    def read(some: Sequence[UUID]) -> dict[UUID, Apart]:
        fresh = {"populate_existing": True}
        of = select(table).where(table.id.in_(some))
        return {row.id: row for row in session.scalars(of, execution_options=fresh)}

    def does_not_open(row: Apart) -> bool:
        try:
            open_(row)
        except (NotReadable, ValueError):
            return True
        return False

    name = table.__tablename__
    with _noting(session, name, None, report.findings):
        ids = session.scalars(select(table.id).where(*where).order_by(table.id)).all()
        for start in range(0, len(ids), _AT_ONCE):
            found, damaged = database.read_readable(session, ids[start : start + _AT_ONCE], read)
            report.findings += [Finding("unreadable", name, i, None) for i in sorted(damaged)]
            report.values += len(found)
            closed = [row.id for row in found.values() if does_not_open(row)]
            again = read(closed) if closed else {}
            report.findings += [
                Finding("damaged", f"{name}.{column}", row_id, None)
                for row_id, row in sorted(again.items())
                if does_not_open(row)
            ]
            session.commit()


def _quarantine(session: Session, vault: Vault, report: Report) -> None:
    """Open every file in quarantine; what is released or discarded meanwhile is no finding."""
    for file_id in session.scalars(select(QuarantinedFile.id).order_by(QuarantinedFile.id)).all():
        problem: Problem | None = None
        for _ in range(2):  # its key may be moved just now
            row = session.get(QuarantinedFile, file_id, populate_existing=True)
            session.commit()
            problem = _of_quarantined(vault, row) if row is not None else None
            if problem is None:
                break
        if problem is not None:
            report.findings.append(Finding(problem, "quarantined_files", file_id, None))
        report.files += 1


def _of_quarantined(vault: Vault, row: QuarantinedFile) -> Problem | None:
    try:
        if not vault.has(row.name):
            return "missing"
        quarantine.read(vault, row)
    except (NotReadable, ValueError):
        return "damaged"
    return None


def _orphans(session: Session, vault: Vault, now: datetime) -> list[str]:
    orphans = list[str]()
    for shard in range(_SHARDS):
        names = sorted(vault.names(shard, now - STALE))
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            known = stored_files.named(session, some)
            orphans += [name for name in some if name not in known]
        session.commit()
    return orphans
