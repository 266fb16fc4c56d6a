"""Reading: every kind of file that must be read, and every kind that must be refused."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import struct
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from ml.images import decoders, reader
from ml.images.reader import Picture, Spacing, Unreadable, Window
from ml.preparation import phantom
from ml.preprocessing import transforms

RAMP = np.arange(48, dtype=np.uint16).reshape(6, 8) * 80  # 12 bits, no two alike


def made(stored: np.ndarray = RAMP, bits: int = 12, **tags: Any) -> FileDataset:
    """A minimal CR picture; a tag given as None is left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    file.PatientName = "CANARY^ZEBRA"
    file.PatientID = "CANARY-4711"
    file.PatientBirthDate = "19500203"
    file.StudyDate = "20240506"
    file.Modality = "CR"
    file.Rows, file.Columns = stored.shape[:2]
    file.SamplesPerPixel = 1 if stored.ndim == 2 else 3
    file.PhotometricInterpretation = "MONOCHROME2" if stored.ndim == 2 else "RGB"
    if stored.ndim == 3:
        file.PlanarConfiguration = 0
    file.BitsAllocated = stored.dtype.itemsize * 8
    file.BitsStored, file.HighBit = bits, bits - 1
    file.PixelRepresentation = int(stored.dtype.kind == "i")
    file.add_new("PixelData", "OW" if stored.dtype.itemsize == 2 else "OB", stored.tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some tests want values that no standard allows
        for keyword, value in tags.items():
            if value is None:
                delattr(file, keyword)
            else:
                setattr(file, keyword, value)
    return file


def written(file: FileDataset) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read(file: FileDataset) -> Picture:
    return reader.read(written(file))


def code_of(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        reader.read(data)
    assert caught.value.message.endswith(".")
    for secret in ("CANARY", "ZEBRA", "4711", "1950"):
        assert secret not in caught.value.message
    return caught.value.code


def grey_png(shape: tuple[int, int] = (40, 30), kind: type = np.uint8) -> bytes:
    random = np.random.default_rng(1)
    stored = random.integers(0, np.iinfo(kind).max, shape).astype(kind)
    return cv2.imencode(".png", stored)[1].tobytes()


# --- grey values -----------------------------------------------------------------------------


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


def test_the_automatic_window_spans_nearly_all_values():
    stored = np.linspace(100, 3000, 200 * 100).reshape(200, 100).astype(np.uint16)
    window = read(made(stored)).windows[0]
    assert window.centre == pytest.approx(1550, abs=30)
    assert window.width == pytest.approx(2900 * 0.99, rel=0.02)


# --- colour ----------------------------------------------------------------------------------


def colourful() -> np.ndarray:
    stored = np.zeros((20, 20, 3), np.uint8)
    stored[:10] = (200, 40, 40)
    stored[10:] = (90, 90, 90)
    return stored


def test_colour_becomes_luminance_and_is_noted():
    picture = read(made(colourful(), 8))
    assert picture.colour == pytest.approx(0.5)
    assert picture.pixels[0, 0] == round(0.299 * 200 + 0.701 * 40)
    assert picture.pixels[15, 0] == 90
    stored = cv2.imencode(".png", colourful()[..., ::-1])[1].tobytes()
    same = reader.read(stored)
    assert same.colour == pytest.approx(0.5)
    assert abs(int(same.pixels[0, 0]) - int(picture.pixels[0, 0])) <= 1


def test_a_palette_is_looked_up():
    stored = np.repeat(np.arange(4, dtype=np.uint8), 4).reshape(4, 4)
    file = made(stored, 8, PhotometricInterpretation="PALETTE COLOR")
    for name, values in (("Red", [0, 60, 120, 255]), ("Green", [0] * 4), ("Blue", [0] * 4)):
        setattr(file, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 8])
        setattr(file, f"{name}PaletteColorLookupTableData", bytes(values))
    picture = read(file)
    assert picture.pixels[:, 0].tolist() == [0, 18, 36, 76]  # 0.299 of 0, 60, 120, 255
    assert picture.colour > 0


def test_a_grey_picture_saved_in_three_channels_is_grey():
    grey = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    for suffix in (".png", ".jpg"):
        data = cv2.imencode(suffix, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))[1].tobytes()
        assert reader.read(data).colour == 0.0


