"""portal.jobs.results.prediction_checks: what a worker makes of a picture fits it."""

import json
from typing import Any

import numpy as np
import pytest

from ml.images import overlay, reader
from ml.inference import predict
from ml.preparation import phantom
from ml.runtime.lung_finder import LungFields
from portal.jobs.errors import BadResult
from portal.jobs.results import prediction_checks, result_checks
from portal.models import BlobKind, JobKind
from tests.support.jobs import prediction_of
from worker.contract.prediction import Prediction

CARD: dict[str, Any] = {
    "name": "net",
    "version": "1",
    "sha256": "ab" * 32,
    "thresholds": {
        "mask": 0.45,
        "area_px_min": 1,
        "image": {"high_sensitivity": 0.2, "balanced": 0.4, "high_precision": 0.7},
    },
}
COMPONENT = {"area_px": 48, "zones": [], "box": [0, 0, 6, 8]}
EXTENT = prediction_of()["measurements"]["extents"][0]


@pytest.mark.parametrize("air", ["right", "left", "everything", "the edge", "nothing"])
@pytest.mark.parametrize(("rows", "columns"), [(700, 500), (500, 700)])
@pytest.mark.parametrize("probability", [0.03, 0.91])
def test_a_workers_outputs_and_prediction_are_taken(
    air: str, rows: int, columns: int, probability: float
) -> None:
    side = air if air in ("right", "left") else None
    drawn = phantom.draw(3, side, rows=rows, columns=columns)  # type: ignore[arg-type]
    picture = reader.read(phantom.dicom(drawn))
    seen = np.zeros((rows, columns), np.bool_) if side is None else drawn.mask.copy()
    if air == "everything":
        seen[...] = True
    elif air == "the edge":
        seen[:40, -60:] = True
    fields = LungFields(drawn.lungs | drawn.mask)
    body = predict.conclude(picture, CARD, seen.astype(np.uint8) * 255, probability, fields)
    mask = body.pop("mask")
    body |= {
        "map": {"rows": rows, "columns": columns},
        "model": {key: CARD[key] for key in ("name", "version", "sha256")},
        "quality": {"verdict": "fit"},
        "operating_point": "balanced",
    }
    sizes = {BlobKind.PROBABILITY: body.pop("probability_map").size}
    made = {
        BlobKind.PREVIEW: (reader.preview(picture), "image/jpeg", JobKind.RENDER),
        BlobKind.THUMB: (reader.thumb(picture), "image/jpeg", JobKind.RENDER),
        BlobKind.MASK: (overlay.mask_png(mask), "image/png", JobKind.SEGMENT),
        BlobKind.OVERLAY: (overlay.overlay_png(picture, mask), "image/png", JobKind.SEGMENT),
    }
    for kind, (data, media_type, job) in made.items():
        found = result_checks.check_output(job, kind.value, data, media_type, (rows, columns))
        assert found is kind
        sizes[kind] = len(data)
    result = {"prediction": json.loads(json.dumps(body))}
    prediction = result_checks.check_prediction(result, sizes)
    prediction_checks.require_within(prediction, rows, columns)
    assert prediction.measurements is not None
    outlined = bool(prediction.measurements.area_px)
    assert outlined == (air != "nothing" and probability > 0.4)


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        ({"area_px": 49}, "an area is larger"),
        ({"components": [{**COMPONENT, "area_px": 49}]}, "an area is larger"),
        ({"distance_px": 15.0}, "a length is longer"),
        ({"extents": [{**EXTENT, "middle": {"px": 15.0}}]}, "a length is longer"),
        ({"distance_line": [0, 0, 7.5, 1]}, "a line leaves"),
        ({"extents": [{**EXTENT, "apex": {"px": 1, "line": [0, -1.5, 1, 1]}}]}, "a line leaves"),
        ({"components": [{**COMPONENT, "box": [0, 0, 7, 8]}]}, "a box leaves"),
        ({"components": [{**COMPONENT, "box": [3, 0, 2, 8]}]}, "a box leaves"),
    ],
)
def test_what_lies_outside_the_picture_is_refused(measured: dict[str, Any], reason: str) -> None:
    whole = {"area_px": 48, "components": [COMPONENT], "extents": [EXTENT], "distance_px": 14}
    prediction_checks.require_within(prediction(measurements=whole), 8, 6)
    with pytest.raises(BadResult, match=reason):
        prediction_checks.require_within(prediction(measurements=whole | measured), 8, 6)


def test_a_region_outside_the_picture_is_refused() -> None:
    inside = {"box": [0, 0, 6, 8], "probability": 0.5}
    prediction_checks.require_within(prediction(region=inside), 8, 6)
    with pytest.raises(BadResult, match="a box leaves"):
        prediction_checks.require_within(prediction(region=inside | {"box": [0, 0, 6, 9]}), 8, 6)


def prediction(**changes: Any) -> Prediction:
    return Prediction.parse(prediction_of(**changes))
