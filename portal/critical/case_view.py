"""What a case page shows of an exam's critical findings."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import PATIENT_ROLES, Actor, Denied, Permission, openable_studies
from portal.critical import communications, findings, novelty, rota
from portal.critical.communications import CommunicationView
from portal.critical.novelty import Earlier
from portal.critical.open_findings import asked_last, informed_only, is_unanswered, names_of
from portal.models import CriticalFinding, CriticalState, Finding, Study, User
from portal.studies import exams
from portal.teams import ai_visibility
from portal.vault import Vault


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked to see to a finding, and when."""

    person: str
    at: datetime


@dataclass(frozen=True, slots=True)
class FindingView:
    """One critical finding of the exam. `due`: when it goes to `following`, "" for nobody."""

    id: UUID
    finding: Finding
    state: CriticalState
    stated_by: str
    since: datetime
    asked: list[Asked]
    asked_now: str
    informed: str  # at once, and not asked yet
    due: datetime | None
    following: str
    acknowledged_by: str
    acknowledged_at: datetime | None
    is_unanswered: bool
    ended_by: str
    ended_at: datetime | None
    communications: list[CommunicationView]


@dataclass(frozen=True, slots=True)
class CaseCritical:
    """The critical findings of an exam, the newest first, and what a new finding would be.

    `earlier`: the earlier exam that makes a pneumothorax of the same side here not a new one.
    `has_patient_id`: whether others can be found at all. `is_marked`: whether the box for it begins
    as checked. `by_side`: it begins unchecked for what `earlier` shows alone: a finding of another
    side is critical, unless somebody unmarks it once it is stated.
    """

    findings: list[FindingView]
    is_old: bool
    earlier: Earlier | None
    has_patient_id: bool
    is_marked: bool
    by_side: bool
    may_change: bool
    people: list[tuple[UUID, str]]


def of_case(session: Session, vault: Vault, actor: Actor, study_id: UUID) -> CaseCritical:
    """The critical findings of an exam that the actor has opened, which is logged by itself; Denied
    where they may not see it.
    """
    actor.require(Permission.STUDY_READ)
    now_in = exams.survivor_of(session, study_id)
    study = session.scalars(openable_studies(actor).where(Study.id == now_in)).first()
    if study is None:
        raise Denied("study")
    hides = ai_visibility.readings(session, [study.id]).hides_findings(actor, study.id)
    rows = [] if hides else list(reversed(findings.of_exam(session, study.id)))
    records = communications.of_findings(session, vault, rows)
    names = names_of(session, rows) if rows else {}
    earlier = novelty.earlier_finding(session, actor, study)
    may_change = actor.may(Permission.REVIEW_WRITE)
    listed = [_view(session, row, names, records[row.id]) for row in rows]
    people = _people(session, actor) if rows and may_change else []
    review = None if hides else findings.newest_review(session, study)
    session.commit()
    is_stated = review is not None and review.finding is not None and review.finding.is_positive
    if is_stated:
        # As it was marked with the finding that is stated.
        is_marked = any(row.state is not CriticalState.WITHDRAWN for row in rows)
    else:
        is_marked = earlier is None
    return CaseCritical(
        findings=listed,
        is_old=study.is_old,
        earlier=earlier,
        has_patient_id=study.patient_key is not None,
        is_marked=is_marked and not study.is_old,
        by_side=not is_stated and earlier is not None and earlier.finding is not Finding.BOTH,
        may_change=may_change,
        people=people,
    )


def _view(
    session: Session,
    row: CriticalFinding,
    names: dict[UUID, str],
    records: list[CommunicationView],
) -> FindingView:
    asked = [Asked(names[UUID(one["person"])], _time(one["at"])) for one in row.asked]
    following = None
    if row.due is not None:
        following = rota.next_after(session, row.team_id, {one["person"] for one in row.asked})
    return FindingView(
        id=row.id,
        finding=row.finding,
        state=row.state,
        stated_by=names[row.stated_by],
        since=row.created,
        asked=asked,
        asked_now="" if row.exhausted_at else names[asked_last(row)],
        informed=names[first] if (first := informed_only(row)) else "",
        due=row.due,
        following=following.name if following else "",
        acknowledged_by=names[row.acknowledged_by] if row.acknowledged_by else "",
        acknowledged_at=row.acknowledged_at,
        is_unanswered=is_unanswered(row),
        ended_by=names[row.ended_by] if row.ended_by else "",
        ended_at=row.ended_at,
        communications=records,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _people(session: Session, actor: Actor) -> list[tuple[UUID, str]]:
    """Who of the actor's team can have informed somebody."""
    query = (
        select(User.id, User.name)
        .where(
            User.team_id == actor.team_id,
            User.role.in_(PATIENT_ROLES),
            User.disabled_at.is_(None),
        )
        .order_by(User.name, User.id)
    )
    return [(user_id, name) for user_id, name in session.execute(query)]
