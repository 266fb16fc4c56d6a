"""portal.jobs.results.result_checks: what passes can be stored and shown by the pages.

The values are a valid result with any part of it replaced by anything.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.jobs.errors import BadResult
from portal.jobs.results import prediction_checks, result_checks
from portal.models import BlobKind, JobKind
from portal.web.present import other_lines, size_lines, wording
from tests.support.jobs import (
    OTHER_FINDING,
    REFUSED,
    facts_of,
    prediction_of,
    rendered,
    segmented,
)
from tests.support.pictures import png

RENDERED = {BlobKind(kind): len(data) for kind, data in rendered(8, 6).items()}
SEGMENTED = {BlobKind(kind): len(data) for kind, data in segmented().items()}

PIXELS_OF = {BlobKind(kind): len(data) for kind, data in rendered(8, 12).items()}


def test_a_mask_may_have_the_size_of_a_file_whose_pixels_are_not_square() -> None:
    facts = facts_of(8, 12) | {"source_size": [8, 6]}
    found = result_checks.check_facts({"facts": facts}, PIXELS_OF)
    assert found.source_size == (8, 6)
    for size, fits in (((8, 12), True), ((8, 6), True), ((4, 12), True), ((4, 6), False),
                       ((8, 2), False), ((8, 13), False), ((16, 12), False)):  # fmt: skip
        data = png(rows=size[0], columns=size[1])
        if fits:
            kind = result_checks.check_output(JobKind.SEGMENT, "mask", data, "image/png", (8, 12))
            assert kind is BlobKind.MASK
        else:
            with pytest.raises(BadResult):
                result_checks.check_output(JobKind.SEGMENT, "mask", data, "image/png", (8, 12))
    overlay = png(rows=8, columns=6)
    with pytest.raises(BadResult):
        result_checks.check_output(JobKind.SEGMENT, "overlay", overlay, "image/png", (8, 12))


@pytest.mark.parametrize("size", [[8, 12], [4, 6], [8, 2], [16, 12]])
def test_a_files_size_that_its_picture_cannot_come_from_is_refused(size: list[int]) -> None:
    with pytest.raises(BadResult):
        result_checks.check_facts({"facts": facts_of(8, 12) | {"source_size": size}}, PIXELS_OF)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@st.composite
def spoilt(draw: st.DrawFn, whole: Any) -> Any:
    """The value with one part of it, wherever it stands, replaced or added."""
    if isinstance(whole, dict) and draw(st.integers(0, 4)):
        key = draw(st.sampled_from([*whole, "more"]))
        return whole | {key: draw(spoilt(whole.get(key)))}
    if isinstance(whole, list) and whole and draw(st.booleans()):
        at = draw(st.integers(0, len(whole) - 1))
        return [*whole[:at], draw(spoilt(whole[at])), *whole[at + 1 :]]
    return draw(anything)


def storable(value: Any) -> None:
    """JSON that PostgreSQL takes and a page can be written with."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in text
    text.encode()


@settings(max_examples=300)
@given(spoilt(facts_of(8, 6)))
def test_facts_that_pass_can_be_shown(sent: Any) -> None:
    try:
        facts = result_checks.check_facts({"facts": sent}, RENDERED).as_json()
    except BadResult:
        return
    storable(facts)
    assert set(facts) <= set(facts_of(8, 6))
    wording.sex_and_age("", "", facts.get("patient_age_years"))
    spacing = facts.get("spacing") or {"row_mm": None, "source": None}
    wording.spacing(spacing["row_mm"], spacing["source"])
    towards = facts.get("orientation")
    assert towards is None or towards[0][:1] is not None
    assert all(len(window) == 3 for window in facts["windows"])
    assert isinstance(facts.get("view") or "", str)


@settings(max_examples=300)
@given(spoilt(prediction_of(other_findings=[OTHER_FINDING])))
def test_predictions_that_pass_can_be_shown(sent: Any) -> None:
    try:
        found = result_checks.check_prediction({"prediction": sent}, SEGMENTED)
        prediction_checks.require_within(found, 8, 6)
    except BadResult:
        return
    body = found.as_json()
    storable(body)
    assert set(body["quality"]) <= {"verdict", "reasons"}
    assert all(isinstance(number, float) for number in (found.statistics or {}).values())
    wording.probability(found.probability)
    measured = body.get("measurements") or {}
    assert set(measured) <= set(prediction_of()["measurements"])
    wording.where(measured.get("side"), measured.get("zones", ()), assumed=True)
    wording.length(measured.get("distance_mm"), measured.get("distance_px"))
    wording.area(measured.get("area_mm2"), measured.get("area_px"))
    if measured.get("spacing"):
        wording.spacing_note(measured["spacing"]["row_mm"], measured["spacing"]["source"])
    assert all(len(line) == 4 for line in size_lines.level_lines(measured))
    for size in size_lines.sizes(measured):
        assert size.side in ("Right", "Left")
        assert all(value for _, value in [*size.levels, *size.indices])
        assert size.share
    assert all(size_lines.figure(measured) or ["none"])
    wording.islands(measured.get("island_px_min"), measured.get("islands_left_out"))
    wording.bands(body.get("operating_point"), body.get("image_threshold"), None)
    size_lines.severity(measured)
    assert size_lines.lesions(measured) >= 0
    for line in other_lines.other_lines(body.get("other_findings")):
        assert line.name
        assert line.text.startswith(("found", "none found"))
    for reason in body["quality"].get("reasons") or ():
        assert reason["message"]


