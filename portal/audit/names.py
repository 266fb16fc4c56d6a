"""What the ids of the log are called, and which ids an auditor's search means.

Names of people, teams and models, and numbers of cases: nothing of a patient.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.access import Actor, Permission
from portal.models import (
    ApiToken,
    AuditEvent,
    DicomNode,
    Hl7Node,
    Invitation,
    ModelVersion,
    ReportTarget,
    Study,
    Team,
    User,
)

# The beginning of an id, as a page shows it: eight characters, or a few more that were copied.
_BEGINNING: Final = re.compile(r"[0-9a-f]{6,31}")
_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Names:
    """By id: names of who acted or was acted on, and numbers of cases. What is gone has none."""

    people: dict[UUID, str]
    cases: dict[UUID, str]


def names_of(session: Session, actor: Actor, rows: Sequence[AuditEvent]) -> Names:
    """The names beside the ids of these rows, for people who may read the log."""
    actor.require(Permission.AUDIT_READ)
    ids = {i for row in rows for i in (row.actor_id, row.subject_id) if i is not None}
    people: dict[UUID, str] = {}
    for column, name in _NAMED:
        people.update(dict(session.execute(select(column, name).where(column.in_(ids))).all()))
    studies = {row.study_id for row in rows if row.study_id is not None}
    numbers = select(Study.id, Study.case_number).where(Study.id.in_(studies))
    cases = dict(session.execute(numbers).all())
    session.commit()
    return Names(people, cases)


def people_meant(session: Session, actor: Actor, text: str) -> tuple[UUID, ...]:
    """The people that a search for a person means: an id or its beginning, or a part of a name or
    address. An id that nobody has stands for itself; empty where nobody is meant.
    """
    actor.require(Permission.AUDIT_READ)
    sought = text.strip().casefold()
    rows = session.execute(select(User.id, User.name, User.email)).all()
    session.commit()
    by_id = [i for i, _, _ in rows if is_id(sought) and i.hex.startswith(_hex(sought))]
    by_name = [i for i, name, email in rows if sought in name.casefold() or sought in email]
    found = tuple(dict.fromkeys([*by_id, *by_name]))
    return found or _itself(sought)


def subjects_meant(session: Session, actor: Actor, text: str) -> tuple[UUID, ...]:
    """The ids that rows are about which a search means: an id or its beginning, or a person."""
    found = people_meant(session, actor, text)
    if is_id(text):
        beginning = _hex(text.strip().lower())
        between = within(AuditEvent.subject_id, beginning)
        ids = session.scalars(select(AuditEvent.subject_id).where(between).distinct().limit(_MOST))
        found = tuple(dict.fromkeys([*found, *(i for i in ids if i is not None)]))
        session.commit()
    return found


def is_id(text: str) -> bool:
    """Whether the text is an id or the beginning of one."""
    sought = _hex(text.strip().lower())
    return bool(_BEGINNING.fullmatch(sought)) or bool(_itself(sought))


def within(column: InstrumentedAttribute[Any], beginning: str) -> ColumnElement[bool]:
    """The condition that an id begins with these hexadecimal digits."""
    return column.between(UUID(beginning.ljust(32, "0")), UUID(beginning.ljust(32, "f")))


def _itself(text: str) -> tuple[UUID, ...]:
    try:
        return (UUID(text),)
    except ValueError:
        return ()


def _hex(text: str) -> str:
    return text.replace("-", "")


_NAMED: Final[Collection[tuple[Any, Any]]] = (
    (Invitation.id, Invitation.name),
    (ApiToken.id, ApiToken.name),
    (Team.id, Team.name),
    (ModelVersion.id, ModelVersion.name),
    (DicomNode.id, DicomNode.name),
    (Hl7Node.id, Hl7Node.name),
    (ReportTarget.id, ReportTarget.name),
    (User.id, User.name),
)
