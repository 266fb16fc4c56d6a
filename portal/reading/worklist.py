"""The worklist: one page at a time, only the page's own rows opened.

`worklist_rows` owns what a row holds, `worklist_order` and `worklist_filters` own which studies
there are and in which order. `lists.history` is what a person sent or read.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar, Unpack
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, false, func, not_, select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission, visible_studies
from portal.critical import open_findings
from portal.critical.open_findings import OpenFindings
from portal.models import POSITIVE, READ, UNAIDED, Role, Study, User
from portal.reading import worklist_rows
from portal.reading.lists import around_damage, claims
from portal.reading.worklist_rows import WorklistRow
from portal.studies import worklist_filters, worklist_order
from portal.studies.second_reads import blindness
from portal.studies.worklist_filters import Asked, ExamsByJobs
from portal.studies.worklist_order import Order, Place
from portal.teams import ai_visibility
from portal.vault import Vault

_Found = TypeVar("_Found")
PER_PAGE: Final = 50
# Further than this a list is not counted: the number would take longer than the page.
TOTAL_MOST: Final = 200
# Lists without the exams that wait for the actor as a second reader, where others show the AI.
_WITHOUT_BLIND: Final = ("to_read", "read")


@dataclass(frozen=True, slots=True)
class Known:
    """What was looked up before, around damage: what a search finds, and which jobs exams have."""

    matched: Collection[UUID] | None = None
    jobs: ExamsByJobs | None = None


NOTHING: Final = Known()


@dataclass(frozen=True, slots=True)
class Counts:
    """What waits, over everything that the actor may see. `is_empty`: they see no exam at all.

    `positive` and `no_result` are None for who may not see what the AI found before reading.
    """

    to_read: int = 0
    positive: int | None = 0
    no_result: int | None = 0
    is_empty: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a longer list.

    `total` counts what the filters let through; where it is `TOTAL_MOST` + 1 there may be more.
    `before` and `after` are the places from which the pages around it go on, empty where there is
    none; see `worklist_order.Place`. `may_lack`: exams that can't be read were not looked at, so
    that one which the search or the filters ask for may be missing.
    """

    rows: list[WorklistRow]
    total: int
    before: str
    after: str
    counts: Counts = Counts()
    may_lack: bool = False


@dataclass(frozen=True, slots=True)
class NumberedPage:
    """A page by its number, and the place from which the next one goes on."""

    rows: list[WorklistRow]
    total: int
    page: int
    per_page: int
    after: str


def worklist(
    session: Session,
    vault: Vault,
    actor: Actor,
    *,
    after: str = "",
    before: str = "",
    per_page: int = PER_PAGE,
    now: datetime,
    **asked: Unpack[Asked],
) -> Page:
    """A page of the worklist, with one audit row that lists its studies: the first one, the one
    after a place or the one before it.
    """
    actor.require(Permission.STUDY_LIST)

    def read(known: Known) -> Page:
        return _page(session, vault, actor, (after, before, per_page), now, asked, known)

    found, has_damage = _despite_damage(session, vault, actor, asked, read)
    return replace(found, may_lack=found.may_lack or has_damage)


def _page(
    session: Session,
    vault: Vault,
    actor: Actor,
    place: tuple[str, str, int],
    now: datetime,
    asked: Asked,
    known: Known,
) -> Page:
    after, before, per_page = place
    visible = ai_visibility.visible_in_lists(session, actor)
    blind = blindness.second_of(session, actor)
    order = _order(visible, blind, asked)
    conditions = _conditions(vault, actor, asked, now, visible, blind, known)
    base = visible_studies(actor).where(*conditions)
    waits, may_lack = _waiting(session, actor, visible, blind), False
    is_whole = not any(value for name, value in asked.items() if name != "state")
    try:
        found = worklist_order.slice_of(session, base, per_page, after, before, order)
        if is_whole and asked.get("state") == "to_read":
            total = waits.to_read  # counted already
        elif not found.before and not found.after:
            total = len(found.ids)
        else:
            total = worklist_order.count(session, base, TOTAL_MOST + 1, order.columns)
    except database.UNREADABLE as error:
        _expect_damage(error, order)
        since = worklist_filters.arrived_since(asked, now)
        listed = around_damage.exams(session, actor, conditions, asked, order, since)
        size = worklist_order.size_of(per_page)
        found = around_damage.slice_of(listed, size, after, before, order)
        total, may_lack = min(len(listed), TOTAL_MOST + 1), around_damage.may_lack(asked)
    rows = worklist_rows.rows(session, vault, actor, found.ids, now)
    _note(session, actor, found.ids, now)
    return Page(rows, total, found.before, found.after, waits, may_lack)


