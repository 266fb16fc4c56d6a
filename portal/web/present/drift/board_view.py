"""What the checks of a model have found, as a page shows it and as files hold it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from portal.formats.display_text import csv_line
from portal.languages import (
    _,
    day_text,
    lazy,
    moment_text,
    ngettext,
    number_text,
    percent_text,
    short_day_text,
    short_number_text,
)
from portal.performance.drift import Checked, DriftAlarm, DriftBoard
from portal.web.present import plots
from portal.web.present.plots import Histogram, Plot
from worker.contract.contents.drift import DriftState, NumberFound

_NAMES: Final = {
    "probability": lazy("Probability"),
    "prevalence": lazy("Mean probability (expected prevalence)"),
    "called": lazy("Share of positives (balanced threshold)"),
    "view_ap": lazy("AP share of frontal views"),
    "input_mean": lazy("Grey: mean"),
    "input_sd": lazy("Grey: spread"),
    "input_sharpness": lazy("Sharpness"),
    "map_maximum": lazy("Highest probability of a pixel"),
    "map_mean": lazy("Mean probability of all pixels"),
    "map_share": lazy("Share of pixels at 50 % and above"),
    "lung_share": lazy("Lungs’ share of the picture"),
    "aspect": lazy("Columns per row"),
}
_PERCENTILE: Final = "input_p"
_ENDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_SHARE_ENDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
# So many checks are drawn.
_DRAWN: Final = 60


@dataclass(frozen=True, slots=True)
class NumberRow:
    """One number of a check. `tone`, `shape`: of the badge with its `state`."""

    code: str
    name: str
    state: str
    tone: str
    shape: str
    expected: str
    recent: str
    psi: str
    distance: str
    p_value: str
    n: str
    reference_n: str
    is_alarm: bool
    histogram: Histogram | None
    over_time: Plot
    over_time_title: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check of the history."""

    checked: Checked
    window: str
    counts: str
    result: str
    tone: str
    shape: str
    names: str = ""


def name_of(code: str) -> str:
    """A number's name for people."""
    if code.startswith(_PERCENTILE) and code.removeprefix(_PERCENTILE).isdigit():
        place = int(code.removeprefix(_PERCENTILE))
        return _("Grey: %(place)sth percentile", place=place)
    return str(_NAMES.get(code, code.replace("_", " ")))


def names_of(codes: list[str]) -> str:
    """Several numbers in one line."""
    return ", ".join(name_of(code) for code in codes)


def alarms(found: list[DriftAlarm]) -> list[tuple[DriftAlarm, str]]:
    """The models with an alarm, and the names of their numbers."""
    return [(one, names_of(one.numbers)) for one in found]


def numbers(board: DriftBoard) -> list[NumberRow]:
    """The numbers of the newest check that has some: alarms first, as the worker has put them."""
    newest = next(iter(board.checks), None)
    if newest is None:
        return []
    history = list(reversed(board.checks[:_DRAWN]))
    return [_row(one, history) for one in newest.numbers]


def history(board: DriftBoard) -> list[CheckRow]:
    """Each check, the newest first."""
    return [_check(one) for one in board.checks]


def as_csv(board: DriftBoard) -> str:
    """Every number of every check, a line each, with a head."""
    return "".join(csv_line(line) for line in _lines(board))


def as_json(board: DriftBoard) -> str:
    """The same, with the parts of the plots."""
    model = board.model
    found = {
        "model": {"name": model.name, "version": model.version} if model else None,
        "checks": [
            {
                "computed_at": one.computed_at.isoformat(),
                "first": one.first.isoformat() if one.first else None,
                "last": one.last.isoformat() if one.last else None,
                "predictions": one.predictions,
                "refused": one.refused,
                "numbers": [number.as_json() for number in one.numbers],
            }
            for one in board.checks
        ],
    }
    return json.dumps(found, indent=1) + "\n"


