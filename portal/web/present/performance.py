"""The board of performance as texts, tables and plots."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from portal.performance.board import STRATA, Board, Group, MonthRow
from portal.performance.exam_outcomes import SIZES
from portal.performance.intervals import LEAST, Share
from portal.performance.turnaround import STEPS
from portal.performance.weighted import Estimate, Stratum
from portal.web.present import plots
from portal.web.present.plots import Plot

FEW: Final = f"fewer than {LEAST}"
_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "view": {"other": "Other or not known"},
    "age": {"unknown": "Not known", "90": "90 and above"},
    "sex": {"F": "Female", "M": "Male", "O": "Other", "unknown": "Not known"},
    "size": {
        "small": "Small: under 10 % of the hemithorax",
        "moderate": "Moderate: 10–30 %",
        "large": "Large: above 30 %",
        "unknown": "Not known",
    },
}
_TITLES: Final = {
    "view": "By view",
    "age": "By age",
    "sex": "By sex",
    "size": "By the size that the model measured (exams with an alarm)",
}


@dataclass(frozen=True, slots=True)
class _Measure:
    """One of the four numbers: its title, its share of a group, its unit in hundredths."""

    title: str
    share: Callable[[Group], Share]
    unit: str = " %"
    whole: bool = False  # its plots always go to 100 %


_MEASURES: Final[Mapping[str, _Measure]] = {
    "ppv": _Measure("Alarms confirmed (PPV)", lambda group: group.confirmed, whole=True),
    "alarms": _Measure("Alarms per 100 exams", lambda group: group.alarms, unit=""),
    "agreement": _Measure("Agreement", lambda group: group.agreed, whole=True),
    "no_result": _Measure("No AI result", lambda group: group.unanswered),
}
_STRATA: Final = {
    "likely": "Likely",
    "possible": "Possible",
    "none_found": "None found",
    "no_result": "No AI result",
}
_STEPS: Final = {
    "arrival_to_ai": "Arrival to first AI result",
    "arrival_to_review": "Arrival to first review",
    "ai_to_review": "AI result to first review",
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


def number(share: Share, unit: str = " %") -> Number:
    """A share for a page; `FEW` where the group is too small."""
    if share.is_small or share.value is None or share.low is None or share.high is None:
        return Number(FEW if share.of else "—")
    return Number(
        text=plots.percent(share.value) + unit,
        interval=plots.interval(share) + unit,
        count=f"{share.count:,} of {share.of:,}",
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
    return [(one, row(one.month.name, one.group), _readers(one)) for one in reversed(board.rows)]


def month_plots(board: Board) -> list[tuple[str, Plot]]:
    """The four numbers over the months."""
    return [
        (
            measure.title,
            plots.shares(
                [(one.month.name, measure.share(one.group)) for one in board.rows],
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
            of_step = one.turnaround.get(step)
            if of_step is None or of_step.count < LEAST:
                rows.append((one.month.name, FEW if of_step else "—", ["—"] * 3))
            else:
                texts = [plots.duration(seconds) for seconds in of_step.seconds.values()]
                rows.append((one.month.name, f"{of_step.count:,}", texts))
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
            values.append((one.month.name, pair))
        found.append((_STEPS[step], plots.durations(values)))
    return found


@dataclass(frozen=True, slots=True)
class SecondTexts:
    """What blind second reads have shown. `strata`: AI result, exams that were drawn and read, how
    many exams they stand for, how likely an exam was drawn, pneumothorax found.
    """

    sensitivity: Number
    kappa_blind: Number
    kappa_shown: Number
    dice: str
    waiting: str
    strata: list[tuple[str, str, str, str, str]]


def second(board: Board) -> SecondTexts:
    """The numbers of second reads of the chosen months."""
    found = board.second
    waits = {name: found.waiting.get(name, 0) for name in ("second", "third", "unsure")}
    return SecondTexts(
        sensitivity=_estimate(found.sensitivity, "with a pneumothorax", scale=100, unit=" %"),
        kappa_blind=_estimate(found.kappa(ai_shown=False), "pairs"),
        kappa_shown=_estimate(found.kappa(ai_shown=True), "pairs"),
        dice=_middle(found.dice),
        waiting=f"{waits['second']:,} wait for a second reader, {waits['third']:,} for a third; "
        f"{waits['unsure']:,} ended unsure",
        strata=[_stratum(name, found.strata[name]) for name in STRATA if name in found.strata],
    )


def _estimate(found: Estimate, of: str, scale: float = 1, unit: str = "") -> Number:
    if found.is_small or found.value is None or found.low is None or found.high is None:
        return Number(FEW if found.count else "—")
    digits = 1 if scale > 1 else 2
    value, low, high = (f"{one * scale:.{digits}f}" for one in (found.value, found.low, found.high))
    return Number(
        text=value + unit,
        interval=f"{low}–{high}{unit}",
        count=f"{found.count:,} {of}",
        value=round(max(0.0, found.value) * 100, 2),
        low=round(max(0.0, found.low) * 100, 2),
        high=round(max(0.0, found.high) * 100, 2),
    )


def _stratum(name: str, found: Stratum) -> tuple[str, str, str, str, str]:
    title = _STRATA[name]
    if found.all.count < LEAST:
        return title, FEW, "—", "—", "—"
    chance = found.all.count / found.all.weight
    return (
        title,
        f"{found.all.count:,}",
        f"{found.all.weight:,.0f}",
        plots.percent(chance) + " %",
        f"{found.positive.count:,}",
    )


def _middle(dice: list[float]) -> str:
    """The median of a sorted list and the middle half."""
    if len(dice) < LEAST:
        return FEW if dice else "—"
    low, middle, high = (dice[len(dice) * part // 4] for part in (1, 2, 3))
    return f"{middle:.2f} (middle half {low:.2f} to {high:.2f}, {len(dice):,} exams)"


def arrived(board: Board) -> str:
    """How many exams arrived in the chosen months."""
    return _count(sum(one.arrived for one in board.rows))


def _count(number: int) -> str:
    return FEW if 0 < number < LEAST else f"{number:,}"


def _readers(one: MonthRow) -> str:
    if not one.readers:
        return "—"
    middle = one.readers[len(one.readers) // 2]
    return (
        f"{len(one.readers)} readers: {one.readers[0]:,} to {one.readers[-1]:,}, middle {middle:,}"
    )


def _name(dimension: str, name: str) -> str:
    known = _NAMES[dimension].get(name)
    if known:
        return known
    return f"{name}–{int(name) + 9}" if dimension == "age" else name
