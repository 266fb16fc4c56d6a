"""worker.contract.prediction: what ml predicts passes, in parts and as a whole."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openvino", reason="openvino is not installed")
from ml.images import reader
from ml.inference import serving
from ml.inference.predict import OPERATING_POINTS, OperatingPoint, predict
from ml.preparation import phantom
from ml.quality import gate
from tests.ml.conftest import write_tiny_model
from tests.support.jobs import OTHER_FINDING, REFUSED, prediction_of
from worker.contract.job import ADULT_YEARS
from worker.contract.message import InvalidMessage
from worker.contract.prediction import UNDER_AGE, Band, Prediction, QualityVerdict


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> serving.Serving:
    folder: Path = write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
    return serving.open(folder, "cpu", 1)


def sent(found: Any) -> dict[str, Any]:
    """As it arrives at the portal."""
    body: dict[str, Any] = json.loads(json.dumps(found.facts()))
    return body


@pytest.mark.parametrize("point", OPERATING_POINTS)
@pytest.mark.parametrize("air", ["right", "left", None])
@pytest.mark.parametrize("make", [phantom.dicom, phantom.png])
def test_a_prediction_of_ml_is_taken_as_it_is(
    tiny: serving.Serving, make: Any, air: Any, point: OperatingPoint
) -> None:
    picture = reader.read(make(phantom.draw(3, air, rows=700, columns=500)))
    body = sent(predict(picture, tiny, point, refuse=False))
    found = Prediction.parse(body)
    assert found.as_json() == body
    assert found.map is not None
    assert found.band in Band


def test_a_prediction_of_two_classes_is_taken_as_it_is(tmp_path: Path) -> None:
    points = {"image": 0.3, "mask": 0.6, "temperature": 2.0, "bias": 0.1, "area_px_min": 2}
    opened = serving.open(write_tiny_model(tmp_path / "two", bright=points), "cpu", 1)
    picture = reader.read(phantom.png(phantom.draw(3, "left", rows=700, columns=500)))
    body = sent(predict(picture, opened, refuse=False))
    assert Prediction.parse(body).as_json() == body
    (other,) = body["other_findings"]
    assert (other["name"], other["found"]) == ("bright-part", True)
    assert other["area_px"] > 0
    assert other["outlines"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"found": False},
        {"name": "Effusion!"},
        {"outlines": [[[1, 2, 3]]]},
        {"outlines": [[[1, 2]] * 121]},
        {"outlines": [[]] * 11},
        {"probability": 1.2},
    ],
)
def test_another_finding_that_is_not_of_the_contract_is_refused(wrong: dict[str, Any]) -> None:
    Prediction.parse(prediction_of(other_findings=[OTHER_FINDING]))
    with pytest.raises(InvalidMessage):
        Prediction.parse(prediction_of(other_findings=[OTHER_FINDING | wrong]))
    with pytest.raises(InvalidMessage):
        Prediction.parse(prediction_of(other_findings=[OTHER_FINDING] * 9))


def test_a_picture_that_ml_refuses_is_taken_without_a_result(tiny: serving.Serving) -> None:
    picture = reader.read(phantom.png(phantom.draw(3, rows=40, columns=30)))
    body = sent(predict(picture, tiny))
    found = Prediction.parse(body)
    assert found.as_json() == body
    assert found.quality.verdict is QualityVerdict.REFUSED
    assert found.quality.reasons
    assert found.map is None


def test_a_patient_under_18_is_named_by_ml_and_portal_alike(tiny: serving.Serving) -> None:
    picture = reader.read(phantom.dicom(phantom.draw(3), patient_age="015Y"))
    found = Prediction.parse(sent(predict(picture, tiny, age_min=15)))
    assert found.quality.verdict is QualityVerdict.LIMITED
    assert [reason.code for reason in found.quality.reasons or ()] == [UNDER_AGE]
    assert gate.ADULT_YEARS == ADULT_YEARS


@pytest.mark.parametrize(
    "name",
    ["probability", "band", "map", "measurements", "uncertainty", "region", "other_findings"],
)
def test_a_refused_picture_has_no_result(name: str) -> None:
    parts = {
        "uncertainty": {"spread": 0.1, "outline_dice": None, "unsure": False},
        "region": {"box": [0, 0, 1, 1], "probability": 0.5},
        "other_findings": [],
    }
    Prediction.parse(prediction_of(**REFUSED))
    with pytest.raises(InvalidMessage, match="a refused picture has no result"):
        Prediction.parse(prediction_of(**REFUSED) | {name: (prediction_of() | parts)[name]})


@pytest.mark.parametrize("name", ["probability", "band", "map", "quality", "model"])
def test_every_other_picture_has_a_whole_one(name: str) -> None:
    whole = prediction_of()
    with pytest.raises(InvalidMessage):
        Prediction.parse(whole | {name: None})
    with pytest.raises(InvalidMessage):
        Prediction.parse({key: value for key, value in whole.items() if key != name})


@pytest.mark.parametrize(
    "wrong",
    [
        {"band": "none_found", "measurements": {"area_px": 1}},
        {"band": "normal"},
        {"map": {"rows": 4, "columns": 4097}},
        {"threshold": 1.1},
        {"operating_point": ""},
        {"statistics": {"Mean": 1.0}},
        {"statistics": {"mean": 1e13}},
        {"statistics": {f"a{number}": 0.0 for number in range(101)}},
        {"seconds": -1},
        {"uncertainty": {"spread": 2, "unsure": False}},
        {"region": {"box": [0, 0, 1], "probability": 0.5}},
        {"quality": {"verdict": "fit", "midline": 3}},
        {"quality": {"verdict": "fine"}},
        {"note": "CANARY"},
    ],
)
def test_a_prediction_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    Prediction.parse(prediction_of())
    with pytest.raises(InvalidMessage):
        Prediction.parse(prediction_of(**wrong))
