"""What a list of rules would do: with the last arrivals of a team, and with one file.

Nothing of it is stored. What administrators see of the arrivals are numbers: no exam is named.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.intake import arrival, check
from portal.intake.stated import Stated
from portal.models import Arrival, ArrivalEnd, Instance
from portal.studies import sealed_fields
from portal.teams.rules.conditions import Facts, Rule, end_of, rule_for
from portal.vault import NotReadable, Vault

LAST: Final = 500


@dataclass(frozen=True, slots=True)
class Line:
    """How many arrivals meet a rule, None for those that meet none. `changed`: of these, by what
    became of them when they arrived, how many would come to another end.
    """

    rule: Rule | None
    count: int
    changed: dict[ArrivalEnd, int]


@dataclass(frozen=True, slots=True)
class DryRun:
    """The last arrivals by the rule that they would meet. `unreadable`: whose facts do not open."""

    lines: list[Line]
    total: int
    unreadable: int
    oldest: datetime | None

    @property
    def changed(self) -> int:
        """How many would come to another end."""
        return sum(sum(line.changed.values()) for line in self.lines)


@dataclass(frozen=True, slots=True)
class FileRun:
    """What is known of a file, and the rule that it would meet."""

    facts: Facts
    rule: Rule | None

    @property
    def end(self) -> ArrivalEnd:
        """What would become of it."""
        return end_of(self.rule)


def over_last(
    session: Session,
    vault: Vault,
    actor: Actor,
    team_id: UUID,
    rules: Sequence[Rule],
    now: datetime,
) -> DryRun:
    """Judge the team's last pictures, at most 500, by these rules; with one row in the access log.

    They are judged by the facts that were sealed when they arrived: the same time of day, the same
    age. What a rule kept out is not among them, and neither is what was purged.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    rows = session.execute(
        select(Arrival, Instance)
        .join(Instance, Instance.id == Arrival.instance_id)
        .where(Arrival.team_id == team_id)
        .order_by(Arrival.created.desc(), Arrival.instance_id)
        .limit(LAST)
    ).all()
    counts, changed, unreadable = (
        Counter[UUID | None](),
        Counter[tuple[UUID | None, ArrivalEnd]](),
        0,
    )
    for row, instance in rows:
        try:
            data_key = sealed_fields.instance_key_of(vault, instance)
            facts = Facts.of(sealed_fields.open_arrival(vault, data_key, row))
        except NotReadable:
            unreadable += 1
            continue
        rule = rule_for(facts, rules)
        key = rule.rule if rule else None
        counts[key] += 1
        if end_of(rule) is not row.end:
            changed[key, row.end] += 1
    audit.append(
        session,
        "arrival_rules_tried",
        actor=actor,
        now=now,
        subject_id=team_id,
        detail={"arrivals": len(rows)},
    )
    session.commit()
    return DryRun(
        lines=[
            Line(
                rule,
                counts[key],
                {end: changed[key, end] for end in ArrivalEnd if changed[key, end]},
            )
            for rule in (*rules, None)
            for key in [rule.rule if rule else None]
        ],
        total=len(rows) - unreadable,
        unreadable=unreadable,
        oldest=min((row.created for row, _instance in rows), default=None),
    )


def of_file(
    filename: str,
    data: bytes,
    ae_title: str,
    rules: Sequence[Rule],
    limits: check.Limits,
    now: datetime,
) -> FileRun:
    """Judge a file as if it arrived now, from this sender; Refused where it would not be accepted
    whatever the rules say. Its header is read in the confined process, as that of any upload.
    """
    upload = check.check(filename, data, limits)
    facts = arrival.facts_of(upload, Stated(ae_title=ae_title), now)
    return FileRun(facts, rule_for(facts, rules))
