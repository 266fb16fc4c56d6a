"""The access log: who did what to which row, written in the caller's transaction.

A row holds ids and codes, never patient data. Each transaction takes a writer's row that no other
one holds, so that transactions do not wait for each other: the row's MAC covers the row and the
writer's row before it, and the writer's seal covers how many there are. `chain` links committed
rows into one chain, `verification` checks all of it. The key comes from the vault and is bound to
the engine once, at the start.
"""

import json
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Engine, Select, bindparam, func, insert, or_, select, union_all, update
from sqlalchemy.orm import Session

from portal import database, readable_rows
from portal.access import Actor, Permission
from portal.audit import bindings, first_seals, macs
from portal.audit.subjects import studies_named
from portal.models import AUDIT_NUMBERS, AuditEvent, AuditSubject, AuditWriter, Base
from portal.readable_rows import Readable

Detail = Mapping[str, str | int | bool | list[str] | None]

# The writer of rows whose numbers have to be in the order of their commits.
_IN_ORDER: Final = 0
_EVENT: Final = re.compile(r"[a-z][a-z0-9_]{1,63}")
# Made once: nearly every request writes a row.
_WRITERS: Final = select(AuditWriter).execution_options(populate_existing=True)
_FREE_WRITER: Final = (
    _WRITERS.where(AuditWriter.id != _IN_ORDER)
    .order_by(AuditWriter.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_NEXT_NUMBER: Final = select(func.coalesce(func.max(AuditEvent.seq), 0) + 1)
# By the tables and not as objects of the session, which takes longer over each of them.
_TABLES: Final = AuditEvent.metadata.tables
_COLUMNS: Final = tuple(_TABLES[AuditEvent.__tablename__].columns.keys())
_ADD: Final = insert(_TABLES[AuditEvent.__tablename__])
_MOVE_ON: Final = update(_TABLES[AuditWriter.__tablename__]).where(
    AuditWriter.id == bindparam("its_id")
)


def bind(engine: Engine, key: bytes) -> None:
    """Give the log's key (`Vault.audit_key()`) to every session of this engine."""
    macs.KEYS[engine] = key


def append(
    session: Session,
    event: str,
    *,
    now: datetime,
    actor: Actor | None = None,
    actor_id: UUID | None = None,
    session_id: UUID | None = None,
    study_id: UUID | None = None,
    subject_id: UUID | None = None,
    detail: Detail | None = None,
    address: str = "",
    in_order: bool = False,
    bound: Sequence[Base] = (),
) -> AuditEvent:
    """Add a row in the caller's transaction; call it last, a writer is taken until the commit.

    `event` names in small letters what happened; `detail` holds ids, codes and counts only. Give
    the actor, or `actor_id` where there is none yet (sign-in). A row about a case that is open by
    emergency access names the grant. Rows `in_order` wait for each other, so that none becomes
    visible after one with a higher number. `bound`: the records that this transaction has written
    and the log is to bind (`bindings`).
    """
    if not _EVENT.fullmatch(event):
        raise ValueError("an event is named in small letters, digits and underscores")
    key = macs.key_of(session)
    named_detail = dict(detail or {})
    if actor is not None and actor.grant is not None and actor.grant.study_id == study_id:
        named_detail["grant"] = str(actor.grant.id)
    if bound:
        named_detail[bindings.DETAIL] = bindings.entries(session, bound)
    session.flush()
    writer = _writer(session, in_order)
    # An end that was changed from outside is never sealed again: the log goes on, the check fails.
    is_sealed = macs.is_end_of_writer(key, writer)
    if not is_sealed and first_seals.are_missing(session):
        raise RuntimeError("the access log's ends have no seals: run `python -m portal upgrade`")
    count = writer.count + 1
    row = AuditEvent(
        seq=_number(session),
        writer=writer.id,
        writer_seq=count,
        at=now.astimezone(UTC),
        event=event,
        actor_id=actor.user_id if actor else actor_id,
        session_id=actor.session_id if actor else session_id,
        via=actor.via if actor else "system",
        address=(address or (actor.address if actor else ""))[:64],
        study_id=study_id,
        subject_id=subject_id,
        detail=json.dumps(named_detail, sort_keys=True, separators=(",", ":")),
    )
    row.mac = macs.of_row(key, writer.mac, row)
    session.execute(_ADD, {name: getattr(row, name) for name in _COLUMNS})
    seal = macs.of_writer(key, writer.id, count, row.mac) if is_sealed else writer.seal
    end = {"its_id": writer.id, "count": count, "mac": row.mac, "seal": seal}
    session.execute(_MOVE_ON, end)
    named = [{"study_id": i, "seq": row.seq} for i in sorted(studies_named(named_detail))]
    if named:
        session.execute(insert(AuditSubject), named)
    return row


def hold_order(session: Session) -> None:
    """Let nobody else write a row `in_order` until the commit.

    For a decision that rests on such rows; call it before they are read.
    """
    _writer(session, in_order=True)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows of the log; what is left out asks for all. `until` itself is not in it.

    `study_ids`: a case and those that were joined with it, see `exams.ids_of_case`. `actor_ids` and
    `subject_ids`: any of them.
    """

    event: str = ""
    actor_ids: tuple[UUID, ...] = ()
    study_ids: tuple[UUID, ...] = ()
    subject_ids: tuple[UUID, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


def matching(criteria: AuditFilter) -> Select[AuditEvent]:
    """The rows that are asked for, in no order yet."""
    query = select(AuditEvent)
    if criteria.event:
        query = query.where(AuditEvent.event == criteria.event)
    if criteria.actor_ids:
        query = query.where(AuditEvent.actor_id.in_(criteria.actor_ids))
    if criteria.subject_ids:
        query = query.where(AuditEvent.subject_id.in_(criteria.subject_ids))
    if criteria.study_ids:
        query = query.where(*_about(criteria.study_ids))
    if criteria.since:
        query = query.where(AuditEvent.at >= criteria.since)
    if criteria.until:
        query = query.where(AuditEvent.at < criteria.until)
    return query


def search(
    session: Session,
    actor: Actor,
    *,
    now: datetime,
    criteria: AuditFilter | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[AuditEvent]:
    """Newest rows first, for people who may read the log; the search is logged as well.

    `before` pages back by sequence number. Rows that can't be read are left out: the check of the
    log finds them.
    """
    actor.require(Permission.AUDIT_READ)
    query = matching(criteria or AuditFilter())
    query = query.order_by(AuditEvent.seq.desc()).limit(min(max(limit, 1), 1000))
    if before:
        query = query.where(AuditEvent.seq < before)
    rows = readable(session, query)
    append(session, "log_read", actor=actor, now=now, detail={"rows": len(rows)})
    session.commit()
    return rows


def readable(session: Session, query: Select[AuditEvent]) -> list[AuditEvent]:
    """The rows of a query in its order, without those that can't be read; call it first."""
    only = query.with_only_columns(AuditEvent.seq)

    def numbers_of(log: Readable) -> list[int]:
        with log.parts(session) as parts:
            return [seq for part in parts for seq in session.scalars(only.where(part)).all()]

    numbers, _ = readable_rows.around_damage(session, AuditEvent, numbers_of)

    def read(some: Sequence[int]) -> dict[int, AuditEvent]:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.seq.in_(some)))
        return {row.seq: row for row in rows}

    found, _ = database.read_readable(session, numbers, read)
    return [found[number] for number in numbers if number in found]


