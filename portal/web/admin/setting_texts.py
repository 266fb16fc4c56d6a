"""The texts of a team's settings: what each is, default, bounds, and what follows from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from portal.accounts.team_settings import typed
from portal.models import AiShown, Language
from portal.teams.settings import BOUNDS, DEFAULTS, TeamSettings


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting on the page. `options`: value and text of a list; empty for a whole number."""

    name: str
    title: str
    effect: str
    value: str
    options: list[tuple[str, str]]
    help: str

    @property
    def is_default(self) -> bool:
        """Whether nothing is chosen."""
        return self.value == ""


VALUES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "ai_shown": {
            AiShown.WITH_PICTURE: "With the picture",
            AiShown.AFTER_VERDICT: "After the reader’s first verdict",
            AiShown.NEVER: "Never (study arm)",
        },
        "escalates": {"yes": "Yes", "no": "No"},
        "language": {Language.EN: "English"},
    }
)
_AI_SHOWN: Final = {
    AiShown.WITH_PICTURE: "Readers and technologists see the AI result with the picture. Exams in "
    "which the AI found something are listed first.",
    AiShown.AFTER_VERDICT: "A reader sees nothing of the AI result of an exam until they have "
    "saved a finding on it; technologists, until any reader has. Lists are by arrival.",
    AiShown.NEVER: "Readers and technologists of this team never see an AI result. Lists are by "
    "arrival. Boards show numbers to admins alone.",
}


def _second(now: TeamSettings) -> str:
    if now.second_read_percent == 0:
        return "No exam gets a second reader by chance."
    if now.second_read_percent == 100:
        return "Every exam gets a second reader, who does not see the first verdict."
    return (
        f"About {now.second_read_percent} of 100 exams, drawn by chance, get a second reader, who "
        "does not see the first verdict."
    )


def _signing(now: TeamSettings) -> str:
    return (
        f"Verdicts can be signed for {_counted(now.signing_minutes, 'minute')} after password and "
        "code were given; then they are asked for again."
    )


def _old(now: TeamSettings) -> str:
    return (
        f"An exam that was taken more than {_counted(now.old_exam_hours or 0, 'hour')} before it "
        "arrives waits behind others, is no alarm and stays out of turnaround. This applies to "
        "exams that arrive from now on."
    )


def _age(now: TeamSettings) -> str:
    if now.age_min is None:
        found = "Pictures of patients under 18 get no result: the model was made for adults."
    elif now.age_min == 0:
        found = "Pictures of patients of every age get a result; it is marked for those under 18."
    else:
        found = (
            f"Pictures of patients from {now.age_min} years on get a result; it is marked for "
            "those under 18. Younger ones get none."
        )
    return f"{found} This applies to pictures that are analysed from now on."


def _escalates(now: TeamSettings) -> str:
    if now.escalates:
        return "A critical finding that nobody acknowledges goes on to the next person on the rota."
    return "A critical finding stays with whom it was sent to first."


def _escalation(now: TeamSettings) -> str:
    if not now.escalates:
        return "No effect: critical findings do not go on to the next person."
    return (
        f"A critical finding goes on {_counted(now.escalation_minutes, 'minute')} after it was "
        "sent, and again after the same time, until somebody acknowledges it."
    )


# Those that something follows from by now.
OFFERED: Final = frozenset(
    {
        "ai_shown",
        "second_read_percent",
        "signing_minutes",
        "old_exam_hours",
        "age_min",
        "escalates",
        "escalation_minutes",
    }
)
_TITLES: Final = MappingProxyType(
    {
        "ai_shown": "AI result for readers",
        "second_read_percent": "Second reads",
        "signing_minutes": "Time to sign",
        "old_exam_hours": "Older exams",
        "age_min": "Patients under 18",
        "escalates": "Unacknowledged critical findings go on",
        "escalation_minutes": "Time until they go on",
        "language": "Language",
    }
)
_EFFECTS: Final[Mapping[str, Callable[[TeamSettings], str]]] = MappingProxyType(
    {
        "ai_shown": lambda now: _AI_SHOWN[now.ai_shown],
        "second_read_percent": _second,
        "signing_minutes": _signing,
        "old_exam_hours": _old,
        "age_min": _age,
        "escalates": _escalates,
        "escalation_minutes": _escalation,
        "language": lambda _: "Texts are in English, the only language so far.",
    }
)


def lines(now: TeamSettings, chosen: Mapping[str, Any], old_exam_hours: int) -> list[SettingLine]:
    """All settings of a team: those in force, and what was chosen by name.

    `old_exam_hours`: the installation's, which holds where the team has chosen none.
    """
    shown = replace(now, old_exam_hours=now.old_exam_hours or old_exam_hours)
    defaults = replace(DEFAULTS, old_exam_hours=old_exam_hours)
    return [
        SettingLine(
            name,
            title,
            _EFFECTS[name](shown),
            typed(chosen[name]),
            _options(name, defaults),
            _help(name, defaults),
        )
        for name, title in _TITLES.items()
        if name in OFFERED
    ]


def title(name: str) -> str:
    """What a setting is called on the page."""
    return _TITLES[name]


def _options(name: str, defaults: TeamSettings) -> list[tuple[str, str]]:
    if name in BOUNDS:
        return []
    texts = VALUES[name]
    default = texts[typed(getattr(defaults, name))]
    return [("", f"Default: {default}"), *texts.items()]


def _help(name: str, defaults: TeamSettings) -> str:
    if name not in BOUNDS:
        return ""
    bounds, default = BOUNDS[name], getattr(defaults, name)
    unit = "Percent" if bounds.unit == "%" else bounds.unit.capitalize()
    normal = "no result" if default is None else f"{default:,}"
    return f"{unit}, {bounds.least:,} to {bounds.most:,}; empty for the default: {normal}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
