"""The texts of a team's settings: what each is, default, bounds, and what follows from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from portal import languages
from portal.accounts.team_settings import typed
from portal.languages import _, lazy, ngettext, number_text
from portal.models import AiShown, Language
from portal.performance.own_reading import LEAST_READERS
from portal.teams.settings import BOUNDS, DEFAULTS, UNITS, TeamSettings
from portal.web.present.second_reads.readers import too_few_readers


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting on the page. `options`: value and text of a list; empty for a whole number.
    `warning`: why it has not all of its effect in this team, "" where it has.
    """

    name: str
    title: str
    effect: str
    value: str
    options: list[tuple[str, str]]
    help: str
    warning: str = ""

    @property
    def is_default(self) -> bool:
        """Whether nothing is chosen."""
        return self.value == ""


VALUES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "ai_shown": {
            AiShown.WITH_PICTURE: lazy("With the picture"),
            AiShown.AFTER_VERDICT: lazy("After the reader’s first verdict"),
            AiShown.NEVER: lazy("Never (study arm)"),
        },
        "escalates": {"yes": lazy("Yes"), "no": lazy("No")},
        "language": {Language(code): name for code, name in languages.NAMES.items()},
        "names_on_board": {"yes": lazy("Yes"), "no": lazy("No")},
    }
)
_AI_SHOWN: Final = {
    AiShown.WITH_PICTURE: lazy(
        "Readers and technologists see the AI result with the picture. Exams in "
        "which the AI found something are listed first."
    ),
    AiShown.AFTER_VERDICT: lazy(
        "A reader sees nothing of the AI result of an exam until they have "
        "saved a finding on it; technologists, until any reader has. Lists are by arrival."
    ),
    AiShown.NEVER: lazy(
        "Readers and technologists of this team never see an AI result. Lists are by "
        "arrival. Boards show numbers to admins alone."
    ),
}


def _second(now: TeamSettings) -> str:
    if now.second_read_percent == 0:
        return _("No exam gets a second reader by chance.")
    if now.second_read_percent == 100:
        return _("Every exam gets a second reader, who does not see the first verdict.")
    return _(
        "About %(count)s of 100 exams, drawn by chance, get a second reader, who "
        "does not see the first verdict.",
        count=now.second_read_percent,
    )


def _signing(now: TeamSettings) -> str:
    return _(
        "Verdicts can be signed for %(time)s after password and code were given; then they are "
        "asked for again.",
        time=_minutes(now.signing_minutes),
    )


def _old(now: TeamSettings) -> str:
    return _(
        "An exam that was taken more than %(time)s before it arrives waits behind others, is "
        "no alarm and stays out of turnaround. This applies to exams that arrive from now on.",
        time=_hours(now.old_exam_hours or 0),
    )


def _age(now: TeamSettings) -> str:
    if now.age_min is None:
        found = _("Pictures of patients under 18 get no result: the model was made for adults.")
    elif now.age_min == 0:
        found = _(
            "Pictures of patients of every age get a result; it is marked for those under 18."
        )
    else:
        found = _(
            "Pictures of patients from %(years)s years on get a result; it is marked for those "
            "under 18. Younger ones get none.",
            years=now.age_min,
        )
    return f"{found} " + _("This applies to pictures that are analysed from now on.")


def _escalates(now: TeamSettings) -> str:
    if now.escalates:
        return _(
            "A critical finding that nobody acknowledges goes on to the next person on the rota."
        )
    return _("Nobody of the rota is asked or informed; a critical finding stands over the list.")


def _escalation(now: TeamSettings) -> str:
    if not now.escalates:
        return _("No effect: critical findings do not go on to the next person.")
    return _(
        "A critical finding goes on %(time)s after it was sent, and again after the same time, "
        "until a record states who was informed; acknowledging gives the same time once more.",
        time=_minutes(now.escalation_minutes),
    )


def _language(now: TeamSettings) -> str:
    return _(
        "Pages are in %(language)s for those of the team who have chosen none themselves, and so "
        "are its messages, its reports and the sentence that is copied.",
        language=languages.NAMES[now.language],
    )


def _names_on_board(now: TeamSettings) -> str:
    if now.names_on_board:
        return _(
            "Under Performance, admins see the Dice of the outlines and the reading time of each "
            "reader of this team with their name, also of earlier months. The readers see under "
            "History that it is so."
        )
    return _(
        "Under Performance, admins see the Dice of the outlines and the reading time of each "
        "reader without a name, and only where at least %(count)s readers have enough exams.",
        count=LEAST_READERS,
    )


def _off_peak(now: TeamSettings) -> str:
    if now.off_peak_from == now.off_peak_until:
        return _("No effect: all of the day is off-peak, since both hours are the same.")
    return _(
        "Pictures that a rule puts off are analysed from %(start)s:00 to %(end)s:00 by the "
        "server’s clock. What has not begun by the end still goes on.",
        start=f"{now.off_peak_from:02}",
        end=f"{now.off_peak_until:02}",
    )


def _priors(now: TeamSettings) -> str:
    return ngettext(
        "Where a DICOM node may be queried, the newest earlier exam of the patient is retrieved.",
        "Where a DICOM node may be queried, the %(num)s newest earlier exams of the patient are "
        "retrieved.",
        now.priors_most,
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
        "language",
        "names_on_board",
        "off_peak_from",
        "off_peak_until",
        "priors_most",
    }
)
_TITLES: Final = MappingProxyType(
    {
        "ai_shown": lazy("AI result for readers"),
        "second_read_percent": lazy("Second reads"),
        "signing_minutes": lazy("Time to sign"),
        "old_exam_hours": lazy("Older exams"),
        "age_min": lazy("Patients under 18"),
        "escalates": lazy("Unacknowledged critical findings go on"),
        "escalation_minutes": lazy("Time until they go on"),
        "language": lazy("Language"),
        "names_on_board": lazy("Names on the board"),
        "off_peak_from": lazy("Off-peak from"),
        "off_peak_until": lazy("Off-peak until"),
        "priors_most": lazy("Earlier exams retrieved"),
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
        "language": _language,
        "names_on_board": _names_on_board,
        "off_peak_from": _off_peak,
        "off_peak_until": _off_peak,
        "priors_most": _priors,
    }
)


def lines(
    now: TeamSettings, chosen: Mapping[str, Any], old_exam_hours: int, readers: int
) -> list[SettingLine]:
    """All settings of a team: those in force, and what was chosen by name.

    `old_exam_hours`: the installation's, which holds where the team has chosen none. `readers`: how
    many the team has.
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
            too_few_readers(readers) if name == "second_read_percent" else "",
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
    return [
        ("", _("Default: %(value)s", value=default)),
        *((value, str(text)) for value, text in texts.items()),
    ]


def _help(name: str, defaults: TeamSettings) -> str:
    if name not in BOUNDS:
        return ""
    bounds, default = BOUNDS[name], getattr(defaults, name)
    unit = str(UNITS[bounds.unit])
    normal = _("no result") if default is None else number_text(default)
    return _(
        "%(unit)s, %(least)s to %(most)s; empty for the default: %(normal)s",
        unit=unit[:1].upper() + unit[1:],
        least=number_text(bounds.least),
        most=number_text(bounds.most),
        normal=normal,
    )


def _hours(number: int) -> str:
    return ngettext("%(num)s hour", "%(num)s hours", number)


def _minutes(number: int) -> str:
    return ngettext("%(num)s minute", "%(num)s minutes", number)
