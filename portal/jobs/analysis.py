"""When a picture is analysed: at once, in the team's off-peak hours, or not at all, by the rule
that it met on its arrival; and at once in any case where a person asks for it.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission, visible_studies
from portal.database import DatabaseTime
from portal.errors import Conflict
from portal.jobs.attempts import place
from portal.jobs.claims import enqueue
from portal.languages import _
from portal.models import Arrival, ArrivalEnd, Instance, Job, JobKind, JobState, Study
from portal.studies import exams
from portal.studies.locks import lock_exam
from portal.teams.rules import off_peak
from portal.teams.settings import settings_of

# Of what a rule puts off: behind all others, as old exams.
OFF_PEAK_PRIORITY: Final = -10


def enqueue_after_render(
    session: Session, instance: Instance, priority: int, now: datetime
) -> UUID | None:
    """Add the segment job of a picture that is prepared; None where its rule keeps it without."""
    arrival, is_old = session.execute(
        select(Arrival, Study.is_old)
        .select_from(Study)
        .outerjoin(Arrival, Arrival.instance_id == instance.id)
        .where(Study.id == instance.study_id)
        .execution_options(populate_existing=True)
    ).one()
    if not is_old:  # any more: a picture of today may have come while this one was prepared
        priority = max(priority, 0)
    end = ArrivalEnd.ANALYSE if arrival is None or arrival.asked_at is not None else arrival.end
    if end is ArrivalEnd.KEEP:
        return None
    begin = None
    if end is ArrivalEnd.OFF_PEAK:
        begin = off_peak.not_before(now, settings_of(session, instance.team_id))
        priority = min(priority, OFF_PEAK_PRIORITY)
    job = enqueue(session, JobKind.SEGMENT, now, instance=instance, priority=priority)
    if begin is not None and begin > now:
        job.not_before = begin
        session.flush()
    return job.id


def analyse_now(session: Session, actor: Actor, study_id: UUID, now: datetime) -> list[UUID]:
    """Have the pictures of an exam analysed that a rule keeps without analysis or has put off;
    returns the jobs to be announced. Denied where the actor may not see the exam, Conflict where
    there is no such picture.
    """
    actor.require(Permission.STUDY_SUBMIT)
    exam = session.scalars(
        visible_studies(actor).where(Study.id == exams.survivor_of(session, study_id))
    ).first()
    if exam is None:
        raise Denied("study")
    study = lock_exam(session, exam.id)
    if study is None or study.purged_at is not None:
        session.rollback()
        raise Denied("study")
    asked, jobs = list[UUID](), list[UUID]()
    rows = session.execute(
        select(Arrival, Instance)
        .join(Instance, Instance.id == Arrival.instance_id)
        .where(
            Instance.study_id == study.id,
            Arrival.end.in_((ArrivalEnd.KEEP, ArrivalEnd.OFF_PEAK)),
            Arrival.asked_at.is_(None),
        )
        .order_by(Instance.created, Instance.id)
        .execution_options(populate_existing=True)
    ).all()
    for arrival, instance in rows:
        found, is_open = _asked_for(session, instance, now)
        if not is_open:
            continue
        arrival.asked_by, arrival.asked_at = actor.user_id, now
        asked.append(instance.id)
        if found is not None:
            jobs.append(found)
    if not asked:
        session.rollback()
        raise Conflict("nothing_to_analyse", _("No picture of this case waits for its analysis."))
    session.flush()
    for job_id in jobs:
        place(session, session.get_one(Job, job_id))
    audit.append(
        session,
        "analysis_asked_for",
        actor=actor,
        now=now,
        study_id=study.id,
        detail={"pictures": [one.hex for one in asked]},
    )
    session.commit()
    return jobs


def _asked_for(session: Session, instance: Instance, now: datetime) -> tuple[UUID | None, bool]:
    """The job to be announced, and whether there was anything to be asked for. A picture that is
    not prepared yet is analysed as soon as it is.
    """
    jobs = {
        job.kind: job
        for job in session.scalars(
            select(Job)
            .where(
                Job.instance_id == instance.id,
                Job.kind.in_((JobKind.RENDER, JobKind.SEGMENT)),
            )
            .execution_options(populate_existing=True)
        )
    }
    render, segment = jobs.get(JobKind.RENDER), jobs.get(JobKind.SEGMENT)
    if segment is not None:
        waits = segment.state is JobState.QUEUED and segment.not_before is not None
        if not waits:
            return None, False
        segment.not_before, segment.priority = None, max(segment.priority, 0)
        segment.queued_at, segment.rung_at = DatabaseTime(), None
        return segment.id, True
    if render is None or render.state is not JobState.DONE:
        return None, render is not None and render.state is not JobState.FAILED
    return enqueue(session, JobKind.SEGMENT, now, instance=instance).id, True
