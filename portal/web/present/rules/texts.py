"""What the ends, conditions and changes of rules are called, and the rule of a picture on its case
page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from portal.languages import _, lazy
from portal.models import ArrivalEnd, RulesChange, View
from portal.studies.status import PictureState, State
from portal.teams.rules.conditions import Conditions
from portal.teams.rules.met import RuleMet
from portal.teams.rules.typed import LISTS, clock

ENDS: Final[Mapping[ArrivalEnd, str]] = MappingProxyType(
    {
        ArrivalEnd.ANALYSE: lazy("Analyse now"),
        ArrivalEnd.OFF_PEAK: lazy("Analyse in the off-peak hours"),
        ArrivalEnd.KEEP: lazy("Keep without analysis"),
        ArrivalEnd.KEEP_OUT: lazy("Keep out"),
        ArrivalEnd.QUARANTINE: lazy("Quarantine"),
    }
)
ENDS_WITHIN: Final[Mapping[ArrivalEnd, str]] = MappingProxyType(
    {
        ArrivalEnd.ANALYSE: lazy("analysed at once"),
        ArrivalEnd.OFF_PEAK: lazy("analysed in the off-peak hours"),
        ArrivalEnd.KEEP: lazy("kept without analysis"),
        ArrivalEnd.KEEP_OUT: lazy("kept out"),
        ArrivalEnd.QUARANTINE: lazy("kept in quarantine"),
    }
)
_CHANGES: Final[Mapping[RulesChange, str]] = MappingProxyType(
    {
        RulesChange.ADDED: lazy("“%(name)s” added"),
        RulesChange.CHANGED: lazy("“%(name)s” changed"),
        RulesChange.MOVED: lazy("“%(name)s” moved"),
        RulesChange.SWITCHED_ON: lazy("“%(name)s” switched on"),
        RulesChange.SWITCHED_OFF: lazy("“%(name)s” switched off"),
        RulesChange.REMOVED: lazy("“%(name)s” removed"),
    }
)


@dataclass(frozen=True, slots=True)
class RuleLine:
    """The rule of a picture on its case page: what it said, and who asked for an analysis in spite
    of it. `may_ask`: whether somebody still can.
    """

    text: str
    reason: str
    asked_by: str
    asked_at: datetime | None
    may_ask: bool


def rule_line(met: RuleMet | None, state: PictureState, *, may_ask: bool) -> RuleLine | None:
    """None for a picture of a team that had no rules when it arrived. `may_ask`: whether the person
    may have it analysed at once where it is not.
    """
    if met is None or not met.version:
        return None
    end = str(ENDS_WITHIN[met.end])
    if met.name:
        text = _(
            "Met the rule “%(name)s” (version %(version)s of the list): %(end)s.",
            name=met.name,
            version=met.version,
            end=end,
        )
    else:
        text = _(
            "Met no rule (version %(version)s of the list): %(end)s.", version=met.version, end=end
        )
    waits = state.waiting_for == "off_peak" or state.state is State.SKIPPED
    is_open = met.asked_at is None and (waits or _is_coming(met, state))
    return RuleLine(text, met.reason, met.asked_by, met.asked_at, may_ask and is_open)


def conditions(stated: Conditions) -> list[str]:
    """The conditions of a rule, each as a short text; none where every arrival fits."""
    found = [
        _("%(condition)s: %(values)s", condition=text, values=_values(name, getattr(stated, name)))
        for name, text in LISTS.items()
        if getattr(stated, name)
    ]
    ages = _span(stated.age_from, stated.age_below)
    if ages:
        found.append(_("Age: %(span)s years", span=ages))
    hours = _span(stated.hours_from, stated.hours_below)
    if hours:
        found.append(_("Taken %(span)s hours before it arrives", span=hours))
    if stated.time_from is not None:
        found.append(
            _(
                "Arrives from %(start)s to %(end)s",
                start=clock(stated.time_from),
                end=clock(stated.time_until),
            )
        )
    return found


def change(what: RulesChange, rule_name: str, restored: int | None) -> str:
    """What a version did to the one before."""
    if restored is not None:
        return _("version %(version)s put back", version=restored)
    return _CHANGES[what] % {"name": rule_name}


def _is_coming(met: RuleMet, state: PictureState) -> bool:
    """Whether it is not prepared yet, and will not be analysed at once when it is."""
    puts_off = met.end in (ArrivalEnd.KEEP, ArrivalEnd.OFF_PEAK)
    return puts_off and state.state in (State.RECEIVED, State.PREPARING)


def _values(name: str, values: tuple[str, ...]) -> str:
    if name == "views":
        return ", ".join(_("not stated") if one == View.UNKNOWN else one for one in values)
    return ", ".join(values)


def _span(least: int | None, below: int | None) -> str:
    if least is None and below is None:
        return ""
    if least is None:
        return _("less than %(most)s", most=below)
    if below is None:
        return _("at least %(least)s", least=least)
    return _("%(least)s to less than %(most)s", least=least, most=below)
