"""Alarms: the few rows of the access log that an auditor is to look at, and what they have seen.

An alarm is a row like any other, in the same chain, with `severity` in its detail. That an auditor
has seen all up to a row is a row too, so nothing is stored outside the log.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.languages import lazy
from portal.models import AuditEvent, Invitation, Role, User

# What each alarm is called on the page.
ALARMS: Final = MappingProxyType(
    {
        "glass_broken": lazy("Opened a case that is not theirs"),
        "patient_access_given": lazy("Gave a person access to patients’ data"),
        "auditor_made": lazy("Gave a person access to this page"),
        "admin_made": lazy("Gave a person the rights of an administrator"),
        "inviter_followed_link": lazy("Followed a link that they had made themselves"),
        "anchors_gone": lazy("The access log’s anchors are gone: its end can have been cut off"),
    }
)
# Giving any of these roles is an alarm, so that no administrator can take it unseen through a
# second account.
_GIVEN: Final = MappingProxyType(
    {
        Role.TECHNOLOGIST: "patient_access_given",
        Role.READER: "patient_access_given",
        Role.AUDITOR: "auditor_made",
        Role.ADMIN: "admin_made",
    }
)
SEEN: Final = "alarms_seen"
_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm for the page: who did what, by name, and the codes of the row."""

    seq: int
    at: datetime
    event: str
    title: str
    person: str
    subject: str
    study_id: UUID | None
    subject_id: UUID | None
    detail: Mapping[str, Any]


def raise_alarm(
    session: Session,
    event: str,
    *,
    now: datetime,
    actor: Actor | None,
    study_id: UUID | None = None,
    subject_id: UUID | None = None,
    detail: audit.Detail | None = None,
) -> None:
    """Write an alarm in the caller's transaction; like `audit.append`, call it last.

    Without an actor it is about the portal itself.
    """
    if event not in ALARMS:
        raise ValueError("this event is no alarm")
    audit.append(
        session,
        event,
        actor=actor,
        now=now,
        study_id=study_id,
        subject_id=subject_id,
        detail={**(detail or {}), "severity": "alarm"},
        in_order=True,
    )


def raise_role_alarm(
    session: Session,
    role: Role,
    *,
    how: str,
    now: datetime,
    actor: Actor | None,
    subject_id: UUID,
) -> None:
    """The alarm for a person who gets a role (`how`: invited, reset, role, moved, sso). The command
    line has no actor and raises none: its user controls the machine anyway.
    """
    event = _GIVEN.get(role)
    if event is not None and actor is not None:
        detail = {"how": how, "role": role.value}
        raise_alarm(session, event, now=now, actor=actor, subject_id=subject_id, detail=detail)


def unseen(session: Session, actor: Actor) -> tuple[list[Alarm], int]:
    """The oldest alarms that no auditor has seen yet, newest first, and how many there are in all.

    Marking the first of them as seen marks none that was not shown.
    """
    actor.require(Permission.AUDIT_READ)
    waiting = (AuditEvent.event.in_(ALARMS), AuditEvent.seq > _seen_up_to(session))
    total = session.scalar(select(func.count()).select_from(AuditEvent).where(*waiting)) or 0
    oldest = select(AuditEvent).where(*waiting).order_by(AuditEvent.seq).limit(_SHOWN)
    rows = audit.readable(session, oldest)[::-1]
    ids = {i for row in rows for i in (row.actor_id, row.subject_id) if i is not None}
    names: dict[UUID, str] = {}
    for query in (
        select(Invitation.id, Invitation.name).where(Invitation.id.in_(ids)),
        select(User.id, User.name).where(User.id.in_(ids)),
    ):
        names.update(dict(session.execute(query).all()))
    session.commit()
    return [_alarm(row, names) for row in rows], total


def mark_seen(session: Session, actor: Actor, up_to: int, now: datetime) -> None:
    """Note that an auditor has looked at every alarm up to a row of the log."""
    actor.require(Permission.AUDIT_READ)
    audit.hold_order(session)  # of two at once, the one who has seen less takes nothing back
    last = session.scalar(select(func.max(AuditEvent.seq)).where(AuditEvent.event.in_(ALARMS))) or 0
    reached = min(up_to, last)
    if reached > _seen_up_to(session):
        detail = {"up_to": reached}
        audit.append(session, SEEN, actor=actor, now=now, detail=detail, in_order=True)
    session.commit()


def _seen_up_to(session: Session) -> int:
    """The row up to which alarms were seen. A note that can't be read counts as none: alarms are
    shown again then, and the check of the log finds the note.
    """
    noted = select(AuditEvent.detail).where(AuditEvent.event == SEEN)
    newest = session.scalar(noted.order_by(AuditEvent.seq.desc()).limit(1))
    up_to = _detail(newest).get("up_to") if newest is not None else 0
    return up_to if isinstance(up_to, int) else 0


def _detail(text: str) -> Mapping[str, Any]:
    """A row's detail; empty where it is none, as after a change from outside."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _alarm(row: AuditEvent, names: Mapping[UUID, str]) -> Alarm:
    return Alarm(
        seq=row.seq,
        at=row.at,
        event=row.event,
        title=ALARMS[row.event],
        person=names.get(row.actor_id, "") if row.actor_id else "",
        subject=names.get(row.subject_id, "") if row.subject_id else "",
        study_id=row.study_id,
        subject_id=row.subject_id,
        detail=_detail(row.detail),
    )
