"""The worklist and the history: one page at a time, only the page's own rows opened.

`worklist_order` and `worklist_filters` own which studies there are and in which order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from portal import audit
from portal.access import Actor, Permission, sent_by, visible_studies
from portal.models import POSITIVE, UNAIDED, Blob, BlobKind, Instance, Review, Role, Study, User
from portal.studies import exams, sealed_fields, status, worklist_filters, worklist_order
from portal.studies.sealed_fields import Patient
from portal.studies.status import StudyState
from portal.vault import NotReadable, Vault, WantedFile

PER_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class WorklistRow:
    """One line of the list, with the picture that stands for the study (`exams.leading`).

    The thumbnail comes along as bytes, for a `data:` address.
    """

    study_id: UUID
    case_number: str
    created: datetime
    patient: Patient
    view: str | None
    age_years: float | None
    sex: str | None
    uploaded_by: str
    thumb: bytes | None = field(repr=False)
    thumb_media_type: str | None
    state: StudyState
    reader: str | None
    damaged: bool = False  # the record or its key: nothing of the patient can be shown
    read_at: datetime | None = None  # when the actor last read it, in their history


@dataclass(frozen=True, slots=True)
class Counts:
    """What waits, over everything that the actor may see."""

    all: int = 0
    to_read: int = 0
    positive: int = 0
    no_result: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a longer list. `total` counts what the filters let through."""

    rows: list[WorklistRow]
    total: int
    page: int
    per_page: int
    counts: Counts

    @property
    def pages(self) -> int:
        """How many pages there are, one at least."""
        return max(1, -(-self.total // self.per_page))


def worklist(
    session: Session,
    vault: Vault,
    actor: Actor,
    *,
    state: str = "",
    result: str = "",
    side: str = "",
    query: str = "",
    page: int = 1,
    per_page: int = PER_PAGE,
    now: datetime,
) -> Page:
    """A page of the worklist, with one audit row that lists its studies.

    `state`: to_read, read or one of `status.State`. `result`: positive, likely, possible,
    none_found or no_result. `side`: right, left or both. `query`: the beginning of a case number,
    or a whole patient ID or accession number, also as `address_of` gives it. Unknown values filter
    nothing.
    """
    actor.require(Permission.STUDY_LIST)
    base = visible_studies(actor).where(
        *worklist_filters.filters(vault, state, result, side, query)
    )
    waiting = _counts(session, actor)
    everything = not (state or result or side or query.strip())
    total = waiting.all if everything else worklist_order.count(session, base)
    ids, number, size = worklist_order.page_of(session, base, total, page, per_page)
    rows = _rows(session, vault, ids, now)
    _note(session, actor, "worklist_read", ids, now)
    return Page(rows, total, number, size, waiting)


def address_of(session: Session, vault: Vault, actor: Actor, query: str) -> str:
    """A query as it may stand in an address, where nothing about a patient may.

    The beginning of a case number of the actor's list stays if it has a leading sign or a letter;
    all else becomes keyed digests, because digits alone may be a patient's number.
    """
    actor.require(Permission.STUDY_LIST)
    named = None if query.isdecimal() else worklist_filters.by_case_number(query)
    known = (
        named is not None and worklist_order.count(session, visible_studies(actor).where(named)) > 0
    )
    session.commit()
    return query if known or not query else worklist_filters.sealed_query(vault, query)


def history(
    session: Session,
    vault: Vault,
    actor: Actor,
    *,
    what: Literal["sent", "read"] | None = None,
    page: int = 1,
    per_page: int = PER_PAGE,
    now: datetime,
) -> Page:
    """What the actor sent or read, newest first; without `what`, what fits the role."""
    actor.require(Permission.STUDY_LIST)
    chosen = what or ("read" if actor.role is Role.READER else "sent")
    base = visible_studies(actor)
    exam = aliased(Study)
    now_in = exams.exam_id(exam)
    own_reviews = (
        select(now_in.label("study_id"), func.max(Review.created).label("last"))
        .join(exam, exam.id == Review.study_id)
        .where(Review.reader_id == actor.user_id)
        .group_by(now_in)
    )
    if chosen == "sent":
        base = base.where(Study.id.in_(sent_by(actor.user_id)))
        order: Any = Study.created.desc()
    else:
        mine = own_reviews.subquery()
        base = base.join(mine, mine.c.study_id == Study.id)
        order = mine.c.last.desc()
    total = worklist_order.count(session, base)
    ids, number, size = worklist_order.page_of(
        session, base, total, page, per_page, order, Study.id
    )
    rows = _rows(session, vault, ids, now)
    if chosen == "read":
        last = dict(session.execute(own_reviews.where(now_in.in_(ids))).all())
        rows = [replace(row, read_at=last.get(row.study_id)) for row in rows]
    _note(session, actor, "history_read", ids, now)
    return Page(rows, total, number, size, Counts(all=total))


def next_study(session: Session, actor: Actor, study_id: UUID) -> UUID | None:
    """The unread study after this one in the worklist's order, or else the first unread one."""
    actor.require(Permission.STUDY_READ)
    unread = visible_studies(actor).where(Study.is_read.is_(False), Study.id != study_id)
    here = session.scalars(visible_studies(actor).where(Study.id == study_id)).first()
    found = None
    if here is not None and not here.is_read:
        found = worklist_order.first(session, worklist_order.following(unread, here))
    found = found or worklist_order.first(session, unread)
    session.commit()
    return found


def counts(session: Session, actor: Actor) -> Counts:
    """What waits for the actor: numbers alone, so no audit row."""
    actor.require(Permission.STUDY_LIST)
    found = _counts(session, actor)
    session.commit()
    return found


def _counts(session: Session, actor: Actor) -> Counts:
    rows = session.execute(
        visible_studies(actor)
        .with_only_columns(Study.rank, Study.is_read, func.count())
        .group_by(Study.rank, Study.is_read)
    ).all()

    def add(wanted: Callable[[int, bool], bool]) -> int:
        return sum(number for rank, is_read, number in rows if wanted(rank, is_read))

    return Counts(
        all=add(lambda _rank, _read: True),
        to_read=add(lambda _rank, read: not read),
        positive=add(lambda rank, _read: rank == POSITIVE),
        no_result=add(lambda rank, _read: rank == UNAIDED),
    )


def _rows(session: Session, vault: Vault, ids: Sequence[UUID], now: datetime) -> list[WorklistRow]:
    if not ids:
        return []
    states = status.of_studies(session, ids, now)
    readers = _readers(session, ids)
    leading = {
        study_id: exams.leading(rows)
        for study_id, rows in exams.pictures(session, ids).items()
        if rows  # none while another transaction joins the exam into another
    }
    thumbs = {
        blob.instance_id: blob
        for blob in session.scalars(
            select(Blob).where(
                Blob.instance_id.in_([row.id for row in leading.values()]),
                Blob.kind == BlobKind.THUMB,
                Blob.current,
            )
        )
    }
    found = {
        study.id: (study, leading[study.id], uploader)
        for study, uploader in session.execute(
            select(Study, User.name)
            .join(User, User.id == Study.uploaded_by)
            .where(Study.id.in_(leading))
        )
    }
    keys = {row.id: _key(vault, row) for row in leading.values()}
    pictures = _pictures(vault, keys, thumbs)
    return [
        _row(
            vault,
            study,
            instance,
            keys[instance.id],
            uploader,
            thumbs.get(instance.id),
            pictures.get(instance.id),
            states[study.id],
            readers.get(study.id),
        )
        for study, instance, uploader in (found[i] for i in ids if i in found)
    ]


def _key(vault: Vault, instance: Instance) -> bytes | None:
    """The picture's data key; None where it does not open: one damaged record hides no other."""
    try:
        return sealed_fields.instance_key_of(vault, instance)
    except NotReadable:
        return None


def _pictures(
    vault: Vault, keys: Mapping[UUID, bytes | None], thumbs: Mapping[UUID, Blob]
) -> dict[UUID, bytes | None]:
    """The thumbnails by picture, read together. One that can't be read leaves a gap in the list;
    the case page states the reason.
    """
    wanted = {
        i: WantedFile(key, thumbs[i].id, thumbs[i].kind, thumbs[i].name)
        for i, key in keys.items()
        if key is not None and i in thumbs
    }
    return dict(zip(wanted, vault.get_many(list(wanted.values())), strict=True))


def _row(
    vault: Vault,
    study: Study,
    instance: Instance,
    instance_key: bytes | None,
    uploader: str,
    thumb: Blob | None,
    picture: bytes | None,
    state: StudyState,
    reader: str | None,
) -> WorklistRow:
    patient, facts, damaged = Patient(), dict[str, Any](), instance_key is None
    if instance_key is not None:
        try:
            data_key = sealed_fields.key_of(vault, study)
            patient = sealed_fields.open_patient(vault, data_key, study)
            facts = sealed_fields.open_facts(vault, instance_key, instance) or {}
        except NotReadable:
            damaged = True
    return WorklistRow(
        study_id=study.id,
        case_number=study.case_number,
        created=study.created,
        patient=patient,
        view=facts.get("view"),
        age_years=facts.get("patient_age_years"),
        sex=facts.get("patient_sex"),
        uploaded_by=uploader,
        thumb=picture,
        thumb_media_type=thumb.media_type if thumb else None,
        state=state,
        reader=reader,
        damaged=damaged,
    )


def _readers(session: Session, ids: Sequence[UUID]) -> dict[UUID, str]:
    rows = session.execute(
        select(exams.exam_id(), User.name)
        .join(Review, Review.study_id == Study.id)
        .join(User, User.id == Review.reader_id)
        .where(exams.is_of(ids))
        .order_by(Review.created)
    )
    return dict(rows.all())  # a Result has keys(), which dict() would call


def _note(session: Session, actor: Actor, event: str, ids: Sequence[UUID], now: datetime) -> None:
    audit.append(session, event, actor=actor, now=now, detail={"studies": [i.hex for i in ids]})
    session.commit()
