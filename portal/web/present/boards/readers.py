"""The board's readers as a table and plots."""

from dataclasses import dataclass
from typing import Final

from portal.languages import _, number_text
from portal.performance.intervals import LEAST
from portal.performance.own_reading import LEAST_READERS
from portal.performance.readers import Median, ReaderNumbers, ReaderRow
from portal.web.present import plots
from portal.web.present.plots import Plot

_LETTERS_MOST: Final = 20  # of a letter or a number each there is room for so many
_MINUTES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0)  # nothing is longer than an hour


@dataclass(frozen=True, slots=True)
class ReaderLine:
    """One reader: what plots have, the name, whether a person typed it, and of Dice and time the
    median and how many there are.
    """

    key: str
    name: str
    is_name: bool
    dice: str
    pictures: str
    time: str
    exams: str


def lines(found: ReaderNumbers) -> list[ReaderLine]:
    """The readers as rows of a table."""
    return [
        ReaderLine(
            row.key,
            name=_name(row),
            is_name=row.name is not None,
            dice=_text(row, row.dice, _dice(row.dice)),
            pictures=_count(row.dice),
            time=_text(row, row.seconds, _time(row.seconds)),
            exams=_count(row.seconds),
        )
        for row in found.rows
    ]


def left_out(found: ReaderNumbers) -> str:
    """Why numbers of some are not shown; empty where none are."""
    if not found.is_left_out:
        return ""
    return _(
        "Readers without a name are shown only where at least %(readers)s of them have "
        "%(count)s exams or pictures or more each: with fewer, one would know who it is. "
        "Numbers of others are left out.",
        readers=LEAST_READERS,
        count=LEAST,
    )


def drawn(found: ReaderNumbers) -> list[tuple[str, Plot]]:
    """The two numbers of the readers, each with a title."""
    dice = [
        (row.key, row.dice.value, f"{_name(row)}: {_dice(row.dice)}", False)
        for row in found.rows
        if row.dice.value is not None
    ]
    times = [
        (row.key, row.seconds.value / 60, f"{_name(row)}: {_time(row.seconds)}", False)
        for row in found.rows
        if row.seconds.value is not None
    ]
    return [
        (
            _("Dice of outlines to the AI’s (median)"),
            plots.over_time(dice, (1.0,), names_most=_LETTERS_MOST),
        ),
        (
            _("Reading time in minutes (median)"),
            plots.over_time(times, _MINUTES, names_most=_LETTERS_MOST),
        ),
    ]


def _name(row: ReaderRow) -> str:
    return _("Reader %(letter)s", letter=row.key) if row.name is None else row.name


def _text(row: ReaderRow, median: Median, text: str) -> str:
    """What stands for a number that is not shown: nobody learns how few there are."""
    if median.value is not None:
        return text
    return "—" if row.name is None else _("fewer than %(count)s", count=LEAST)


def _dice(median: Median) -> str:
    return "" if median.value is None else number_text(median.value, 2)


def _time(median: Median) -> str:
    return "" if median.value is None else plots.duration(median.value)


def _count(median: Median) -> str:
    if median.value is None:
        return ""
    if median.high is None:
        return _("%(count)s or more", count=number_text(median.low))
    if median.low == median.high:
        return number_text(median.low)
    return f"{number_text(median.low)}–{number_text(median.high)}"
