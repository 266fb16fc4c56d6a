"""portal.formats.mask_png: masks as workers write them, and as runs."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.images import overlay
from portal.formats import mask_png
from tests.support.pictures import png
from worker.contract import outline_runs
from worker.segment.measured import mask_of
from xray_files.bad_file import BadFile


def random_mask(rows: int, columns: int, seed: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.random.default_rng(seed).random((rows, columns)) < 0.5
    return found


def mask_from(runs: list[outline_runs.Run], rows: int, columns: int) -> NDArray[np.bool_]:
    return mask_of(outline_runs.encode(runs, rows, columns), rows, columns)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(1, 60), st.integers(0, 9))
def test_a_workers_mask_is_read_to_the_pixel_and_written_again(
    rows: int, columns: int, seed: int
) -> None:
    mask = random_mask(rows, columns, seed)
    runs, *size = mask_png.read(overlay.mask_png(mask))
    assert size == [rows, columns]
    assert (mask_from(runs, rows, columns) == mask).all()
    written = np.frombuffer(mask_png.write(runs, rows, columns), np.uint8)
    assert (cv2.imdecode(written, cv2.IMREAD_UNCHANGED) == mask * 255).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 90), st.integers(1, 90))
def test_another_size_takes_the_nearest_pixel(
    rows: int, columns: int, to_rows: int, to_columns: int
) -> None:
    mask = random_mask(rows, columns, rows)
    runs, *_ = mask_png.read(overlay.mask_png(mask))
    found = mask_png.resized(runs, (rows, columns), (to_rows, to_columns))
    row = (2 * np.arange(to_rows) + 1) * rows // (2 * to_rows)
    column = (2 * np.arange(to_columns) + 1) * columns // (2 * to_columns)
    assert (mask_from(found, to_rows, to_columns) == mask[np.ix_(row, column)]).all()


@pytest.mark.parametrize(
    "data", [b"", b"no png", png(colour=2), png(depth=16), png(rows=2000), png(rows=8)[:-20]]
)
def test_another_form_is_damage(data: bytes) -> None:
    with pytest.raises(BadFile):
        mask_png.read(data)