@pytest.mark.parametrize(("kind", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_png_keeps_its_depth(kind, bits):
    data = grey_png((50, 40), kind)
    picture = reader.read(data)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(picture.pixels, stored)
    assert (picture.bits, picture.media_type, picture.spacing) == (bits, "image/png", None)


def compress(file: FileDataset, syntax: UID) -> None:
    """Compress in place; JPEG 2000 by its own library: pydicom needs one more to call it."""
    if syntax in (JPEG2000Lossless, JPEGBaseline8Bit):
        if syntax == JPEG2000Lossless:
            stream = encode_array(file.pixel_array, bits_stored=12, photometric_interpretation=2)
        else:
            stream = cv2.imencode(".jpg", file.pixel_array)[1].tobytes()
        file.PixelData = pydicom.encaps.encapsulate([stream])
        file["PixelData"].is_undefined_length = True
        file.file_meta.TransferSyntaxUID = syntax
    else:
        file.compress(syntax, generate_instance_uid=False)


# --- transfer syntaxes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless],
)
def test_lossless_transfer_syntaxes_give_the_same_pixels(syntax):
    file = made(np.tile(RAMP, (6, 6)))
    if syntax is ExplicitVRBigEndian:
        file.PixelData = np.tile(RAMP, (6, 6)).astype(">u2").tobytes()
        file.file_meta.TransferSyntaxUID = syntax
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, file, implicit_vr=False, little_endian=False)
        np.testing.assert_array_equal(reader.read(buffer.getvalue()).pixels, np.tile(RAMP, (6, 6)))
        return
    elif syntax.is_encapsulated:
        compress(file, syntax)
    else:
        file.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read(file).pixels, np.tile(RAMP, (6, 6)))


def test_jpeg_baseline_reads_as_the_jpeg_inside():
    file = baseline()
    inside = next(pydicom.encaps.generate_frames(file.PixelData, number_of_frames=1))
    np.testing.assert_array_equal(read(file).pixels, reader.read(inside).pixels)
    colour = made(np.tile(colourful(), (4, 4, 1)), 8)
    colour.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    stream = cv2.imencode(".jpg", np.tile(colourful(), (4, 4, 1))[..., ::-1])[1].tobytes()
    colour.PixelData = pydicom.encaps.encapsulate([stream])
    colour["PixelData"].is_undefined_length = True
    colour.PhotometricInterpretation = "YBR_FULL_422"
    assert read(colour).colour == pytest.approx(0.5, abs=0.15)


