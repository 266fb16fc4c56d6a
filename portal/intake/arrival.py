"""How a picture arrives: the facts that its team's rules ask for, and the rule that it meets.

The one place where rules are applied, to what comes by DICOM, by the page and by the API. They
decide when and whether a picture is analysed, never that it is analysed in spite of the checks: a
file that is not accepted was refused before, and the quality gate looks at whatever is analysed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from portal.formats.refusals import Refused, refuse
from portal.formats.upload_header import Upload
from portal.intake.stated import Stated, seconds_since
from portal.models import Arrival, ArrivalEnd, Instance, View
from portal.studies import sealed_fields
from portal.teams.rules.conditions import Facts, Rule, end_of, rule_for
from portal.teams.rules.in_force import rules_of
from portal.vault import Vault
from xray_files import dates

_HOUR: Final = 60 * 60


@dataclass(frozen=True, slots=True)
class Met:
    """The rule that an arrival meets, and the version of the team's list."""

    facts: Facts
    rule: Rule | None
    version: int

    @property
    def end(self) -> ArrivalEnd:
        """What becomes of the picture."""
        return end_of(self.rule)


def facts_of(upload: Upload, stated: Stated, now: datetime) -> Facts:
    """What the rules ask for, of a header and of who sent it. Acquisition and arrival are both by
    the clock of the place, see `Stated.is_old`.
    """
    header, here = upload.header, now.astimezone()
    age, acquired = dates.age(upload.phi.get("age", "")), header.get("acquired")
    hours = None
    if acquired is not None:
        hours = max(0.0, seconds_since(acquired, now) / _HOUR)
    return Facts(
        ae_title=stated.ae_title,
        modality=header.get("modality", ""),
        body_part=header.get("body_part", ""),
        view=View.of(header.get("view")).value,
        station=header.get("station", ""),
        age_years=None if age is None else dates.in_years(age),
        hours=hours,
        minute=here.hour * 60 + here.minute,
    )


class ToQuarantine(Refused):
    """A rule puts the picture into quarantine. `rule_id`: which one."""

    def __init__(self, rule: Rule) -> None:
        why = refuse("quarantined", reason=rule.reason)
        super().__init__(why.code, why.message, why.values)
        self.rule_id = rule.id


def meet(session: Session, team_id: UUID, facts: Facts, *, by_rules: bool = True) -> Met:
    """The rule of the team that these facts meet, none unless it is `by_rules`; Refused `by_rule`
    where it is one that keeps the picture out, ToQuarantine where it puts it there.
    """
    found = rules_of(session, team_id)
    met = Met(facts, rule_for(facts, found.rules) if by_rules else None, found.version)
    if met.rule is not None and met.end in (ArrivalEnd.KEEP_OUT, ArrivalEnd.QUARANTINE):
        session.rollback()
        if met.end is ArrivalEnd.QUARANTINE:
            raise ToQuarantine(met.rule)
        raise refuse("by_rule", reason=met.rule.reason)
    return met


def note(vault: Vault, data_key: bytes, instance: Instance, met: Met, now: datetime) -> Arrival:
    """The row about the arrival of the picture."""
    facts = met.facts.as_json()
    return Arrival(
        instance_id=instance.id,
        team_id=instance.team_id,
        rule_id=met.rule.id if met.rule else None,
        version=met.version,
        end=met.end,
        sealed_facts=sealed_fields.seal_arrival(vault, data_key, instance.id, facts),
        created=now,
    )
