"""The square part of a picture that a network sees."""

import numpy as np
import pytest

from ml.errors import BadInput
from ml.preprocessing import lung_crop, transforms
from ml.preprocessing.lung_crop import Crop
from ml.recipe import Recipe


def picture(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (rows, columns), np.uint8)


@pytest.mark.parametrize(
    "part",
    [Crop(0.1, 0.2, 0.5), Crop(-0.1, 0.0, 1.0), Crop(0.5, 0.6, 0.7), Crop(0.0, 0.0, 1.0)],
    ids=str,
)
@pytest.mark.parametrize("shape", [(100, 100), (100, 60), (60, 100)], ids=str)
def test_what_is_cut_is_pasted_back_where_it_was(part: Crop, shape: tuple[int, int]) -> None:
    whole = picture(*shape)
    square = lung_crop.cut(whole, part)
    side = part.on(*shape)[2]
    assert square.shape == (side, side)
    back = lung_crop.paste(square, part, *shape)
    left, top, side = part.on(*shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
    np.testing.assert_array_equal(back, np.where(inside, whole, 0))


def test_beyond_the_picture_lies_black() -> None:
    square = lung_crop.cut(picture(100, 50), Crop(-0.25, 0.0, 1.0))
    assert (square[:, :25] == 0).all()
    assert (square[:, 75:] == 0).all()
    assert (square[:, 25:75] > 0).all()


@pytest.mark.parametrize("wrong", [(0, 0, 0.01), (0, 0, 3), (-3, 0, 1), (0, float("nan"), 1)])
def test_a_square_that_cannot_be_meant_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(BadInput):
        Crop(*wrong)


def test_another_size_is_not_pasted() -> None:
    with pytest.raises(ValueError, match="50 x 50"):
        lung_crop.paste(np.zeros((49, 50)), Crop(0, 0, 0.5), 100, 100)


def test_a_map_of_the_crop_comes_back_to_where_it_was() -> None:
    whole = np.zeros((512, 400), np.uint8)
    whole[100:180, 220:300] = 255
    part = Crop(0.3, 0.1, 0.4)
    seen = transforms.place(whole, 256, part)
    back = transforms.to_source((seen + 1) / 2, 512, 400, part)
    assert np.abs(back - whole / 255.0).mean() < 0.002


def test_augmentation_at_rest_is_the_plain_crop() -> None:
    smooth = np.asarray(transforms.resize(picture(12, 12).astype(np.float32), 300, 300))
    whole = smooth.astype(np.uint8)
    still = Recipe(
        flip=0, rotate=0, scale=0, shift=0, contrast=0, brightness=0, gamma=0, noise=0, size=128,
        size_from=((0.0, 128),),
    )  # fmt: skip
    part = Crop(0.2, 0.3, 0.6)
    view, _ = transforms.augment(whole, whole, 128, still, np.random.default_rng(0), part)
    assert np.abs(view - transforms.place(whole, 128, part)).mean() < 0.02
