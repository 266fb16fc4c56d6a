"""When a critical finding opens and ends: a reader's finding of a new pneumothorax, unless the
reader unmarks it.

Whoever changes one holds the exam's lock, and each change is bound to the access log.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission, visible_studies
from portal.critical import novelty, outbox, rota
from portal.database import DatabaseTime
from portal.errors import Conflict
from portal.languages import _
from portal.models import CriticalFinding, CriticalState, Review, Study
from portal.models.critical import INFORMED_KEY
from portal.studies import exams
from portal.teams import ai_visibility


def of_exam(session: Session, study_id: UUID) -> list[CriticalFinding]:
    """All critical findings of an exam, and of those joined into it, the oldest first."""
    query = (
        select(CriticalFinding)
        .where(exams.within(CriticalFinding.study_id, study_id))
        .order_by(CriticalFinding.created, CriticalFinding.id)
        .execution_options(populate_existing=True)
    )
    return list(session.scalars(query))


def newest_review(session: Session, study: Study) -> Review | None:
    """What was stated last of an exam."""
    query = select(Review).where(exams.within(Review.study_id, study.id))
    return session.scalars(query.order_by(Review.created.desc()).limit(1)).first()


def follow(
    session: Session,
    actor: Actor,
    study: Study,
    review: Review,
    marked: bool | None,
    now: datetime,
    *,
    is_blind: bool = False,
) -> None:
    """Open or end the exam's critical finding as a new review states, in the review's transaction.

    `marked`: whether the reader calls it critical; None: as it is by itself, which is critical if
    it is new. What somebody was informed of stays closed, unless another side is stated now. An old
    exam never has one. `is_blind`: the reader could not see the finding that is open, so they do
    not end it, whatever they state.
    """
    known = of_exam(session, study.id)
    is_open = [row for row in known if row.state is CriticalState.OPEN]
    finding = review.finding
    is_stated = finding is not None and finding.is_positive and not study.is_old
    for row in is_open if not is_blind else ():
        if not is_stated or marked is False or row.finding is not finding:
            _withdraw(session, actor, study, row, now)
    if finding is None or not is_stated or marked is False:
        return
    if marked is None and not is_open:
        earlier = novelty.earlier_finding(session, actor, study)
        if earlier is not None and earlier.shows(finding):
            return
    if any(row.finding is finding and row.state is not CriticalState.WITHDRAWN for row in known):
        return
    _open(session, actor, study, review, now)


def mark(session: Session, actor: Actor, study_id: UUID, marked: bool, now: datetime) -> None:
    """Call the newest review's finding critical, or not, after it was saved.

    Conflict where the exam has no finding of a pneumothorax, is an old one, or somebody was
    informed already; Denied where the actor may not review it.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = lock(session, actor, study_id)
    review = newest_review(session, study)
    if review is None or review.finding is None or not review.finding.is_positive:
        raise Conflict("no_finding", _("Only a pneumothorax on a side can be marked as critical."))
    if study.is_old:
        raise Conflict("old_exam", _("This is an older exam: it raises no alarm."))
    known = of_exam(session, study.id)
    if any(row.state is CriticalState.CLOSED and row.finding is review.finding for row in known):
        raise Conflict("informed", _("Somebody was informed of this finding already."))
    follow(session, actor, study, review, marked, now)
    session.commit()


def acknowledge(session: Session, actor: Actor, study_id: UUID, now: datetime) -> None:
    """The actor sees to the exam's critical finding: it goes to the next only if it is still open
    when the team's time has passed once more. Conflict where none is open; Denied.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = lock(session, actor, study_id)
    for row in open_of(session, study):
        wait = rota.wait_of(session, row.team_id)
        row.acknowledged_by, row.acknowledged_at = actor.user_id, now
        row.exhausted_at, row.due = None, now + wait if wait is not None else None
        _note(session, "critical_acknowledged", actor, study, row, now)
    session.commit()


def lock(session: Session, actor: Actor, study_id: UUID) -> Study:
    """The exam, locked; Denied where it is not in the actor's list, or colleagues' findings
    are hidden from them (`teams.ai_visibility`): to them it has no critical finding.
    """
    now_in = exams.survivor_of(session, study_id)
    study = session.scalars(visible_studies(actor).where(Study.id == now_in)).first()
    if study is None:
        raise Denied("study")
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    if ai_visibility.readings(session, [study.id]).hides_findings(actor, study.id):
        raise Denied("critical")
    return study


def open_of(session: Session, study: Study) -> Sequence[CriticalFinding]:
    """The open critical findings of a locked exam; Conflict where there is none."""
    found = [row for row in of_exam(session, study.id) if row.state is CriticalState.OPEN]
    if not found:
        raise Conflict(
            "not_open", _("No critical finding of this case is open any more. Look at it again.")
        )
    return found


def close(
    session: Session, actor: Actor, study: Study, row: CriticalFinding, now: datetime
) -> None:
    """Somebody was informed; the caller has added who, and writes the row of the log."""
    row.state, row.due = CriticalState.CLOSED, None
    row.ended_by, row.ended_at = actor.user_id, now
    study.changed = DatabaseTime()
    outbox.add(session, row, outbox.CLOSED, now)


def end_for_purge(session: Session, study_ids: Sequence[UUID], now: datetime) -> None:
    """Nobody is asked about purged exams any more; within the purge's transaction."""
    query = select(CriticalFinding).where(CriticalFinding.study_id.in_(study_ids))
    for row in session.scalars(query.order_by(CriticalFinding.id)):
        outbox.drop(session, row)
        if row.state is not CriticalState.OPEN:
            continue
        row.state, row.due, row.ended_at = CriticalState.WITHDRAWN, None, now
        audit.append(
            session,
            "critical_withdrawn",
            now=now,
            study_id=row.study_id,
            subject_id=row.id,
            bound=[row],
        )


def _open(session: Session, actor: Actor, study: Study, review: Review, now: datetime) -> None:
    assert review.finding is not None
    wait = rota.wait_of(session, study.team_id)
    first = rota.next_after(session, study.team_id, {actor.user_id.hex}) if wait else None
    stated = {"person": actor.user_id.hex, "at": now.isoformat()}
    row = CriticalFinding(
        id=uuid4(),
        study_id=study.id,
        team_id=study.team_id,
        review_id=review.id,
        stated_by=actor.user_id,
        finding=review.finding,
        state=CriticalState.OPEN,
        created=now,
        # The first on the rota is informed at once, and asked when the reader's time has passed.
        asked=[stated | {INFORMED_KEY: first.id.hex} if first else stated],
        due=now + wait if wait is not None else None,
    )
    session.add(row)
    outbox.add(session, row, outbox.OPENED, now, people=[first.id] if first else [])
    _note(session, "critical_opened", actor, study, row, now)


def _withdraw(
    session: Session, actor: Actor, study: Study, row: CriticalFinding, now: datetime
) -> None:
    row.state, row.due = CriticalState.WITHDRAWN, None
    row.ended_by, row.ended_at = actor.user_id, now
    outbox.add(session, row, outbox.WITHDRAWN, now)
    _note(session, "critical_withdrawn", actor, study, row, now)


def _note(
    session: Session,
    event: str,
    actor: Actor,
    study: Study,
    row: CriticalFinding,
    now: datetime,
) -> None:
    study.changed = DatabaseTime()
    session.flush()
    audit.append(
        session,
        event,
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=row.id,
        bound=[row],
    )
