"""The drawn overlay, beside what OpenCV draws of the same picture and mask."""

import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ml.images import overlay
from ml.images.picture import Picture, Window, windowed
from portal.reading import drawn_overlay
from portal.reading.drawn_overlay import draw
from tests.support import pictures
from xray_files.bad_file import BadFile

ROWS, COLUMNS = 260, 300
WINDOW = Window(1500.0, 2000.0, "")
# RGB.
COLOUR = np.array(overlay.AI_COLOUR[::-1])


def chest(bits: int) -> Picture:
    """A ramp of greys with some noise, in all of its bits."""
    ramp = np.linspace(0, 2**bits - 1, ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    noise = np.random.default_rng(1).uniform(-5, 5, ramp.shape)
    pixels = np.clip(ramp + noise, 0, 2**bits - 1).astype(np.uint16)
    window = WINDOW if bits > 8 else Window(100.0, 180.0, "")
    return Picture(pixels, bits, "application/dicom", (window,), "MONOCHROME2")


def some_mask(kind: str) -> NDArray[np.bool_]:
    mask = np.zeros((ROWS, COLUMNS), np.bool_)
    if kind == "inside":
        cv2.ellipse(inside := mask.astype(np.uint8), (150, 120), (60, 40), 20, 0, 360, 1, -1)
        mask |= inside.astype(bool)
        mask[200:203, 20:40] = True
    elif kind == "at the border":
        mask[:30, :] = mask[:, -25:] = True
    return mask


def drawn(picture: Picture, mask: NDArray[np.bool_], **changes: Any) -> NDArray[np.uint8]:
    """What `draw` returns, decoded as RGB."""
    given = {
        "pixels": picture.canonical(),
        "rows": picture.rows,
        "columns": picture.columns,
        "window": picture.windows[0][:2],
        "mask_png": overlay.mask_png(mask),
    } | changes
    decoded = cv2.imdecode(np.frombuffer(draw(**given), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    return np.asarray(decoded[..., ::-1], np.uint8)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("kind", ["inside", "at the border", "nothing"])
def test_it_looks_like_the_one_that_opencv_draws(bits: int, kind: str) -> None:
    picture, mask = chest(bits), some_mask(kind)
    mine = drawn(picture, mask).astype(int)
    theirs = overlay.overlay(windowed(picture.pixels, picture.windows[0]), mask)[..., ::-1]
    assert mine.shape == theirs.shape
    edge = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    edge[[0, -1], :] |= mask[[0, -1], :]
    edge[:, [0, -1]] |= mask[:, [0, -1]]
    near = cv2.dilate(edge, np.ones((9, 9), np.uint8)).astype(bool)
    assert np.abs(mine - theirs)[~near].max() <= 2  # of 255: only by rounding
    is_line = (mine == COLOUR).all(axis=2)
    assert is_line.any() == mask.any()
    assert not (is_line & ~near).any()
    # Whatever OpenCV has drawn in the model's colour lies on the line, or beside it.
    opencvs = (theirs == COLOUR).all(axis=2) & ~(theirs == mine).all(axis=2)
    beside = cv2.dilate(is_line.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert not (opencvs & ~beside).any()


def test_the_line_is_wider_on_a_larger_picture() -> None:
    mask = np.zeros((2048, 64), np.bool_)
    mask[1000:1600, :] = True
    picture = Picture(np.zeros(mask.shape, np.uint16), 8, "", (WINDOW,), "")
    column = drawn(picture, mask)[:, 32]
    assert np.flatnonzero((column == COLOUR).all(axis=1)).tolist() == [
        *range(998, 1003),
        *range(1597, 1602),
    ]
    assert np.flatnonzero((column == overlay.HALO[::-1]).all(axis=1)).tolist() == [
        *(996, 997, 1003, 1004),
        *(1595, 1596, 1602, 1603),
    ]


@pytest.mark.parametrize("bits", [8, 12])
def test_of_a_picture_that_is_too_large_each_second_row_and_column_is_drawn(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, mask = chest(bits), some_mask("inside")
    halves = Picture(picture.pixels[::2, ::2].copy(), bits, "", picture.windows, "MONOCHROME2")
    expected = drawn(halves, mask[::2, ::2].copy())
    monkeypatch.setattr(drawn_overlay, "MOST_PIXELS", ROWS * COLUMNS // 2)
    assert np.array_equal(drawn(picture, mask), expected)


def filtered(mask: NDArray[np.bool_]) -> bytes:
    ok, encoded = cv2.imencode(".png", mask.astype(np.uint8) * 255)
    assert ok
    return encoded.tobytes()


@pytest.mark.parametrize(
    "mask_png",
    [
        b"",
        b"no picture",
        pictures.png(rows=ROWS, columns=COLUMNS, colour=2),
        pictures.png(rows=COLUMNS, columns=ROWS),
        pictures.png(rows=ROWS, columns=COLUMNS).replace(
            pictures.chunk(b"IDAT", zlib.compress(bytes(ROWS * (COLUMNS + 1)))),
            pictures.chunk(b"IDAT", zlib.compress(bytes(ROWS * COLUMNS))),
        ),
        overlay.mask_png(some_mask("inside"))[:-20],
        filtered(some_mask("inside")),
    ],
    ids=["empty", "other", "colour", "turned", "short", "cut off", "filtered"],
)
def test_a_mask_of_another_form_is_refused(mask_png: bytes) -> None:
    with pytest.raises(BadFile):
        drawn(chest(8), some_mask("nothing"), mask_png=mask_png)


def test_pixels_of_another_size_are_refused() -> None:
    with pytest.raises(BadFile):
        drawn(chest(8), some_mask("nothing"), pixels=bytes(10))


@pytest.mark.parametrize("window", [(100.0, 0.0), (-5e8, 1.0), (5e8, 1e9), (0.0, 1e9)])
def test_any_window_that_a_header_may_name_is_drawn(window: tuple[float, float]) -> None:
    assert drawn(chest(12), some_mask("nothing"), window=window).shape == (ROWS, COLUMNS, 3)
