"""Verification of an access log of which rows can't be read: everything else is compared.

Owns what can be proven beside them. A link of the chain covers the MAC of its row and the link
before, so the link after unreadable rows proves that the last of their links is as it was written,
and the chain is followed to its end; anchors prove those between. The MAC of a row covers that of
its writer's row before: the content of a writer's first row after unreadable ones can't be
compared, that of all later ones can.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from portal import database, readable_rows
from portal.audit import bindings, macs, verification
from portal.audit.verification import ROW, End, Verification, Walk, indexed_of, is_linked
from portal.languages import _
from portal.models import AuditEvent, AuditHead, AuditLink, AuditSubject, AuditWriter

_CHUNK: Final = 1000
_ANY: Final = 2**62  # in place of the numbers of rows that are not known
_Row = Row[*tuple[Any, ...]]
_Indexed = Collection[tuple[UUID, int]]


class _Walk(Walk):
    """Follows the chain and the writers past rows that can't be read.

    `open`: those of them that no writer lacks so far; `unproven`: rows whose content could not be
    compared; `lost`: how many rows that wait to be linked can't be read, of which nothing but their
    number is known; `may_be_lost`: whether rows may be.
    """

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.unread = list[int]()
        self.open = list[int]()
        self.unproven = list[int]()
        self.lost = 0
        self.may_be_lost = False

    def unreadable(self, link: _Row, known: _Row | None) -> bool:
        """Pass a row that can't be read; `known`: its writer, place and MAC, where these can."""
        if link.position != self.position + 1:
            return self.bad(self.seq + 1, _("a link of the chain is missing"))
        if not self.pass_over(link.link_seq, known):
            return False
        if known is not None:
            mac = known.mac
            if known.writer is not None:
                mac = macs.of_link(self.key, self.mac, link.position, link.link_seq, mac)
            if not macs.same(mac, link.link_mac):
                return self.bad(link.link_seq, _("its link in the chain was changed"))
        self.position, self.mac, self.seq = link.position, link.link_mac, link.link_seq
        return True

    def pass_over(self, seq: int, known: _Row | None) -> bool:
        """Note a row that can't be read, and where its writer is then, if that is known."""
        self.unread.append(seq)
        if known is None or known.writer is None:
            if known is None:
                self.open.append(seq)
            return True
        before = self.ends.get(known.writer, End())
        self.ends[known.writer] = End(known.writer_seq, known.mac, seq)
        gap = known.writer_seq - before.count - 1
        passed = [one for one in self.open if before.seq < one < seq][: max(gap, 0)]
        self.open = [one for one in self.open if one not in passed]
        if gap == len(passed):
            return True
        return self.bad(seq, _("rows before it are missing"))

    def row(self, row: _Row, indexed: _Indexed) -> bool:
        """Check the next row of its writer, or note that it follows one that can't be read."""
        if row.writer_seq is None:
            return super().row(row, indexed)
        before = self.ends.get(row.writer, End())
        gap = row.writer_seq - before.count - 1
        passed = [seq for seq in self.open if before.seq < seq < row.seq][: max(gap, 0)]
        if gap <= 0 or (len(passed) < gap and not self.may_be_lost):
            return super().row(row, indexed)
        self.lost += gap - len(passed)
        self.open = [seq for seq in self.open if seq not in passed]
        self.ends[row.writer] = End(row.writer_seq, row.mac, row.seq)
        self.unproven.append(row.seq)
        return self.is_indexed(row, indexed)

    def end_of(self, writer: AuditWriter, may_be_lost: int) -> bool:
        """Check a writer's last row against its seal. `may_be_lost`: so many rows of it wait to be
        linked and may lie where nothing can be read.
        """
        end = self.ends.get(writer.id, End())
        lacks = writer.count - end.count
        passed = [seq for seq in self.open if seq > end.seq][: max(lacks, 0)]
        if lacks <= 0 or lacks > len(passed) + may_be_lost:
            return self.end(writer.id, writer.count, writer.mac, writer.seal)
        self.open = [seq for seq in self.open if seq not in passed]
        self.lost += lacks - len(passed)
        if not macs.is_end_of_writer(self.key, writer):
            what = _("the end of writer %(writer)s was changed", writer=writer.id)
            return self.bad(max(end.seq, 1), what)
        return True


def verify(session: Session, now: datetime) -> Verification:
    """What `verification.verify` does, without the rows of the log that can't be read.

    Damage of the log's other tables is raised: nothing is proven without them.
    """
    session.commit()
    database.read_one_moment(session)
    walk = _Walk(macs.key_of(session))
    head = session.get(AuditHead, 1, populate_existing=True)
    is_followed = True
    while is_followed and (links := session.execute(_links(walk.position)).all()):
        is_followed = _follow(session, walk, links)
    waiting = list[_Row]()
    if is_followed:
        waiting = _ends(session, walk, head)
    bad, records = list[str](), 0
    if not walk.problem:
        unknown = [*walk.unread, *walk.unproven]
        bad += _entries_too_many(session, walk)
        if walk.lost:
            unknown.append(_ANY)
        found = bindings.compare(session, walk.bound, unknown)
        bad, records = bad + found.bad, found.count - found.unknown
        if found.unknown:
            bad.append(
                _(
                    "%(count)s records can't be compared: rows of the log that can't be read may "
                    "be about them",
                    count=found.unknown,
                )
            )
    session.rollback()  # nothing was changed, and SQLite commits nothing after damage
    only_late = verification.is_late(walk, waiting, now)
    return verification.result_of(
        walk, waiting, only_late, records, [*_reach(walk), *bad], walk.unread
    )


