"""The quality that fits, and the loss that is stated for it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ml.bundle import jpeg_quality
from ml.errors import BadInput


def pictures(count: int = 6) -> list[jpeg_quality.Grey]:
    """Soft shapes with some grain, as X-rays have."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        knots = rng.uniform(20, 230, (6, 6)).astype(np.float32)
        soft = cv2.resize(knots, (128, 112), interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 4, soft.shape)
        found.append(np.clip(soft + grain, 0, 255).astype(np.uint8))
    return found


def test_the_highest_quality_that_fits_is_taken() -> None:
    drawn = pictures()
    room = sum(len(jpeg_quality._jpeg(one, 80)) for one in drawn)
    found = jpeg_quality.fitting(drawn, room)
    assert found.quality == 80
    assert sum(map(len, found.files)) <= room


def test_the_stated_loss_is_that_of_the_decoded_pictures() -> None:
    drawn = pictures()
    found = jpeg_quality.fitting(drawn, 10**6)
    assert found.quality == jpeg_quality.MOST
    decoded = [
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) for data in found.files
    ]
    errors = [a.astype(float) - b for a, b in zip(decoded, drawn, strict=True)]
    assert found.mean_error == pytest.approx(np.mean(np.abs(errors)))
    assert found.worst_rms == pytest.approx(max(np.sqrt((e**2).mean()) for e in errors))
    assert found.psnr == pytest.approx(10 * np.log10(255**2 / np.square(errors).mean()))


def test_too_little_room_is_refused_with_what_to_do() -> None:
    with pytest.raises(BadInput, match="smaller --size"):
        jpeg_quality.fitting(pictures(), 500)
