"""Grey values of DICOM pictures: rescale, tables, windows, padding."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from ml.images import reader
from ml.images.reader import Window
from ml.preprocessing import transforms
from tests.support.ml.dicom_files import RAMP, made, read, written


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


def test_tables_of_eight_bits_packed_two_in_a_word_are_the_same_curve():
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    curve = np.rint(255 * (np.arange(4096) / 4095) ** 0.8).astype(np.uint8)
    # the descriptor counts entries, of which the 2,048 words hold two each
    file = made(stored, VOILUTSequence=[lut(0, 8, curve.view("<u2").tolist(), "OW")])
    file.VOILUTSequence[0].LUTDescriptor = [4096, 0, 8]
    packed = read(file)
    spread = read(made(stored, VOILUTSequence=[lut(0, 8, curve.tolist())]))
    np.testing.assert_array_equal(packed.pixels.ravel(), curve)
    np.testing.assert_array_equal(packed.pixels, spread.pixels)
    assert packed.bits == 8
    file = made(stored, ModalityLUTSequence=file.VOILUTSequence)
    np.testing.assert_array_equal(read(file).pixels.ravel(), curve)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize(("vr", "first"), [("SS", -1024), ("US", 64512)])
def test_a_table_may_begin_at_a_negative_value(implicit, vr, first):
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    curve = np.rint(4095 * (np.arange(4096) / 4095) ** 0.8).astype(np.uint16)
    item = lut(0, 12, curve.tolist())
    item.add_new("LUTDescriptor", vr, [4096, first, 12])
    file = made(stored, RescaleIntercept=-1024, RescaleSlope=1, VOILUTSequence=[item])
    data = written(file)
    if implicit:
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        item.add_new("LUTDescriptor", "US", [4096, 64512, 12])
        data = written(file)
    np.testing.assert_array_equal(reader.read(data).pixels.ravel(), curve)


def test_an_empty_item_of_a_table_sequence_is_passed_over():
    stored = np.arange(16, dtype=np.uint16).reshape(4, 4)
    table = lut(0, 8, [n * 3 for n in range(16)])
    picture = read(made(stored, 4, VOILUTSequence=[Dataset(), table]))
    np.testing.assert_array_equal(picture.pixels.ravel(), range(0, 48, 3))
    only_empty = read(made(stored, 4, VOILUTSequence=[Dataset()]))
    np.testing.assert_array_equal(only_empty.pixels, stored)


def test_padding_of_signed_pixels_may_be_written_unsigned():
    stored = RAMP.astype(np.int16) - 1000
    stored[0] = -2000
    file = made(stored, 16)
    file.add_new("PixelPaddingValue", "US", 63536)
    picture = read(file)
    assert (picture.pixels[0] == picture.pixels[1:].min()).all()
    window = picture.windows[0]
    assert window.width < int(RAMP[1:].max()) - int(RAMP[1:].min()) + 1


@pytest.mark.parametrize(
    ("curve", "width", "kept"),
    [("LINEAR", 0.5, 0), ("LINEAR", 1, 1), ("LINEAR_EXACT", 0.5, 1), ("LINEAR_EXACT", 0, 0)],
)
def test_a_window_of_a_width_that_its_function_does_not_allow_is_left_out(curve, width, kept):
    picture = read(made(WindowCenter=2000, WindowWidth=width, VOILUTFunction=curve))
    assert len(picture.windows) == 1 + kept
    if not kept:
        assert picture.windows[0].name == "automatic"


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
    assert picture.windows[0][:2] == (16383 / 2, 16383)
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
    assert [window.name for window in picture.windows] == ["window 1", "automatic"]
    assert picture.windows[0][:2] == (65535 / 2, 65535)  # the sender's curve as it is
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