def _lines(board: DriftBoard) -> Iterator[list[Any]]:
    yield [
        *("model", "computed_at", "window_from", "window_to", "predictions", "refused", "number"),
        *("state", "alarm", "expected", "recent", "psi", "psi_95_by_chance", "distance", "p_value"),
        *("n", "reference_n"),
    ]
    model = f"{board.model.name} {board.model.version}" if board.model else ""
    for one in board.checks:
        times = [at.isoformat() if at else None for at in (one.computed_at, one.first, one.last)]
        about = [model, *times, one.predictions, one.refused]
        if not one.numbers:
            yield [*about, None, DriftState.TOO_FEW.value, *[None] * 9]
        for found in one.numbers:
            measured = [found.expected, found.recent, found.psi, found.psi_by_chance]
            tested = [found.distance, found.p_value, found.n, found.reference_n]
            is_alarm = "yes" if found.is_alarm else "no"
            yield [*about, found.name, found.state.value, is_alarm, *measured, *tested]


def _row(found: NumberFound, history: list[Checked]) -> NumberRow:
    state, tone, shape = _state(found)
    parts = [(bar.low, bar.high, bar.reference, bar.recent) for bar in found.bars]
    return NumberRow(
        code=found.name,
        name=name_of(found.name),
        state=state,
        tone=tone,
        shape=shape,
        expected=_value(found, found.expected),
        recent=_value(found, found.recent),
        psi=number_text(found.psi, 3),
        distance=number_text(found.distance, 3),
        p_value=short_number_text(found.p_value) if found.p_value >= 1e-12 else "< 1e-12",
        n=number_text(found.n),
        reference_n=number_text(found.reference_n),
        is_alarm=found.is_alarm,
        histogram=plots.histogram(parts) if parts and parts[-1][1] > parts[0][0] else None,
        over_time=_over_time(found, history),
        over_time_title=_("Share over time") if found.is_share else _("PSI over time"),
    )


def _over_time(found: NumberFound, history: list[Checked]) -> Plot:
    values = []
    for one in history:
        then = one.number(found.name)
        if then is not None:
            value = then.recent if found.is_share else then.psi
            text = f"{moment_text(one.computed_at)}: {_of_time(then)}, {_state(then)[0]}"
            values.append((short_day_text(one.computed_at), value, text, then.is_alarm))
    if found.is_share:
        return plots.over_time(values, _SHARE_ENDS, unit=" %")
    return plots.over_time(values, _ENDS)


def _of_time(found: NumberFound) -> str:
    return _value(found, found.recent) if found.is_share else f"PSI {number_text(found.psi, 3)}"


def _state(found: NumberFound) -> tuple[str, str, str]:
    if found.is_alarm:
        return _("alarm"), "danger", "solid"
    if found.state is DriftState.TOO_FEW:
        return _("too few"), "", "dash"
    if found.state is DriftState.STABLE:
        return _("stable"), "ok", ""
    return _("attention"), "", "half"


def _value(found: NumberFound, value: float) -> str:
    if found.is_share:
        return percent_text(value, 1)
    return number_text(value, 2 if abs(value) >= 1 else 3)


def _check(one: Checked) -> CheckRow:
    window = "—"
    if one.first and one.last:
        window = _("%(first)s to %(last)s", first=day_text(one.first), last=day_text(one.last))
    counts = number_text(one.predictions)
    if not one.numbers:
        return CheckRow(one, window, counts, _("too few predictions"), "", "dash")
    if one.alarms:
        names = names_of(one.alarms)
        return CheckRow(one, window, counts, _("alarm"), "danger", "solid", names)
    watched = sum(found.state is not DriftState.STABLE for found in one.numbers)
    if watched:
        text = ngettext("attention: %(num)s number", "attention: %(num)s numbers", watched)
        return CheckRow(one, window, counts, text, "", "half")
    return CheckRow(one, window, counts, _("stable"), "ok", "")
