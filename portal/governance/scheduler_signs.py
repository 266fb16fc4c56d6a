"""The scheduler's signs of life: when each of its loops last did its work, for all who ask.

By the database's clock, so that neither this machine's clock nor another portal's matters. A
process that is there and does nothing gives none.
"""

from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.database import DatabaseTime, insert_if_new, rows_changed
from portal.models import SchedulerSign

SWEEP: Final = "sweep"
LINK: Final = "link"
LOOPS: Final = (SWEEP, LINK)
# The sweep comes every 5 seconds, the link's sign every 10: who missed several does not work.
OLD_SECONDS: Final = 60.0


def give(session: Session, loop: str) -> None:
    """Note that a loop has just done its work; commits."""
    again = update(SchedulerSign).where(SchedulerSign.loop == loop).values(at=DatabaseTime())
    done = session.execute(again, execution_options={"synchronize_session": False})
    if not rows_changed(done):
        insert_if_new(session, SchedulerSign, SchedulerSign.loop, loop=loop, at=DatabaseTime())
    session.commit()


def silent(session: Session) -> tuple[str, ...]:
    """The loops that have not done their work for a minute, or never. Changes nothing."""
    fresh = session.scalars(
        select(SchedulerSign.loop).where(
            SchedulerSign.at > DatabaseTime(-OLD_SECONDS),
            # One that is dated ahead, by a clock that was set back since, is none.
            SchedulerSign.at < DatabaseTime(OLD_SECONDS),
        )
    ).all()
    session.commit()
    return tuple(loop for loop in LOOPS if loop not in fresh)
