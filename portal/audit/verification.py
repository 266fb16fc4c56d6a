"""Verification of the access log: of every link, every row, the ends, the index of cases, and the
records that its rows are about.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from portal import database
from portal.audit import bindings, macs
from portal.audit.subjects import studies_named
from portal.languages import _
from portal.models import AuditEvent, AuditHead, AuditLink, AuditSubject, AuditWriter, User

# Rows wait a second or so until they are linked; longer than this, something is wrong.
LINKED_WITHIN: Final = timedelta(seconds=60)
_CHUNK: Final = 5000
_STUDIES_AT_ONCE: Final = 500
ROW: Final = tuple(AuditEvent.__table__.c)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the whole log found. `first_bad` is the number of the row where it breaks.

    `count`: rows that were checked. `unlinked`: the numbers of those of them that wait to be linked
    into the chain, `oldest` the time of the first. `is_late`: the only problem is that one of them
    has waited for too long. `records`: reviews, proofs, holds, predictions and models that were
    compared with the log; `bad_records`: a sentence for each that does not fit. `is_partial`: rows
    can't be read, `partial_verification` has compared the others, and `bad_records` states how far;
    `unread`: those of the log. `is_unreadable`: not even that could be done; `bad_records` names
    the tables.
    """

    count: int
    first_bad: int | None = None
    problem: str = ""
    unlinked: tuple[int, ...] = ()
    oldest: datetime | None = None
    is_late: bool = False
    records: int = 0
    bad_records: tuple[str, ...] = ()
    is_unreadable: bool = False
    is_partial: bool = False
    unread: tuple[int, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every row and record is as it was written and none is missing."""
        return not self.problem and not self.bad_records

    @property
    def findings(self) -> list[str]:
        """What is wrong, a line each."""
        of_log = (
            [_("row %(row)s: %(problem)s", row=self.first_bad, problem=self.problem)]
            if self.problem
            else []
        )
        return [*of_log, *self.bad_records]


@dataclass(frozen=True, slots=True)
class End:
    """How far the rows of one writer were followed."""

    count: int = 0
    mac: str = ""
    seq: int = 0


class Walk:
    """Follows the chain and each writer's rows; `problem` is about `first_bad`."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.count = 0  # rows
        self.position, self.mac, self.seq = 0, "", 0  # of the last link
        self.ends: dict[int, End] = {}
        self.bound: bindings.Bound = {}
        self.named = 0  # cases in the details of rows
        self.first_bad: int | None = None
        self.problem = ""

    def link(self, found: Row[*tuple[Any, ...]], indexed: Collection[tuple[UUID, int]]) -> bool:
        """Check one more link with its row."""
        if found.position != self.position + 1:
            return self.bad(self.seq + 1, _("a link of the chain is missing"))
        if found.seq is None:
            return self.bad(found.link_seq, _("a row is missing"))
        if found.writer is None:
            mac = macs.of_row_before_writers(self.key, self.mac, found)
            if not macs.same(mac, found.mac):
                return self.bad(found.seq, _("a row was changed"))
            if not self.is_indexed(found, indexed):
                return False
        else:
            if not self.row(found, indexed):
                return False
            mac = macs.of_link(self.key, self.mac, found.position, found.seq, found.mac)
        if not macs.same(mac, found.link_mac):
            return self.bad(found.seq, _("its link in the chain was changed"))
        self.count += found.writer is None
        self.position, self.mac, self.seq = found.position, found.link_mac, found.seq
        return True

    def row(self, row: Row[*tuple[Any, ...]], indexed: Collection[tuple[UUID, int]]) -> bool:
        """Check the next row of its writer. After a bad one the walk can go on from it."""
        if row.writer_seq is None:
            return self.bad(row.seq, _("a row was changed"))
        before = self.ends.get(row.writer, End())
        self.ends[row.writer] = End(row.writer_seq, row.mac, row.seq)
        gap = row.writer_seq - before.count - 1
        if gap > 0:
            missing = max(before.seq + 1, row.seq - gap)
            return self.bad(
                missing,
                _(
                    "row %(row)s of writer %(writer)s is missing",
                    row=before.count + 1,
                    writer=row.writer,
                ),
            )
        if gap < 0 or not macs.same(row.mac, macs.of_row(self.key, before.mac, row)):
            return self.bad(row.seq, _("a row was changed"))
        if not self.is_indexed(row, indexed):
            return False
        bindings.collect(self.bound, row.seq, row.detail)
        self.count += 1
        return True

    def end(self, writer: int, count: int, mac: str, seal: str) -> bool:
        """Check a writer's last row against its sealed count and MAC."""
        end = self.ends.get(writer, End())
        if count > end.count:
            more = _(
                "%(count)s rows of writer %(writer)s are missing",
                count=count - end.count,
                writer=writer,
            )
            return self.bad(end.seq + 1, more)
        if not macs.same(seal, macs.of_writer(self.key, writer, count, mac)):
            return self.bad(
                max(end.seq, 1), _("the end of writer %(writer)s was changed", writer=writer)
            )
        if (count, mac) != (end.count, end.mac):
            return self.bad(
                end.seq, _("writer %(writer)s has rows after its sealed end", writer=writer)
            )
        return True

    def head(self, head: AuditHead | None) -> bool:
        """Check the chain's end against its sealed head."""
        if head is None:
            return self.bad(1, _("the head of the log is missing"))
        if head.count == 0 and self.position:
            return self.bad(1, _("the head of the log is missing"))
        if not macs.is_end_of_chain(self.key, head):
            return self.bad(max(self.seq, 1), _("the head of the log was changed"))
        if head.count > self.position:
            gone = head.count - self.position
            return self.bad(self.seq + 1, _("%(count)s rows are missing at the end", count=gone))
        if (head.count, head.mac) != (self.position, self.mac):
            return self.bad(self.seq, _("the log has rows after its sealed end"))
        return True

    def is_indexed(self, row: Row[*tuple[Any, ...]], indexed: Collection[tuple[UUID, int]]) -> bool:
        """Whether the index has the row for each case that its detail names."""
        named = studies_named(row.detail)
        self.named += len(named)
        if all((study_id, row.seq) in indexed for study_id in named):
            return True
        return self.bad(row.seq, _("the index of a case that it names lacks it"))

    def bad(self, seq: int, problem: str) -> bool:
        """Note the problem; the first bad row counts."""
        if self.first_bad is None or seq < self.first_bad:
            self.first_bad, self.problem = seq, problem
        return False


def verify(session: Session, now: datetime | None = None, *, records: bool = True) -> Verification:
    """Check every row, the chain, its end, and the records; writing to the log goes on meanwhile.

    With `now`, rows that wait for more than a minute to be linked fail the check; without, as for
    a log out of a backup, their age is not looked at. Nothing is changed, nor linked. Without
    `records` those of a version before, which its log does not bind, are not looked at.
    """
    session.commit()
    walk = Walk(macs.key_of(session))
    while len(links := session.execute(_links(walk.position).limit(_CHUNK)).all()) == _CHUNK:
        session.commit()
        if not _follow(session, walk, links):
            return result_of(walk)
    session.commit()
    database.read_one_moment(session)
    people = session.scalar(select(func.count()).select_from(User))
    head = session.get(AuditHead, 1, populate_existing=True)
    if not _follow(session, walk, session.execute(_links(walk.position)).all()):
        session.commit()
        return result_of(walk)
    ends = session.execute(_ends()).all()
    unlisted = session.scalar(_unlisted())
    indexed = indexed_of(session, [found for found in ends if found.seq is not None])
    if people and not walk.count and all(found.seq is None for found in ends):
        walk.bad(1, _("the log is empty although people are enrolled"))
    walk.head(head)
    if unlisted is not None:
        walk.bad(unlisted, _("a row was added from outside"))
    unlinked = _follow_unlinked(walk, ends, indexed)
    count, bad = 0, list[str]()
    if not walk.problem:
        in_index = session.scalar(select(func.count()).select_from(AuditSubject)) or 0
        if in_index > walk.named:
            bad.append(
                _(
                    "audit_subjects: %(count)s entries that no row of the log has",
                    count=in_index - walk.named,
                )
            )
        if records:
            compared = bindings.compare(session, walk.bound)
            count, bad = compared.count, bad + compared.bad
    session.commit()
    waiting = sorted(unlinked, key=lambda row: row.seq)
    return result_of(walk, waiting, is_late(walk, waiting, now), count, bad)


def is_late(walk: Walk, waiting: Sequence[Row[*tuple[Any, ...]]], now: datetime | None) -> bool:
    """Whether the only problem is that a row, of those that wait to be linked, has for too long."""
    late = [row for row in waiting if now and abs(now - row.at) > LINKED_WITHIN]
    if not late or walk.problem:
        return False
    since = late[0].at.strftime("%Y-%m-%d %H:%M:%S")
    walk.bad(late[0].seq, _("not linked into the chain since %(at)s", at=since))
    return True


def result_of(
    walk: Walk,
    unlinked: Sequence[Row[*tuple[Any, ...]]] = (),
    only_late: bool = False,
    records: int = 0,
    bad: Sequence[str] = (),
    unread: Sequence[int] | None = None,
) -> Verification:
    """What a walk has found. `unread`: of a partial one."""
    return Verification(
        walk.count,
        walk.first_bad,
        walk.problem,
        tuple(row.seq for row in unlinked),
        min((row.at for row in unlinked), default=None),
        only_late,
        records,
        tuple(bad),
        is_partial=unread is not None,
        unread=tuple(unread or ()),
    )


def _links(position: int) -> Select[*tuple[Any, ...]]:
    """The links behind a position with their rows. At the start all: none may precede the first."""
    query = (
        select(
            AuditLink.position,
            AuditLink.seq.label("link_seq"),
            AuditLink.mac.label("link_mac"),
            *ROW,
        )
        .select_from(AuditLink)
        .outerjoin(AuditEvent, AuditEvent.seq == AuditLink.seq)
        .order_by(AuditLink.position)
    )
    return query.where(AuditLink.position > position) if position else query


def _follow(session: Session, walk: Walk, links: Sequence[Row[*tuple[Any, ...]]]) -> bool:
    indexed = indexed_of(session, [found for found in links if found.seq is not None])
    return all(walk.link(found, indexed) for found in links)


def is_linked() -> Any:
    """The condition under which a row of the log is in the chain."""
    return exists().where(AuditLink.seq == AuditEvent.seq)


def _ends() -> Select[*tuple[Any, ...]]:
    """Every writer with its rows that are not linked; a writer without any once."""
    return (
        select(
            AuditWriter.id,
            AuditWriter.count.label("end_count"),
            AuditWriter.mac.label("end_mac"),
            AuditWriter.seal,
            *ROW,
        )
        .select_from(AuditWriter)
        .outerjoin(AuditEvent, and_(AuditEvent.writer == AuditWriter.id, ~is_linked()))
        .order_by(AuditWriter.id, AuditEvent.writer_seq)
    )


def _unlisted() -> Select[int | None]:
    """The first row that neither the chain nor a writer has."""
    known = select(AuditWriter.id)
    return select(func.min(AuditEvent.seq)).where(
        or_(AuditEvent.writer.is_(None), AuditEvent.writer.not_in(known)), ~is_linked()
    )


def _follow_unlinked(
    walk: Walk, ends: Sequence[Row[*tuple[Any, ...]]], indexed: Collection[tuple[UUID, int]]
) -> list[Row[*tuple[Any, ...]]]:
    unlinked = [found for found in ends if found.seq is not None]
    for found in unlinked:
        walk.row(found, indexed)
    for found in {found.id: found for found in ends}.values():
        walk.end(found.id, found.end_count, found.end_mac, found.seal)
    gone = set(walk.ends) - {found.id for found in ends}
    if gone:
        walk.bad(1, _("writer %(writer)s is missing", writer=min(gone)))
    return unlinked


def indexed_of(session: Session, rows: Sequence[Row[*tuple[Any, ...]]]) -> set[tuple[UUID, int]]:
    """The entries of the index for the cases that these rows name in their details."""
    studies = sorted({study_id for row in rows for study_id in studies_named(row.detail)})
    found = set[tuple[UUID, int]]()
    for start in range(0, len(studies), _STUDIES_AT_ONCE):
        query = select(AuditSubject.study_id, AuditSubject.seq).where(
            AuditSubject.study_id.in_(studies[start : start + _STUDIES_AT_ONCE]),
            AuditSubject.seq.between(min(r.seq for r in rows), max(r.seq for r in rows)),
        )
        found.update((study_id, seq) for study_id, seq in session.execute(query))
    return found
