"""Stored predictions as pages, API and export get them: without what an older version got wrong."""

import copy
import io
import json
import zipfile
from typing import Any

import pytest

from portal.exchange import deidentified_export
from portal.models import Band, Instance, ModelVersion, Prediction, SizeClass, Study
from portal.reading import case, worklist
from portal.studies import stored_results
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.jobs import prediction_of

# 8 rows and 6 columns: 320 x 270 mm, and what a converter writes.
PLAUSIBLE = {"row_mm": 40.0, "column_mm": 45.0, "source": "detector"}
CONVERTED = {"row_mm": 1.0, "column_mm": 1.0, "source": "calibrated"}
UNDER_18 = {"code": "under_18", "message": "The patient is under 18."}


def measured(spacing: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The measurements of a worker of today with this spacing."""
    whole: dict[str, Any] = copy.deepcopy(prediction_of()["measurements"])
    return whole | {"spacing": spacing} | changes


def of_older_version(spacing: dict[str, Any]) -> dict[str, Any]:
    """The same as a worker of a version before sent it."""
    old = measured(spacing)
    for name in ("zones_by", "spacing_problem", "island_px_min", "islands_left_out"):
        del old[name]
    del old["extents"][0]["border_found"]
    old["extents"][0]["light"] = {"percent": 100.0, "applies": True, "reason": None}
    return old


def shown(measurements: dict[str, Any]) -> dict[str, Any]:
    picture = Instance(rows=8, columns=6)
    found = stored_results.measurements(Prediction(measurements=measurements), picture)
    assert found is not None
    return found


def lengths_in_mm(value: Any, name: str = "") -> list[Any]:
    """Whatever is filled in a field whose name ends with a unit of length."""
    if isinstance(value, dict):
        return [found for key, part in value.items() for found in lengths_in_mm(part, key)]
    if isinstance(value, list):
        return [found for part in value for found in lengths_in_mm(part, name)]
    return [value] if value is not None and name.endswith(("mm", "mm2")) else []


def test_a_plausible_result_of_today_is_shown_as_it_is_stored() -> None:
    stored = measured(PLAUSIBLE)
    assert shown(stored) == stored
    assert len(lengths_in_mm(stored)) > 5


def test_an_older_result_loses_lengths_by_a_spacing_that_no_detector_has() -> None:
    stored = of_older_version(CONVERTED)
    found = shown(stored)
    assert lengths_in_mm(found) == []
    assert (found["spacing"], found["spacing_problem"]) == (None, "not_plausible")
    assert found["area_px"] == stored["area_px"]
    assert found["extents"][0]["collins"]["reason"] == "spacing_not_plausible"


def test_an_older_result_has_no_size_by_a_border_that_was_not_checked() -> None:
    (extent,) = shown(of_older_version(PLAUSIBLE))["extents"]
    assert extent["fraction"] is None
    for name in ("light", "collins"):
        assert extent[name] == {"percent": None, "applies": False, "reason": "border_not_checked"}
    assert extent["rhea"]["reason"] == "not_pa"  # it did not apply before
    assert extent["apex"]["mm"] == 5.5


def test_no_page_and_no_file_has_millimetres_by_such_a_spacing(clinic: Clinic) -> None:
    study = clinic.submit().study_id
    old = of_older_version(CONVERTED)
    clinic.segment(clinic.render(study, spacing=CONVERTED), measurements=old)
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, study, NOW)
        assert view.facts is not None
        assert view.facts["spacing"] is None
        assert view.facts["notes"] == ["spacing_not_plausible"]
        prediction = view.picture.prediction
        assert prediction is not None
        assert lengths_in_mm(prediction.measurements) == []
        assert prediction.result.distance_mm is None
        rows = worklist.worklist(session, clinic.vault, clinic.mate, now=NOW).rows
        assert rows[0].state.result is not None
        assert rows[0].state.result.distance_mm is None
        made = deidentified_export.export(
            session, clinic.vault, clinic.mate, study, NOW, looked=True
        )
    with zipfile.ZipFile(io.BytesIO(made.data)) as files:
        assert lengths_in_mm(json.loads(files.read("result.json"))) == []


def test_the_image_thresholds_are_the_predictions_own_or_the_cards() -> None:
    image = {"high_sensitivity": 0.1, "balanced": 0.3, "high_precision": 0.8}
    model = ModelVersion(card={"thresholds": {"image": image}})
    own = Prediction(image_threshold=0.21, likely_threshold=0.74, model=model)
    assert stored_results.image_thresholds(own) == (0.21, 0.74)
    older = Prediction(operating_point="balanced", model=model)
    assert stored_results.image_thresholds(older) == (0.3, 0.8)
    for card in (None, {}, {"thresholds": [1]}, {"thresholds": {"image": {"balanced": "x"}}}):
        model.card = card
        assert stored_results.image_thresholds(older) == (None, None)


@pytest.mark.parametrize(
    ("reasons", "marked"), [([UNDER_18], True), ([], False), ([{"code": "no_header"}], False)]
)
def test_a_result_of_an_under_18_is_marked(reasons: list[dict[str, str]], marked: bool) -> None:
    prediction = Prediction(band=Band.POSSIBLE, quality={"reasons": reasons})
    assert stored_results.is_of_under_18(prediction) is marked
    prediction.band = None  # refused: there is no result to mark
    assert stored_results.is_of_under_18(prediction) is False


def test_the_larger_share_is_the_size() -> None:
    first, second = {"side": "left", "fraction": 0.4}, {"side": "right", "fraction": 0.1}
    assert stored_results.hemithorax_share({"extents": [first, second]}) == ("left", 0.4)
    assert stored_results.hemithorax_share({"extents": [second, first]}) == ("left", 0.4)
    unknown = first | {"fraction": None}
    assert stored_results.hemithorax_share({"extents": [unknown, second]}) is None
    assert stored_results.hemithorax_share({"extents": [second, unknown]}) is None
    assert stored_results.hemithorax_share(None) is None


def two_sided(severity: str | None) -> dict[str, Any]:
    """Measurements whose larger outline, on the right, has the smaller share: 9 and 35 %."""
    whole = measured(PLAUSIBLE)
    (right,) = whole["extents"]
    sides = [right | {"fraction": 0.09}, right | {"side": "left", "fraction": 0.35}]
    return whole | {"extents": sides, "severity": severity}


@pytest.mark.parametrize(
    ("severity", "size"),
    [
        ("small", SizeClass.BELOW_10),
        ("moderate", SizeClass.FROM_10_TO_30),
        ("large", SizeClass.ABOVE_30),
        ("unknown", SizeClass.UNKNOWN),
        (None, SizeClass.ABOVE_30),  # an older worker: the larger share
    ],
)
def test_a_list_has_the_size_class_that_the_case_page_shows(
    clinic: Clinic, severity: str | None, size: SizeClass
) -> None:
    assert stored_results.size_class(two_sided(severity)) is size
    study_id = clinic.done(measurements=two_sided(severity))
    with clinic.session as session:
        assert session.get_one(Study, study_id).size is size
