"""From a picture's pixels to the network's input and back, the same in training and serving.

Two steps, so that training can cache the first: `canonical` shrinks a picture and scales its
grey values to 8 bit by its own percentiles; `place` puts that on the network's square. numpy and
cv2 only: serving has no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.preprocessing.lung_crop import Crop, cut, paste
from ml.recipe import Recipe

PERCENTILES = (0.5, 99.5)
PADDING = -1.0
# Cached pictures have this longest side, or the network's own where that is larger.
CANONICAL_SIDE = 512


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies on the network's square, in pixels of that square."""

    scale: float  # square pixels per source pixel
    top: int
    left: int
    height: int
    width: int

    @property
    def part(self) -> tuple[slice, slice]:
        """The square's part that shows the picture; the rest is padding."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def letterbox(rows: int, columns: int, size: int) -> Letterbox:
    """The largest centred box of the picture's aspect inside a square of `size`."""
    if min(rows, columns, size) < 1:
        raise ValueError("rows, columns and size must be positive")
    scale = size / max(rows, columns)
    height = min(size, max(1, round(rows * scale)))
    width = min(size, max(1, round(columns * scale)))
    return Letterbox(scale, (size - height) // 2, (size - width) // 2, height, width)


def canonical_side(size: int, cropped: bool = False) -> int:
    """Longest side of the canonical picture that a network of input `size` is fed from.

    A crop to the lungs takes about four fifths of it, and would otherwise be enlarged.
    """
    return max(CANONICAL_SIDE, 64 * -(-size * 5 // (4 * 64)) if cropped else size)


def canonical(pixels: NDArray[Any], side: int) -> NDArray[np.uint8]:
    """Shrink to a longest side of at most `side` and stretch the grey values to 0..255.

    pixels: (rows, columns) of uint8 or uint16, more being denser. Black and white are the 0.5th
    and 99.5th percentile of the picture itself, so that vendors' grey scales, bit depths and a
    few burnt-in markers make no difference.
    """
    if pixels.ndim != 2:
        raise ValueError(f"expected one grey channel, got shape {pixels.shape}")
    picture = resize(pixels.astype(np.float32), *_fit(pixels.shape, side))
    low, high = np.percentile(picture, PERCENTILES)
    stretched = np.clip((picture - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    grey: NDArray[np.uint8] = np.rint(stretched * 255).astype(np.uint8)
    return grey


def clean(picture: NDArray[np.uint8], denoise: str = "", clahe: float = 0.0) -> NDArray[np.uint8]:
    """A canonical picture after denoising and contrast equalisation; unchanged by default.

    denoise: "median" of 3 x 3 pixels; "bilateral" (Tomasi and Manduchi 1998), which spares edges;
    "nlm", non-local means (Buades et al. 2005), slow. clahe: clip limit of contrast-limited
    adaptive histogram equalisation (Zuiderveld 1994) on 8 x 8 tiles.
    """
    if denoise == "median":
        picture = np.asarray(cv2.medianBlur(picture, 3), dtype=np.uint8)
    elif denoise == "bilateral":
        picture = np.asarray(cv2.bilateralFilter(picture, 5, 25, 3), dtype=np.uint8)
    elif denoise == "nlm":
        smooth = cv2.fastNlMeansDenoising(
            picture, None, h=6, templateWindowSize=5, searchWindowSize=15
        )
        picture = np.asarray(smooth, dtype=np.uint8)
    if clahe:
        picture = np.asarray(cv2.createCLAHE(clahe, (8, 8)).apply(picture), dtype=np.uint8)
    return picture


def place(picture: NDArray[np.uint8], size: int, crop: Crop | None = None) -> NDArray[np.float32]:
    """A canonical picture's crop, or all of it letterboxed, on (size, size), float32 in -1..1."""
    if crop is not None:
        square = cut(picture, crop).astype(np.float32)
        return resize(square, size, size) / np.float32(127.5) - np.float32(1)
    rows, columns = picture.shape
    box = letterbox(rows, columns, size)
    inner = resize(picture.astype(np.float32), box.height, box.width) / 127.5 - 1.0
    square = np.full((size, size), PADDING, dtype=np.float32)
    square[box.part] = inner
    return square


def to_source(
    map_: NDArray[Any], rows: int, columns: int, crop: Crop | None = None
) -> NDArray[np.float32]:
    """A map on the network's square back in the picture's own geometry, (rows, columns).

    The opposite of `place`: interpolates linearly and cuts the padding off; 0 outside of a crop.
    """
    if crop is not None:
        side = crop.on(rows, columns)[2]
        square = cv2.resize(map_.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
        return paste(np.asarray(square, dtype=np.float32), crop, rows, columns)
    inner = map_[letterbox(rows, columns, map_.shape[0]).part]
    resized = cv2.resize(inner.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def resize(picture: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Area averages when shrinking (no aliasing), linear otherwise."""
    if picture.shape == (height, width):
        return picture
    shrinks = height * width < picture.size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(picture, (width, height), interpolation=method)
    return np.asarray(resized, dtype=np.float32)


def augment(
    picture: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    size: int,
    recipe: Recipe,
    rng: np.random.Generator,
    crop: Crop | None = None,
    soft: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A random view of a training picture and its mask, both (size, size), about the crop.

    picture: canonical uint8; mask: uint8, 0 or 255, of the same shape, or (rows, columns, C), whose
    view is (C, size, size). One map takes all from the canonical resolution to the network's; the
    mask is made binary again afterwards. soft: a probability * 255 for each pixel; its view, in
    0..1, then follows the mask's: (C + 1, size, size).
    """
    planes = [mask] if mask.ndim == 2 else list(np.moveaxis(mask, 2, 0))
    planes += [] if soft is None else [soft]
    matrix = random_map(picture.shape, size, recipe, rng, crop)
    # Grey 0 is the padding's -1 on the network's scale.
    if recipe.warp:
        places = _warped_places(matrix, size, recipe.warp, rng)
        warped, *masks_warped = (
            np.asarray(cv2.remap(layer, *places, cv2.INTER_LINEAR, borderValue=0))
            for layer in (picture, *planes)
        )
    else:
        warped, *masks_warped = (
            np.asarray(cv2.warpAffine(layer, matrix, (size, size), flags=cv2.INTER_LINEAR))
            for layer in (picture, *planes)
        )
    unit: NDArray[np.float32] = warped.astype(np.float32) / np.float32(255)
    view = _grey(unit, recipe, rng) * np.float32(2) - np.float32(1)
    shades = [] if soft is None else [masks_warped.pop().astype(np.float32) / np.float32(255)]
    target = (np.stack(masks_warped) > 127).astype(np.float32)
    if recipe.erase and rng.random() < recipe.erase:
        _erase(view, target.max(0), rng)
    if shades:
        return view, np.stack([*target, *shades])
    return view, target[0] if mask.ndim == 2 else target


def random_map(
    shape: tuple[int, ...],
    size: int,
    recipe: Recipe,
    rng: np.random.Generator,
    crop: Crop | None = None,
) -> NDArray[np.float64]:
    """A 2×3 matrix from (x, y) of a picture of this shape (rows, columns) to the view's, both px.

    Flip, rotation, scale and shift about the middle of the crop, or of the letterboxed picture.
    """
    rows, columns = shape
    base, middle = letterbox(rows, columns, size).scale, (columns / 2, rows / 2)
    if crop is not None:
        left, top, side = crop.on(rows, columns)
        base, middle = size / side, (left + side / 2, top + side / 2)
    angle = np.deg2rad(rng.uniform(-recipe.rotate, recipe.rotate))
    scale = base * (1 + rng.uniform(-recipe.scale, recipe.scale))
    flip = -1.0 if rng.random() < recipe.flip else 1.0
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[flip * cosine, -sine], [flip * sine, cosine]])
    centre = np.array(middle) - 0.5
    target = (size - 1) / 2 + rng.uniform(-recipe.shift, recipe.shift, 2) * size
    return np.column_stack([linear, target - linear @ centre])


def _warped_places(
    matrix: NDArray[np.float64], size: int, warp: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel of the view comes from, (columns, rows) of the picture, smoothly disturbed.

    The disturbance is drawn at 5 x 5 knots and interpolated with cubic splines.
    """
    knots = rng.normal(0, warp * size, (5, 5, 2)).astype(np.float32)
    smooth = cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC)
    disturbed: NDArray[np.float32] = np.asarray(smooth, dtype=np.float32)
    disturbed[..., 0] += np.arange(size, dtype=np.float32)
    disturbed[..., 1] += np.arange(size, dtype=np.float32)[:, None]
    back = np.linalg.inv(matrix[:, :2])
    places = disturbed @ back.T.astype(np.float32) - (back @ matrix[:, 2]).astype(np.float32)
    return np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])


def _erase(
    view: NDArray[np.float32], target: NDArray[np.float32], rng: np.random.Generator
) -> None:
    """Put up to four rectangles of noise about one grey on the view, none of them on the outline.

    (Random erasing, Zhong et al. 2020.) The network has to use the rest of the picture.
    """
    size = len(view)
    for _ in range(int(rng.integers(1, 5))):
        height, width = (int(side) for side in rng.uniform(0.05, 0.25, 2) * size)
        top, left = int(rng.integers(size - height)), int(rng.integers(size - width))
        part = (slice(top, top + height), slice(left, left + width))
        if not target[part].any():
            grain = rng.standard_normal((height, width), dtype=np.float32)
            view[part] = np.clip(rng.uniform(-1, 1) + 0.2 * rng.random() * grain, -1, 1)


def _grey(
    unit: NDArray[np.float32], recipe: Recipe, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Motion, detail, gamma, contrast, brightness and noise on grey values in 0..1."""
    if recipe.motion:
        length = rng.uniform(0, recipe.motion) * len(unit)
        unit = _moved(unit, length, rng.uniform(0, 180))
    if recipe.detail:
        smooth = np.asarray(cv2.GaussianBlur(unit, (0, 0), len(unit) * rng.uniform(0.004, 0.04)))
        strength = np.float32(rng.uniform(-recipe.detail, recipe.detail))
        unit = np.clip(unit + strength * (unit - smooth), 0, 1)
    gamma = float(np.exp(rng.uniform(-recipe.gamma, recipe.gamma)))
    contrast = 1 + rng.uniform(-recipe.contrast, recipe.contrast)
    brightness = rng.uniform(-recipe.brightness, recipe.brightness)
    unit = (unit**gamma - 0.5) * np.float32(contrast) + np.float32(0.5 + brightness)
    sigma = rng.uniform(0, recipe.noise) / 2  # the setting is on the scale of -1..1
    unit = unit + rng.standard_normal(unit.shape, dtype=np.float32) * np.float32(sigma)
    return np.clip(unit, 0, 1)


def _moved(unit: NDArray[np.float32], length: float, degrees: float) -> NDArray[np.float32]:
    """The blur of a movement during the exposure (breath, heart): along a line of `length` px."""
    blurred = cv2.filter2D(unit, -1, motion_line(length, degrees), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float32)


def motion_line(length: float, degrees: float) -> NDArray[np.float32]:
    """The filter of a movement along a line of `length` px: (K, K), K odd, its sum 1."""
    middle = int(np.ceil(length / 2)) + 1
    along = np.linspace(-length / 2, length / 2, 8 * middle + 1)
    angle = np.deg2rad(degrees)
    places = middle + np.stack([along * np.sin(angle), along * np.cos(angle)])
    row, column = np.floor(places).astype(np.intp)
    down, right = places - (row, column)
    line = np.zeros((2 * middle + 2, 2 * middle + 2), dtype=np.float32)
    np.add.at(line, (row, column), (1 - down) * (1 - right))
    np.add.at(line, (row, column + 1), (1 - down) * right)
    np.add.at(line, (row + 1, column), down * (1 - right))
    np.add.at(line, (row + 1, column + 1), down * right)
    line = line[:-1, :-1]
    return np.asarray(line / line.sum(), dtype=np.float32)


def _fit(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    rows, columns = shape
    scale = min(1.0, side / max(rows, columns))
    return max(1, round(rows * scale)), max(1, round(columns * scale))
