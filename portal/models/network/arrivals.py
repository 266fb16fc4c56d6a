"""Tables of arrivals: a team's rules for what arrives, and which rule each picture met."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, SmallInteger, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import ArrivalEnd, RulesChange


class ArrivalRulesVersion(Base):
    """One version of a team's list of rules; the newest one is in force. `change`: what was done to
    the version before, to the rule called `rule_name`; `restored`: the version that it repeats.
    """

    __tablename__ = "arrival_rules_versions"
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    change: Mapped[RulesChange] = mapped_column(checked(RulesChange, "rules_change"))
    rule_name: Mapped[str] = mapped_column(String(80))
    restored: Mapped[int | None]
    created: Mapped[datetime]


class ArrivalRule(Base):
    """A rule in one version of its team's list. A row is never changed: each change of the list
    writes all of its rules anew, so that what a picture met stays as it was.

    `rule`: the same through all versions. `conditions`: see `teams.rules.conditions`.
    """

    __tablename__ = "arrival_rules"
    __table_args__ = (UniqueConstraint("team_id", "version", "position"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    version: Mapped[int]
    position: Mapped[int] = mapped_column(SmallInteger)
    rule: Mapped[uuid.UUID]
    name: Mapped[str] = mapped_column(String(80))
    is_on: Mapped[bool]
    end: Mapped[ArrivalEnd] = mapped_column(checked(ArrivalEnd, "rule_end"))
    reason: Mapped[str] = mapped_column(String(120))
    conditions: Mapped[dict[str, Any]]


class Arrival(Base):
    """How a picture arrived: the rule that it met, None where none fitted, and the version of the
    list then, 0 for none. The facts by which it was judged carry age and station, so they are
    sealed under the picture's key. `asked_by`: who had it analysed in spite of the rule.
    """

    __tablename__ = "arrivals"
    __table_args__ = (Index("ix_arrivals_team", "team_id", "created"),)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"), primary_key=True)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    rule_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("arrival_rules.id"), index=True)
    version: Mapped[int]
    end: Mapped[ArrivalEnd] = mapped_column(checked(ArrivalEnd, "arrival_end"))
    sealed_facts: Mapped[bytes]
    created: Mapped[datetime]
    asked_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    asked_at: Mapped[datetime | None]
