"""Changing a team's rules: every change is a new version of the whole list and a row in the access
log; an earlier version can be put back, which is a version again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.models import ArrivalRule, ArrivalRulesVersion, RulesChange, Team, User
from portal.teams.rules.conditions import Rule
from portal.teams.rules.in_force import RuleList, of_version, rules_of

MOST_RULES: Final = 50
_MOST_LISTED: Final = 20

Rules = tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version of a list: who made it, when, and what was done. `restored`: which version it
    puts back.
    """

    version: int
    author: str
    created: datetime
    change: RulesChange
    rule_name: str
    restored: int | None


def team_and_rules(session: Session, actor: Actor, team_id: UUID) -> tuple[Team, RuleList]:
    """A team and its rules in force; Denied where there is no such team."""
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id)
    if team is None:
        session.rollback()
        raise Denied("team")
    found = rules_of(session, team_id)
    session.commit()
    return team, found


def versions(session: Session, actor: Actor, team_id: UUID) -> list[VersionView]:
    """The newest versions of a list, the newest first."""
    actor.require(Permission.PEOPLE_MANAGE)
    rows = session.execute(
        select(ArrivalRulesVersion, User.name)
        .join(User, User.id == ArrivalRulesVersion.author_id)
        .where(ArrivalRulesVersion.team_id == team_id)
        .order_by(ArrivalRulesVersion.version.desc())
        .limit(_MOST_LISTED)
    ).all()
    session.commit()
    return [
        VersionView(row.version, author, row.created, row.change, row.rule_name, row.restored)
        for row, author in rows
    ]


def put(rules: Rules, stated: Rule) -> Rules:
    """The list with a rule in place of the one that it is, or at the end where it is new; the one
    that it is stays on or off.
    """
    if stated.rule is None:
        return (*rules, replace(stated, rule=uuid4()))
    return tuple(
        replace(stated, is_on=one.is_on) if one.rule == stated.rule else one for one in rules
    )


def store(
    session: Session, actor: Actor, team_id: UUID, stated: Rule, shown: int, now: datetime
) -> RuleList:
    """Add a rule at the end, or give one other values; it stays on or off, and where it is.

    `shown`: the version of the list that the page had. Here as below: Conflict where there is
    another by now, Invalid for more rules than may be, Denied for a team or rule that is not there.
    """

    def stored(rules: Rules) -> tuple[str, Rules]:
        if stated.rule is not None:
            _place(rules, stated.rule)
        return stated.name, put(rules, stated)

    change = RulesChange.ADDED if stated.rule is None else RulesChange.CHANGED
    return _change(session, actor, team_id, shown, now, change, stored)


def move(
    session: Session, actor: Actor, team_id: UUID, rule: UUID, by: int, shown: int, now: datetime
) -> RuleList:
    """Move a rule up (-1) or down (1); at the end of the list it stays."""

    def moved(rules: Rules) -> tuple[str, Rules]:
        place = _place(rules, rule)
        others = [one for one in rules if one.rule != rule]
        others.insert(max(0, min(len(others), place + by)), rules[place])
        return rules[place].name, tuple(others)

    return _change(session, actor, team_id, shown, now, RulesChange.MOVED, moved)


def switch(
    session: Session,
    actor: Actor,
    team_id: UUID,
    rule: UUID,
    shown: int,
    now: datetime,
    *,
    on: bool,
) -> RuleList:
    """Switch a rule on or off."""

    def switched(rules: Rules) -> tuple[str, Rules]:
        place = _place(rules, rule)
        one = replace(rules[place], is_on=on)
        return one.name, (*rules[:place], one, *rules[place + 1 :])

    change = RulesChange.SWITCHED_ON if on else RulesChange.SWITCHED_OFF
    return _change(session, actor, team_id, shown, now, change, switched)


def remove(
    session: Session, actor: Actor, team_id: UUID, rule: UUID, shown: int, now: datetime
) -> RuleList:
    """Take a rule out of the list; earlier versions still have it."""

    def removed(rules: Rules) -> tuple[str, Rules]:
        name = rules[_place(rules, rule)].name
        return name, tuple(one for one in rules if one.rule != rule)

    return _change(session, actor, team_id, shown, now, RulesChange.REMOVED, removed)


def restore(
    session: Session, actor: Actor, team_id: UUID, version: int, shown: int, now: datetime
) -> RuleList:
    """Put an earlier version back, 0 for no rules at all."""

    def restored(_rules: Rules) -> tuple[str, Rules]:
        if not 0 <= version < shown:
            raise Denied("version")
        return "", of_version(session, team_id, version).rules

    return _change(
        session, actor, team_id, shown, now, RulesChange.RESTORED, restored, restored_from=version
    )


def _change(
    session: Session,
    actor: Actor,
    team_id: UUID,
    shown: int,
    now: datetime,
    change: RulesChange,
    make: Callable[[Rules], tuple[str, Rules]],
    *,
    restored_from: int | None = None,
) -> RuleList:
    """Write the version that `make` makes of the one in force, with the name of what it changes."""
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id, with_for_update=True, populate_existing=True)
    try:
        if team is None:
            raise Denied("team")
        before = rules_of(session, team_id)
        if before.version != shown:
            raise Conflict(
                "changed", _("Somebody has changed these rules since the page was opened.")
            )
        name, rules = make(before.rules)
        if len(rules) > MOST_RULES:
            raise Invalid("rules", _("A team has at most %(most)s rules.", most=MOST_RULES))
    except (Denied, Conflict, Invalid):
        session.rollback()
        raise
    version = before.version + 1
    written = ArrivalRulesVersion(
        team_id=team_id,
        version=version,
        author_id=actor.user_id,
        change=change,
        rule_name=name,
        restored=restored_from,
        created=now,
    )
    session.add(written)
    rows = _add_rows(session, team_id, version, rules)
    audit.append(
        session,
        "arrival_rules_changed",
        actor=actor,
        now=now,
        subject_id=team_id,
        detail={"change": change.value, "version": version, "rules": len(rules)}
        | ({} if restored_from is None else {"restored": restored_from}),
        bound=[written, *rows],
    )
    session.commit()
    return of_version(session, team_id, version)


def _add_rows(
    session: Session, team_id: UUID, version: int, rules: Sequence[Rule]
) -> list[ArrivalRule]:
    rows = [
        ArrivalRule(
            id=uuid4(),
            team_id=team_id,
            version=version,
            position=position,
            rule=one.rule,
            name=one.name,
            is_on=one.is_on,
            end=one.end,
            reason=one.reason,
            conditions=one.conditions.as_json(),
        )
        for position, one in enumerate(rules, 1)
    ]
    session.add_all(rows)
    session.flush()
    return rows


def _place(rules: Rules, rule: UUID | None) -> int:
    for place, one in enumerate(rules):
        if one.rule == rule:
            return place
    raise Denied("rule")
