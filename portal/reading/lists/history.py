"""What a person sent or read, the newest first: read off the index of their pictures or reviews,
however many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Select, and_, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from portal import audit, database
from portal.access import Actor, Permission, visible_studies
from portal.models import Instance, Review, Role, Study
from portal.reading import worklist_rows
from portal.reading.worklist import PER_PAGE, TOTAL_MOST, Page
from portal.studies import exams
from portal.studies.worklist_order import MOST_PER_PAGE
from portal.vault import Vault

What = Literal["sent", "read"]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC) - _EPOCH


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a page of a history begins or ends: when the person last did it, and the exam."""

    at: datetime
    study_id: UUID

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // _MICROSECOND}_{self.study_id.hex}"

    @classmethod
    def of(cls, text: str) -> "Moment | None":
        """The moment that a text names; None for any other text."""
        at, _, study_id = text.partition("_")
        if not (at.isascii() and at.isdecimal() and len(at) < 17):
            return None
        try:
            return cls(_EPOCH + int(at) * _MICROSECOND, UUID(study_id))
        except ValueError:
            return None


def history(
    session: Session,
    vault: Vault,
    actor: Actor,
    *,
    what: What | None = None,
    after: str = "",
    before: str = "",
    per_page: int = PER_PAGE,
    since: datetime | None = None,
    now: datetime,
) -> Page:
    """What the actor sent or read, the latest first; without `what`, what fits the role. `since`:
    only exams of which they sent a picture from then on. `after` and `before` are places of another
    page (see `Moment`). A row's `read_at` is when they last read it, or sent a picture of it. With
    one audit row that lists the exams.
    """
    actor.require(Permission.STUDY_LIST)
    chosen: What = what or ("read" if actor.role is Role.READER else "sent")
    size = min(max(per_page, 1), MOST_PER_PAGE)
    own = _read_by(actor) if chosen == "read" else _sent_by(actor, since)
    start, end = Moment.of(after), Moment.of(before)
    try:
        shown, has_before, has_after = _page(session, own, size, start, end)
        if has_before or has_after:
            some = own.order_by(own.selected_columns.at.desc()).limit(TOTAL_MOST + 1).subquery()
            total = session.scalar(select(func.count()).select_from(some)) or 0
        else:
            total = len(shown)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        everything = _own_despite_damage(session, actor, chosen)
        total = len(everything)
        shown, has_before, has_after = _cut(everything, size, start, end)
    rows = worklist_rows.rows(session, vault, actor, [one.study_id for one in shown], now)
    at = {one.study_id: one.at for one in shown}
    rows = [replace(row, read_at=at.get(row.study_id)) for row in rows]
    detail = {"studies": [one.study_id.hex for one in shown]}
    audit.append(session, "history_read", actor=actor, now=now, detail=detail)
    session.commit()
    return Page(
        rows,
        total,
        before=str(shown[0]) if shown and has_before else "",
        after=str(shown[-1]) if shown and has_after else "",
    )


def _read_by(actor: Actor) -> Select[datetime, UUID]:
    """The exams that the actor read, each with the time of their last review of it."""
    came_as, later = aliased(Study), aliased(Review)
    read_later = exists().where(
        later.reader_id == Review.reader_id,
        *exams.within_outer(later.study_id),
        tuple_(later.created, later.id) > tuple_(Review.created, Review.id),
    )
    return (
        visible_studies(actor)
        .with_only_columns(Review.created.label("at"), Study.id.label("study_id"))
        .select_from(Review)
        .join(came_as, came_as.id == Review.study_id)
        .join(Study, Study.id == exams.exam_id(came_as))
        .where(Review.reader_id == actor.user_id, ~read_later)
    )


def _sent_by(actor: Actor, since: datetime | None) -> Select[datetime, UUID]:
    """The exams of which the actor sent a picture, each with the time of the last one."""
    later = aliased(Instance)
    sent_later = exists().where(
        later.uploaded_by == Instance.uploaded_by,
        later.study_id == Instance.study_id,
        tuple_(later.created, later.id) > tuple_(Instance.created, Instance.id),
    )
    found = (
        visible_studies(actor)
        .with_only_columns(Instance.created.label("at"), Study.id.label("study_id"))
        .select_from(Instance)
        .join(Study, Study.id == Instance.study_id)
        .where(Instance.uploaded_by == actor.user_id, ~sent_later)
    )
    return found if since is None else found.where(Instance.created >= since)


def _page(
    session: Session,
    own: Select[datetime, UUID],
    size: int,
    start: Moment | None,
    end: Moment | None,
) -> tuple[list[Moment], bool, bool]:
    """One page, and whether something comes before and after it."""
    at, study_id = own.selected_columns
    if end is not None:
        later = or_(at > end.at, and_(at == end.at, study_id < end.study_id))
        found = _moments(session, own.where(later).order_by(at, study_id.desc()).limit(size + 1))
        if len(found) > size:
            return found[:size][::-1], True, True
        start = None  # the first page is a whole one
    if start is not None:
        earlier = or_(at < start.at, and_(at == start.at, study_id > start.study_id))
        own = own.where(at <= start.at, earlier)
    found = _moments(session, own.order_by(at.desc(), study_id).limit(size + 1))
    return found[:size], start is not None and bool(found), len(found) > size


def _moments(session: Session, query: Select[datetime, UUID]) -> list[Moment]:
    return [Moment(at, study_id) for at, study_id in session.execute(query)]


def _cut(
    everything: Sequence[Moment], size: int, start: Moment | None, end: Moment | None
) -> tuple[list[Moment], bool, bool]:
    ids = [one.study_id for one in everything]
    first = 0
    if start is not None and start.study_id in ids:
        first = ids.index(start.study_id) + 1
    elif end is not None and end.study_id in ids:
        first = max(0, ids.index(end.study_id) - size)
    return list(everything[first : first + size]), first > 0, first + size < len(ids)


def _own_despite_damage(session: Session, actor: Actor, chosen: What) -> list[Moment]:
    """A history of which rows can't be read: those first."""
    table: Any = Instance if chosen == "sent" else Review
    mine = (Instance.uploaded_by if chosen == "sent" else Review.reader_id) == actor.user_id
    last: dict[UUID, datetime] = dict(
        session.execute(
            select(table.study_id, func.max(table.created)).where(mine).group_by(table.study_id)
        ).all()
    )

    def read(some: Sequence[UUID]) -> dict[UUID, UUID]:
        here = visible_studies(actor).where(Study.id.in_(some))
        return {row: row for row in session.scalars(here.with_only_columns(Study.id))}

    there, damaged = database.read_readable(session, list(last), read)
    newest = sorted(there, key=last.__getitem__, reverse=True)
    return [Moment(last[study_id], study_id) for study_id in (*sorted(damaged), *newest)]
