"""The device's views are the host's for the same drawn numbers, within what OpenCV rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.datasets.on_device import augmentation, draws  # noqa: E402
from ml.preprocessing import transforms  # noqa: E402
from ml.preprocessing.lung_crop import Crop  # noqa: E402
from ml.recipe import Recipe  # noqa: E402

pytestmark = pytest.mark.torch

STILL = Recipe(
    flip=0.0, rotate=0.0, scale=0.0, shift=0.0, contrast=0.0, brightness=0.0, gamma=0.0, noise=0.0,
)  # fmt: skip
MOVING = replace(STILL, flip=0.5, rotate=20.0, scale=0.2, shift=0.05)
SIZE = 96
# OpenCV samples at places rounded to 1/32 px, off by half of that in x and in y, and rounds the
# steps from pixel to pixel to 1/1024; its result is a whole grey level.
OFF = 1 / 64 + 2 / 1024
ROUNDED = 0.51
# Of the arithmetic alone, on the scale of -1..1: float32 sums of up to 1,000 terms in another
# order, and places off by 1e-5 px between neighbours that differ by up to 255 levels.
ARITHMETIC = 1e-3

Grey = NDArray[np.uint8]


def smooth(rows: int, columns: int, seed: int = 0) -> Grey:
    """A picture of soft shapes, 60 to 200."""
    knots = np.random.default_rng(seed).uniform(60, 200, (7, 7)).astype(np.float32)
    drawn = cv2.resize(knots, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.rint(drawn), dtype=np.uint8)


def disc(rows: int, columns: int) -> Grey:
    mask = np.zeros((rows, columns), dtype=np.uint8)
    return np.asarray(cv2.circle(mask, (columns // 3, rows // 2), rows // 6, 255, -1), np.uint8)


def steepest(picture: Grey) -> float:
    """The largest differences between neighbours in x and in y, added: grey levels for a pixel."""
    greys = picture.astype(np.float64)
    return float(sum(np.abs(np.diff(greys, axis=axis)).max() for axis in (0, 1)))


def views(
    recipe: Recipe, picture: Grey, mask: Grey, seed: int, crop: Crop | None = None
) -> tuple[Any, Any, Any, Any]:
    """(view, target) of the host and of the device for the same numbers, all (SIZE, SIZE)."""
    host = transforms.augment(picture, mask, SIZE, recipe, np.random.default_rng(seed), crop)
    rng = np.random.default_rng(seed)
    drawn = draws.draw(picture.shape, SIZE, recipe, rng, crop, fields=True)
    layers = torch.from_numpy(np.stack([picture, mask]))[None]
    view, target = augmentation.views(layers, [drawn], SIZE, torch.Generator())
    return *host, view[0, 0].numpy(), target[0, 0].numpy()


@pytest.mark.parametrize("warp", [0.0, 0.02], ids=["affine", "warped"])
@pytest.mark.parametrize("seed", range(4))
def test_places_differ_by_less_than_opencv_rounds_them(warp: float, seed: int) -> None:
    picture, mask = smooth(120, 100, seed), disc(120, 100)
    inside = Crop(0.2, 0.25, 0.4)  # turned and shifted, it stays within the picture
    host, outline, device, outlined = views(replace(MOVING, warp=warp), picture, mask, seed, inside)
    most = (OFF * steepest(picture) + ROUNDED) / 127.5
    assert np.abs(host - device).max() <= most
    assert np.abs(host - device).mean() <= ROUNDED / 127.5
    # A pixel of the mask is only decided otherwise where the border passes within OFF of it.
    assert (outline != outlined).sum() <= 0.02 * max(outline.sum(), 50)


@pytest.mark.parametrize("shape", [(120, 70), (70, 120), (96, 96)], ids=str)
def test_black_surrounds_a_picture_that_leaves_the_view(shape: tuple[int, int]) -> None:
    picture, mask = np.full(shape, 255, dtype=np.uint8), disc(*shape)
    host, _, device, _ = views(replace(MOVING, rotate=40.0), picture, mask, 3)
    assert (device == -1).any()
    assert np.abs(host - device).max() <= (OFF * 2 * 255 + ROUNDED) / 127.5
    assert np.abs(host - device).mean() <= ROUNDED / 127.5


@pytest.mark.parametrize(
    "settings",
    [
        {"gamma": 0.25},
        {"contrast": 0.2, "brightness": 0.15},
        {"noise": 0.1},
        {"detail": 0.6},
        {"motion": 0.05},
        {"gamma": 0.25, "contrast": 0.2, "noise": 0.04, "detail": 0.4, "motion": 0.02},
    ],
    ids=lambda settings: "+".join(settings),
)
def test_grey_values_are_the_same_but_for_rounding(settings: dict[str, float]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    for seed in range(3):
        host, _, device, _ = views(replace(STILL, **settings), picture, 0 * picture, seed)
        assert np.abs(host - device).max() <= ARITHMETIC
        rest = transforms.place(picture, SIZE)
        assert np.abs(device - rest).max() > 10 * ARITHMETIC


def test_the_same_parts_are_erased_and_none_on_the_outline() -> None:
    recipe, picture = replace(STILL, erase=1.0), smooth(SIZE, SIZE)
    nothing, everything = np.zeros_like(picture), np.full_like(picture, 255)
    for seed in range(3):
        host, _, device, _ = views(recipe, picture, nothing, seed)
        assert np.abs(host - device).max() <= ARITHMETIC
        rest = transforms.place(picture, SIZE)
        assert 0.002 < (np.abs(device - rest) > 0.01).mean() < 0.5
        _, _, spared, _ = views(recipe, picture, everything, seed)
        assert np.abs(spared - rest).max() <= ARITHMETIC


@pytest.mark.parametrize("seed", range(3))
def test_all_of_it_together(seed: int) -> None:
    recipe = replace(
        MOVING, warp=0.01, gamma=0.25, contrast=0.2, brightness=0.15, noise=0.04, detail=0.4,
    )  # fmt: skip
    picture = smooth(120, 120, seed)
    host, _, device, _ = views(recipe, picture, disc(120, 120), seed, Crop(0.25, 0.25, 0.4))
    # Of greys from 0.2: detail steepens by up to 1 + 2 * 0.4, gamma by e^0.25 * 0.2^(e^-0.25 - 1),
    # contrast by 1.2.
    steeper = 1.8 * np.exp(0.25) * 0.2 ** (np.exp(-0.25) - 1) * 1.2
    most = steeper * (OFF * steepest(picture) + ROUNDED) / 127.5 + ARITHMETIC
    assert np.abs(host - device).max() <= most


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    recipe = replace(MOVING, warp=0.01, detail=0.4, motion=0.03, gamma=0.2)
    pictures = [smooth(80, 80, seed) for seed in range(3)]
    layers = torch.from_numpy(np.stack([[one, disc(80, 80)] for one in pictures]))
    drawn = [draws.draw((80, 80), SIZE, recipe, np.random.default_rng(seed)) for seed in range(3)]
    together, _ = augmentation.views(layers, drawn, SIZE, torch.Generator())
    for number in range(3):
        alone, _ = augmentation.views(
            layers[number : number + 1], [drawn[number]], SIZE, torch.Generator()
        )
        torch.testing.assert_close(together[number], alone[0], atol=1e-5, rtol=0)


def test_the_device_makes_its_own_noise_of_the_drawn_strength() -> None:
    picture = np.full((SIZE, SIZE), 128, dtype=np.uint8)
    layers = torch.from_numpy(np.stack([picture, 0 * picture]))[None]
    drawn = draws.draw((SIZE, SIZE), SIZE, replace(STILL, noise=0.2), np.random.default_rng(5))
    assert drawn.pattern is None
    view, _ = augmentation.views(layers, [drawn], SIZE, torch.Generator().manual_seed(1))
    assert float(view.std()) == pytest.approx(2 * drawn.noise, rel=0.05)
    assert float(view.mean()) == pytest.approx(2 * 128 / 255 - 1, abs=0.01)
