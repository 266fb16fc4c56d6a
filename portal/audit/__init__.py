"""The access log: who did what to which row, chained by HMAC, appended in the caller's transaction.

A row holds ids and codes, never patient data. Each row's MAC covers the row and the MAC before
it; the head row says how many there are and seals that, so that a changed, removed, reordered or
cut-off row shows. The key comes from the vault and is bound to the engine once, at the start.
"""

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, Select, func, or_, select
from sqlalchemy.orm import Session

from portal.access import Actor, Permission
from portal.models import AuditEvent, AuditHead, User

Detail = Mapping[str, str | int | bool | list[str] | None]

_EVENT: Final = re.compile(r"[a-z][a-z_]{1,63}")
_CHUNK: Final = 5000
_keys: "WeakKeyDictionary[Engine, bytes]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the whole log found. `first_bad` is the sequence number where it breaks."""

    count: int
    first_bad: int | None = None
    problem: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether every row is as it was written and none is missing."""
        return not self.problem


def bind(engine: Engine, key: bytes) -> None:
    """Give the chain's key (`Vault.audit_key()`) to every session of this engine."""
    _keys[engine] = key


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
) -> AuditEvent:
    """Add a row in the caller's transaction; call it last, the log is locked until the commit.

    `event` says in small letters what happened; `detail` holds ids, codes and counts only. Give
    the actor, or `actor_id` where somebody is only about to become one (sign-in). What is done to
    a case through broken glass names the grant.
    """
    if not _EVENT.fullmatch(event):
        raise ValueError("an event is named in small letters and underscores")
    key = _key(session)
    told = dict(detail or {})
    if actor is not None and actor.grant is not None and actor.grant.study_id == study_id:
        told["grant"] = str(actor.grant.id)
    session.flush()
    head = session.get(AuditHead, 1, with_for_update=True, populate_existing=True)
    if head is None:
        head = AuditHead(id=1, count=0, mac="", seal="")
        session.add(head)
    row = AuditEvent(
        seq=head.count + 1,
        at=now.astimezone(UTC),
        event=event,
        actor_id=actor.user_id if actor else actor_id,
        session_id=actor.session_id if actor else session_id,
        via=actor.via if actor else "system",
        address=(address or (actor.address if actor else ""))[:64],
        study_id=study_id,
        subject_id=subject_id,
        detail=json.dumps(told, sort_keys=True, separators=(",", ":")),
    )
    row.mac = _link(key, head.mac, row)
    session.add(row)
    head.count, head.mac = row.seq, row.mac
    head.seal = _seal(key, head.count, head.mac)
    session.flush()
    return row


