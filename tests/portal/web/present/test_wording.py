"""Texts of results, sizes, sex and age."""

from pathlib import Path
from uuid import uuid4

import pytest

from portal.studies.status import State, StudyState, Waiting
from portal.web.present import list_rows, size_lines, wording


@pytest.mark.parametrize(
    ("mm2", "px", "text"),
    [
        (3100.0, 9, "31 cm²"),
        (994.9, 9, "9.9 cm²"),
        (420.0, 9, "4.2 cm²"),
        (85.0, 9, "85 mm²"),
        (None, 12345, "12,345 px"),
        (None, None, ""),
    ],
)
def test_an_area_has_the_unit_that_reads_best(mm2: float | None, px: int | None, text: str) -> None:
    assert wording.area(mm2, px) == text


@pytest.mark.parametrize(
    ("mm", "px", "text"),
    [(18.2, 99.0, "18 mm"), (4.46, 99.0, "4.5 mm"), (None, 212.4, "212 px"), (None, None, "")],
)
def test_a_length_is_in_millimetres_only_where_the_spacing_is_known(
    mm: float | None, px: float | None, text: str
) -> None:
    assert wording.length(mm, px) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((0.143, "detector", None), "0.143 mm (at the detector)"),
        ((None, None, None), "spacing unknown: sizes in pixels"),
        ((None, None, "unknown"), "spacing unknown: sizes in pixels"),
        ((None, None, "not_plausible"), "spacing not plausible: sizes in pixels"),
    ],
)
def test_a_spacing_that_is_not_used_has_its_reason(
    given: tuple[float | None, str | None, str | None], text: str
) -> None:
    assert wording.spacing(*given) == text
    assert ("not plausible" in wording.spacing_note(*given)) is ("not plausible" in text)


def test_likely_and_possible_are_explained_with_their_thresholds() -> None:
    text = wording.bands("balanced", 0.208, 0.736)
    assert text == (
        "Possible: probability from 0.21 (image operating point: balanced). Likely: from 0.74."
    )
    assert "Possible" not in wording.bands("high_precision", 0.736, 0.736)
    assert wording.bands("balanced", None, None) == "Image operating point: balanced."


def test_zones_of_older_results_are_thirds_of_the_height() -> None:
    zones = ["apical", "lateral", "basal"]
    assert wording.where("left", zones) == "left · apical, lateral, basal"
    assert (
        wording.where("left", zones, thirds=True) == "left · upper third, middle third, lower third"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0.874, "0.87"), (0.9999, "0.99"), (0.0, "0.01"), (None, "")]
)
def test_a_probability_is_never_certainty(value: float | None, text: str) -> None:
    assert wording.probability(value) == text


@pytest.mark.parametrize(
    ("sex", "age", "years", "text"),
    [
        ("F", "63Y", None, "F 63"),
        ("M", "8M", None, "M 8 months"),
        ("O", "", 41.0, "41"),
        ("", "", None, ""),
        ("F", "Y", None, "F"),
    ],
)
def test_sex_and_age_are_what_is_in_the_file_and_no_more(
    sex: str, age: str, years: float | None, text: str
) -> None:
    assert wording.sex_and_age(sex, age, years) == text


@pytest.mark.parametrize(
    ("waiting_for", "redis_answers", "expected"),
    [
        (None, True, []),
        ("worker", True, ["No worker takes jobs"]),
        ("redis", False, ["Redis"]),
        ("worker", False, ["No worker takes jobs", "Redis"]),
        ("model", True, ["a worker that has it. Read urgent ones unaided."]),
    ],
)
def test_notices_name_what_delays_results(
    waiting_for: Waiting | None, redis_answers: bool, expected: list[str]
) -> None:
    state = StudyState(uuid4(), State.RECEIVED, False, waiting_for, None, None, None)
    found = list_rows.notices([state], redis_answers=redis_answers)
    assert len(found) == len(expected)
    assert all(part in text for part, text in zip(expected, found, strict=True))


def test_no_label_denies_a_pneumothorax() -> None:
    labels = [wording.status_label(state, band) for state in _STATES for band in _BANDS]
    assert not any("no pneumothorax" in f"{label.title} {label.short}".lower() for label in labels)
    assert wording.status_label("done", "none_found").title == "None found"
    assert "unaided" in wording.status_label("failed", None).short


_STATES = ("received", "preparing", "analysing", "done", "no_result", "failed")
_BANDS = ("likely", "possible", "none_found", None)


def test_sizes_are_shown_with_what_was_measured_of_their_reliability() -> None:
    measured = (Path(__file__).parents[4] / "docs" / "measured.md").read_text()
    assert "These limits were chosen on the same pictures." in measured
    assert "of its 59 indices 9 lie more than 15 points off" in measured
    assert "were chosen on the pictures that they were measured on" in size_lines.METHOD
    assert "Of 59 indices of the model’s own outlines, 9 (15 %)" in size_lines.METHOD


def test_the_four_ends_of_an_exam_differ_in_text_and_in_shape_or_tone() -> None:
    ends = [
        wording.status_label("done", "none_found"),
        wording.status_label("skipped", None),
        wording.status_label("no_result", None),
        wording.status_label("failed", None),
    ]
    assert len({label.title for label in ends}) == 4
    assert len({label.short for label in ends}) == 4
    assert len({(label.tone, label.shape) for label in ends}) == 4