@pytest.mark.parametrize("where", ["", "quality", "measurements", "model"])
def test_a_field_that_is_not_of_the_contract_is_refused(where: str) -> None:
    sent = prediction_of()
    (sent[where] if where else sent)["note"] = "CANARY"
    with pytest.raises(BadResult, match="note") as refused:
        result_checks.check_prediction({"prediction": sent}, SEGMENTED)
    assert "CANARY" not in refused.value.message
    with pytest.raises(BadResult, match="patient_name"):
        result_checks.check_facts({"facts": facts_of(8, 6, patient_name="CANARY")}, RENDERED)
    with pytest.raises(BadResult, match="more"):
        result_checks.check_facts({"facts": facts_of(8, 6), "more": 1}, RENDERED)


def test_what_passes_is_stored_in_the_form_in_which_it_was_sent() -> None:
    facts = result_checks.check_facts({"facts": facts_of(8, 6)}, RENDERED)
    assert facts.as_json() == facts_of(8, 6)
    found = result_checks.check_prediction({"prediction": prediction_of()}, SEGMENTED)
    assert found.as_json() == prediction_of()


def test_a_refused_picture_has_no_outputs() -> None:
    sent = {"prediction": prediction_of(**REFUSED)}
    assert result_checks.check_prediction(sent, {}).map is None
    with pytest.raises(BadResult, match="no outputs"):
        result_checks.check_prediction(sent, SEGMENTED)


def test_a_size_is_shown_with_its_method_or_the_reason_why_not() -> None:
    (size,) = size_lines.sizes(prediction_of()["measurements"])
    assert (size.side, size.share) == ("Right", "12 %")
    assert size.levels[0] == ("At the apex", "5.5 mm")
    assert size.levels[3] == ("Middle of the lower half", "none")
    assert size_lines.level_lines(prediction_of()["measurements"]) == [[1, 2, 3, 4]] * 2 + [
        [5, 6, 7, 8]
    ]
    assert size.indices == [("Collins", "12 %")]
    assert size.reason == "Other indices are not shown: valid for erect PA views only."
    assert size_lines.sizes({}) == size_lines.level_lines({}) == []


def test_one_figure_is_shown_the_share_before_the_distance() -> None:
    measured = prediction_of()["measurements"]
    assert size_lines.figure(measured) == ("Share of the right hemithorax", "12 %")
    measured["extents"][0] |= {"border_found": False, "fraction": None}
    assert size_lines.figure(measured) == ("Greatest distance", "18 mm")
    (size,) = size_lines.sizes(measured)
    assert size.share == "not measured"
    assert size_lines.figure(measured | {"distance_mm": None}) == ("Greatest distance", "5 px")
    assert size_lines.figure({}) is None


def test_a_worker_of_an_older_version_sends_no_middle_of_the_lung() -> None:
    sent = prediction_of()
    del sent["measurements"]["extents"][0]["middle"]
    measured = result_checks.check_prediction({"prediction": sent}, SEGMENTED).as_json()[
        "measurements"
    ]
    (size,) = size_lines.sizes(measured)
    assert [words.split()[-1] for words, _ in size.levels] == ["apex", "half", "half"]
    assert len(size_lines.level_lines(measured)) == 2


@pytest.mark.parametrize(
    "wrong", [{"area_px": 99}, {"outlines": [[[1, 1], [7, 1], [2, 2]]]}], ids=["area", "outline"]
)
def test_another_finding_lies_within_the_picture(wrong: dict[str, Any]) -> None:
    whole = {"prediction": prediction_of(other_findings=[OTHER_FINDING])}
    prediction_checks.require_within(result_checks.check_prediction(whole, SEGMENTED), 8, 6)
    spoilt_one = {"prediction": prediction_of(other_findings=[OTHER_FINDING | wrong])}
    with pytest.raises(BadResult, match=r"larger than the picture|leaves the picture"):
        prediction_checks.require_within(
            result_checks.check_prediction(spoilt_one, SEGMENTED), 8, 6
        )


def test_a_result_of_a_worker_of_before_has_neither_class_nor_count() -> None:
    older = dict(prediction_of()["measurements"])
    del older["lesions"], older["severity"]
    sent = {"prediction": prediction_of(measurements=older)}
    assert result_checks.check_prediction(sent, SEGMENTED).as_json()["measurements"] == older
    assert size_lines.severity(older) == ""
    assert size_lines.lesions(older) == 1
    today = prediction_of()["measurements"]
    assert size_lines.severity(today) == "10 – 30 % of the hemithorax"
    for found, words in ((True, "border of the lung"), (False, "lungs"), (None, "lungs")):
        unknown = today | {"severity": "unknown", "lungs_found": found}
        assert size_lines.severity(unknown) == f"unknown ({words} not found)"
