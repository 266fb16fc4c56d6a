"""Emergency access (break-glass): one case of others is opened for a while, with an alarm.

The case is named by its number or id, typed in: nothing of a patient is shown before. What does
not exist and what may not be opened get the same answer. `access` decides who may open what; each
row of the log names the grant (`audit.append`), and the person's explanation is encrypted under the
case's key, for auditors alone.
"""

import string
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from portal import access, audit
from portal.access import Actor, Denied, Grant, Permission
from portal.accounts.sessions import recheck_permission
from portal.accounts.throttle import BREAK_GLASS, Throttle
from portal.audit import alarms
from portal.errors import Invalid
from portal.formats.display_text import clean_lines
from portal.languages import _, lazy
from portal.models import BreakGlass, BreakGlassReason, Study, User
from portal.studies import exams, sealed_fields
from portal.vault import NotReadable, Vault

SHORTEST, LONGEST = 10, 500  # characters of an explanation
_UNKNOWN: Final = lazy("No case has this number, or it can’t be opened like this.")
_LIST: Final = 100


@dataclass(frozen=True, slots=True)
class GrantView:
    """A grant; the explanation is only for auditors and the person, else it is empty."""

    id: UUID
    study_id: UUID
    case_number: str
    person: str
    mine: bool
    reason: BreakGlassReason
    explanation: str = field(repr=False)
    created: datetime
    until: datetime
    stands: bool


def open_case(
    session: Session,
    vault: Vault,
    throttle: Throttle,
    actor: Actor,
    *,
    case: str,
    reason: str,
    explanation: str,
    now: datetime,
    lifetime: timedelta,
) -> UUID:
    """Open the case of this number or id and raise an alarm; returns the study.

    A case that is the actor's own is returned without a grant. Opening one again begins anew and
    ends the grant before. Raises `Invalid`, `Throttled`, and `Denied` for whoever may not.
    """
    actor.require(Permission.BREAK_GLASS)
    chosen, explanation = _reason(reason), clean_lines(explanation, LONGEST + 1)
    if not SHORTEST <= len(explanation) <= LONGEST:
        raise Invalid(
            "explanation",
            _(
                "Give the reason in %(shortest)s to %(longest)s characters.",
                shortest=SHORTEST,
                longest=LONGEST,
            ),
        )
    throttle.take([(BREAK_GLASS, str(actor.user_id))], now)
    named = _named(case)
    own = list(session.scalars(access.visible_studies(actor).where(named).limit(2)))
    others = list(session.scalars(access.out_of_reach(actor).where(named).limit(2)))
    if len(own) + len(others) != 1:
        audit.append(session, "glass_refused", actor=actor, now=now, detail={"found": len(others)})
        session.commit()
        several = _("Several cases begin like this. Give the whole id.")
        raise Invalid("case", several if own or others else _UNKNOWN)
    if own:
        session.commit()
        return own[0].id
    study = others[0]
    # Locked: of two grants at once the later ends the earlier, and what ends all ends this one too.
    recheck_permission(session, actor, Permission.BREAK_GLASS)
    same = exams.within(BreakGlass.study_id, study.id)
    _end(session, actor, now, BreakGlass.user_id == actor.user_id, same)
    row = BreakGlass(
        id=uuid4(),
        study_id=study.id,
        user_id=actor.user_id,
        reason=chosen,
        created=now,
        expires=now + lifetime,
    )
    row.sealed_words = sealed_fields.seal_explanation(
        vault, sealed_fields.key_of(vault, study), row.id, explanation
    )
    session.add(row)
    alarms.raise_alarm(
        session,
        "glass_broken",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=row.id,
        detail={"reason": chosen.value, "until": row.expires.isoformat()},
    )
    session.commit()
    return study.id


