"""What the worker makes passes the portal's checks: both sides of the contract, in one process."""

import json
from typing import Any

import numpy as np
import pytest

from ml.images import overlay, reader
from ml.inference import predict
from ml.preparation import phantom
from ml.runtime.lung_finder import Fields
from portal.jobs import result_checks
from portal.models import BlobKind, JobKind

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


@pytest.mark.parametrize("air", ["right", "left", "everything", "the edge", "nothing"])
@pytest.mark.parametrize(("rows", "columns"), [(700, 500), (500, 700)])
@pytest.mark.parametrize("probability", [0.03, 0.91])
def test_a_workers_outputs_and_prediction_are_taken(
    air: str, rows: int, columns: int, probability: float
) -> None:
    side = air if air in ("right", "left") else None
    drawn = phantom.draw(3, side, rows=rows, columns=columns)  # type: ignore[arg-type]  # a word
    picture = reader.read(phantom.dicom(drawn))
    seen = np.zeros((rows, columns), np.bool_) if side is None else drawn.mask.copy()
    if air == "everything":
        seen[...] = True
    elif air == "the edge":
        seen[:40, -60:] = True
    said = predict.conclude(
        picture, CARD, seen.astype(np.uint8) * 255, probability, Fields(drawn.lungs | drawn.mask)
    )
    mask = said.pop("mask")
    said |= {
        "map": {"rows": rows, "columns": columns},
        "model": CARD,
        "quality": {"verdict": "fit"},
    }
    said |= {"operating_point": "balanced"}
    sizes = {BlobKind.PROBABILITY: said.pop("probability_map").size}
    made = {
        BlobKind.PREVIEW: (reader.preview(picture), "image/jpeg", JobKind.RENDER),
        BlobKind.THUMB: (reader.thumb(picture), "image/jpeg", JobKind.RENDER),
        BlobKind.MASK: (overlay.mask_png(mask), "image/png", JobKind.SEGMENT),
        BlobKind.OVERLAY: (overlay.overlay_png(picture, mask), "image/png", JobKind.SEGMENT),
    }
    for kind, (data, media_type, job) in made.items():
        assert (
            result_checks.check_output(job, kind.value, data, media_type, (rows, columns)) is kind
        )
        sizes[kind] = len(data)
    found = result_checks.check_prediction(json.loads(json.dumps(said)), sizes, (rows, columns))
    assert found.measurements is not None
    assert bool(found.measurements["area_px"]) == (air != "nothing" and probability > 0.4)
