"""A rule as an administrator types it, and the same back into the form's fields.

Lists are words with commas between; ages, hours and times of the day have two fields each, of which
one may stay empty, but for the times: a part of the day has a beginning and an end.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from portal.errors import Invalid
from portal.formats.display_text import clean
from portal.languages import _, lazy
from portal.models import ArrivalEnd, View
from portal.teams.rules.conditions import Conditions, Rule

LONGEST_NAME: Final = 80
LONGEST_REASON: Final = 120
# Of one list: so many values, each as long as DICOM allows (CS and AE 16, SH 16).
MOST_VALUES: Final = 40
_LONGEST_VALUE: Final = 16
_OLDEST: Final = 150
_MOST_HOURS: Final = 1_000_000
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
LISTS: Final = {
    "ae_titles": lazy("Sender (AE title)"),
    "modalities": lazy("Modality"),
    "body_parts": lazy("Body part"),
    "views": lazy("View"),
    "stations": lazy("Station"),
}
"""The conditions of which a list is typed, and what they are called."""
_ENDS_WITH_REASON: Final = (ArrivalEnd.KEEP, ArrivalEnd.KEEP_OUT, ArrivalEnd.QUARANTINE)


def read(sent: Mapping[str, str], rule: UUID | None = None) -> Rule:
    """The rule of a form; Invalid, with the field's name, for what can't be."""
    name = clean(sent.get("name", ""), LONGEST_NAME + 1)
    if not name or len(name) > LONGEST_NAME:
        raise Invalid(
            "name", _("A rule needs a name of at most %(most)s characters.", most=LONGEST_NAME)
        )
    try:
        end = ArrivalEnd(sent.get("end", ""))
    except ValueError:
        raise Invalid("end", _("Choose what becomes of such a picture.")) from None
    reason = clean(sent.get("reason", ""), LONGEST_REASON + 1)
    if len(reason) > LONGEST_REASON:
        raise Invalid(
            "reason", _("The reason has at most %(most)s characters.", most=LONGEST_REASON)
        )
    if end in _ENDS_WITH_REASON and not reason:
        raise Invalid("reason", _("State the reason: it is shown with the exam or to the sender."))
    return Rule(name=name, end=end, reason=reason, conditions=_conditions(sent), rule=rule)


def typed(rule: Rule | None) -> dict[str, str]:
    """The form's fields of a rule; empty ones for a new one."""
    stated = rule.conditions if rule else Conditions()
    fields = {name: ", ".join(getattr(stated, name)) for name in LISTS}
    for name in ("age_from", "age_below", "hours_from", "hours_below"):
        fields[name] = "" if getattr(stated, name) is None else str(getattr(stated, name))
    for name in ("time_from", "time_until"):
        fields[name] = clock(getattr(stated, name))
    return fields | {
        "name": rule.name if rule else "",
        "end": rule.end.value if rule else ArrivalEnd.KEEP.value,
        "reason": rule.reason if rule else "",
    }


def clock(minute: int | None) -> str:
    """A minute of the day as 07:30; empty for none."""
    return "" if minute is None else f"{minute // 60:02}:{minute % 60:02}"


def _conditions(sent: Mapping[str, str]) -> Conditions:
    def whole(name: str, most: int) -> int | None:
        return _whole(name, sent.get(name, ""), most)

    lists = {name: _list(name, sent.get(name, "")) for name in LISTS}
    views = {view.value.casefold(): view.value for view in View}
    unknown = [one for one in lists["views"] if one.casefold() not in views]
    if unknown:
        raise Invalid(
            "views", _("These are the views: %(views)s.", views=", ".join(v.value for v in View))
        )
    lists["views"] = tuple(views[one.casefold()] for one in lists["views"])
    ages = whole("age_from", _OLDEST), whole("age_below", _OLDEST)
    hours = whole("hours_from", _MOST_HOURS), whole("hours_below", _MOST_HOURS)
    for name, (least, below) in {"age_below": ages, "hours_below": hours}.items():
        if least is not None and below is not None and below <= least:
            raise Invalid(name, _("The end must be greater than the beginning."))
    times = _minute("time_from", sent), _minute("time_until", sent)
    if (times[0] is None) is not (times[1] is None) or (
        times[0] is not None and times[0] == times[1]
    ):
        raise Invalid("time_until", _("A part of the day has a beginning and another end."))
    return Conditions(
        **lists,
        age_from=ages[0],
        age_below=ages[1],
        hours_from=hours[0],
        hours_below=hours[1],
        time_from=times[0],
        time_until=times[1],
    )


def _list(name: str, text: str) -> tuple[str, ...]:
    keep: Callable[[str], str] = str if name == "ae_titles" else str.upper
    found = [keep(clean(one, _LONGEST_VALUE + 1)) for one in text.split(",")]
    found = list(dict.fromkeys(one for one in found if one))
    if len(found) > MOST_VALUES or any(len(one) > _LONGEST_VALUE for one in found):
        raise Invalid(
            name,
            _(
                "At most %(most)s values of at most %(longest)s characters, with commas between.",
                most=MOST_VALUES,
                longest=_LONGEST_VALUE,
            ),
        )
    return tuple(found)


def _whole(name: str, text: str, most: int) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (
        text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most
    ):
        raise Invalid(name, _("A whole number from 0 to %(most)s, or nothing.", most=most))
    return int(text)


def _minute(name: str, sent: Mapping[str, str]) -> int | None:
    text = sent.get(name, "").strip()
    if not text:
        return None
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise Invalid(name, _("A time of the day as 07:30, or nothing."))
    return int(match[1]) * 60 + int(match[2])
