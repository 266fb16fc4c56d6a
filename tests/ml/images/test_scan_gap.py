"""ml.images.scan_gap: a JPEG whose decoder fell into step again behind missing bytes."""

import cv2
import numpy as np
import pytest

from ml.images import decoder_messages, reader, scan_gap
from ml.images.picture import Unreadable

ROWS, COLUMNS = 320, 384


def chest():
    """Grey values with slopes, dark fields and noise; nothing of it follows the grid of blocks."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    fields = 60 * np.exp(-(((x - 110) / 55.0) ** 2) - ((y - 160) / 90.0) ** 2)
    fields += 60 * np.exp(-(((x - 270) / 55.0) ** 2) - ((y - 160) / 90.0) ** 2)
    noise = np.random.default_rng(3).normal(0, 3, (ROWS, COLUMNS))
    return np.clip(110 + 60 * y / ROWS - fields + noise, 2, 250).astype(np.uint8)


def shifted(pixels, block_row, block_column, height):
    """The same with a step of this height from a block on, as behind a gap."""
    moved = pixels.astype(int)
    moved[8 * block_row : 8 * block_row + 8, 8 * block_column :] += height
    moved[8 * block_row + 8 :] += height
    return np.clip(moved, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("height", [-30, -12, 12, 30])
@pytest.mark.parametrize("block", [(5, 10), (20, 24), (30, 40)])
def test_a_step_from_a_block_on_is_found(block, height):
    assert scan_gap.is_there(shifted(chest(), *block, height))


def edge_of(rows, columns, grey):
    def drawn():
        pixels = chest()
        pixels[rows, columns] = grey
        return pixels

    return drawn


WHOLE = {
    "nothing": chest,
    "a bar above": edge_of(slice(0, 80), slice(None), 3),
    "a bar below": edge_of(slice(240, None), slice(None), 200),
    "a bar of black": edge_of(slice(0, 80), slice(None), 0),
    "a marker": edge_of(slice(80, 120), slice(40, 200), 240),
    "half of the width": edge_of(slice(160, None), slice(192, None), 60),
    "two halves of different greys": lambda: np.where(
        np.arange(COLUMNS) < 192, edge_of(slice(160, None), slice(192, None), 60)(), 200
    ).astype(np.uint8),
    "one grey": lambda: np.full((ROWS, COLUMNS), 77, np.uint8),
    "black": lambda: np.zeros((ROWS, COLUMNS), np.uint8),
    "very small": lambda: np.zeros((3, 5), np.uint8),
    "one row of blocks": lambda: chest()[:8],
}


@pytest.mark.parametrize("name", WHOLE)
def test_edges_that_pictures_have_are_none(name):
    assert not scan_gap.is_there(WHOLE[name]())


def test_a_jpeg_that_is_brighter_or_darker_behind_a_gap_is_refused():
    """Of those that the decoder reads without a word."""
    whole = cv2.imencode(".jpg", chest(), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    assert reader.read(whole).pixels.shape == (ROWS, COLUMNS)
    seen, refused = 0, 0
    right = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_UNCHANGED).astype(int)
    for at in range(len(whole) // 4, 3 * len(whole) // 4, 61):
        data = whole[:at] + whole[at + 2 :]
        with decoder_messages.read() as messages:
            values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if values is None or messages.is_damage(data):
            continue
        if np.median(np.abs(values[-80:] - right[-80:])) < 8:
            continue  # the gap has changed some blocks alone
        seen += 1
        try:
            reader.read(data)
        except Unreadable as damaged:
            refused += damaged.code == "decode_failed"
    assert seen >= 5
    assert refused >= 0.8 * seen
