"""The tables of a board as CSV, that of the readers as JSON too: numbers of groups, nothing about
a patient.

Numbers of groups with fewer than `intervals.LEAST` exams are left out, as on the page.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from portal.formats.display_text import csv_line
from portal.performance.board import STRATA, Board, Group
from portal.performance.exam_outcomes import DIMENSIONS
from portal.performance.intervals import LEAST, Share
from portal.performance.own_reading import LEAST_READERS
from portal.performance.readers import Median
from portal.performance.turnaround import PERCENTILES, STEPS

_SHARES: Final[dict[str, Callable[[Group], Share]]] = {
    "ppv": lambda group: group.confirmed,
    "alarms": lambda group: group.alarms,
    "agreement": lambda group: group.agreed,
    "no_result": lambda group: group.unanswered,
}
_OF_SHARE: Final = ("count", "of", "share", "low_95", "high_95", "note")
NAMES: Final = ("groups", "months", "turnaround", "second_reads", "readers")


def as_csv(board: Board, name: str) -> str:
    """One of NAMES as CSV with a head; KeyError for another name."""
    make = {
        "groups": _groups,
        "months": _months,
        "turnaround": _turnaround,
        "second_reads": _second,
        "readers": _readers,
    }[name]
    return "".join(csv_line(line) for line in make(board))


def _groups(board: Board) -> Iterator[list[Any]]:
    yield ["model", "from", "to", "by", "group", "number", *_OF_SHARE]
    about = [_model(board), board.rows[0].month.name, board.rows[-1].month.name]
    for dimension in DIMENSIONS:
        for group in board.groups[dimension]:
            for name, share in _SHARES.items():
                yield [*about, dimension, group.name, name, *_cells(share(group))]


def _months(board: Board) -> Iterator[list[Any]]:
    yield ["model", "month", "arrived", "number", *_OF_SHARE]
    for row in board.rows:
        arrived = None if row.arrived < LEAST else row.arrived
        for name, share in _SHARES.items():
            yield [_model(board), row.month.name, arrived, name, *_cells(share(row.group))]


def _turnaround(board: Board) -> Iterator[list[Any]]:
    yield ["month", "step", "exams", *(f"p{percent}_seconds" for percent in PERCENTILES), "note"]
    for row in board.rows:
        for step in STEPS:
            times = row.turnaround.get(step)
            if times is None or times.count < LEAST:
                yield [row.month.name, step, *[None] * (len(PERCENTILES) + 1), _note()]
            else:
                seconds = [times.seconds[percent] for percent in PERCENTILES]
                yield [row.month.name, step, times.count, *seconds, None]


def _second(board: Board) -> Iterator[list[Any]]:
    heads = ["exams", "weight", "positive", "value", "low_95", "high_95", "note"]
    yield ["model", "number", "group", *heads]
    found, model = board.second, _model(board)
    for name in STRATA:
        one = found.strata.get(name)
        if one is None or one.all.count < LEAST:
            yield [model, "second_reads", name, *[None] * 6, _note()]
        else:
            counts = [one.all.count, round(one.all.weight, 2), one.positive.count]
            yield [model, "second_reads", name, *counts, *[None] * 4]
    estimates = {
        "sensitivity": found.sensitivity,
        "kappa_both_blind_to_ai": found.kappa,
    }
    for name, two in estimates.items():
        if two.is_small or two.value is None or two.low is None or two.high is None:
            yield [model, name, "", *[None] * 6, _note()]
        else:
            rounded = [round(value, 4) for value in (two.value, two.low, two.high)]
            yield [model, name, "", two.count, None, None, *rounded, None]


def _readers(board: Board) -> Iterator[list[Any]]:
    yield ["from", "to", "reader", "name", "number", "median", "count", "note"]
    about = [board.rows[0].month.name, board.rows[-1].month.name]
    for row in board.readers.rows:
        for number, found in (("dice_to_ai", row.dice), ("seconds", row.seconds)):
            cells: list[Any] = [None, None, _note()]
            if found.value is not None:
                cells = [_rounded(found.value), _how_many(found), None]
            yield [*about, row.key, row.name, number, *cells]
    if board.readers.is_left_out:
        note = f"fewer than {LEAST}, or fewer than {LEAST_READERS} readers without a name"
        yield [*about, None, None, None, None, None, note]


def readers_json(board: Board) -> str:
    """The readers as JSON. `count` is a number, or a text of the range without a name; medians
    that are not shown are null. `is_left_out`: numbers of nameless readers are not shown.
    """
    rows = [
        {
            "reader": row.key,
            "name": row.name,
            **{
                number: {
                    "median": None if found.value is None else _rounded(found.value),
                    "count": None if found.value is None else _how_many(found),
                }
                for number, found in (("dice_to_ai", row.dice), ("seconds", row.seconds))
            },
        }
        for row in board.readers.rows
    ]
    about = {"from": board.rows[0].month.name, "to": board.rows[-1].month.name}
    document = {**about, "readers": rows, "is_left_out": board.readers.is_left_out}
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _rounded(value: float) -> float:
    return round(value, 3)


def _how_many(found: Median) -> int | str:
    if found.low == found.high:
        return found.low
    return f"{found.low} or more" if found.high is None else f"{found.low} to {found.high}"


def _cells(share: Share) -> list[Any]:
    if share.is_small or share.value is None or share.low is None or share.high is None:
        return [None] * 5 + [_note()]
    rounded = [round(value, 4) for value in (share.value, share.low, share.high)]
    return [share.count, share.of, *rounded, None]


def _note() -> str:
    return f"fewer than {LEAST}"


def _model(board: Board) -> str:
    return f"{board.model.name} {board.model.version}" if board.model else ""
