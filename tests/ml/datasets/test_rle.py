"""The run-length codec against the format's examples and against COCO's own decoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from ml.datasets import rle

# Of pycocotools, about numpy 2: not ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))

EXAMPLES = [
    pytest.param((4, 4), [(1, 0), (2, 0), (0, 2), (1, 2), (3, 3)], "1 2 5 2 5 1", id="4x4"),
    pytest.param((3, 5), [(0, 0), (2, 1), (0, 2)], "0 1 4 2", id="runs across a column's end"),
    pytest.param((2, 2), [(0, 0), (1, 0), (0, 1), (1, 1)], "0 4", id="full"),
    pytest.param((2, 3), [(1, 2)], "5 1", id="only the last pixel"),
    pytest.param((2, 3), [], "-1", id="empty"),
]


def drawn(shape: tuple[int, int], points: list[tuple[int, int]]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for point in points:
        mask[point] = True
    return mask


def coco_decoded(text: str, rows: int, columns: int) -> np.ndarray:
    """The independent oracle: the pairs, plus what is left, are COCO's uncompressed counts."""
    counts = [] if text == rle.EMPTY else [int(word) for word in text.split()]
    rest = rows * columns - sum(counts)
    if rest > 0:
        counts.append(rest)
    packed = coco.frPyObjects({"size": [rows, columns], "counts": counts}, rows, columns)
    return coco.decode(packed).astype(bool)


@pytest.mark.parametrize(("shape", "points", "text"), EXAMPLES)
def test_the_examples_of_the_format_decode_and_encode(shape, points, text):
    mask = drawn(shape, points)
    assert rle.encode(mask) == text
    np.testing.assert_array_equal(rle.decode(text, *shape), mask)


@given(MASKS)
@settings(max_examples=300)
def test_any_mask_comes_back_and_agrees_with_coco(mask):
    text = rle.encode(mask)
    np.testing.assert_array_equal(rle.decode(text, *mask.shape), mask)
    np.testing.assert_array_equal(coco_decoded(text, *mask.shape), mask)


def test_large_random_masks_agree_with_coco():
    random = np.random.default_rng(7)
    for _ in range(20):
        rows, columns = (int(n) for n in random.integers(100, 500, 2))
        mask = random.random((rows, columns)) < random.random()
        np.testing.assert_array_equal(coco_decoded(rle.encode(mask), rows, columns), mask)


def test_a_run_that_touches_the_last_pixel_is_kept():
    mask = drawn((3, 3), [(1, 2), (2, 2)])
    assert rle.encode(mask) == "7 2"
    assert rle.decode("7 2", 3, 3)[2, 2]


def test_runs_that_touch_each_other_are_one_area():
    np.testing.assert_array_equal(rle.decode("0 1 0 1", 2, 1), np.ones((2, 1), dtype=bool))


@pytest.mark.parametrize("text", ["-1", " -1", "\t-1\n"])
def test_white_space_around_the_empty_mark_is_ignored(text):
    assert not rle.decode(text, 5, 4).any()


def test_white_space_between_numbers_is_ignored():
    np.testing.assert_array_equal(rle.decode("  1   2\t1 1\n", 3, 2), rle.decode("1 2 1 1", 3, 2))


def test_any_non_zero_value_is_foreground():
    mask = drawn((4, 4), [(1, 0), (2, 0)])
    for dtype, value in ((np.uint8, 255), (np.uint8, 1), (np.float32, 0.5)):
        assert rle.encode(mask.astype(dtype) * dtype(value)) == "1 2"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty text"),
        ("   ", "empty text"),
        ("1 2 3", "odd number"),
        ("1 -2", "whole numbers"),
        ("-1 2", "whole numbers"),
        ("1.5 2", "whole numbers"),
        ("nan", "whole numbers"),
        ("1_0 2", "whole numbers"),
        ("٣ 2", "whole numbers"),
        ("3 0", "length 0"),
        ("10 7", "beyond the mask"),
        ("99999999999999999999999999 1", "larger than the mask"),
    ],
)
def test_text_that_is_not_a_mask_is_refused_with_its_reason(text, reason):
    with pytest.raises(ValueError, match=reason):
        rle.decode(text, 4, 4)


def test_a_mask_without_pixels_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        rle.decode("-1", 0, 4)
    with pytest.raises(ValueError, match="two dimensions"):
        rle.encode(np.zeros((3, 3, 1), dtype=bool))


def test_several_rows_of_one_picture_are_united():
    np.testing.assert_array_equal(
        rle.combine(["0 1", "3 1", "-1", "0 2"], 2, 2), [[True, False], [True, True]]
    )
