"""What the last checks of stored data and the access log found: for readiness, pages and commands.

The scheduler makes the check; without a scheduler there is none, and it grows old.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.database import insert_if_new
from portal.models import IntegrityCheck

# The scheduler checks every hour; a check of a large database may take part of the next.
OLD: Final = timedelta(hours=3)
_ONLY: Final = 1
_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class LastCheck:
    """When stored data was checked last, and what was found: ids and tables, no patient data."""

    checked_at: datetime
    problems: list[str]

    @property
    def rows_are_damaged(self) -> bool:
        """Whether rows can't be read: a file that no row seems to name may still have one."""
        return any(one.startswith(("database:", "unreadable:")) for one in self.problems)

    def state(self, now: datetime) -> Literal["ok", "damaged", "old"]:
        """In one word: `old` where nothing has been checked for three hours."""
        if self.problems:
            return "damaged"
        return "old" if abs(now - self.checked_at) > OLD else "ok"


def save(session: Session, problems: list[str], now: datetime) -> None:
    """Store the result of a check; of very many problems the first hundred."""
    found = {"checked_at": now, "problems": problems[:_MOST]}
    if not insert_if_new(session, IntegrityCheck, IntegrityCheck.id, id=_ONLY, **found):
        session.execute(update(IntegrityCheck).values(**found))
    session.commit()


def note(session: Session, problem: str, now: datetime) -> None:
    """Add what was found beside the checks; the next one finds it by itself, or it is gone."""
    before = last(session)
    if before is None:
        save(session, [problem], now)
    elif problem not in before.problems:
        save(session, [problem, *before.problems], before.checked_at)


def last(session: Session) -> LastCheck | None:
    """The last check; None before the first."""
    row = session.get(IntegrityCheck, _ONLY, populate_existing=True)
    found = LastCheck(row.checked_at, row.problems) if row is not None else None
    session.commit()
    return found
