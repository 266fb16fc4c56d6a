"""The worklist and the history: one page at a time, only the page's own rows opened.

`worklist_rows` owns what a row holds, `worklist_order` and `worklist_filters` own which studies
there are and in which order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from portal import audit, database
from portal.access import Actor, Permission, sent_by, visible_studies
from portal.models import POSITIVE, UNAIDED, Instance, Review, Role, Study
from portal.reading import worklist_rows
from portal.reading.worklist_rows import WorklistRow
from portal.studies import exams, worklist_filters, worklist_order
from portal.vault import Vault

PER_PAGE: Final = 50


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
    known = {"": waiting.all, "to_read": waiting.to_read}  # they are counted already
    narrowed = bool(result or side or query.strip()) or state not in known
    total = worklist_order.count(session, base) if narrowed else known[state]
    ids, number, size = worklist_order.page_of(session, base, total, page, per_page)
    rows = worklist_rows.rows(session, vault, ids)
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
    if known or not query:
        return query
    return worklist_filters.sealed_query(vault, query, actor.user_id)


def typed_of(vault: Vault, actor: Actor, query: str) -> str:
    """What the actor typed to get the query of an address, for the search field of the page."""
    return worklist_filters.typed_query(vault, query, actor.user_id)


def history(
    session: Session,
    vault: Vault,
    actor: Actor,
    *,
    what: Literal["sent", "read"] | None = None,
    page: int = 1,
    per_page: int = PER_PAGE,
    since: datetime | None = None,
    now: datetime,
) -> Page:
    """What the actor sent or read, newest first; without `what`, what fits the role. `since`: only
    exams of which they sent a picture from then on.
    """
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
        if since is not None:
            fresh = select(Instance.study_id).where(
                Instance.uploaded_by == actor.user_id, Instance.created >= since
            )
            base = base.where(Study.id.in_(fresh))
        order: Any = Study.created.desc()
    else:
        mine = own_reviews.subquery()
        base = base.join(mine, mine.c.study_id == Study.id)
        order = mine.c.last.desc()
    try:
        total = worklist_order.count(session, base)
        ids, number, size = worklist_order.page_of(
            session, base, total, page, per_page, order, Study.id
        )
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        everything = _own_despite_damage(session, actor, chosen)
        total = len(everything)
        number, size = worklist_order.place_of_page(total, page, per_page)
        ids = everything[(number - 1) * size : number * size]
    rows = worklist_rows.rows(session, vault, ids)
    if chosen == "read":
        last, _ = database.read_readable(
            session,
            ids,
            lambda some: dict(session.execute(own_reviews.where(now_in.in_(some))).all()),
        )
        rows = [replace(row, read_at=last.get(row.study_id)) for row in rows]
    _note(session, actor, "history_read", ids, now)
    return Page(rows, total, number, size, Counts(all=total))


def _own_despite_damage(
    session: Session, actor: Actor, chosen: Literal["sent", "read"]
) -> list[UUID]:
    """The studies of a history whose rows can't all be read: first those, then the newest."""
    column: Any = Instance.study_id if chosen == "sent" else Review.study_id
    mine = (Instance.uploaded_by if chosen == "sent" else Review.reader_id) == actor.user_id
    ids = session.scalars(select(column).where(mine).distinct()).all()

    def read(some: Sequence[UUID]) -> dict[UUID, datetime]:
        here = visible_studies(actor).where(Study.id.in_(some))
        return dict(session.execute(here.with_only_columns(Study.id, Study.created)).all())

    created, damaged = database.read_readable(session, ids, read)
    return sorted(damaged) + sorted(created, key=created.__getitem__, reverse=True)


def next_study(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    *,
    state: str = "",
    result: str = "",
    side: str = "",
    query: str = "",
) -> UUID | None:
    """The unread study that follows this one in a list with these filters (see `worklist`), or else
    its first unread one; in the list of those that were read, the one that follows or none.
    """
    actor.require(Permission.STUDY_READ)
    rereads = state == "read"
    listed = visible_studies(actor).where(
        *worklist_filters.filters(vault, state, result, side, query), Study.id != study_id
    )
    if not rereads:
        listed = listed.where(Study.is_read.is_(False))
    here = session.scalars(visible_studies(actor).where(Study.id == study_id)).first()
    found = None
    if here is not None and (here.is_read or not rereads):
        after = worklist_order.following(listed, here, as_unread=not rereads)
        found = worklist_order.first(session, after)
    if not rereads:
        found = found or worklist_order.first(session, listed)
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


def _note(session: Session, actor: Actor, event: str, ids: Sequence[UUID], now: datetime) -> None:
    audit.append(session, event, actor=actor, now=now, detail={"studies": [i.hex for i in ids]})
    session.commit()
