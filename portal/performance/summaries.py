"""The monthly summaries behind the boards, made by the scheduler: no page counts exams itself.

Months are computed anew from the exams: the running one every few minutes, older ones a few times a
day, because a late review, a purge or a further model changes them too.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from portal import database
from portal.models import PerformanceMonth, Study
from portal.performance import exam_outcomes, months, own_reading, readers, second_reads
from portal.performance.months import Month
from portal.performance.turnaround import turnaround

# How old a summary may get: of the running month, of others.
RUNNING_AGE: Final = timedelta(minutes=5)
OTHER_AGE: Final = timedelta(hours=8)
# So many months at most in one go, which ends in a commit for each.
AT_ONCE: Final = 4


def refresh(session: Session, now: datetime) -> int:
    """Compute the months that are missing or old, the newest first; returns how many it did.

    A summary that is dated ahead, by a clock that was set back since, counts as old.
    """
    computed: dict[str, datetime] = dict(
        session.execute(
            select(PerformanceMonth.month, PerformanceMonth.computed_at).where(
                PerformanceMonth.model_id.is_(None)
            )
        ).all()
    )
    session.commit()
    known = months.until(now)

    def is_due(month: Month) -> bool:
        at = computed.get(month.name)
        age = RUNNING_AGE if month is known[-1] else OTHER_AGE
        return at is None or not now - age < at <= now

    due = [month for month in reversed(known) if is_due(month)][:AT_ONCE]
    for month in due:
        compute(session, month, now)
    return len(due)


def compute(session: Session, month: Month, now: datetime) -> None:
    """Replace the summaries of a month; commits. Nobody waits while the exams are counted."""
    database.read_one_moment(session)
    groups: dict[UUID, list[list[Any]]] = {}
    for row in session.execute(exam_outcomes.grouped(month)):
        counts = [int(getattr(row, name)) for name in exam_outcomes.COUNTS]
        groups.setdefault(row.model_id, []).append([row.dimension, row.name, *counts])
    times = turnaround(session, month)
    arrived = session.scalar(
        select(func.count()).select_from(Study).where(*exam_outcomes.listed(month))
    )
    content = {
        "arrived": arrived or 0,
        "by_reader": readers.of_month(session, month),
        "readers": own_reading.without_names(session, month),
        "second_reads": second_reads.of_month(session, month),
        "turnaround": {
            step: [found.count, *(round(found.seconds[p], 1) for p in sorted(found.seconds))]
            for step, found in times.items()
        },
    }
    session.commit()
    session.execute(delete(PerformanceMonth).where(PerformanceMonth.month == month.name))
    session.add(PerformanceMonth(month=month.name, content=content, computed_at=now))
    session.add_all(
        PerformanceMonth(
            month=month.name, model_id=model_id, content={"groups": of_model}, computed_at=now
        )
        for model_id, of_model in groups.items()
    )
    session.commit()
