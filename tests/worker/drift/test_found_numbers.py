"""worker.contract.contents.drift: what a drift job reads and finds."""

from typing import Any

import pytest

from worker.contract.contents.drift import NUMBERS_MAX, WINDOW, DriftFound, RecentNumbers, alarms
from worker.contract.message import InvalidMessage

WINDOW_OF = {
    "first": "2026-03-01T09:00:00Z",
    "last": "2026-03-04T09:00:00Z",
    "predictions": 300,
    "refused": 4,
}
NUMBER: dict[str, Any] = {
    "name": "input_mean",
    "is_share": False,
    "n": 300,
    "reference_n": 292,
    "expected": 0.2,
    "recent": 0.35,
    "psi": 2.1,
    "psi_by_chance": 0.11,
    "distance": 0.6,
    "p_value": 1e-40,
    "state": "shifted",
    "is_alarm": True,
    "bars": [{"low": -1.0, "high": 1.0, "reference": 1.0, "recent": 1.0}],
}


def test_what_was_found_keeps_its_form() -> None:
    found = DriftFound.parse({"window": WINDOW_OF, "numbers": [NUMBER]})
    assert found.as_json() == {"window": WINDOW_OF, "numbers": [NUMBER]}
    assert alarms(found.numbers) == ["input_mean"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"numbers": [NUMBER, NUMBER]},
        {"numbers": [NUMBER | {"name": f"n{k}"} for k in range(NUMBERS_MAX + 1)]},
        {"numbers": [NUMBER | {"name": "A patient"}]},
        {"numbers": [NUMBER | {"n": WINDOW + 1}]},
        {"numbers": [NUMBER | {"psi": -0.1}]},
        {"numbers": [NUMBER | {"state": "fine"}]},
        {"numbers": [NUMBER | {"bars": NUMBER["bars"] * 25}]},
        {"window": WINDOW_OF | {"predictions": WINDOW + 1}},
        {"window": WINDOW_OF | {"refused": -1}},
        {"comment": "x"},
    ],
    ids=[
        *("twice", "too many", "no code", "n", "psi", "state", "bars", "predictions", "refused"),
        "unknown field",
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        DriftFound.parse({"window": WINDOW_OF, "numbers": [NUMBER]} | wrong)


def test_more_values_than_a_window_has_are_refused() -> None:
    given = {"window": WINDOW_OF, "reference": {}, "columns": {"x": [0.5] * WINDOW}}
    assert RecentNumbers.parse(given).columns["x"][0] == 0.5
    with pytest.raises(InvalidMessage):
        RecentNumbers.parse(given | {"columns": {"x": [0.5] * (WINDOW + 1)}})
