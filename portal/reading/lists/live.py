"""The parts of a list's rows that change while a page is open."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from portal.access import Actor
from portal.reading import case, worklist_rows
from portal.reading.lists.claims import Claim
from portal.reading.shown_results import Shown
from portal.studies.status import StudyState


@dataclass(frozen=True, slots=True)
class LiveRow:
    """An exam's state, who read it last, and who reads it just now."""

    state: StudyState
    reader: str | None
    claim: Claim | None


def live_rows(
    session: Session, actor: Actor, ids: Sequence[UUID], now: datetime, shown: Shown
) -> dict[UUID, LiveRow]:
    """The present rows of these exams, as `case.states` checks and logs them."""
    states = case.states(session, actor, ids, now, shown)
    parts = replace(worklist_rows.Changing.of(session, list(states), now), states=states)
    session.commit()
    return {i: LiveRow(*parts.seen(actor, i)) for i in states}
