"""Grey values of DICOM pictures: rescale, tables, windows, padding."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from ml.images.reader import Window
from ml.preprocessing import transforms
from tests.support.ml.dicom_files import RAMP, made, read


def test_a_plain_picture_keeps_its_values():
    picture = read(made())
    np.testing.assert_array_equal(picture.pixels, RAMP)
    assert picture.pixels.dtype == np.uint16
    assert (picture.bits, picture.photometric, picture.media_type) == (
        12,
        "MONOCHROME2",
        "application/dicom",
    )


def test_monochrome1_is_turned_round_with_its_window():
    tags = {"WindowCenter": 1000, "WindowWidth": 801}
    upright = read(made(**tags))
    turned = read(made(PhotometricInterpretation="MONOCHROME1", **tags))
    np.testing.assert_array_equal(turned.pixels, 4095 - RAMP)
    assert upright.windows[0] == Window(999.5, 800.0, "window 1")
    assert turned.windows[0] == Window(4095 - 999.5, 800.0, "window 1")


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (0.5, 100), (2.5, 7)])
def test_a_rescale_moves_the_window_and_not_the_steps(slope, intercept):
    low, high = 800 * slope + intercept, 2000 * slope + intercept
    file = made(
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        VOILUTFunction="LINEAR_EXACT",
        WindowCenter=(low + high) / 2,
        WindowWidth=high - low,
    )
    picture = read(file)
    np.testing.assert_array_equal(picture.pixels, RAMP)
    window = picture.windows[0]
    assert window.centre == pytest.approx(1400)
    assert window.width == pytest.approx(1200)


def test_a_negative_slope_turns_the_values_and_the_window():
    file = made(
        RescaleSlope=-2,
        RescaleIntercept=9000,
        VOILUTFunction="LINEAR_EXACT",
        WindowCenter=9000 - 2 * 1400,
        WindowWidth=2 * 1200,
    )
    picture = read(file)
    np.testing.assert_array_equal(picture.pixels, 4095 - RAMP)
    assert picture.windows[0][:2] == pytest.approx((4095 - 1400, 1200))


def test_signed_values_begin_at_their_lowest():
    stored = RAMP.astype(np.int16) - 2048
    picture = read(made(stored, WindowCenter=-48, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT"))
    np.testing.assert_array_equal(picture.pixels, RAMP)
    assert picture.windows[0][:2] == (2000.0, 1000.0)


def test_bits_beside_the_stored_ones_are_not_seen():
    with_graphics = RAMP | np.uint16(0x8000)
    np.testing.assert_array_equal(read(made(with_graphics)).pixels, RAMP)
    shifted = (RAMP << 4) | np.uint16(3)
    np.testing.assert_array_equal(read(made(shifted, HighBit=15)).pixels, RAMP)


def lut(first: int, bits: int, values: list[int], vr: str = "US") -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    data = np.array(values, "<u2").tobytes() if vr == "OW" else values
    item.add_new("LUTData", vr, data)
    item.ModalityLUTType = "US"
    return item


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_a_modality_lut_is_applied(vr):
    stored = np.arange(16, dtype=np.uint16).reshape(4, 4)
    table = [n * n * 4 for n in range(16)]
    picture = read(made(stored, 4, ModalityLUTSequence=[lut(0, 10, table, vr)]))
    np.testing.assert_array_equal(picture.pixels.ravel(), table)
    assert picture.bits == 10


def test_a_table_goes_on_with_its_ends():
    stored = np.arange(16, dtype=np.uint16).reshape(4, 4)
    picture = read(made(stored, 4, ModalityLUTSequence=[lut(5, 8, [7, 9, 11])]))
    np.testing.assert_array_equal(picture.pixels.ravel(), [7] * 6 + [9] + [11] * 9)


def test_a_voi_lut_is_applied_when_there_is_no_window():
    stored = np.arange(16, dtype=np.uint16).reshape(4, 4)
    table = [max(0, n - 3) * 1000 for n in range(16)]
    picture = read(made(stored, 4, VOILUTSequence=[lut(0, 14, table)]))
    np.testing.assert_array_equal(picture.pixels.ravel(), table)
    assert picture.bits == 14
    # With a window beside it, depth is kept and the window offered instead.
    both = read(made(stored, 4, VOILUTSequence=[lut(0, 14, table)], WindowCenter=8, WindowWidth=9))
    np.testing.assert_array_equal(both.pixels, stored)
    assert both.windows[0].name == "window 1"


def test_a_sigmoid_is_applied_and_keeps_the_order():
    file = made(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    picture = read(file)
    expected = 65535 / (1 + np.exp(-4 * (RAMP.astype(float) - 2000) / 1000))
    np.testing.assert_allclose(picture.pixels, expected, atol=0.51)
    assert picture.bits == 16
    assert [window.name for window in picture.windows] == ["automatic"]
    assert (np.diff(picture.pixels.ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_does_not_take_the_contrast_from_the_networks_input(photometric):
    """Half of a film is padding, far below its own narrow range of values."""
    tissue = (3000 + np.arange(200 * 200).reshape(200, 200) % 700).astype(np.uint16)
    stored = np.zeros((200, 400), np.uint16)
    stored[:, :200] = tissue
    padded = read(made(stored, PixelPaddingValue=0, PhotometricInterpretation=photometric))
    small = transforms.canonical(padded.pixels, 512)
    inside = small[:, :200]
    assert inside.min() < 10
    assert inside.max() > 245
    assert (padded.pixels[:, 200:] == padded.pixels[:, :200].min()).all()


def test_padding_is_black_and_outside_of_the_automatic_window():
    stored = RAMP.copy()
    stored[0] = 4000
    file = made(stored, PixelPaddingValue=4000, PhotometricInterpretation="MONOCHROME1")
    picture = read(file)
    assert (picture.pixels[0] == picture.pixels[1:].min()).all()
    np.testing.assert_array_equal(picture.pixels[1:], 4095 - RAMP[1:])
    window = picture.windows[-1]
    assert window.centre - window.width / 2 > 200


def test_there_is_always_an_automatic_window_and_useless_ones_are_left_out():
    assert [w.name for w in read(made()).windows] == ["automatic"]
    useless = made(WindowCenter=[60000, 900], WindowWidth=[10, 0])
    assert [w.name for w in read(useless).windows] == ["automatic"]
    several = made(
        WindowCenter=[900, 1000],
        WindowWidth=[400, 600],
        WindowCenterWidthExplanation=["NORMAL", "CANARY^ZEBRA"],
    )
    assert [w.name for w in read(several).windows] == ["normal", "window 2", "automatic"]
