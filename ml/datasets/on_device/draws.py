"""The random parameters of a training picture's view, drawn as the host's path draws them.

From the same generator `draw` takes the same numbers in the same order as
`ml.preprocessing.transforms.augment`, so that both paths see the same view of a picture. Noise is
the exception: it is made on the device, unless `fields` asks for the host's own, which a test
compares with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.preprocessing import transforms
from ml.preprocessing.lung_crop import Crop
from ml.recipe import Recipe

RECTANGLES = 4  # erased at most, as on the host

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rectangle:
    """A part of the view that is erased: grey in -1..1, standard deviation of its grain.

    pattern: the grain itself, (height, width) of standard deviation 1; None: the device's own.
    """

    top: int
    left: int
    height: int
    width: int
    grey: float
    grain: float
    pattern: Floats | None = None


@dataclass(frozen=True)
class Draw:
    """What was drawn for one view.

    matrix: (2, 3), from (x, y) of the picture to the view's, px; knots: (5, 5, 2), px, None without
    a warp; motion: a filter (K, K), None without one; detail: sigma in px and strength, None
    without; noise: standard deviation on grey values of 0..1; pattern: (size, size) of standard
    deviation 1, None for the device's own.
    """

    matrix: NDArray[np.float64]
    knots: Floats | None
    motion: Floats | None
    detail: tuple[float, float] | None
    gamma: float
    contrast: float
    brightness: float
    noise: float
    rectangles: list[Rectangle]
    pattern: Floats | None = None


def draw(
    shape: tuple[int, ...],
    size: int,
    recipe: Recipe,
    rng: np.random.Generator,
    crop: Crop | None = None,
    fields: bool = False,
) -> Draw:
    """The parameters of a view of (size, size) of a canonical picture of this shape.

    Without `fields` no noise is drawn, and what follows it has other numbers than on the host.
    """
    matrix = transforms.random_map(shape, size, recipe, rng, crop)
    knots = motion = detail = None
    if recipe.warp:
        knots = rng.normal(0, recipe.warp * size, (5, 5, 2)).astype(np.float32)
    if recipe.motion:
        length = rng.uniform(0, recipe.motion) * size
        motion = transforms.motion_line(length, rng.uniform(0, 180))
    if recipe.detail:
        sigma = size * rng.uniform(0.004, 0.04)
        detail = (sigma, rng.uniform(-recipe.detail, recipe.detail))
    return Draw(
        matrix,
        knots,
        motion,
        detail,
        gamma=float(np.exp(rng.uniform(-recipe.gamma, recipe.gamma))),
        contrast=1 + rng.uniform(-recipe.contrast, recipe.contrast),
        brightness=rng.uniform(-recipe.brightness, recipe.brightness),
        noise=rng.uniform(0, recipe.noise) / 2,
        pattern=_noise(rng, (size, size)) if fields else None,
        rectangles=_rectangles(size, recipe, rng, fields),
    )


def _rectangles(
    size: int, recipe: Recipe, rng: np.random.Generator, fields: bool
) -> list[Rectangle]:
    """As many as the host draws, where none of them lies on the outline: there, on the device,
    a rectangle is drawn and left out."""
    if not recipe.erase or rng.random() >= recipe.erase:
        return []
    found = []
    for _ in range(int(rng.integers(1, RECTANGLES + 1))):
        height, width = (int(side) for side in rng.uniform(0.05, 0.25, 2) * size)
        top, left = int(rng.integers(size - height)), int(rng.integers(size - width))
        noise = _noise(rng, (height, width)) if fields else None
        grey = rng.uniform(-1, 1)
        found.append(Rectangle(top, left, height, width, grey, 0.2 * rng.random(), noise))
    return found


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    noise: Any = rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(noise, dtype=np.float32)
