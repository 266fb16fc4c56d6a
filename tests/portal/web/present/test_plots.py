"""Plots: marks are where their values are, within the picture, and small groups are not drawn."""

import itertools

import pytest

from portal.performance.intervals import LEAST, Share
from portal.web.present import plots
from portal.web.present.plots import HEIGHT, WIDTH


def test_shares_are_drawn_from_bottom_to_top_with_their_interval_around_them() -> None:
    values = [(f"m{at}", Share(at * 10, 100)) for at in range(11)]
    drawn = plots.shares(values, whole=True)
    assert len(drawn.marks) == 11
    for a, b in itertools.pairwise(drawn.marks):
        assert a.x < b.x
        assert a.y > b.y
    ticks = {tick.text: tick.at for tick in drawn.y_ticks}
    assert drawn.marks[0].y == ticks["0 %"]
    assert drawn.marks[5].y == ticks["50 %"]
    assert drawn.marks[10].y == ticks["100 %"]
    for mark in drawn.marks:
        assert mark.low is not None
        assert mark.high is not None
        assert mark.high <= mark.y <= mark.low
        assert 0 < mark.x < WIDTH
        assert 0 < mark.high <= mark.low < HEIGHT


def test_small_shares_get_a_scale_that_shows_them() -> None:
    drawn = plots.shares([("m", Share(30, 10_000))])
    assert [tick.text for tick in drawn.y_ticks] == ["0 %", "1.25 %", "2.5 %", "3.75 %", "5 %"]


def test_small_groups_are_not_drawn_and_months_keep_their_place() -> None:
    values = [("a", Share(1, LEAST - 1)), ("b", Share(5, LEAST))]
    (mark,) = plots.shares(values).marks
    assert mark.text.startswith("b: 50.0 % (")
    assert mark.x == plots.shares([values[1], values[1]]).marks[1].x


def test_durations_are_on_a_log_scale_within_the_picture() -> None:
    drawn = plots.durations([("a", (10.0, 600.0)), ("b", None), ("c", (60.0, 3600.0))])
    ticks = {tick.text: tick.at for tick in drawn.y_ticks}
    assert [mark.y for mark in drawn.marks] == [
        ticks[text] for text in ("10 s", "10 min", "1 min", "1 h")
    ]
    assert [mark.shape for mark in drawn.marks] == ["dot", "triangle"] * 2


@pytest.mark.parametrize("seconds", [0.0, 0.2, 1.0, 1e9])
def test_no_duration_leaves_the_picture(seconds: float) -> None:
    for mark in plots.durations([("a", (seconds, seconds))]).marks:
        assert 0 < mark.y < HEIGHT


def test_without_values_there_are_no_marks() -> None:
    assert plots.shares([]).marks == []
    assert plots.durations([("a", None)]).marks == []


@pytest.mark.parametrize("months", [1, 6, 7, 24])
def test_names_of_months_leave_each_other_room(months: int) -> None:
    ticks = plots.shares([(f"2026-{at:02}", Share(1, 100)) for at in range(months)]).x_ticks
    assert 1 <= len(ticks) <= 6
    assert all(b.at - a.at > 45 for a, b in itertools.pairwise(ticks))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (42, "42 s"), (90, "1.5 min"), (7200, "2.0 h"), (86400 * 1.5, "1.5 d")],
)
def test_a_duration_has_the_unit_that_fits(seconds: float, text: str) -> None:
    assert plots.duration(seconds) == text


def test_a_histogram_has_a_column_for_each_part_and_one_outline_over_them() -> None:
    drawn = plots.histogram([(0.0, 0.5, 0.4, 0.1), (0.5, 1.0, 0.6, 0.9)])
    (x, y, width, height), (second, top, _width, _height) = drawn.columns
    assert x + width == second
    assert y + height == top + _height == 138
    assert height * 9 == pytest.approx(_height, abs=1)
    points = [tuple(map(float, point.split(","))) for point in drawn.outline.split()]
    assert points[0][1] == points[-1][1] == 138, "it ends on the axis"
    assert [at for at, _level in points] == sorted(at for at, _level in points)
    assert drawn.y_ticks[-1].text == "100 %"


def test_numbers_over_time_fit_their_scale_and_alarms_are_triangles() -> None:
    values = [("11-28", 0.02, "a", False), ("11-29", 0.09, "b", False), ("11-30", 7.0, "c", True)]
    drawn = plots.over_time(values, (0.1, 1.0, 5.0))
    assert [mark.shape for mark in drawn.marks] == ["dot", "dot", "triangle"]
    assert drawn.marks[2].y == drawn.y_ticks[-1].at, "what is beyond the scale stands at its end"
    assert drawn.y_ticks[-1].text == "5"
    assert max(tick.at for tick in drawn.x_ticks) <= plots.WIDTH - 18
    assert plots.over_time(values[:2], (0.1, 1.0), unit=" %").y_ticks[-1].text == "10 %"


def test_names_stand_at_every_mark_where_there_is_room() -> None:
    values = [(name, 0.5, name, False) for name in "ABCDEFGH"]
    few = plots.over_time(values, (1.0,)).x_ticks
    assert [one.text for one in few] == list("BDFH")
    every = plots.over_time(values, (1.0,), names_most=20)
    assert [one.text for one in every.x_ticks] == list("ABCDEFGH")
    assert [one.at for one in every.x_ticks[:-1]] == [one.x for one in every.marks[:-1]]