def numbered(
    session: Session,
    vault: Vault,
    actor: Actor,
    *,
    page: int = 1,
    after: str = "",
    per_page: int = PER_PAGE,
    now: datetime,
    **asked: Unpack[Asked],
) -> NumberedPage:
    """A page of the list for programs, which ask for it by number or, for long lists, by the place
    that the page before named; with one audit row that lists its studies.
    """
    actor.require(Permission.STUDY_LIST)
    visible = ai_visibility.visible_in_lists(session, actor)
    blind = blindness.second_of(session, actor)
    order = _order(visible, blind, asked)
    conditions = _conditions(vault, actor, asked, now, visible, blind)
    base = visible_studies(actor).where(*conditions)
    try:
        total = worklist_order.count(session, base)
        if after:
            found = worklist_order.slice_of(session, base, per_page, after, order=order)
            ids, number, size, following = found.ids, page, per_page, found.after
        else:
            ids, number, size = worklist_order.numbered_page(
                session, base, total, page, per_page, order
            )
            is_last = number * size >= total or not ids
            following = "" if is_last else worklist_order.place_of(session, ids[-1], order)
    except database.UNREADABLE as error:
        _expect_damage(error, order)
        since = worklist_filters.arrived_since(asked, now)
        listed = around_damage.exams(session, actor, conditions, asked, order, since)
        total, number = len(listed), page
        size = worklist_order.size_of(per_page)
        if after:
            found = around_damage.slice_of(listed, size, after, "", order)
        else:
            number = worklist_order.page_of(page, total, size)
            found = around_damage.slice_from(listed, size, (number - 1) * size)
        ids, following = found.ids, found.after
    rows = worklist_rows.rows(session, vault, actor, ids, now)
    _note(session, actor, ids, now)
    return NumberedPage(rows, total, number, size, following)


def address_of(session: Session, vault: Vault, actor: Actor, query: str) -> str:
    """A query as it may stand in an address, where nothing about a patient may.

    The beginning of a case number of the actor's list stays if it has a leading sign, or a letter
    and a digit; all else becomes keyed digests, because digits alone may be a patient's number, and
    letters alone a name.
    """
    actor.require(Permission.STUDY_LIST)
    may_be_name = not query.startswith("#") and not any(one.isdigit() for one in query)
    is_kept = not query.isdecimal() and not may_be_name
    named = worklist_filters.by_case_number(query) if is_kept else None
    try:
        known = (
            named is not None
            and worklist_order.count(session, visible_studies(actor).where(named), 1, []) > 0
        )
        session.commit()
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        known = False
    if known or not query:
        return query
    return worklist_filters.sealed_query(vault, query, actor.user_id)


def typed_of(vault: Vault, actor: Actor, query: str) -> str:
    """What the actor typed to get the query of an address, for the search field of the page."""
    return worklist_filters.typed_query(vault, query, actor.user_id)


def readers(session: Session, actor: Actor) -> list[tuple[UUID, str]]:
    """The readers of the actor's team by name, for the filter by reader."""
    actor.require(Permission.STUDY_LIST)
    found = session.execute(
        select(User.id, User.name)
        .where(User.team_id == actor.team_id, User.role == Role.READER)
        .order_by(func.lower(User.name), User.id)
    ).all()
    session.commit()
    return [(user_id, name) for user_id, name in found]


def next_study(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    *,
    now: datetime,
    **asked: Unpack[Asked],
) -> UUID | None:
    """The unread study that follows this one in a list with these filters, or else its first unread
    one, without those that a colleague reads just now; in the list of those that were read, the one
    that follows or none.
    """
    actor.require(Permission.STUDY_READ)

    def read(known: Known) -> UUID | None:
        return _next(session, vault, actor, study_id, now, asked, known)

    return _despite_damage(session, vault, actor, asked, read)[0]


