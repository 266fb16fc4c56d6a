"""The lines of a network's other findings."""

from portal.web.present.other_lines import other_lines
from tests.support.jobs import OTHER_FINDING


def test_a_finding_is_named_with_side_size_and_probability() -> None:
    (line,) = other_lines([OTHER_FINDING])
    assert (line.name, line.found, line.probability) == ("Pleural effusion", True, "0.70")
    assert line.text == "found, left, 2.1 cm²"


def test_what_is_not_found_has_no_size() -> None:
    none = OTHER_FINDING | {"found": False, "probability": 0.001, "area_px": 0, "side": None}
    (line,) = other_lines([none])
    assert (line.text, line.probability) == ("none found", "0.01")
    assert other_lines(None) == other_lines([]) == []
