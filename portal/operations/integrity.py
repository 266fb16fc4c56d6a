"""Inspection of the vault: every file and every sealed value is read and opened.

Owns what can be wrong with one of them, named by ids only: it is damaged (it does not open or has
another length), its key does not open, it is missing; and files that no row names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.jobs.sweeper import STALE
from portal.models import Blob, BreakGlass, Instance, Review, Study, User
from portal.studies import sealed_fields
from portal.vault import NotReadable, Vault

Problem = Literal["damaged", "missing", "key"]
ReportProgress = Callable[[int, int], None]

_AT_ONCE: Final = 200
_SHARDS: Final = 256


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written. `what` is a table's column or a kind of file."""

    problem: Problem
    what: str
    row_id: UUID
    study_id: UUID | None

    def __str__(self) -> str:
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
    total = (
        session.scalar(select(func.count()).select_from(Study).where(Study.purged_at.is_(None)))
        or 0
    )
    session.commit()
    for study_id in _study_ids(session):
        found = _study(session, vault, study_id, report)
        if found:  # check again: it may have changed meanwhile
            session.expire_all()
            found = _study(session, vault, study_id, Report())
        report.findings += found
        report.studies += 1
        progress(report.studies, max(total, report.studies))
    _people(session, vault, report)
    report.orphans = _orphans(session, vault, now)
    return report


def _study_ids(session: Session) -> Iterator[UUID]:
    query = select(Study.id).where(Study.purged_at.is_(None)).order_by(Study.id).limit(_AT_ONCE)
    batch = session.scalars(query).all()
    while batch:
        session.commit()
        yield from batch
        batch = session.scalars(query.where(Study.id > batch[-1])).all()
    session.commit()


def _study(session: Session, vault: Vault, study_id: UUID, report: Report) -> list[Finding]:
    study = session.get(Study, study_id, populate_existing=True)
    if study is None or study.purged_at is not None:
        session.commit()
        return []
    fresh = {"populate_existing": True}
    instances = session.scalars(
        select(Instance).where(Instance.study_id == study_id), execution_options=fresh
    ).all()
    reviews = session.scalars(select(Review).where(Review.study_id == study_id)).all()
    grants = session.scalars(select(BreakGlass).where(BreakGlass.study_id == study_id)).all()
    files = (
        select(Blob)
        .where(Blob.instance_id.in_([row.id for row in instances]))
        .order_by(Blob.created, Blob.id)
    )
    blobs = session.scalars(files, execution_options=fresh).all()
    session.commit()  # files are read while nothing is locked
    try:
        data_key = sealed_fields.key_of(vault, study)
    except NotReadable:
        return [Finding("key", "studies.wrapped_key", study_id, study_id)]
    found = list[Finding]()

    def opens(what: str, row_id: UUID, open_: Callable[[], object]) -> None:
        report.values += 1
        try:
            open_()
        except (NotReadable, ValueError):
            found.append(Finding("damaged", what, row_id, study_id))

    opens(
        "studies.sealed_phi", study_id, lambda: sealed_fields.open_patient(vault, data_key, study)
    )
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


def _file(vault: Vault, data_key: bytes, blob: Blob, report: Report) -> Problem | None:
    report.files += 1
    if not vault.has(blob.name):
        return "missing"
    try:
        data = vault.get(data_key, blob_id=blob.id, kind=blob.kind, name=blob.name)
    except NotReadable:
        return "damaged"
    report.size += len(data)
    return None if len(data) == blob.size else "damaged"


def _people(session: Session, vault: Vault, report: Report) -> None:
    rows = session.execute(select(User.id, User.sealed_totp, User.sealed_totp_pending)).all()
    session.commit()
    for user_id, sealed, pending in rows:
        for name, value in (("sealed_totp", sealed), ("sealed_totp_pending", pending)):
            if value is None:
                continue
            report.values += 1
            try:
                vault.open_totp(user_id, value)
            except (NotReadable, ValueError):
                report.findings.append(Finding("damaged", f"users.{name}", user_id, None))


def _orphans(session: Session, vault: Vault, now: datetime) -> list[str]:
    orphans = list[str]()
    for shard in range(_SHARDS):
        names = sorted(vault.names(shard, now - STALE))
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            known = set(session.scalars(select(Blob.name).where(Blob.name.in_(some))))
            orphans += [name for name in some if name not in known]
        session.commit()
    return orphans