def verify(session: Session) -> Verification:
    """Check every row and the end of the log; only the last rows are read while writers wait."""
    key = _key(session)
    session.commit()
    previous, seq = "", 0
    while len(rows := session.scalars(_after(seq).limit(_CHUNK)).all()) == _CHUNK:
        previous, seq, bad = _follow(key, previous, seq, rows)
        for row in rows:  # these alone: the caller's own rows stay
            session.expunge(row)
        session.commit()
        if bad:
            return bad
    people = session.scalar(select(func.count()).select_from(User))
    # On PostgreSQL each statement sees what was committed before it. Who appends locks the head
    # first, so from here on no row can come between the last rows and the head.
    head = session.get(AuditHead, 1, with_for_update=True, populate_existing=True)
    previous, seq, bad = _follow(key, previous, seq, session.scalars(_after(seq)).all())
    session.commit()
    if bad:
        return bad
    if head is None or head.count == 0:
        if seq:
            return Verification(seq, 1, "the head of the log is missing")
        if people:
            return Verification(0, 1, "the log is empty although people are enrolled")
        return Verification(0)
    if not hmac.compare_digest(head.seal, _seal(key, head.count, head.mac)):
        return Verification(seq, seq, "the head of the log was changed")
    if head.count > seq:
        return Verification(seq, seq + 1, f"{head.count - seq} rows are missing at the end")
    if head.count < seq or head.mac != previous:
        return Verification(seq, head.count + 1, "rows stand behind the end of the log")
    return Verification(seq)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows of the log; what is left out asks for all. `until` itself is not in it."""

    event: str = ""
    actor_id: UUID | None = None
    study_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


def matching(criteria: AuditFilter) -> Select[AuditEvent]:
    """The rows that are asked for, in no order yet."""
    query = select(AuditEvent)
    if criteria.event:
        query = query.where(AuditEvent.event == criteria.event)
    if criteria.actor_id:
        query = query.where(AuditEvent.actor_id == criteria.actor_id)
    if criteria.study_id:
        # A look at a list names all the cases that it showed.
        listed = AuditEvent.detail.contains(f'"{criteria.study_id.hex}"', autoescape=True)
        query = query.where(or_(AuditEvent.study_id == criteria.study_id, listed))
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
    """Newest rows first, for people who may read the log; looking is written down as well.

    `before` pages back by sequence number.
    """
    actor.require(Permission.AUDIT_READ)
    query = matching(criteria or AuditFilter())
    query = query.order_by(AuditEvent.seq.desc()).limit(min(max(limit, 1), 1000))
    if before:
        query = query.where(AuditEvent.seq < before)
    rows = list(session.scalars(query))
    append(session, "log_read", actor=actor, now=now, detail={"rows": len(rows)})
    session.commit()
    return rows


def head(session: Session) -> tuple[int, str]:
    """How long the log is and the MAC of its last row."""
    row = session.get(AuditHead, 1, populate_existing=True)
    return (row.count, row.mac) if row else (0, "")


def mac_at(session: Session, seq: int) -> str | None:
    """The MAC of one row; None where there is no such row."""
    return session.scalar(select(AuditEvent.mac).where(AuditEvent.seq == seq))


def signature(session: Session, text: str) -> str:
    """A keyed digest of a statement about the log, for its anchors."""
    return hmac.new(_key(session), f"anchor:{text}".encode(), "sha256").hexdigest()


def details(session: Session, event: str, study_id: UUID) -> list[dict[str, Any]]:
    """What was written of an event about one study, the oldest first."""
    rows = session.scalars(
        select(AuditEvent.detail)
        .where(AuditEvent.event == event, AuditEvent.study_id == study_id)
        .order_by(AuditEvent.seq)
    )
    return [json.loads(row) for row in rows]


def _after(seq: int) -> Select[AuditEvent]:
    """The rows behind one; at the start all, for a row before the first would be one too many."""
    following = select(AuditEvent).order_by(AuditEvent.seq)
    return following.where(AuditEvent.seq > seq) if seq else following


def _follow(
    key: bytes, previous: str, seq: int, rows: Sequence[AuditEvent]
) -> tuple[str, int, Verification | None]:
    for row in rows:
        if row.seq != seq + 1:
            return previous, seq, Verification(seq, seq + 1, "a row is missing")
        if not hmac.compare_digest(row.mac, _link(key, previous, row)):
            return previous, seq, Verification(seq, row.seq, "a row was changed")
        previous, seq = row.mac, row.seq
    return previous, seq, None


def _key(session: Session) -> bytes:
    try:
        return _keys[session.get_bind().engine]
    except KeyError:
        raise RuntimeError("audit.bind(engine, vault.audit_key()) was not called") from None


def _link(key: bytes, previous: str, row: AuditEvent) -> str:
    fields = (
        previous,
        row.seq,
        row.at.isoformat(),
        row.event,
        _text(row.actor_id),
        _text(row.session_id),
        row.via,
        row.address,
        _text(row.study_id),
        _text(row.subject_id),
        row.detail,
    )
    return hmac.new(key, json.dumps(fields).encode(), "sha256").hexdigest()


def _seal(key: bytes, count: int, mac: str) -> str:
    return hmac.new(key, f"head:{count}:{mac}".encode(), "sha256").hexdigest()


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
