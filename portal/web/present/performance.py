"""The board of performance as texts, tables and plots."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from portal.languages import _, lazy, month_text, number_text
from portal.performance.board import STRATA, Board, Group, MonthRow
from portal.performance.exam_outcomes import SIZES
from portal.performance.intervals import LEAST, Share
from portal.performance.turnaround import STEPS
from portal.performance.weighted import Estimate, Stratum
from portal.web.present import plots
from portal.web.present.plots import Plot

_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "view": {"other": lazy("Other or not known")},
    "age": {"unknown": lazy("Not known"), "90": lazy("90 and above")},
    "sex": {
        "F": lazy("Female"),
        "M": lazy("Male"),
        "O": lazy("Other", context="sex"),
        "unknown": lazy("Not known"),
    },
    "size": {
        "small": lazy("Small: under 10 % of the hemithorax"),
        "moderate": lazy("Moderate: 10–30 %"),
        "large": lazy("Large: above 30 %"),
        "unknown": lazy("Not known"),
    },
}
_TITLES: Final = {
    "view": lazy("By view"),
    "age": lazy("By age"),
    "sex": lazy("By sex"),
    "size": lazy("By the size that the model measured (exams with an alarm)"),
}


@dataclass(frozen=True, slots=True)
class _Measure:
    """One of the four numbers: its title, its share of a group, its unit in hundredths."""

    title: str
    share: Callable[[Group], Share]
    unit: str = " %"
    whole: bool = False  # its plots always go to 100 %


_MEASURES: Final[Mapping[str, _Measure]] = {
    "ppv": _Measure(lazy("Alarms confirmed (PPV)"), lambda group: group.confirmed, whole=True),
    "alarms": _Measure(lazy("Alarms per 100 exams"), lambda group: group.alarms, unit=""),
    "agreement": _Measure(lazy("Agreement"), lambda group: group.agreed, whole=True),
    "no_result": _Measure(lazy("No AI result"), lambda group: group.unanswered),
}
_STRATA: Final = {
    "likely": lazy("Likely"),
    "possible": lazy("Possible"),
    "none_found": lazy("None found"),
    "no_result": lazy("No AI result"),
}
_STEPS: Final = {
    "arrival_to_ai": lazy("Arrival to first AI result"),
    "ai_to_look": lazy("AI result to first look"),
    "look_to_signature": lazy("First look to first signature"),
    "arrival_to_look": lazy("Arrival to first look"),
    "arrival_to_review": lazy("Arrival to first review"),
    "ai_to_review": lazy("AI result to first review"),
    "arrival_to_signature": lazy("Arrival to first signature"),
}


@dataclass(frozen=True, slots=True)
class Number:
    """A share as text. `low` to `high` are of its bar, 0 to 100; all empty where it is hidden."""

    text: str
    interval: str = ""
    count: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One group: its name, its exams and the four numbers."""

    name: str
    exams: str
    ppv: Number
    alarms: Number
    agreement: Number
    no_result: Number


def few() -> str:
    """What stands for a number of a group that is too small to show."""
    return _("fewer than %(count)s", count=LEAST)


def number(share: Share, unit: str = " %") -> Number:
    """A share for a page; `few` where the group is too small."""
    if share.is_small or share.value is None or share.low is None or share.high is None:
        return Number(few() if share.of else "—")
    return Number(
        text=plots.percent(share.value) + unit,
        interval=plots.interval(share) + unit,
        count=_("%(count)s of %(all)s", count=number_text(share.count), all=number_text(share.of)),
        value=round(share.value * 100, 2),
        low=round(share.low * 100, 2),
        high=round(share.high * 100, 2),
    )


def row(name: str, group: Group) -> Row:
    """A group as a row of a table."""
    exams = group.counts["exams"]
    return Row(
        name=name,
        exams=_count(exams),
        **{name: number(one.share(group), one.unit) for name, one in _MEASURES.items()},
    )


def total(board: Board) -> Row:
    """The numbers of all exams of the period."""
    return row("All exams", board.total)


def groups(board: Board) -> list[tuple[str, str, list[Row]]]:
    """Each dimension with its title and rows."""
    found = []
    for dimension, title in _TITLES.items():
        of_dimension = board.groups[dimension]
        if dimension == "size":
            of_dimension = sorted(of_dimension, key=lambda one: -SIZES.index(one.name))
        rows = [row(_name(dimension, one.name), one) for one in of_dimension]
        found.append((dimension, title, rows))
    return found


def months(board: Board) -> list[tuple[MonthRow, Row, str]]:
    """Each month, the newest first: its row, the numbers, and what is read without names."""
    return [
        (one, row(month_text(one.month.name), one.group), _readers(one))
        for one in reversed(board.rows)
    ]