def _next(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    now: datetime,
    asked: Asked,
    known: Known,
) -> UUID | None:
    rereads = asked.get("state") == "read"
    visible = ai_visibility.visible_in_lists(session, actor)
    blind = blindness.second_of(session, actor)
    order = _order(visible, blind, asked if rereads else {"state": "to_read"})
    listed = visible_studies(actor).where(
        *_conditions(vault, actor, asked, now, visible, blind, known), Study.id != study_id
    )
    if not rereads:
        listed = listed.where(_unread(visible, blind), ~claims.read_by_others(actor, now))
    from_here = visible_studies(actor).where(Study.id == study_id)
    if visible is None and blind is not None:  # nothing goes on from where the AI has put it
        from_here = from_here.where(not_(blind))
    here = session.scalars(from_here).first()
    is_read = here is not None and (here.is_read if visible is None else here.is_seen)
    start = here if is_read or not rereads else None
    try:
        found = _first_after(session, listed, start, order, rereads=rereads)
    except database.UNREADABLE as error:
        _expect_damage(error, order)
        place = Place.by_arrival(start.created, start.id) if start is not None else None
        found = _first_readable(session, actor, listed, place, order, rereads=rereads)
    session.commit()
    return found


def _first_after(
    session: Session, listed: Select[Study], here: Study | None, order: Order, *, rereads: bool
) -> UUID | None:
    found = None
    if here is not None:
        after = worklist_order.following(listed, here, order, as_unread=not rereads)
        found = worklist_order.first(session, after, order)
    if not rereads:
        found = found or worklist_order.first(session, listed, order)
    return found


def _first_readable(
    session: Session,
    actor: Actor,
    listed: Select[Study],
    here: Place | None,
    order: Order,
    *,
    rereads: bool,
) -> UUID | None:
    """The same of a list of which rows can't be read: one that can."""
    asked = Asked(state="read" if rereads else "to_read")
    assert listed.whereclause is not None
    found = around_damage.exams(session, actor, [listed.whereclause], asked, order)
    readable = [one for one in found if not one.is_damaged]
    after = around_damage.following(readable, here, order) if here is not None else []
    return next((one.study_id for one in (*after, *(() if rereads else readable))), None)


def counts(session: Session, actor: Actor) -> Counts:
    """What waits for the actor: numbers alone, so no audit row."""
    actor.require(Permission.STUDY_LIST)
    found = waiting(session, actor, ai_visibility.visible_in_lists(session, actor))
    session.commit()
    return found


def critical(session: Session, actor: Actor) -> OpenFindings:
    """The critical findings of which nobody was informed yet, of the exams that the actor sees."""
    actor.require(Permission.STUDY_LIST)
    found = open_findings.of_actor(session, actor)
    session.commit()
    return found


def arrived_since(session: Session, actor: Actor, since: datetime) -> int:
    """How many exams have arrived for the actor since then, counted to `TOTAL_MOST`."""
    actor.require(Permission.STUDY_LIST)
    found = len(arrivals(session, actor, since))
    session.commit()
    return found


def arrivals(session: Session, actor: Actor, since: datetime) -> Sequence[datetime]:
    """When exams arrived for the actor since then, the latest `TOTAL_MOST`, within the caller's
    transaction; none where damage keeps them from being read: a list goes without this hint.
    """
    query = visible_studies(actor).with_only_columns(Study.created).where(Study.created > since)
    try:
        return session.scalars(query.order_by(Study.created.desc()).limit(TOTAL_MOST)).all()
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        return []


def waiting(session: Session, actor: Actor, visible: ColumnElement[bool] | None) -> Counts:
    """The same within the caller's transaction; `visible`: see `ai_visibility.visible_in_lists`.

    Where it is None, exams that wait for the actor as a second reader are left out: that one was
    raised again by a late result would be seen in the numbers.
    """
    blind = blindness.second_of(session, actor) if visible is None else None
    return _waiting(session, actor, visible, blind)


def waiting_for_all(session: Session, actor: Actor) -> Counts:
    """The same for those of the actor's team who are the second reader of none of its exams, where
    all see what the AI found.
    """
    return _waiting(session, actor, None, None)


