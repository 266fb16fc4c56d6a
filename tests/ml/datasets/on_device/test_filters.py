"""Filters of a batch give what OpenCV gives for each picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.datasets.on_device import filters  # noqa: E402
from ml.preprocessing import transforms  # noqa: E402

pytestmark = pytest.mark.torch


def noise(count: int, side: int = 64) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(0).random((count, side, side), dtype=np.float32)


def test_a_gaussian_is_opencvs_for_every_width() -> None:
    sigmas = [0.3, 1.0, 2.56, 7.3]
    pictures = noise(len(sigmas))
    ours = filters.gaussian(torch.from_numpy(pictures), torch.tensor(sigmas)).numpy()
    for picture, sigma, own in zip(pictures, sigmas, ours, strict=True):
        theirs = cv2.GaussianBlur(picture, (0, 0), sigma)
        # Sums of up to 61 x 61 terms of at most 1 in another order: 1e-5 is 50 roundings.
        np.testing.assert_allclose(own, theirs, atol=1e-5)


def test_every_picture_has_its_own_filter_or_none() -> None:
    pictures = noise(3)
    lines = [transforms.motion_line(9.0, 30.0), None, transforms.motion_line(2.0, 120.0)]
    ours = filters.filtered(torch.from_numpy(pictures), lines).numpy()
    for picture, line, own in zip(pictures, lines, ours, strict=True):
        theirs = picture
        if line is not None:
            theirs = cv2.filter2D(picture, -1, line, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(own, theirs, atol=1e-5)