def test_a_jpeg_cut_off_inside_of_a_whole_file_is_noticed():
    file = baseline()
    stream = next(pydicom.encaps.generate_frames(file.PixelData, number_of_frames=1))
    file.PixelData = pydicom.encaps.encapsulate([stream[: len(stream) // 2]])
    file["PixelData"].is_undefined_length = True
    assert code_of(written(file)) == "truncated"


def test_a_file_without_preamble_is_still_read():
    file = made()
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer,
        Dataset({element.tag: element for element in file}),
        implicit_vr=True,
        little_endian=True,
        enforce_file_format=False,
    )
    np.testing.assert_array_equal(reader.read(buffer.getvalue()).pixels, RAMP)


def test_real_odd_files_read_as_known(xrays):
    folder = xrays / "dicom-odd"
    for path in (folder / "chest_other").glob("*.dcm"):
        picture = reader.read(path.read_bytes())
        assert picture.pixels.max() > picture.pixels.min()
    turned = reader.read((folder / "chest_other" / "dwv__gdcm-CR-MONO1-10-chest.dcm").read_bytes())
    assert (turned.photometric, turned.bits) == ("MONOCHROME1", 10)
    rows, columns = turned.pixels.shape
    # Lungs are darker than the spine between them: the right way round.
    spine = turned.pixels[rows // 2, columns // 2 - 10 : columns // 2 + 10].mean()
    lung = turned.pixels[rows // 2, columns // 4 - 10 : columns // 4 + 10].mean()
    assert lung < spine


# --- facts -----------------------------------------------------------------------------------

SPACINGS: list[tuple[dict[str, Any], Spacing | None]] = [
    ({}, None),
    ({"PixelSpacing": [0.2, 0.1]}, Spacing(0.2, 0.1, "detector")),
    ({"ImagerPixelSpacing": [0.2, 0.1]}, Spacing(0.2, 0.1, "detector")),
    (
        {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.2, 0.2]},
        Spacing(0.2, 0.2, "detector"),
    ),
    (
        {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.18, 0.18]},
        Spacing(0.18, 0.18, "calibrated"),
    ),
    (
        {"PixelSpacing": [0.2, 0.2], "PixelSpacingCalibrationType": "GEOMETRY"},
        Spacing(0.2, 0.2, "calibrated"),
    ),
    (
        {"ImagerPixelSpacing": [0.22, 0.22], "EstimatedRadiographicMagnificationFactor": 1.1},
        Spacing(pytest.approx(0.2), pytest.approx(0.2), "corrected"),
    ),
    (
        {"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 0},
        Spacing(0.2, 0.2, "detector"),
    ),
    ({"NominalScannedPixelSpacing": [0.17, 0.17]}, Spacing(0.17, 0.17, "detector")),
    ({"PixelSpacing": [0, 0]}, None),
    ({"PixelSpacing": [-0.2, 0.2]}, None),
    ({"PixelSpacing": [100, 100]}, None),
]


@pytest.mark.parametrize(("tags", "expected"), SPACINGS)
def test_spacing_says_where_it_holds(tags, expected):
    assert read(made(**tags)).spacing == expected


@pytest.mark.parametrize(
    ("tags", "view"),
    [
        ({"ViewPosition": "PA"}, "PA"),
        ({"ViewPosition": "ap "}, "AP"),
        ({"ViewPosition": "AP SUPINE"}, "AP"),
        ({"ViewPosition": "LL"}, "LL"),
        ({"ViewPosition": "LATERAL"}, "LL"),
        ({"ViewPosition": "RL"}, "RL"),
        ({"ViewPosition": "RAO"}, None),
        ({}, None),
    ],
)
def test_views(tags, view):
    assert read(made(**tags)).view == view


def test_empty_tables_are_none() -> None:
    plain = read(made())
    for keyword in ("VOILUTSequence", "ModalityLUTSequence"):
        np.testing.assert_array_equal(read(made(**{keyword: []})).pixels, plain.pixels)


def test_the_view_code_stands_in_for_a_missing_position():
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "R-10214", "SRT", "pa"
    assert read(made(ViewCodeSequence=[item])).view == "PA"


@pytest.mark.parametrize(
    ("tags", "years"),
    [
        ({"PatientAge": "063Y"}, 63),
        ({"PatientAge": "63"}, 63),
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientAge": "002W"}, 0.04),
        ({"PatientAge": "old"}, 74),
        ({}, 74),  # from the two dates
        ({"PatientBirthDate": "20010301", "StudyDate": "20190301"}, 18),  # the very birthday
        ({"PatientBirthDate": "20010302", "StudyDate": "20190301"}, 17),
        ({"StudyDate": "x"}, None),
        ({"PatientBirthDate": "20300101"}, None),
    ],
)
def test_ages(tags, years):
    assert read(made(**tags)).patient_age_years == years


def test_facts_hold_what_the_viewer_needs_and_nobody():
    file = made(
        PatientOrientation=["L", "F"],
        PatientSex="F",
        BodyPartExamined="chest",
        InstitutionName="CANARY HOSPITAL",
        ImageComments="CANARY",
        AccessionNumber="CANARY1",
    )
    facts = read(file).facts()
    told = json.dumps(facts)
    for secret in ("CANARY", "ZEBRA", "4711", "1950", "2024"):
        assert secret not in told
    assert facts["rows"] == 6
    assert facts["columns"] == 8
    assert facts["orientation"] == ["L", "F"]
    assert (facts["patient_sex"], facts["body_part"], facts["modality"]) == ("F", "CHEST", "CR")
    assert all(len(window) == 3 for window in facts["windows"])


def test_pixels_and_facts_make_the_picture_again():
    picture = read(
        made(PixelSpacing=[0.2, 0.1], PatientOrientation=["L", "F"], WindowCenter=9, WindowWidth=99)
    )
    again = Picture.from_canonical(picture.canonical(), json.loads(json.dumps(picture.facts())))
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    for field in dataclasses.fields(Picture):
        if field.name != "pixels":
            assert getattr(again, field.name) == getattr(picture, field.name)


def test_canonical_bytes_are_little_endian_rows():
    picture = read(made(np.array([[1, 2], [3, 0x0102]], np.uint16)))
    assert picture.canonical() == bytes([1, 0, 2, 0, 3, 0, 2, 1])
    with pytest.raises(ValueError, match="bytes are not"):
        Picture.from_canonical(b"\0" * 7, picture.facts())


def test_an_unknown_modality_is_noted_and_the_window_names_are_ours():
    picture = read(made(Modality=None))
    assert picture.modality is None
    assert picture.notes == ("modality_missing",)


# --- refusals --------------------------------------------------------------------------------


def patched_png(columns: int, rows: int) -> bytes:
    data = bytearray(grey_png())
    data[16:24] = struct.pack(">II", columns, rows)
    return bytes(data)


def patched_jpeg(columns: int, rows: int) -> bytes:
    data = bytearray(cv2.imencode(".jpg", np.zeros((40, 30), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", rows, columns)
    return bytes(data)


def deflated() -> bytes:
    file = made()
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return written(file)


def with_syntax(uid: str) -> bytes:
    file = made()
    data = written(file)
    old = str(ExplicitVRLittleEndian).encode() + b"\0"
    new = uid.encode()
    new += b"\0" * (len(old) - len(new))
    return data.replace(old, new[: len(old)], 1)


def with_photometric(photometric: str | None) -> bytes:
    return written(made(PhotometricInterpretation=photometric))


def lying_codestream() -> bytes:
    file = made(np.tile(RAMP, (6, 6)))
    compress(file, JPEGLSLossless)
    file.Rows, file.Columns = 10, 10
    return written(file)


REFUSALS: list[tuple[str, str, Callable[[], bytes]]] = [
    ("nothing", "empty", lambda: b""),
    ("text", "not_an_image", lambda: b"This is a letter, not an X-ray.\n" * 40),
    ("zeros", "not_an_image", lambda: b"\0" * 4096),
    ("GIF", "not_an_image", lambda: b"GIF89a" + b"\0" * 400),
    ("PNG header only", "truncated", lambda: grey_png()[:30]),
    ("half a PNG", "truncated", lambda: grey_png()[:700]),
    ("half a JPEG", "truncated", lambda: patched_jpeg(30, 40)[:-20]),
    ("JPEG start only", "truncated", lambda: b"\xff\xd8\xff\xe0"),
    ("damaged PNG", "decode_failed", lambda: grey_png().replace(b"IDAT", b"IDXX")),
    ("huge PNG", "too_large", lambda: patched_png(60_000, 60_000)),
    ("huge JPEG", "too_large", lambda: patched_jpeg(60_000, 60_000)),
    ("PNG of no size", "no_pixels", lambda: patched_png(0, 10)),
    ("DICOM preamble only", "truncated", lambda: written(made())[:140]),
    ("header cut off", "truncated", lambda: written(made())[:500]),
    ("pixels cut off", "truncated", lambda: written(made())[:-40]),
    ("no pixel data", "no_pixels", lambda: written(made(PixelData=None))),
    ("no rows", "no_pixels", lambda: written(made(Rows=0))),
    ("CT", "unsupported_modality", lambda: written(made(Modality="CT"))),
    ("MR", "unsupported_modality", lambda: written(made(Modality="MR"))),
    ("mammogram", "unsupported_modality", lambda: written(made(Modality="MG"))),
    ("odd modality", "unsupported_modality", lambda: written(made(Modality="CANARY ZEBRA"))),
    (
        "CT class without modality",
        "unsupported_modality",
        lambda: written(made(Modality=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.2")),
    ),
    ("cine", "not_single_frame", lambda: written(made(NumberOfFrames=12))),
    ("deflated", "unsupported_transfer_syntax", deflated),
    ("video", "unsupported_transfer_syntax", lambda: with_syntax("1.2.840.10008.1.2.9")),
    ("CMYK", "unsupported_photometric", lambda: written(made(PhotometricInterpretation="CMYK"))),
    (
        "no photometric",
        "unsupported_photometric",
        lambda: written(made(PhotometricInterpretation=None)),
    ),
    ("32 bits", "unsupported_photometric", lambda: written(made(BitsAllocated=32))),
    ("huge DICOM", "too_large", lambda: written(made(Rows=60_000, Columns=60_000))),
    ("too many bits", "decode_failed", lambda: written(made(BitsStored=40))),
    ("stream of another size", "decode_failed", lying_codestream),
]


@pytest.mark.parametrize(
    ("code", "build"), [pytest.param(c, b, id=name) for name, c, b in REFUSALS]
)
def test_what_cannot_be_read_says_why(code, build):
    assert code_of(build()) == code


def test_video_is_never_decoded():
    file = made()
    file.file_meta.TransferSyntaxUID = MPEG2MPML
    file.PixelData = pydicom.encaps.encapsulate([b"\0" * 100])
    file["PixelData"].is_undefined_length = True
    assert code_of(written(file)) == "unsupported_transfer_syntax"


SAMPLES = {
    "explicit": lambda: written(
        made(PatientOrientation=["L", "F"], WindowCenter=9, WindowWidth=99)
    ),
    "phantom": lambda: phantom.dicom(phantom.draw(1, None, rows=32, columns=32)),
    "png": grey_png,
    "jpeg": lambda: patched_jpeg(30, 40),
}


def compressed(syntax: Any) -> bytes:
    file = made(np.tile(RAMP, (6, 6)))
    compress(file, syntax)
    return written(file)


def baseline() -> FileDataset:
    file = made((np.tile(RAMP, (6, 6)) >> 4).astype(np.uint8), 8)
    compress(file, JPEGBaseline8Bit)
    return file


SAMPLES["jpeg baseline"] = lambda: written(baseline())
SAMPLES["rle"] = lambda: compressed(RLELossless)
SAMPLES["jpeg-ls"] = lambda: compressed(JPEGLSLossless)
SAMPLES["jpeg-2000"] = lambda: compressed(JPEG2000Lossless)
WHOLE = {name: build() for name, build in SAMPLES.items()}


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1))
@settings(max_examples=150)
def test_a_file_cut_anywhere_is_read_or_refused(name, share):
    data = WHOLE[name][: int(share * len(WHOLE[name]))]
    try:
        code, size = None, reader.read(data).pixels.size
    except Unreadable as refused:
        code, size = refused.code, None
    assert size or code in {
        "empty", "not_an_image", "truncated", "no_pixels", "decode_failed",
        "unsupported_photometric",
    }  # fmt: skip


@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
)
@settings(max_examples=150)
def test_damaged_bytes_never_raise_anything_else(name, damage):
    data = bytearray(WHOLE[name])
    for share, value in damage:
        data[int(share * len(data))] = value
    try:
        picture = reader.read(bytes(data))
    except Unreadable:
        return
    json.dumps(picture.facts())
    reader.thumb(picture)


def test_strange_header_values_are_not_printed(caplog, capfd, monkeypatch):
    # Others may have silenced pydicom in this process; here it shall speak, if it is let.
    monkeypatch.setattr(logging.getLogger("pydicom"), "disabled", False)
    file = made(
        SpecificCharacterSet="ISO_IR 100",
        WindowCenter=900,
        WindowWidth=400,
        WindowCenterWidthExplanation="NORMAL",
    )
    # pydicom warns of an encoding that it does not know, and quotes it.
    data = written(file).replace(b"ISO_IR 100", b"CANARY 100")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmread(io.BytesIO(data)).WindowCenterWidthExplanation  # noqa: B018 it warns
    assert "CANARY" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reader.read(data)
        code_of(data[: len(data) // 2])
    printed = "".join(capfd.readouterr())
    for said in (caplog.text, printed, *(str(w.message) for w in caught)):
        assert "CANARY" not in said


def test_a_compressed_stream_is_asked_for_its_size_before_it_is_decoded():
    for build in (lambda: compressed(JPEG2000Lossless), lambda: compressed(JPEGLSLossless)):
        file = pydicom.dcmread(io.BytesIO(build()))
        stream = next(pydicom.encaps.generate_frames(file.PixelData, number_of_frames=1))
        assert decoders.claimed_size(stream) == (file.Rows, file.Columns)
    with pytest.raises(Unreadable, match="not of the size it claims"):
        reader.read(lying_codestream())


# --- small pictures --------------------------------------------------------------------------


def test_preview_and_thumb_are_small_grey_jpegs():
    picture = reader.read(phantom.dicom(phantom.draw(2, "left", rows=300, columns=200)))
    for data, shape in (
        (reader.preview(picture, 150), (150, 100)),
        (reader.preview(picture), (300, 200)),  # never enlarged
        (reader.thumb(picture), (96, 64)),
    ):
        assert data.startswith(b"\xff\xd8\xff")
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape == shape


def test_the_preview_uses_the_first_window():
    dark = made(np.tile(RAMP, (10, 10)), WindowCenter=100_000, WindowWidth=199_999)
    usual = reader.read(written(made(np.tile(RAMP, (10, 10)))))
    dim = reader.read(written(dark))
    means = [
        cv2.imdecode(np.frombuffer(reader.preview(p), np.uint8), cv2.IMREAD_UNCHANGED).mean()
        for p in (usual, dim)
    ]
    assert means[1] < 10 < 100 < means[0]
