"""worker.contract.measurements: sizes, sides and indices within their bounds."""

from typing import Any

import pytest

from worker.contract.measurements import Extent, Measurements, SizeIndex
from worker.contract.message import InvalidMessage

APPLIES = {"percent": 12.0, "applies": True, "reason": None}
DOES_NOT = {"percent": None, "applies": False, "reason": "not_pa"}
LEVEL = {"px": 4.0, "mm": None, "line": [1, 2, 3, 4]}
EXTENT = {
    "side": "right",
    "border_found": True,
    "fraction": 0.12,
    **dict.fromkeys(("apex", "upper", "middle", "lower"), LEVEL),
    **dict.fromkeys(("collins", "rhea"), DOES_NOT),
    "light": APPLIES,
}
COMPONENT = {"area_px": 9, "area_mm2": None, "side": None, "zones": [], "box": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    "wrong",
    [
        {**APPLIES, "percent": None},
        {**APPLIES, "percent": 101},
        {**APPLIES, "reason": "not_pa"},
        {**DOES_NOT, "reason": None},
        {**DOES_NOT, "percent": 5.0},
        {**DOES_NOT, "reason": "Not PA"},
        {"applies": True},
    ],
)
def test_an_index_has_a_percentage_or_a_reason(wrong: dict[str, Any]) -> None:
    assert SizeIndex.parse(APPLIES).as_json() == APPLIES
    assert SizeIndex.parse(DOES_NOT).as_json() == DOES_NOT
    with pytest.raises(InvalidMessage):
        SizeIndex.parse(wrong)


def test_workers_of_older_versions_send_no_middle_level() -> None:
    sent = {name: value for name, value in EXTENT.items() if name != "middle"}
    assert Extent.parse(sent).as_json() == sent
    with pytest.raises(InvalidMessage, match="apex"):
        Extent.parse({name: value for name, value in EXTENT.items() if name != "apex"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"area_px": 1.5},
        {"area_px": -1},
        {"side": "up"},
        {"distance_mm": 2001},
        {"distance_line": [1, 2, 3]},
        {"zones": ["apical"] * 11},
        {"components": [{**COMPONENT, "box": [1, 2, 3, -4]}]},
        {"components": [{**COMPONENT, "zones": None}]},
        {"extents": [EXTENT] * 3},
        {"extents": [{**EXTENT, "side": "both"}]},
        {"note": "CANARY"},
    ],
)
def test_measurements_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    whole = {"area_px": 9, "components": [COMPONENT], "extents": [EXTENT], "zones": ["apical"]}
    assert Measurements.parse(whole).as_json() == whole
    with pytest.raises(InvalidMessage):
        Measurements.parse(whole | wrong)


def test_what_older_workers_do_not_send_is_left_out() -> None:
    old = {name: value for name, value in EXTENT.items() if name != "border_found"}
    assert Extent.parse(old).as_json() == old
    sent = {"area_px": 9, "zones": ["lateral"], "extents": [old]}
    assert Measurements.parse(sent).as_json() == sent


def test_a_side_whose_border_was_not_found_has_no_share() -> None:
    sent = EXTENT | {"border_found": False, "fraction": None}
    assert Extent.parse(sent).as_json() == sent
    with pytest.raises(InvalidMessage, match="spacing_problem"):
        Measurements.parse({"spacing_problem": "odd"})


def test_no_zones_are_an_empty_list() -> None:
    assert Measurements.parse({"zones": None}).as_json() == {"zones": []}
    assert Measurements.parse({}).as_json() == {}
