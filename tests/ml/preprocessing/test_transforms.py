"""The way from pixels to the network's input and back."""

from dataclasses import replace

import numpy as np
import pytest

from ml.preprocessing import transforms
from ml.recipe import DENOISERS, Recipe

STILL = Recipe(
    flip=0, rotate=0, scale=0, shift=0, contrast=0, brightness=0, gamma=0, noise=0, size=64,
    size_from=((0.0, 64),),
)  # fmt: skip


def scene(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Smooth grey values over the full 8 bits."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    waves = np.sin(x / 9 + rng.random()) + np.cos(y / 11) + x / columns
    scaled = (waves - waves.min()) / np.ptp(waves)
    return np.rint(scaled * 255).astype(np.uint8)


def to_input(pixels: np.ndarray, size: int) -> np.ndarray:
    """Both steps, for a network that sees the whole picture."""
    return transforms.place(transforms.canonical(pixels, transforms.canonical_side(size)), size)


@pytest.mark.parametrize(
    ("rows", "columns", "size", "top", "left", "height", "width"),
    [
        (1024, 1024, 384, 0, 0, 384, 384),
        (1000, 2000, 400, 100, 0, 200, 400),
        (2000, 1000, 400, 0, 100, 400, 200),
        (3, 1000, 100, 49, 0, 1, 100),
        (50, 40, 100, 0, 10, 100, 80),
    ],
)
def test_the_letterbox_is_centred_and_keeps_the_aspect(
    rows: int, columns: int, size: int, top: int, left: int, height: int, width: int
) -> None:
    box = transforms.letterbox(rows, columns, size)
    assert (box.top, box.left, box.height, box.width) == (top, left, height, width)


def test_the_input_is_float32_between_minus_one_and_one_and_padded_with_minus_one() -> None:
    square = to_input(scene(100, 200), 64)
    assert square.dtype == np.float32
    assert square.shape == (64, 64)
    assert square.min() == -1
    assert square.max() <= 1
    assert (square[:16] == -1).all()
    assert (square[48:] == -1).all()
    assert square[16:48].mean() > -0.5


def test_bit_depth_and_grey_scale_do_not_matter() -> None:
    picture = scene(300, 280)
    deep = picture.astype(np.uint16) * 17 + 1000
    np.testing.assert_allclose(to_input(deep, 64), to_input(picture, 64), atol=1 / 127)


def test_a_burnt_in_marker_does_not_darken_the_picture() -> None:
    picture = scene(300, 300).astype(np.uint16)
    marked = picture.copy()
    marked[:10, :10] = 60_000  # a tenth of a percent
    difference = np.abs(to_input(marked, 64) - to_input(picture, 64))
    assert np.median(difference) < 0.02


def test_a_flat_picture_gives_a_flat_finite_input() -> None:
    square = to_input(np.full((50, 50), 700, dtype=np.uint16), 64)
    assert np.isfinite(square).all()
    assert np.ptp(square) == 0


def test_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="one grey channel"):
        to_input(np.zeros((8, 8, 3), dtype=np.uint8), 64)