def under(session: Session, actor: Actor, study_id: UUID, now: datetime) -> Actor:
    """The actor with their current grant for this case, or unchanged where there is none."""
    if actor.via != "session" or not actor.may(Permission.BREAK_GLASS):
        return actor
    study_id = exams.survivor_of(session, study_id)
    row = session.scalars(
        select(BreakGlass)
        .where(
            BreakGlass.user_id == actor.user_id,
            exams.within(BreakGlass.study_id, study_id),
            *_stands(now),
        )
        .order_by(BreakGlass.expires.desc())
        .limit(1)
    ).first()
    session.commit()
    return access.under_grant(actor, Grant(row.id, study_id, row.expires)) if row else actor


def end(session: Session, actor: Actor, grant_id: UUID, now: datetime) -> None:
    """Close a case again: the person themself, an auditor or an admin; for others `Denied`."""
    row = session.get(BreakGlass, grant_id)
    if row is None or not access.may_end_grant(actor, row.user_id):
        session.rollback()
        raise Denied("grant")
    _end(session, actor, now, BreakGlass.id == grant_id)
    session.commit()


def end_all_of(session: Session, actor: Actor, user_id: UUID, now: datetime) -> int:
    """Close, in the caller's transaction, all cases that a person has opened; returns how many."""
    return _end(session, actor, now, BreakGlass.user_id == user_id)


def grants(
    session: Session, vault: Vault, actor: Actor, now: datetime, *, also: Collection[UUID] = ()
) -> list[GrantView]:
    """Current grants, and those of these ids: all for auditors and administrators, else one's own.

    Only auditors and the person read the explanation.
    """
    query = (
        select(BreakGlass, Study, User.name)
        .join(Study, Study.id == BreakGlass.study_id)
        .join(User, User.id == BreakGlass.user_id)
        .where(or_(and_(*_stands(now)), BreakGlass.id.in_(also)))
        .order_by(BreakGlass.created.desc())
        .limit(_LIST)
    )
    found = [
        _view(vault, actor, row, study, name, now)
        for row, study, name in session.execute(query)
        if access.may_end_grant(actor, row.user_id)
    ]
    session.commit()
    return found


def _view(
    vault: Vault, actor: Actor, row: BreakGlass, study: Study, name: str, now: datetime
) -> GrantView:
    mine = row.user_id == actor.user_id
    explanation = ""
    if mine or actor.may(Permission.AUDIT_READ):
        try:
            explanation = sealed_fields.open_explanation(
                vault, sealed_fields.key_of(vault, study), row
            )
        except NotReadable:  # the case was purged: its key is gone, and the explanation with it
            explanation = ""
    return GrantView(
        id=row.id,
        study_id=row.study_id,
        case_number=study.case_number,
        person=name,
        mine=mine,
        reason=row.reason,
        explanation=explanation,
        created=row.created,
        until=row.ended_at or row.expires,
        stands=row.ended_at is None and now < row.expires,
    )


def _stands(now: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return BreakGlass.ended_at.is_(None), BreakGlass.expires > now


def _end(session: Session, actor: Actor, now: datetime, *which: ColumnElement[bool]) -> int:
    ended = session.execute(
        update(BreakGlass)
        .where(*which, *_stands(now))
        .values(ended_at=now, ended_by=actor.user_id)
        .returning(BreakGlass.id, BreakGlass.study_id)
    ).all()
    for grant_id, study_id in ended:
        audit.append(
            session, "glass_ended", actor=actor, now=now, study_id=study_id, subject_id=grant_id
        )
    return len(ended)


def _reason(text: str) -> BreakGlassReason:
    try:
        return BreakGlassReason(text)
    except ValueError:
        raise Invalid("reason", _("Choose one of the reasons.")) from None


def _named(case: str) -> ColumnElement[bool]:
    """The condition for a case number (six signs, # before it or not) or a whole id.

    Those of a case that was joined into another name the other.
    """
    typed = case.strip().lstrip("#")
    try:
        named = Study.id == UUID(typed)
    except ValueError:
        number = typed.upper()
        if len(number) != 6 or not set(number) <= set(string.hexdigits.upper()):
            raise Invalid(
                "case", _("Give the case number (six signs, such as 7F3A21) or the id.")
            ) from None
        named = Study.case_number == number
    return Study.id.in_(select(exams.exam_id()).where(named))
