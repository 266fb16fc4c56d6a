"""Critical findings that nobody has closed go to the next on the team's rota, and so on.

The scheduler's sweep calls `run`. Once everybody was asked, that is a state of the finding.
"""

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.critical import outbox, rota
from portal.database import DatabaseTime
from portal.models import CriticalFinding, CriticalState, Study
from portal.studies import exams

_AT_ONCE: Final = 100
_log = logging.getLogger(__name__)


def run(session: Session, now: datetime) -> int:
    """Pass on every critical finding whose time is over, each in its own transaction; how many.

    One whose exam can't be read keeps back no other. One that would wait longer than its team's
    time was dated by a clock that was ahead, so its time is over as well. The caller sees to it
    that the clock is right (`governance.clock`).
    """
    query = select(CriticalFinding.id).where(CriticalFinding.due <= now)
    due = list(session.scalars(query.order_by(CriticalFinding.due).limit(_AT_ONCE)))
    due += _dated_ahead(session, now)
    session.commit()
    done = 0
    for finding_id in due:
        try:
            done += _pass_on(session, finding_id, now)
        except database.UNREADABLE as error:
            session.rollback()
            if not database.is_damage(error):
                raise
            _log.error("critical finding %s is not passed on: its rows can't be read", finding_id)
    return done


def _dated_ahead(session: Session, now: datetime) -> list[UUID]:
    waits = (CriticalFinding.id, CriticalFinding.team_id, CriticalFinding.due)
    rows = session.execute(select(*waits).where(CriticalFinding.due > now)).all()
    times = {team: rota.wait_of(session, team) for team in {row.team_id for row in rows}}
    found = [i for i, team, due in rows if due is not None and _is_due(due, times[team], now)]
    return found[:_AT_ONCE]


def _is_due(due: datetime, wait: timedelta | None, now: datetime) -> bool:
    return due <= now or (wait is not None and due > now + wait)


def _pass_on(session: Session, finding_id: UUID, now: datetime) -> bool:
    """Ask the next on the rota; False where somebody else was quicker."""
    stated_in = select(CriticalFinding.study_id).where(CriticalFinding.id == finding_id)
    study_id = exams.survivor_of(session, session.scalars(stated_in).one())
    # As whoever reviews the exam: they wait for each other.
    locked = {"key_share": True}
    study = session.get_one(Study, study_id, with_for_update=locked, populate_existing=True)
    row = session.get_one(CriticalFinding, finding_id, populate_existing=True)
    wait = rota.wait_of(session, row.team_id)
    is_open = row.state is CriticalState.OPEN
    if not is_open or row.due is None or not _is_due(row.due, wait, now):
        session.commit()
        return False
    asked = {one["person"] for one in row.asked}
    following = rota.next_after(session, row.team_id, asked)
    row.acknowledged_by = row.acknowledged_at = None
    if wait is None:  # since it opened the team has chosen that nobody is asked
        row.due, event = None, "critical_not_passed_on"
    elif following is not None:
        row.asked = [*row.asked, {"person": following.id.hex, "at": now.isoformat()}]
        row.due, event = now + wait, outbox.PASSED_ON
        outbox.add(session, row, event, now, people=[following.id])
    else:
        row.due, row.exhausted_at, event = None, now, outbox.UNANSWERED
        everybody = [one.id for one in rota.people_of(session, row.team_id)]
        outbox.add(session, row, event, now, people=[row.stated_by, *everybody])
    study.changed = DatabaseTime()
    session.flush()
    audit.append(
        session,
        event,
        now=now,
        study_id=study.id,
        subject_id=row.id,
        detail={"asked": following.id.hex if following and wait is not None else None},
        bound=[row],
    )
    session.commit()
    return True
