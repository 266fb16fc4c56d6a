"""The rules of a team: the newest version of its list, and earlier ones."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from portal.models import ArrivalRule, ArrivalRulesVersion
from portal.teams.rules.conditions import Conditions, Rule

# Made once, as they run with every arrival.
_NEWEST: Final = select(func.max(ArrivalRulesVersion.version)).where(
    ArrivalRulesVersion.team_id == bindparam("team_id")
)
_OF_VERSION: Final = (
    select(ArrivalRule)
    .where(ArrivalRule.team_id == bindparam("team_id"), ArrivalRule.version == bindparam("version"))
    .order_by(ArrivalRule.position)
)


@dataclass(frozen=True, slots=True)
class RuleList:
    """A version of a team's rules, in their order. Version 0: no rule was ever made."""

    version: int
    rules: tuple[Rule, ...] = ()


def rules_of(session: Session, team_id: UUID) -> RuleList:
    """The rules in force for a team; within the caller's transaction."""
    version = session.scalar(_NEWEST, {"team_id": team_id})
    return RuleList(0) if version is None else of_version(session, team_id, version)


def of_version(session: Session, team_id: UUID, version: int) -> RuleList:
    """The rules of one version of a team's list."""
    rows = session.scalars(_OF_VERSION, {"team_id": team_id, "version": version})
    return RuleList(version, tuple(as_rule(row) for row in rows))


def as_rule(row: ArrivalRule) -> Rule:
    """The rule of a row."""
    return Rule(
        name=row.name,
        end=row.end,
        reason=row.reason,
        conditions=Conditions.of(row.conditions),
        is_on=row.is_on,
        id=row.id,
        rule=row.rule,
    )
