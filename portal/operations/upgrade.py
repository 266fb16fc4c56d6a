"""Filling columns of rows from earlier versions, and sealing the ends of the access log, where that
needs the key ring.

Migrations change tables only and mark the studies with `needs_upgrade`. Here each of them gets its
picture's own key, the digests and columns that are made from the header, and what its reviews have
seen; and studies of one StudyInstanceUID become one. A study is filled, and joined, in a
transaction of its own: stopped anywhere, it can be run again and ends the same.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, func, not_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.audit import first_bindings, first_seals
from portal.errors import Conflict
from portal.formats import header_pool
from portal.formats.refusals import Refused
from portal.governance import joins
from portal.models import Blob, BlobKind, Instance, Prediction, Review, ReviewSeen, Study, View
from portal.studies import (
    exams,
    header_columns,
    patient_names,
    sealed_fields,
    stored_files,
    worklist_order,
)
from portal.studies.locks import SHARED_KEY, lock_exams
from portal.vault import NotReadable, Vault
from xray_files import kinds

ReportProgress = Callable[[int, int], None]

_AT_ONCE: Final = 200
_TRIES: Final = 8


# What `dicom.read` returns.
Header = tuple[dict[str, str], dict[str, str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Read:
    """A picture's file, and its header, where it has one that can be read."""

    blob_id: UUID | None
    header: Header | None


@dataclass
class Upgraded:
    """How many studies were filled and joined, how many records were bound as they were found, how
    many studies can be found by name now, and which do not open: these stay as they are.
    """

    studies: int = 0
    joined: int = 0
    bound: int = 0
    named: int = 0
    unreadable: list[UUID] = field(default_factory=list)


def upgrade(session: Session, vault: Vault, now: datetime, *, progress: ReportProgress) -> Upgraded:
    """Fill everything that is marked; `progress(done, all)` is called for each study.

    A study whose key does not open is listed; it is tried again the next time.
    """
    done = Upgraded()
    first_seals.seal(session)
    total = session.scalar(select(func.count()).select_from(Study).where(Study.needs_upgrade)) or 0
    closed = _closed(session)
    total += len(closed)
    for study_id in chain(closed, _marked(session)):
        try:
            done.joined += _upgrade(session, vault, study_id, now)
        except NotReadable:
            session.rollback()
            _leave(session, study_id)
            done.unreadable.append(study_id)
        done.studies += 1
        progress(done.studies, max(total, done.studies))
    done.bound = first_bindings.bind(session, now)
    done.named = patient_names.fill(session, vault)
    if done.studies > len(done.unreadable) or done.named:
        detail = {
            "named": done.named,
            "studies": done.studies,
            "joined": done.joined,
            "unreadable": len(done.unreadable),
        }
        audit.append(session, "record_upgraded", now=now, detail=detail)
    session.commit()
    return done


def _closed(session: Session) -> list[UUID]:
    """The studies that did not open the last time: their pictures have no key yet."""
    query = select(Study.id).where(Study.purged_at.is_(None), not_(Study.needs_upgrade))
    keyless = select(Instance.study_id).where(Instance.key_id.is_(None))
    return list(session.scalars(query.where(Study.id.in_(keyless)).order_by(Study.id)))


def _marked(session: Session) -> Iterator[UUID]:
    """The marked studies, the oldest first: of several of one UID it is the one that stays."""
    query = select(Study.id).where(Study.needs_upgrade).order_by(Study.created, Study.id)
    while batch := session.scalars(query.limit(_AT_ONCE)).all():
        session.commit()
        yield from batch


def _upgrade(session: Session, vault: Vault, study_id: UUID, now: datetime) -> int:
    """Fill one study; returns 1 where it was joined into another."""
    _fill_study(session, vault, study_id)
    joined = 0
    for _ in range(_TRIES):
        if _unmark(session, study_id):
            return joined
        # By itself: it locks both studies in the order of every join.
        other = _of_same_uid(session, study_id)
        session.commit()
        if other is not None:
            with suppress(Conflict):  # it was purged or joined meanwhile
                joins.join(session, vault, None, other, study_id, now)
                joined = 1
    raise RuntimeError("uploads of the same exam kept coming in: run the upgrade again")


def _fill_study(session: Session, vault: Vault, study_id: UUID) -> None:
    """Headers are read first, by processes that may take their time, and nothing is locked then.
    What was read counts where the picture still has the same file.
    """
    for _ in range(_TRIES):
        if _fill_from(session, vault, study_id, _headers(session, vault, study_id)):
            return
    raise RuntimeError("files of the same exam kept changing: run the upgrade again")


def _headers(session: Session, vault: Vault, study_id: UUID) -> dict[UUID, _Read]:
    """By picture without a key of its own: the file that it has, and its header."""
    study = session.get(Study, study_id, populate_existing=True)
    if study is None or study.joined_into is not None or study.purged_at is not None:
        session.commit()
        return {}
    data_key = sealed_fields.key_of(vault, study)
    pictures = exams.pictures(session, [study_id])[study_id]
    sources = {
        one.id: stored_files.current(session, one.id, BlobKind.SOURCE)
        for one in pictures
        if one.key_id is None
    }
    session.commit()
    return {
        picture: _Read(blob.id if blob else None, _header(vault, data_key, blob))
        for picture, blob in sources.items()
    }