def _waiting(
    session: Session,
    actor: Actor,
    visible: ColumnElement[bool] | None,
    blind: ColumnElement[bool] | None,
) -> Counts:
    if visible is not None:
        to_read = _to_read(session, actor, visible)
        is_empty = to_read == 0 and worklist_order.count(session, visible_studies(actor), 1) == 0
        return Counts(to_read, None, None, is_empty)
    # Only unread ones are counted, which are the beginning of the order's index.
    unread = visible_studies(actor).where(Study.rank < READ)
    if blind is not None:
        unread = unread.where(not_(blind))
    rows = session.execute(
        unread.with_only_columns(Study.rank, func.count()).group_by(Study.rank)
    ).all()

    def add(wanted: Callable[[int], bool]) -> int:
        return sum(number for rank, number in rows if wanted(rank))

    return Counts(
        to_read=add(lambda _rank: True),
        positive=add(lambda rank: rank == POSITIVE),
        no_result=add(lambda rank: rank == UNAIDED),
        is_empty=not rows and worklist_order.count(session, visible_studies(actor), 1) == 0,
    )


def _to_read(session: Session, actor: Actor, visible: ColumnElement[bool]) -> int:
    try:
        return worklist_order.count(session, visible_studies(actor).where(_unread(visible)))
    except database.UNREADABLE as error:
        _expect_damage(error, worklist_order.OLDEST_FIRST)
    asked = Asked(state="to_read")
    order = worklist_order.OLDEST_FIRST
    return len(around_damage.exams(session, actor, [_unread(visible)], asked, order))


def _despite_damage(
    session: Session,
    vault: Vault,
    actor: Actor,
    asked: Asked,
    read: Callable[[Known], _Found],
) -> tuple[_Found, bool]:
    """What `read` returns with nothing looked up before; where a search or a filter by state has
    met damage, with what they find among the rows that can be read. And whether it has.
    """
    query, by_jobs = asked.get("query", "").strip(), asked.get("state") in worklist_filters.BY_JOBS
    try:
        return read(NOTHING), False
    except database.UNREADABLE as error:
        if not (query or by_jobs) or not database.is_damage(error):
            raise
    # Each begins a transaction of its own.
    matched = worklist_filters.readable_matches(session, vault, actor, query) if query else None
    jobs = worklist_filters.readable_jobs(session) if by_jobs else None
    return read(Known(matched, jobs)), True


def _expect_damage(error: Exception, order: Order) -> None:
    """Raise what is no damage, or met in the stored order, for which no row is read."""
    if order is worklist_order.ORDER or not database.is_damage(error):
        raise error


def _conditions(
    vault: Vault,
    actor: Actor,
    asked: Asked,
    now: datetime,
    visible: ColumnElement[bool] | None,
    blind: ColumnElement[bool] | None,
    known: Known = NOTHING,
) -> list[ColumnElement[bool]]:
    """What a list's filters ask for. `blind`: see `blindness.second_of`."""
    given = (vault, actor, asked, now, visible, false() if blind is None else blind)
    return worklist_filters.filters(*given, known.matched, known.jobs)


def _order(
    visible: ColumnElement[bool] | None, blind: ColumnElement[bool] | None, asked: Asked
) -> Order:
    """By arrival for who may not see what the AI found: work from the oldest on, the rest from the
    newest back. So are lists that hold exams of which the actor may become the second reader: in
    the stored order a late result would show by their place.
    """
    state = asked.get("state", "")
    if visible is None and (blind is None or state in _WITHOUT_BLIND):
        return worklist_order.ORDER
    return worklist_order.NEWEST_FIRST if state in ("", "read") else worklist_order.OLDEST_FIRST


def _unread(
    visible: ColumnElement[bool] | None, blind: ColumnElement[bool] | None = None
) -> ColumnElement[bool]:
    if visible is None:
        unread = and_(Study.is_read.is_(False), Study.rank < READ)
        return unread if blind is None else and_(unread, not_(blind))
    return worklist_filters.to_read(visible)


def _note(session: Session, actor: Actor, ids: Sequence[UUID], now: datetime) -> None:
    detail = {"studies": [i.hex for i in ids]}
    audit.append(session, "worklist_read", actor=actor, now=now, detail=detail)
    session.commit()
