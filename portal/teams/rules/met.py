"""Which rule pictures met when they arrived, as it was then, for who opens the exam."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Arrival, ArrivalEnd, ArrivalRule, User


@dataclass(frozen=True, slots=True)
class RuleMet:
    """The rule that a picture met; without a name where none fitted. `version`: of the team's list
    then, 0 for none. `asked_by`: who had it analysed at once in spite of the rule.
    """

    end: ArrivalEnd
    version: int
    name: str = ""
    reason: str = ""
    asked_by: str = ""
    asked_at: datetime | None = None


def of_pictures(session: Session, pictures: Collection[UUID]) -> dict[UUID, RuleMet]:
    """By picture; those of a version before are left out."""
    rows = session.execute(
        select(Arrival, ArrivalRule, User.name)
        .outerjoin(ArrivalRule, ArrivalRule.id == Arrival.rule_id)
        .outerjoin(User, User.id == Arrival.asked_by)
        .where(Arrival.instance_id.in_(pictures))
    )
    return {
        arrival.instance_id: RuleMet(
            end=arrival.end,
            version=arrival.version,
            name=rule.name if rule else "",
            reason=rule.reason if rule else "",
            asked_by=asked_by or "",
            asked_at=arrival.asked_at,
        )
        for arrival, rule, asked_by in rows
    }
