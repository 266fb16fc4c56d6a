"""Places and texts of small plots that templates/admin/_plots.html draws as SVG.

Lengths are units of the viewBox (WIDTH × HEIGHT). Marks differ by shape, never by colour alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from portal.languages import _, number_text
from portal.performance.intervals import Share

WIDTH, HEIGHT = 360, 168
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 350, 10, 138
# The upper ends of a scale of shares, and the ticks of one of durations in seconds.
_ENDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
DURATIONS: Final = (
    (1, "1 s"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3600, "1 h"),
    (6 * 3600, "6 h"),
    (86400, "1 d"),
    (7 * 86400, "7 d"),
    (30 * 86400, "30 d"),
)
_MOST_NAMES: Final = 6


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A point, with its interval where there is one. `shape`: dot or triangle."""

    x: float
    y: float
    text: str
    shape: str = "dot"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot. Empty `marks`: nothing large enough to be shown."""

    marks: list[Mark]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def shares(values: Sequence[tuple[str, Share]], *, whole: bool = False, unit: str = " %") -> Plot:
    """Shares over months with their intervals; `whole`: the scale always goes to 100 %."""
    shown = [(at, name, share) for at, (name, share) in enumerate(values) if not share.is_small]
    highest = max((share.high or 0.0 for _at, _name, share in shown), default=0.0)
    end = 1.0 if whole else next(one for one in _ENDS if highest <= one)
    marks = []
    for at, name, share in shown:
        value, low, high = share.value or 0.0, share.low or 0.0, share.high or 0.0
        marks.append(
            Mark(
                x=_x(at, len(values)),
                y=_y(value / end),
                text=_(
                    "%(name)s: %(value)s (%(interval)s), %(count)s exams",
                    name=name,
                    value=percent(value) + unit,
                    interval=interval(share),
                    count=number_text(share.of),
                ),
                low=_y(low / end),
                high=_y(high / end),
            )
        )
    return Plot(marks, _names([name for name, _value in values]), _shares_up_to(end, unit))


def durations(values: Sequence[tuple[str, tuple[float, float] | None]]) -> Plot:
    """Median (dots) and 90th percentile (triangles) over months in seconds, on a log scale."""
    known = [seconds for _name, pair in values if pair is not None for seconds in pair]
    least, most = max(1.0, min(known, default=1.0)), max(1.0, max(known, default=1.0))
    first = max((at for at, (s, _text) in enumerate(DURATIONS[:-1]) if s <= least), default=0)
    last = next((at for at, (s, _text) in enumerate(DURATIONS) if s >= most), len(DURATIONS) - 1)
    last = max(last, first + 1)
    low, high = (math.log(DURATIONS[at][0]) for at in (first, last))

    def place(seconds: float) -> float:
        return _y(min(1.0, max(0.0, (math.log(max(seconds, 1.0)) - low) / (high - low))))

    marks = [
        Mark(_x(at, len(values)), place(seconds), f"{name}: {label} {duration(seconds)}", shape)
        for at, (name, pair) in enumerate(values)
        if pair is not None
        for seconds, label, shape in zip(
            pair, (_("median"), _("90 % within")), ("dot", "triangle"), strict=True
        )
    ]
    ticks = [Tick(place(seconds), text) for seconds, text in DURATIONS[first : last + 1]]
    return Plot(marks, _names([name for name, _value in values]), ticks)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Recent pictures as filled columns (x, y, width, height), the reference as an outline, the
    points of a line over the same columns.
    """

    columns: list[tuple[float, float, float, float]]
    outline: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def histogram(parts: Sequence[tuple[float, float, float, float]]) -> Histogram:
    """Parts of a number's range: low and high end, share of the reference, of recent pictures."""
    highest = max((max(shares) for _low, _high, *shares in parts), default=0.0)
    end = next(one for one in _ENDS if highest <= one or one == _ENDS[-1])
    low, high = parts[0][0], parts[-1][1]

    def x(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low), 1)

    columns, points = [], [f"{x(low)},{_BOTTOM}"]
    for start, stop, expected, recent in parts:
        top = _y(min(recent / end, 1.0))
        width, height = round(x(stop) - x(start), 1), round(_BOTTOM - top, 1)
        columns.append((x(start), top, width, height))
        level = _y(min(expected / end, 1.0))
        points += [f"{x(start)},{level}", f"{x(stop)},{level}"]
    points.append(f"{x(high)},{_BOTTOM}")
    names = [low + (high - low) * part / 4 for part in range(5)]
    ticks = [Tick(x(value), number_text(float(f"{value:.3g}"), None)) for value in names]
    ticks[0], ticks[-1] = Tick(_LEFT + 8, ticks[0].text), Tick(_RIGHT - 12, ticks[-1].text)
    return Histogram(columns, " ".join(points), ticks, _shares_up_to(end))


def over_time(
    values: Sequence[tuple[str, float, str, bool]],
    ends: Sequence[float],
    unit: str = "",
    names_most: int = _MOST_NAMES,
) -> Plot:
    """Numbers over time: name, value, what is said of it, and whether it is a triangle. The scale
    goes to the first of `ends` that all are below, in hundredths where the unit is "%". So many
    names have room, of more there is every n-th.
    """
    highest = max((one[1] for one in values), default=0.0)
    end = next((one for one in ends if highest <= one), ends[-1])
    marks = [
        Mark(
            _x(at, len(values)), _y(min(value / end, 1.0)), text, "triangle" if is_alarm else "dot"
        )
        for at, (_name, value, text, is_alarm) in enumerate(values)
    ]
    scale = 100 if unit else 1
    ticks = [Tick(_y(part / 4), number_text(end * part / 4 * scale) + unit) for part in range(5)]
    # The last name has its mark at the very edge: it would be cut.
    placed = _names([value[0] for value in values], names_most)
    names = [Tick(min(one.at, WIDTH - 18), one.text) for one in placed]
    return Plot(marks, names, ticks)


def _shares_up_to(end: float, unit: str = " %") -> list[Tick]:
    return [Tick(_y(part / 4), percent(end * part / 4, exact=False) + unit) for part in range(5)]


def percent(value: float, *, exact: bool = True) -> str:
    """A share in hundredths as "61.3"; not `exact`: without decimals that are 0."""
    return number_text(value * 100, 1 if exact else None)


def interval(share: Share) -> str:
    """The interval of a share in hundredths: "55.1–67.2"."""
    return f"{percent(share.low or 0.0)}–{percent(share.high or 0.0)}"


def duration(seconds: float) -> str:
    """A duration in the unit that fits: "42 s", "3.5 min", "2.1 h", "1.4 d"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{number_text(seconds / size, 1)} {unit}"
    return f"{number_text(seconds, 0)} s"


def _x(at: int, count: int) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * (at + 0.5) / max(count, 1), 1)


def _y(share: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)


def _names(names: Sequence[str], most: int = _MOST_NAMES) -> list[Tick]:
    """Every name, or every n-th where they would not fit."""
    step = -(-len(names) // most)
    return [
        Tick(_x(at, len(names)), name)
        for at, name in enumerate(names)
        if (len(names) - 1 - at) % step == 0
    ]
