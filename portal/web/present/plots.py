"""Places and texts of small plots that templates/admin/_plots.html draws as SVG.

Lengths are units of the viewBox (WIDTH × HEIGHT). Marks differ by shape, never by colour alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

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
    highest = max((share.high or 0.0 for _, _, share in shown), default=0.0)
    end = 1.0 if whole else next(one for one in _ENDS if highest <= one)
    marks = []
    for at, name, share in shown:
        value, low, high = share.value or 0.0, share.low or 0.0, share.high or 0.0
        marks.append(
            Mark(
                x=_x(at, len(values)),
                y=_y(value / end),
                text=f"{name}: {percent(value)}{unit} ({interval(share)}), {share.of:,} exams",
                low=_y(low / end),
                high=_y(high / end),
            )
        )
    ticks = [Tick(_y(part / 4), percent(end * part / 4, exact=False) + unit) for part in range(5)]
    return Plot(marks, _names([name for name, _ in values]), ticks)


def durations(values: Sequence[tuple[str, tuple[float, float] | None]]) -> Plot:
    """Median (dots) and 90th percentile (triangles) over months in seconds, on a log scale."""
    known = [seconds for _, pair in values if pair is not None for seconds in pair]
    least, most = max(1.0, min(known, default=1.0)), max(1.0, max(known, default=1.0))
    first = max((at for at, (s, _) in enumerate(DURATIONS[:-1]) if s <= least), default=0)
    last = next((at for at, (s, _) in enumerate(DURATIONS) if s >= most), len(DURATIONS) - 1)
    last = max(last, first + 1)
    low, high = (math.log(DURATIONS[at][0]) for at in (first, last))

    def place(seconds: float) -> float:
        return _y(min(1.0, max(0.0, (math.log(max(seconds, 1.0)) - low) / (high - low))))

    marks = [
        Mark(_x(at, len(values)), place(seconds), f"{name}: {label} {duration(seconds)}", shape)
        for at, (name, pair) in enumerate(values)
        if pair is not None
        for seconds, label, shape in zip(
            pair, ("median", "90 % within"), ("dot", "triangle"), strict=True
        )
    ]
    ticks = [Tick(place(seconds), text) for seconds, text in DURATIONS[first : last + 1]]
    return Plot(marks, _names([name for name, _ in values]), ticks)


def percent(value: float, *, exact: bool = True) -> str:
    """A share in hundredths as "61.3"; not `exact`: without decimals that are 0."""
    return f"{value * 100:.1f}" if exact else f"{value * 100:g}"


def interval(share: Share) -> str:
    """The interval of a share in hundredths: "55.1–67.2"."""
    return f"{percent(share.low or 0.0)}–{percent(share.high or 0.0)}"


def duration(seconds: float) -> str:
    """A duration in the unit that fits: "42 s", "3.5 min", "2.1 h", "1.4 d"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _x(at: int, count: int) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * (at + 0.5) / max(count, 1), 1)


def _y(share: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)


def _names(names: Sequence[str]) -> list[Tick]:
    """Every name, or every n-th where they would not fit."""
    step = -(-len(names) // _MOST_NAMES)
    return [
        Tick(_x(at, len(names)), name)
        for at, name in enumerate(names)
        if (len(names) - 1 - at) % step == 0
    ]