def _reach(walk: _Walk) -> list[str]:
    """Which rows can't be read, and how far the others were compared."""
    found = [
        _("audit_events: row %(row)s can't be read", row=first)
        if first == last
        else _("audit_events: rows %(first)s to %(last)s can't be read", first=first, last=last)
        for first, last in _ranges(walk.unread)
    ]
    if walk.lost:
        found.append(
            _(
                "audit_events: %(count)s rows that wait to be linked can't be read, or are missing",
                count=walk.lost,
            )
        )
    if found and not walk.problem:
        found.append(
            _(
                "the chain was followed to its end through them; of the others %(count)s rows were "
                "compared",
                count=walk.count,
            )
        )
    if walk.unproven:
        found.append(
            _(
                "the content of these rows can't be compared, as the row of their writer before "
                "them can't be read: %(rows)s",
                rows=", ".join(map(str, walk.unproven)),
            )
        )
    return found


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    found = list[tuple[int, int]]()
    for _key, group in groupby(enumerate(sorted(numbers)), key=lambda one: one[1] - one[0]):
        run = [number for _place, number in group]
        found.append((run[0], run[-1]))
    return found


def _links(position: int) -> Any:
    """The next links behind a position. At the start all: none may precede the first."""
    query = select(
        AuditLink.position, AuditLink.seq.label("link_seq"), AuditLink.mac.label("link_mac")
    )
    query = query.where(AuditLink.position > position) if position else query
    return query.order_by(AuditLink.position).limit(_CHUNK)


def _follow(session: Session, walk: _Walk, links: Sequence[_Row]) -> bool:
    rows, unread = _rows(session, sorted(link.link_seq for link in links))
    indexed = indexed_of(session, list(rows.values()))
    for link in links:
        if link.link_seq in unread:
            if not walk.unreadable(link, unread[link.link_seq]):
                return False
        elif not walk.link(cast("_Row", _Linked(link, rows.get(link.link_seq))), indexed):
            return False
    return True


class _Linked:
    """A link with its row, as one row of a query; without a row its columns are empty."""

    def __init__(self, link: _Row, row: _Row | None) -> None:
        self._link, self._row = link, row

    def __getattr__(self, name: str) -> Any:
        if name in ("position", "link_seq", "link_mac"):
            return getattr(self._link, name)
        return getattr(self._row, name) if self._row is not None else None


def _rows(session: Session, wanted: list[int]) -> tuple[dict[int, _Row], dict[int, _Row | None]]:
    """These rows of the log as far as they are there, and those that can't be read, each with its
    writer, place and MAC where these can.
    """
    found, unread = dict[int, _Row](), dict[int, _Row | None]()
    waiting = [wanted] if wanted else []
    readable_rows.by_index(session)
    while waiting:
        some = waiting.pop()
        try:
            with session.begin_nested():
                query = select(*ROW).where(AuditEvent.seq.in_(some))
                found |= {row.seq: row for row in session.execute(query)}
        except database.UNREADABLE as error:
            if not database.is_damage(error):
                raise
            if len(some) == 1:
                unread[some[0]] = _known(session, some[0])
            else:
                waiting += [some[: len(some) // 2], some[len(some) // 2 :]]
    return found, unread


def _known(session: Session, seq: int) -> _Row | None:
    """What the rows after it need of a row, where only something else of it can't be read."""
    columns = (AuditEvent.writer, AuditEvent.writer_seq, AuditEvent.mac)
    try:
        with session.begin_nested():
            return session.execute(select(*columns).where(AuditEvent.seq == seq)).one()
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        return None


def _ends(session: Session, walk: _Walk, head: AuditHead | None) -> list[_Row]:
    """Check what waits to be linked, the writers' ends and the chain's; returns what waits."""
    readable = readable_rows.of(session, AuditEvent.__tablename__)
    numbers = list[int]()
    with readable.parts(session) as parts:
        for part in parts:
            numbers += session.scalars(select(AuditEvent.seq).where(~is_linked(), part)).all()
    rows, unread = _rows(session, sorted(numbers))
    indexed = indexed_of(session, list(rows.values())) if rows else set()
    writers = {one.id: one for one in session.scalars(select(AuditWriter)).all()}
    walk.may_be_lost = readable.unreadable > 0
    for seq in sorted({*rows, *unread}):
        if seq in unread:
            walk.pass_over(seq, unread[seq])
            continue
        row = rows[seq]
        if row.writer not in writers:
            walk.bad(row.seq, _("a row was added from outside"))
        else:
            walk.row(row, indexed)
    walk.head(head)
    linked = json.loads(head.linked) if head is not None else {}
    for writer in writers.values():
        waits = writer.count - linked.get(str(writer.id), 0) if readable.unreadable else 0
        walk.end_of(writer, max(waits, 0))
    gone = set(walk.ends) - set(writers)
    if gone:
        walk.bad(1, _("writer %(writer)s is missing", writer=min(gone)))
    return [rows[seq] for seq in sorted(rows)]


def _entries_too_many(session: Session, walk: _Walk) -> list[str]:
    """Entries of the index that no row of the log has; not compared where rows are lost."""
    if walk.lost or len(walk.unread) > _CHUNK:
        return []
    known = AuditSubject.seq.not_in(walk.unread)
    entries = session.scalar(select(func.count()).select_from(AuditSubject).where(known)) or 0
    if entries <= walk.named:
        return []
    more = entries - walk.named
    return [_("audit_subjects: %(count)s entries that no row of the log has", count=more)]
