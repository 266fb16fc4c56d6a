"""ml.inference.measured_outline: a reader's outline gets the model's numbers for the same mask."""

from typing import Any

import numpy as np
import pytest

from ml.images import reader
from ml.images.picture import Picture
from ml.inference import measured_outline, predict, serving
from ml.preparation import phantom


@pytest.fixture(scope="module")
def ready(tiny_model: Any) -> serving.Serving:
    return serving.open(tiny_model, device="cpu", precision="f32")


@pytest.fixture(scope="module")
def chest() -> Picture:
    return reader.read(phantom.dicom(phantom.draw(3, "right", 30, rows=360, columns=300)))


def without_islands(found: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in found.items() if k not in ("island_px_min", "islands_left_out")}


def test_the_models_own_outline_has_the_models_own_numbers(
    ready: serving.Serving, chest: Picture
) -> None:
    found = predict.predict(chest, ready)
    assert found.mask is not None
    assert found.mask.any()
    assert found.measurements is not None
    measured = measured_outline.measure(chest, found.mask, ready)
    assert measured == without_islands(found.measurements)


def test_nothing_outlined_measures_nothing(ready: serving.Serving, chest: Picture) -> None:
    empty = np.zeros((chest.rows, chest.columns), dtype=np.bool_)
    measured = measured_outline.measure(chest, empty, ready)
    assert (measured["area_px"], measured["side"], measured["extents"]) == (0, None, [])


def test_a_mask_of_another_size_is_refused(ready: serving.Serving, chest: Picture) -> None:
    with pytest.raises(ValueError, match="another size"):
        measured_outline.measure(chest, np.zeros((3, 3), dtype=np.bool_), ready)