def _fill_from(
    session: Session, vault: Vault, study_id: UUID, headers: Mapping[UUID, _Read]
) -> bool:
    """Fill the study by these headers; False where a picture or its file came meanwhile."""
    study = lock_exams(session, [study_id])[study_id]
    if study.joined_into is None and study.purged_at is None:
        study.needs_upgrade = True  # until its UID is known to be no other study's
        data_key = sealed_fields.key_of(vault, study)
        for instance in exams.pictures(session, [study_id])[study_id]:
            if instance.key_id is not None:  # it came since, with a key of its own
                continue
            blob = stored_files.current(session, instance.id, BlobKind.SOURCE)
            read = headers.get(instance.id)
            if read is None or read.blob_id != (blob.id if blob else None):
                session.rollback()
                return False
            _fill(session, vault, study, instance, data_key, read.header)
        _note_seen(session, study_id)
        worklist_order.place(session, study_id)
    session.commit()
    return True


def _unmark(session: Session, study_id: UUID) -> bool:
    """Whether the study is finished: joined into another, or the only one of its UID."""
    study = session.get_one(Study, study_id, with_for_update=SHARED_KEY, populate_existing=True)
    if study.joined_into is None and _of_same_uid(session, study_id) is not None:
        session.rollback()
        return False
    session.execute(  # its own row leads from the UID to it, so that of a joined one need not
        update(Study)
        .where(Study.joined_into == study_id, Study.study_uid_key == study.study_uid_key)
        .values(study_uid_key=None)
    )
    study.needs_upgrade = False
    try:
        session.commit()
    except IntegrityError:  # an upload of the same UID has just come in
        session.rollback()
        return False
    return True


def _leave(session: Session, study_id: UUID) -> None:
    """Unmark a study that does not open, so that it does not block others."""
    study = session.get_one(Study, study_id, with_for_update=SHARED_KEY, populate_existing=True)
    study.study_uid_key, study.needs_upgrade = None, False
    session.commit()


def _of_same_uid(session: Session, study_id: UUID) -> UUID | None:
    """The exam to which the same StudyInstanceUID leads, of those that are filled already."""
    study = session.get_one(Study, study_id)
    if study.study_uid_key is None:
        return None
    return session.scalars(
        select(exams.exam_id()).where(
            Study.team_id == study.team_id,
            Study.study_uid_key == study.study_uid_key,
            Study.purged_at.is_(None),
            not_(Study.needs_upgrade),
            exams.exam_id() != study.id,
        )
    ).first()


def _fill(
    session: Session,
    vault: Vault,
    study: Study,
    instance: Instance,
    data_key: bytes,
    read: Header | None,
) -> None:
    """A picture's own key, which until now was its study's, and everything from its header."""
    wrapped = vault.wrap(data_key, study.id, instance.id)
    instance.wrapped_key, instance.key_id = wrapped.wrapped, wrapped.key_id
    if instance.same_uid_as is not None:  # it named the study of the first picture of that UID
        named = select(Instance.id).where(Instance.arrived_in == instance.same_uid_as)
        instance.same_uid_as = session.scalar(named) or instance.same_uid_as
    phi = sealed_fields.open_phi(vault, data_key, study)
    keys: dict[str, str] = phi
    header: dict[str, Any] = {"acquired": _study_time(phi)}
    if read is not None:  # else it has no header, or its file can't be read any more
        of_file, keys, header = read
        phi |= of_file
    facts = sealed_fields.open_facts(vault, data_key, instance) or {}
    if View.of(header.get("view")) is View.UNKNOWN:
        header["view"] = facts.get("view")
    header_columns.describe_picture(vault, instance, keys, header)
    header_columns.describe_study(vault, study, phi, keys, header["acquired"])
    instance.sealed_phi = sealed_fields.seal_picture_phi(vault, data_key, instance.id, phi)


def _header(vault: Vault, data_key: bytes, blob: Blob | None) -> Header | None:
    """The stored file's header: more than was sealed of it before."""
    if blob is None:
        return None
    try:
        data = stored_files.read(vault, data_key, blob)
        if not kinds.looks_like_dicom(data):
            return None
        return header_pool.shared().read_stored(data)
    except (NotReadable, Refused):
        return None


def _study_time(phi: dict[str, str]) -> int | None:
    try:
        taken = datetime.fromisoformat(f"{phi['study_date']}T{phi.get('study_time') or '00:00'}")
    except (KeyError, ValueError):
        return None
    return int(taken.replace(tzinfo=UTC).timestamp())


def _note_seen(session: Session, study_id: UUID) -> None:
    """What its reviews have seen: its one picture, with the prediction of that time."""
    picture = session.scalars(select(Instance.id).where(Instance.arrived_in == study_id)).first()
    noted = exists().where(ReviewSeen.review_id == Review.id)
    reviews = session.scalars(select(Review).where(Review.study_id == study_id, not_(noted))).all()
    for review in reviews if picture else ():
        prediction = session.scalars(
            select(Prediction.id)
            .where(Prediction.instance_id == picture, Prediction.created <= review.created)
            .order_by(Prediction.created.desc())
            .limit(1)
        ).first()
        session.add(ReviewSeen(review_id=review.id, instance_id=picture, prediction_id=prediction))
