"""ml.images.scan_gap: a JPEG whose decoder fell into step again behind missing bytes."""

import re

import cv2
import numpy as np
import pytest
from pydicom.uid import JPEGExtended12Bit

from ml.images import decoder_messages, decoders, reader, scan_gap
from ml.images.picture import Unreadable
from tests.support.ml.dicom_files import made, stream_by_gdcm, with_stream
from xray_files.streams import jpeg

ROWS, COLUMNS = 320, 384


def chest():
    """Grey values with slopes, dark fields and noise; nothing of it follows the grid of blocks."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    fields = 60 * np.exp(-(((x - 110) / 55.0) ** 2) - ((y - 160) / 90.0) ** 2)
    fields += 60 * np.exp(-(((x - 270) / 55.0) ** 2) - ((y - 160) / 90.0) ** 2)
    noise = np.random.default_rng(3).normal(0, 3, (ROWS, COLUMNS))
    return np.clip(110 + 60 * y / ROWS - fields + noise, 2, 250).astype(np.uint8)


def shifted(pixels, block_row, block_column, height, side=8):
    """The same with a step of this height from a block on, as behind a gap."""
    moved = pixels.astype(int)
    moved[side * block_row : side * (block_row + 1), side * block_column :] += height
    moved[side * (block_row + 1) :] += height
    return np.clip(moved, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("height", [-30, -12, 12, 30])
@pytest.mark.parametrize("block", [(5, 10), (20, 24), (30, 40)])
def test_a_step_from_a_block_on_is_found(block, height):
    assert scan_gap.is_there(shifted(chest(), *block, height))


@pytest.mark.parametrize("height", [-20, 20])
def test_rows_of_sixteen_are_searched_as_such(height):
    moved = shifted(chest(), 7, 10, height, side=16)
    assert scan_gap.is_there(moved, 16)
    assert not scan_gap.is_there(moved)
    assert not scan_gap.is_there(chest(), 16)


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


def grey(progressive=0):
    choices = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    return cv2.imencode(".jpg", chest(), choices)[1].tobytes()


def colour(sampling, progressive=0):
    picture = np.dstack([np.clip(chest() * 0.94 + 15, 0, 255).astype(np.uint8), chest(), chest()])
    choices = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_QUALITY, 90]
    choices += [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    return cv2.imencode(".jpg", picture, choices)[1].tobytes()


def of_12_bits():
    return stream_by_gdcm(chest().astype(np.uint16) << 4, 12, lossless=False)


STREAMS = {
    "grey": grey,
    "colour": lambda: colour(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "colour, half of the columns": lambda: colour(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "colour, half of the rows": lambda: colour(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    "12 bits": of_12_bits,
    "grey, progressive": lambda: grey(progressive=1),
    "colour, progressive": lambda: colour(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, progressive=1),
}


def as_file(stream):
    if jpeg.frame(stream).bits == 8:
        return stream
    return with_stream(made(chest().astype(np.uint16) << 4), JPEGExtended12Bit, stream)


def decoded(stream):
    """What the decoder makes of it without a message, in 255 grey values; else None."""
    start = jpeg.frame(stream)
    try:
        if start.bits > 8:
            values = decoders.by_gdcm(start, decoders.JPEG_EXTENDED, stream)
            return (values.astype(int) & 0xFFF) >> 4
        with decoder_messages.read() as messages:
            values = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE)
    except Exception:
        return None
    return None if values is None or messages.is_damage(stream) else values.astype(int)


def places(whole):
    """Where two bytes are taken out; of a progressive stream in its first scan, of brightness."""
    if jpeg.frame(whole).marker in jpeg.PROGRESSIVE_FRAMES:
        first, second, *_ = (found.start() for found in re.finditer(rb"\xff\xda", whole))
        return range(first + 20, second - 60)
    return range(len(whole) // 4, 3 * len(whole) // 4, max(61, len(whole) // 700))


@pytest.mark.parametrize("kind", STREAMS)
def test_a_jpeg_that_is_brighter_or_darker_behind_a_gap_is_refused(kind):
    """Of those that the decoder reads without a word."""
    whole = STREAMS[kind]()
    assert reader.read(as_file(whole)).pixels.shape == (ROWS, COLUMNS)
    seen, refused = 0, 0
    right = decoded(whole)
    for at in places(whole):
        data = whole[:at] + whole[at + 2 :]
        values = decoded(data)
        if values is None or np.median(np.abs(values[-80:] - right[-80:])) < 8:
            continue  # noticed, or the gap has changed some blocks alone
        seen += 1
        try:
            reader.read(as_file(data))
        except Unreadable as damaged:
            refused += damaged.code == "decode_failed"
    assert seen >= 5
    assert refused >= 0.8 * seen, (refused, seen)


@pytest.mark.parametrize(("kind", "rows"), list(zip(STREAMS, (8, 8, 8, 16, 8, 8, 16), strict=True)))
def test_how_many_rows_a_scan_codes_at_a_time(kind, rows):
    stream = STREAMS[kind]()
    assert jpeg.coded_rows(stream, jpeg.frame(stream)) == rows


def test_a_scan_of_one_component_codes_eight_rows_whatever_its_sampling_says():
    stream = bytearray(grey())
    stream[jpeg.frame(stream).at + 11] = 0x22
    assert jpeg.coded_rows(stream, jpeg.frame(stream)) == 8


def test_a_photograph_that_is_turned_is_searched_as_it_was_coded():
    moved = cv2.imencode(".jpg", shifted(chest(), 20, 24, 20), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turn = b"\xff\xe1" + (len(tiff) + 2).to_bytes(2, "big") + tiff
    stream = moved.tobytes()
    for data in (stream, stream[:2] + turn + stream[2:]):
        with pytest.raises(Unreadable, match="damaged"):
            reader.read(data)
    whole = grey()
    assert reader.read(whole[:2] + turn + whole[2:]).pixels.shape == (COLUMNS, ROWS)