def details(session: Session, event: str, study_id: UUID) -> list[dict[str, Any]]:
    """The details of one kind of event about one study, the oldest first."""
    rows = session.scalars(
        select(AuditEvent.detail)
        .where(AuditEvent.event == event, AuditEvent.study_id == study_id)
        .order_by(AuditEvent.seq)
    )
    return [json.loads(row) for row in rows]


def go_on_numbering(session: Session) -> None:
    """Let the numbers of new rows begin after those that a restore has inserted."""
    if session.get_bind().dialect.name == "postgresql":
        last = session.scalar(select(func.max(AuditEvent.seq))) or 0
        session.execute(select(func.setval(AUDIT_NUMBERS.name, last + 1, False)))


def _about(study_ids: Collection[UUID]) -> tuple[Any, Any]:
    """Rows about these cases, and lists that showed one: found by index, confirmed by the row."""
    numbers = union_all(
        select(AuditEvent.seq).where(AuditEvent.study_id.in_(study_ids)),
        select(AuditSubject.seq).where(AuditSubject.study_id.in_(study_ids)),
    )
    named = [AuditEvent.detail.contains(f'"{i.hex}"', autoescape=True) for i in study_ids]
    return AuditEvent.seq.in_(numbers), or_(AuditEvent.study_id.in_(study_ids), *named)


def _writer(session: Session, in_order: bool) -> AuditWriter:
    """A writer for this transaction alone; where all are taken, it waits for one."""
    others = AuditWriter.id != _IN_ORDER
    found = None if in_order else session.scalars(_FREE_WRITER).one_or_none()
    if found is None:
        ids = [_IN_ORDER] if in_order else session.scalars(select(AuditWriter.id).where(others))
        wanted = random.choice(list(ids) or [_IN_ORDER])  # noqa: S311 no secret
        taken = _WRITERS.where(AuditWriter.id == wanted).with_for_update()
        found = session.scalars(taken).one_or_none()
    if found is None:
        raise RuntimeError("the access log can't be written: its writers are missing")
    return found


def _number(session: Session) -> int:
    """The row's number, drawn while its writer is held, so that a writer's numbers rise."""
    if session.get_bind().dialect.name == "postgresql":
        return session.scalars(select(AUDIT_NUMBERS.next_value())).one()
    return session.scalars(_NEXT_NUMBER).one()