def month_plots(board: Board) -> list[tuple[str, Plot]]:
    """The four numbers over the months."""
    return [
        (
            measure.title,
            plots.shares(
                [(month_text(one.month.name), measure.share(one.group)) for one in board.rows],
                whole=measure.whole,
                unit=measure.unit,
            ),
        )
        for measure in _MEASURES.values()
    ]


def times(board: Board) -> list[tuple[str, str, list[tuple[str, str, list[str]]]]]:
    """The durations of each step: its code, title, and per month the count and percentiles."""
    found = []
    for step in STEPS:
        rows = []
        for one in reversed(board.rows):
            name = month_text(one.month.name)
            of_step = one.turnaround.get(step)
            if of_step is None or of_step.count < LEAST:
                rows.append((name, few() if of_step else "—", ["—"] * 3))
            else:
                texts = [plots.duration(seconds) for seconds in of_step.seconds.values()]
                rows.append((name, number_text(of_step.count), texts))
        found.append((step, _STEPS[step], rows))
    return found


def time_plots(board: Board) -> list[tuple[str, Plot]]:
    """Median and 90th percentile of each step over the months."""
    found = []
    for step in STEPS:
        values = []
        for one in board.rows:
            of_step = one.turnaround.get(step)
            shown = of_step is not None and of_step.count >= LEAST
            pair = (of_step.seconds[50], of_step.seconds[90]) if of_step and shown else None
            values.append((month_text(one.month.name), pair))
        found.append((_STEPS[step], plots.durations(values)))
    return found


@dataclass(frozen=True, slots=True)
class SecondTexts:
    """What blind second reads have shown. `strata`: AI result, exams that were drawn and read, how
    many exams they stand for, how likely an exam was drawn, pneumothorax found.
    """

    sensitivity: Number
    kappa: Number
    dice: str
    waiting: str
    strata: list[tuple[str, str, str, str, str]]


def second(board: Board) -> SecondTexts:
    """The numbers of second reads of the chosen months."""
    found = board.second
    waits = {name: found.waiting.get(name, 0) for name in ("second", "third", "unsure")}
    return SecondTexts(
        sensitivity=_estimate(found.sensitivity, _("with a pneumothorax"), scale=100, unit=" %"),
        kappa=_estimate(found.kappa, _("pairs")),
        dice=_middle(found.dice),
        waiting=_(
            "%(second)s wait for a second reader, %(third)s for a third; %(unsure)s ended unsure",
            **{name: number_text(count) for name, count in waits.items()},
        ),
        strata=[_stratum(name, found.strata[name]) for name in STRATA if name in found.strata],
    )


def _estimate(found: Estimate, of: str, scale: float = 1, unit: str = "") -> Number:
    if found.is_small or found.value is None or found.low is None or found.high is None:
        return Number(few() if found.count else "—")
    digits = 1 if scale > 1 else 2
    value, low, high = (
        number_text(one * scale, digits) for one in (found.value, found.low, found.high)
    )
    return Number(
        text=value + unit,
        interval=f"{low}–{high}{unit}",
        count=f"{number_text(found.count)} {of}",
        value=round(max(0.0, found.value) * 100, 2),
        low=round(max(0.0, found.low) * 100, 2),
        high=round(max(0.0, found.high) * 100, 2),
    )


def _stratum(name: str, found: Stratum) -> tuple[str, str, str, str, str]:
    title = str(_STRATA[name])
    if found.all.count < LEAST:
        return title, few(), "—", "—", "—"
    chance = found.all.count / found.all.weight
    return (
        title,
        number_text(found.all.count),
        number_text(found.all.weight, 0),
        plots.percent(chance) + " %",
        number_text(found.positive.count),
    )


def _middle(dice: list[float]) -> str:
    """The median of a sorted list and the middle half."""
    if len(dice) < LEAST:
        return few() if dice else "—"
    low, middle, high = (dice[len(dice) * part // 4] for part in (1, 2, 3))
    return _(
        "%(middle)s (middle half %(low)s to %(high)s, %(count)s exams)",
        middle=number_text(middle, 2),
        low=number_text(low, 2),
        high=number_text(high, 2),
        count=number_text(len(dice)),
    )


def arrived(board: Board) -> str:
    """How many exams arrived in the chosen months."""
    return _count(sum(one.arrived for one in board.rows))


def _count(number: int) -> str:
    return few() if 0 < number < LEAST else number_text(number)


def _readers(one: MonthRow) -> str:
    if not one.readers:
        return "—"
    middle = one.readers[len(one.readers) // 2]
    return _(
        "%(count)s readers: %(fewest)s to %(most)s, middle %(middle)s",
        count=number_text(len(one.readers)),
        fewest=number_text(one.readers[0]),
        most=number_text(one.readers[-1]),
        middle=number_text(middle),
    )


def _name(dimension: str, name: str) -> str:
    known = _NAMES[dimension].get(name)
    if known:
        return known
    return f"{name}–{int(name) + 9}" if dimension == "age" else name
