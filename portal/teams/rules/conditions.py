"""Which rule a picture meets: the facts of an arrival, the conditions of a rule, the first that
fits.

Pure: facts and rules in, a rule out. A condition about what the arrival does not state (no age, no
time of acquisition) does not fit, so that nothing is decided by what is not known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final
from uuid import UUID

from portal.models import ArrivalEnd, View


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a picture when it arrives; a text is empty, a number None without it.

    `ae_title`: of who sent it by DICOM; empty for what came by a page or the API. `view`: a value
    of `View`. `age_years`: of the patient. `hours`: since the picture was taken. `minute`: of the
    day on which it arrives, by the clock of the installation.
    """

    ae_title: str = ""
    modality: str = ""
    body_part: str = ""
    view: str = View.UNKNOWN.value
    station: str = field(default="", repr=False)
    age_years: float | None = field(default=None, repr=False)
    hours: float | None = None
    minute: int = 0

    def as_json(self) -> dict[str, Any]:
        """All of it, to be sealed."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Facts":
        """What `as_json` wrote; fields of another version are left out."""
        names = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in names})


@dataclass(frozen=True, slots=True)
class Conditions:
    """All of those that are set must fit; of a list one is enough. None set: every arrival fits.

    `age_from`, `age_below`: in years. `hours_from`, `hours_below`: between acquisition and arrival.
    `time_from`, `time_until`: minutes of the day, the latter no longer in it; over midnight where
    the first is the later one. Texts are compared without regard to capitals.
    """

    ae_titles: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    age_from: int | None = None
    age_below: int | None = None
    hours_from: int | None = None
    hours_below: int | None = None
    time_from: int | None = None
    time_until: int | None = None

    def fit(self, facts: Facts) -> bool:
        """Whether an arrival is one of these."""
        return (
            _is_one_of(facts.ae_title, self.ae_titles)
            and _is_one_of(facts.modality, self.modalities)
            and _is_one_of(facts.body_part, self.body_parts)
            and _is_one_of(facts.view, self.views)
            and _is_one_of(facts.station, self.stations)
            and _lies_within(facts.age_years, self.age_from, self.age_below)
            and _lies_within(facts.hours, self.hours_from, self.hours_below)
            and self._is_in_time(facts.minute)
        )

    def _is_in_time(self, minute: int) -> bool:
        if self.time_from is None or self.time_until is None:
            return True
        after, before = minute >= self.time_from, minute < self.time_until
        return after and before if self.time_from < self.time_until else after or before

    @property
    def are_none(self) -> bool:
        """Whether every arrival fits."""
        return self == NONE

    def as_json(self) -> dict[str, Any]:
        """Those that are set."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
            if value not in ((), None)
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Conditions":
        """What `as_json` wrote. Raises TypeError for one that this version does not know: a rule
        without it would fit more than it should.
        """
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stored.items()
        }
        return cls(**values)


NONE: Final = Conditions()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a list. `id` is that of its row, in one version of the list; `rule` is the same
    through all versions, None before it is stored.
    """

    name: str
    end: ArrivalEnd
    reason: str = ""
    conditions: Conditions = NONE
    is_on: bool = True
    id: UUID | None = None
    rule: UUID | None = None


def rule_for(facts: Facts, rules: Iterable[Rule]) -> Rule | None:
    """The first rule that is on and fits; None where none does: then the picture is analysed."""
    return next((one for one in rules if one.is_on and one.conditions.fit(facts)), None)


def end_of(rule: Rule | None) -> ArrivalEnd:
    """What becomes of an arrival that meets this rule, or none."""
    return ArrivalEnd.ANALYSE if rule is None else rule.end


def _is_one_of(value: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or value.casefold() in {one.casefold() for one in wanted}


def _lies_within(value: float | None, least: int | None, below: int | None) -> bool:
    if least is None and below is None:
        return True
    if value is None:
        return False
    return (least is None or value >= least) and (below is None or value < below)