@pytest.mark.parametrize(("rows", "columns"), [(640, 640), (640, 400), (333, 512), (40, 30)])
def test_a_map_comes_back_to_where_it_was_in_the_picture(rows: int, columns: int) -> None:
    picture = np.zeros((rows, columns), dtype=np.uint8)
    picture[rows // 4 : rows // 2, columns // 2 : columns * 3 // 4] = 255
    square = (transforms.place(picture, 128) + 1) / 2
    back = transforms.to_source(square, rows, columns) > 0.5
    drawn = picture > 0
    overlap = 2 * (back & drawn).sum() / (back.sum() + drawn.sum())
    assert back.shape == (rows, columns)
    assert overlap > 0.97


@pytest.mark.parametrize(
    ("size", "cropped", "side"),
    [(64, False, 512), (384, True, 512), (448, False, 512), (448, True, 576), (640, False, 640)],
)
def test_a_crop_is_cut_from_a_larger_picture(size: int, cropped: bool, side: int) -> None:
    assert transforms.canonical_side(size, cropped) == side


def test_augmentation_at_rest_is_the_plain_input() -> None:
    picture = scene(128, 128)
    view, mask = transforms.augment(
        picture, (picture > 128).astype(np.uint8) * 255, 64, STILL, np.random.default_rng(0)
    )
    plain = transforms.place(picture, 64)
    assert np.abs(view - plain).mean() < 0.05
    assert set(np.unique(mask)) == {0.0, 1.0}


def test_picture_and_mask_are_moved_together() -> None:
    picture = np.zeros((128, 128), dtype=np.uint8)
    picture[30:60, 20:70] = 255
    recipe = replace(STILL, flip=0.5, rotate=20, scale=0.2, shift=0.1)
    for seed in range(20):
        view, mask = transforms.augment(picture, picture, 64, recipe, np.random.default_rng(seed))
        np.testing.assert_array_equal(view > 0, mask > 0)
        assert mask.any()


def test_a_certain_flip_mirrors_left_and_right() -> None:
    picture = scene(64, 64)
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[10:20, 5:15] = 255
    flipped = transforms.augment(
        picture, mask, 64, replace(STILL, flip=1.0), np.random.default_rng(0)
    )
    plain = transforms.augment(picture, mask, 64, STILL, np.random.default_rng(0))
    np.testing.assert_allclose(flipped[0][:, ::-1], plain[0], atol=0.01)
    np.testing.assert_array_equal(flipped[1][:, ::-1], plain[1])


def test_grey_values_stay_in_range_under_strong_augmentation() -> None:
    recipe = replace(STILL, contrast=0.9, brightness=0.5, gamma=1.0, noise=0.5)
    for seed in range(10):
        view, _ = transforms.augment(
            scene(64, 64), scene(64, 64), 64, recipe, np.random.default_rng(seed)
        )
        assert view.dtype == np.float32
        assert view.min() >= -1
        assert view.max() <= 1


def test_a_warped_picture_keeps_its_mask_and_changes_its_shape() -> None:
    picture = np.zeros((128, 128), dtype=np.uint8)
    picture[30:60, 20:70] = 255
    recipe = replace(STILL, warp=0.03, rotate=10)
    shapes = set()
    for seed in range(20):
        view, mask = transforms.augment(picture, picture, 64, recipe, np.random.default_rng(seed))
        np.testing.assert_array_equal(view > 0, mask > 0)
        assert mask.any()
        shapes.add(mask.tobytes())
    assert len(shapes) == 20


def test_a_warp_of_almost_nothing_is_the_affine_map() -> None:
    picture = scene(128, 100)
    recipe = replace(STILL, rotate=15, scale=0.2, shift=0.1, flip=0.5)
    for seed in range(10):
        plain, _ = transforms.augment(picture, picture, 64, recipe, np.random.default_rng(seed))
        warped, _ = transforms.augment(
            picture, picture, 64, replace(recipe, warp=1e-6), np.random.default_rng(seed)
        )
        assert np.abs(plain - warped).mean() < 0.01


def test_blots_never_lie_on_the_outline_and_hide_much_of_the_rest() -> None:
    picture, mask = scene(64, 64), np.zeros((64, 64), dtype=np.uint8)
    mask[20:30, 20:30] = 255
    hidden = []
    for seed in range(40):
        seen, target = transforms.augment(
            picture, mask, 64, replace(STILL, erase=1.0), np.random.default_rng(seed)
        )
        changed = seen != transforms.place(picture, 64)
        assert not changed[target > 0].any()
        assert seen.min() >= -1
        assert seen.max() <= 1
        hidden.append(changed.mean())
    assert 0.02 < np.mean(hidden) < 0.25


def test_detail_sharpens_and_softens_but_keeps_the_large_shapes() -> None:
    picture = (scene(128, 128) // 2 + 64).astype(np.uint8)
    roughness = []
    plain = transforms.place(picture, 128)
    for seed in range(20):
        view, _ = transforms.augment(
            picture, picture, 128, replace(STILL, detail=0.8, size=128, size_from=((0.0, 128),)),
            np.random.default_rng(seed),
        )  # fmt: skip
        roughness.append(np.abs(np.diff(view)).mean() / np.abs(np.diff(plain)).mean())
        assert view.mean() == pytest.approx(plain.mean(), abs=0.05)
    assert min(roughness) < 0.9
    assert max(roughness) > 1.1


@pytest.mark.parametrize("denoise", DENOISERS)
def test_denoising_takes_noise_away_and_leaves_edges(denoise: str) -> None:
    rng = np.random.default_rng(0)
    clear = np.full((96, 96), 90, np.float32)
    clear[:, 48:] = 170
    noisy = np.clip(clear + rng.normal(0, 6, clear.shape), 0, 255).astype(np.uint8)
    found = transforms.clean(noisy, denoise).astype(np.float32)
    assert np.abs(found - clear)[:, :44].mean() < 0.75 * np.abs(noisy - clear)[:, :44].mean()
    assert (found[:, 50] - found[:, 45]).mean() > 70
    assert transforms.clean(noisy, denoise).dtype == np.uint8


def test_equalisation_raises_local_contrast_and_nothing_is_done_unasked() -> None:
    rng = np.random.default_rng(1)
    dull = rng.integers(120, 136, (96, 96)).astype(np.uint8)
    assert transforms.clean(dull, clahe=4.0).std() > 1.5 * dull.std()
    assert transforms.clean(dull) is dull


def test_motion_blurs_along_one_line_and_keeps_brightness_and_outline() -> None:
    point = np.zeros((65, 65), np.float32)
    point[32, 32] = 1
    across, down = transforms._moved(point, 10, 0), transforms._moved(point, 10, 90)
    for blurred in (across, down):
        assert blurred.sum() == pytest.approx(1, abs=1e-5)
    assert (across[32] > 1e-6).sum() in (10, 11)
    assert (across.sum(1) > 1e-6).sum() == 1
    np.testing.assert_allclose(down, across.T, atol=1e-5)
    np.testing.assert_allclose(transforms._moved(point, 0, 45), point, atol=1e-6)


def test_motion_is_drawn_at_random_and_only_where_a_recipe_has_it() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (128, 128)).astype(np.uint8)
    mask = (scene(128, 128) > 128).astype(np.uint8) * 255
    moving = replace(STILL, motion=0.1)

    def view(recipe: Recipe, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return transforms.augment(picture, mask, 64, recipe, np.random.default_rng(seed))

    still, outline = view(STILL, 1)
    sharpness = [np.abs(np.diff(view(moving, seed)[0])).mean() for seed in range(6)]
    assert min(sharpness) < 0.9 * np.abs(np.diff(still)).mean()
    assert len(set(sharpness)) == 6
    np.testing.assert_array_equal(view(moving, 1)[1], outline)
