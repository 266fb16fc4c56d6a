"""De-identified export: no text of the header comes out, wherever it stood; the picture does."""

import csv
import io
import json
import struct
import sys
import zipfile
import zlib
from types import FrameType
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR, repeater_has_tag
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)
from sqlalchemy import select

from ml.datasets import rle
from portal import errors
from portal.access import Denied
from portal.exchange import deidentified_export, deidentify
from portal.exchange.deidentified_export import letters
from portal.exchange.deidentify import Identity
from portal.formats import codestream_scrub, mask_png
from portal.formats.codestream_scrub import NotCleanable
from portal.formats.limited_work import PLACES, Busy, places
from portal.formats.refusals import Refused
from portal.models import AiShown, AuditEvent
from portal.reading import reviews
from portal.web.clinic.export import WARNINGS
from tests.portal.teams.test_ai_visibility import set_policy
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import prediction_of
from tests.support.outlines.pages import Page, drawn, measured
from tests.support.pictures import compressed_dicom, dicom, jpeg, png
from tests.support.second_reads.readers import colleague, state

CANARY = "CANARY"
# By it a picture of 8 x 6 pixels is as large as a chest X-ray.
SPACING = 45.0
TEXTS = {
    **dict.fromkeys(("PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE"), "CANARY^ZEBRA"),
    **{"CS": "CANARY", "UR": "http://CANARY", "AS": "077Y", "DA": "19470321", "TM": "114711"},
    **{"DT": "19470321114711", "UI": "1.2.3.4711.4711", "IS": "4711", "DS": "4711.47"},
    **{"OB": b"CANARY", "UN": b"CANARY", "OW": b"CANARY"},
}
TRACES = (b"CANARY", b"ZEBRA", b"19470321", b"114711", b"1.2.3.4711.4711", b"077Y")
WORDS = [*TEXTS]


def identity(pseudonym: str = "PLR1") -> Identity:
    return Identity(pseudonym, lambda kind, old: f"2.25.{zlib.crc32(f'{kind}{old}'.encode())}")


def put(dataset: Dataset, tag: int, vr: str) -> None:
    """A trace of the patient in an element."""
    if vr in TEXTS:
        dataset.add_new(tag, vr, TEXTS[vr])


def stuffed(implicit: bool = False, **tags: Any) -> bytes:
    """A phantom in which every element of the dictionary that can hold text holds a trace.

    In the dataset, in two levels of sequences and in private elements.
    """
    source = pydicom.dcmread(io.BytesIO(dicom(**tags)))
    inside = Dataset()
    for group in (source, inside):
        for tag in pydicom.datadict.DicomDictionary:
            vr = pydicom.datadict.DicomDictionary[tag][0]
            picture = tag >> 16 in (0x0000, 0x0002, 0x7FE0, 0xFFFE, 0xFFFA, 0x0028)
            if vr in TEXTS and not picture and tag not in (0x00080005, 0x00080016, 0x00080060):
                put(group, tag, vr)
    inner = Dataset()
    inner.add_new(0x00100010, "PN", "CANARY^ZEBRA")
    inside.add_new(0x00081110, "SQ", Sequence([inner]))
    for tag in (0x00081140, 0x00400275, 0x00102202, 0x00081032, 0x00880200, 0x04000561):
        source.add_new(tag, "SQ", Sequence([inside]))
    block = source.private_block(0x0011, "CANARY CREATOR", create=True)
    block.add_new(1, "LO", "CANARY^ZEBRA")
    block.add_new(2, "SQ", Sequence([inside]))
    for number in range(0, 4, 2):  # overlays and curves with labels
        source.add_new(0x60000022 + (number << 16), "LO", "CANARY^ZEBRA")
        source.add_new(0x60001500 + (number << 16), "LO", "CANARY")
        source.add_new(0x60003000 + (number << 16), "OB", b"CANARY")
    for keyword in ("ImageComments", "PixelSpacing", "RescaleType", "WindowCenterWidthExplanation"):
        element = pydicom.datadict.tag_for_keyword(keyword)
        assert element is not None
        vr = "LO" if keyword == "RescaleType" else dictionary_VR(element)
        source.add_new(element, vr, "CANARY" if vr != "DS" else "1.5")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = source.SOPClassUID
    meta.MediaStorageSOPInstanceUID = "1.2.3.4711.4711"
    meta.SourceApplicationEntityTitle = "CANARY"
    meta.PrivateInformationCreatorUID = "1.2.3.4711.4711"
    meta.PrivateInformation = b"CANARY"
    stream = io.BytesIO()
    whole = FileDataset("", source, file_meta=meta, preamble=b"CANARY".ljust(128, b"\0"))
    whole.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def elements(dataset: Dataset) -> int:
    return sum(1 for _ in dataset.iterall())


@pytest.mark.parametrize("implicit", [False, True])
def test_no_text_of_the_header_comes_out_wherever_it_stood(implicit: bool) -> None:
    data = stuffed(implicit)
    source = pydicom.dcmread(io.BytesIO(data))
    assert elements(source) > 4000  # the canaries are really there
    assert data.count(b"CANARY") > 2000
    out = deidentify.deidentify(data, identity())
    for trace in TRACES:
        assert trace not in out, trace
    new = pydicom.dcmread(io.BytesIO(out))
    assert new.PixelData == source.PixelData
    assert not [element for element in new.iterall() if element.tag.is_private]
    assert elements(new) < 60


def test_what_the_profile_requires_is_recorded() -> None:
    new = pydicom.dcmread(io.BytesIO(deidentify.deidentify(dicom(), identity("PLR7"))))
    assert (new.PatientName, new.PatientID, new.PatientIdentityRemoved) == ("PLR7", "PLR7", "YES")
    assert new.DeidentificationMethod == deidentify.METHOD
    assert new.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert new.LongitudinalTemporalInformationModified == "REMOVED"
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber"):
        assert new[keyword].value == ""
    assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
    assert "StudyDescription" not in new


def test_what_the_picture_needs_stays() -> None:
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [4, 0, 16], [1, 2, 3, 4]
    lut["LUTData"].VR = "US"
    lut.LUTExplanation = "CANARY"
    tags = {
        "PixelSpacing": [SPACING, SPACING],
        "WindowCenter": [2048, 100],
        "WindowWidth": [4096, 50],
        "PresentationLUTShape": "INVERSE",
        "PhotometricInterpretation": "MONOCHROME1",
        "ImageType": ["DERIVED", "PRIMARY", "CANARY"],
        "PatientOrientation": ["L", "F"],
        "ViewPosition": "PA",
        "VOILUTSequence": Sequence([lut]),
        "RescaleSlope": 1.25,
        "BurnedInAnnotation": "NO",
    }
    out = deidentify.deidentify(dicom(**tags), identity())
    new = pydicom.dcmread(io.BytesIO(out))
    assert [float(v) for v in new.PixelSpacing] == [SPACING, SPACING]
    assert [float(v) for v in new.WindowCenter] == [2048, 100]
    assert (new.PresentationLUTShape, new.PhotometricInterpretation) == ("INVERSE", "MONOCHROME1")
    assert list(new.ImageType) == ["DERIVED", "PRIMARY"]
    assert list(new.PatientOrientation) == ["L", "F"]
    assert (new.Rows, new.Columns, new.BitsStored) == (8, 6, 12)
    assert float(new.RescaleSlope) == 1.25
    assert list(new.VOILUTSequence[0].LUTData) == [1, 2, 3, 4]
    assert b"CANARY" not in out


def test_a_spacing_that_no_chest_x_ray_has_is_left_out_and_named() -> None:
    data = dicom(PixelSpacing=[1.0, 1.0], ImagerPixelSpacing=[SPACING, SPACING])
    new = pydicom.dcmread(io.BytesIO(deidentify.deidentify(data, identity())))
    assert "PixelSpacing" not in new
    assert [float(v) for v in new.ImagerPixelSpacing] == [SPACING, SPACING]
    assert "spacing_left_out" in deidentify.burned_in(data)
    assert "spacing_left_out" in WARNINGS
    assert "spacing_left_out" not in deidentify.burned_in(dicom())


@pytest.mark.parametrize(
    ("tags", "ratio"),
    [
        ({"ImagerPixelSpacing": [1.0, 1.2]}, [5, 6]),
        ({"PixelSpacing": [0.143, 0.143], "PixelAspectRatio": [1, 2]}, [1, 1]),
        ({"PixelSpacing": [0.0, 0.143]}, None),
        ({"PixelSpacing": [1e-9, 1e9]}, None),
    ],
)
def test_without_a_spacing_the_picture_keeps_its_proportions(
    tags: dict[str, Any], ratio: list[int] | None
) -> None:
    tags = {"PixelSpacing": None, **tags}
    data = dicom(**tags)
    new = pydicom.dcmread(io.BytesIO(deidentify.deidentify(data, identity())))
    assert "PixelSpacing" not in new
    assert "ImagerPixelSpacing" not in new
    assert new.get("PixelAspectRatio") == ratio
    assert "spacing_left_out" in deidentify.burned_in(data)


def test_lungs_of_no_adult_take_a_spacing_of_unequal_sides_too() -> None:
    data = dicom(PixelSpacing=[SPACING, SPACING * 1.2])
    assert "spacing_left_out" not in deidentify.burned_in(data)
    made = deidentify.deidentify(data, identity(), spacing_is_wrong=True)
    new = pydicom.dcmread(io.BytesIO(made))
    assert "PixelSpacing" not in new
    assert new.PixelAspectRatio == [5, 6]


@pytest.mark.parametrize(
    "tags",
    [
        {"ViewPosition": "CANARY"},
        {"BodyPartExamined": "CANARY"},
        {"PatientOrientation": ["CANARY", "F"]},
        {"Modality": "CANARY"},
        {"BurnedInAnnotation": "CANARY"},
        {"SOPClassUID": "1.2.3.4711.4711"},
    ],
)
def test_a_code_that_the_standard_does_not_know_is_not_taken_over(tags: dict[str, Any]) -> None:
    out = deidentify.deidentify(dicom(**tags), identity())
    assert b"CANARY" not in out
    assert b"4711.4711" not in out


def test_bytes_behind_the_pixels_stay_behind() -> None:
    data = dicom(pixels=bytes(8 * 6 * 2) + b"CANARY")
    out = deidentify.deidentify(data, identity())
    assert b"CANARY" not in out
    assert len(pydicom.dcmread(io.BytesIO(out)).PixelData) == 8 * 6 * 2


# Compressed pixels


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def commented_jpeg() -> bytes:
    plain = jpeg()
    comments = segment(0xFE, b"CANARY comment") + segment(0xE1, b"Exif\0\0CANARY")
    comments += segment(0xE0, b"JFXX\0CANARY") + segment(0xED, b"Photoshop CANARY")
    return plain[:2] + comments + plain[2:] + b"CANARY behind the end"


def test_comments_in_a_jpeg_stream_are_blanked_and_the_scan_stays() -> None:
    cleaned = codestream_scrub.clean(commented_jpeg())
    assert b"CANARY" not in cleaned
    assert cleaned.endswith(jpeg()[jpeg().index(b"\xff\xda") :])
    assert b"JFIF\0" in cleaned
    data = compressed_dicom(commented_jpeg())
    out = deidentify.deidentify(data, identity())
    assert b"CANARY" not in out
    new = pydicom.dcmread(io.BytesIO(out))
    (frame,) = pydicom.encaps.generate_frames(new.PixelData, number_of_frames=1)
    assert frame.rstrip(b"\0") == cleaned.rstrip(b"\0")


def test_a_comment_between_two_scans_is_blanked() -> None:
    plain = jpeg()
    scan = plain[plain.index(b"\xff\xda") : -2]
    stuffed_scan = scan + b"\xff\x00\x12\xff\xd0\x34"
    stream = plain[:-2] + segment(0xFE, b"CANARY") + stuffed_scan + b"\xff\xd9"
    cleaned = codestream_scrub.clean(stream)
    assert b"CANARY" not in cleaned
    assert len(cleaned) == len(stream)


@pytest.mark.parametrize("marker", [0xC8, 0xDE, 0xF0, 0xF7 + 1, 0xFD, 0x02])
def test_a_segment_that_nobody_knows_is_blanked(marker: int) -> None:
    plain = jpeg()
    cleaned = codestream_scrub.clean(plain[:2] + segment(marker, b"CANARY") + plain[2:])
    assert cleaned == plain[:2] + segment(marker, bytes(6)) + plain[2:]


@pytest.mark.parametrize("marker", [0xC0, 0xDA, 0xDC, 0xDD])
def test_a_segment_that_is_longer_than_its_kind_is_refused(marker: int) -> None:
    plain = jpeg()
    longer = {0xC0: b"\x08\0\x08\0\x06\x01\x01\x11\0", 0xDA: b"\x01\x01\0\0\x3f\0"}
    body = longer.get(marker, b"\0\0") + b"CANARY"
    with pytest.raises(NotCleanable):
        codestream_scrub.clean(plain[:2] + segment(marker, body) + plain[2:])


def j2k(psot_known: bool = True, marker: int = 0x64) -> bytes:
    """A JPEG 2000 stream with comments in the main header and in the tile's."""
    comment = b"\xff" + bytes([marker]) + struct.pack(">HH", 4 + 6, 1) + b"CANARY"
    head = b"\xff\x4f\xff\x51" + struct.pack(">H", 41) + bytes(39) + comment
    body = comment + b"\xff\x93" + b"\x01\x02\xff\x10pixels"
    size = 12 + len(body)
    tile = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, size if psot_known else 0, 0, 1)
    return head + tile + body + b"\xff\xd9"


@pytest.mark.parametrize("marker", [0x64, 0x59, 0x66, 0x7F, 0x92])
@pytest.mark.parametrize("psot_known", [True, False])
def test_comments_in_a_jpeg_2000_stream_are_blanked(psot_known: bool, marker: int) -> None:
    stream = j2k(psot_known, marker)
    cleaned = codestream_scrub.clean(stream + b"CANARY\xff\xd9")
    assert b"CANARY" not in cleaned
    assert len(cleaned) == len(stream)
    assert cleaned.endswith(b"pixels\xff\xd9")


ENDLESS = jpeg()[:2] + b"\xff\x01" * 20_001 + jpeg()[2:]


def test_capabilities_of_high_throughput_jpeg_2000_stay_and_hold_no_text() -> None:
    stream = j2k()
    at = 4 + int.from_bytes(stream[4:6], "big")
    stated = b"\xff\x50\x00\x08\x00\x02\x00\x00\x00\x05"
    assert codestream_scrub.clean(stream[:at] + stated + stream[at:]).count(stated) == 1
    for body in (b"CANARY", b"\x00\x02\x00\x00\x00\x05CANARY"):
        with pytest.raises(NotCleanable):
            codestream_scrub.clean(stream[:at] + segment(0x50, body) + stream[at:])


@pytest.mark.parametrize(
    "stream", [b"", b"CANARY", jpeg()[:30], jpeg()[:-2], j2k()[:60], ENDLESS], ids=range(6)
)
def test_a_stream_that_cannot_be_followed_is_refused(stream: bytes) -> None:
    with pytest.raises(NotCleanable):
        codestream_scrub.clean(stream)


@pytest.mark.parametrize("syntax", ["jpeg", "jpeg_ls", "jpeg_2000"])
def test_a_real_compressed_picture_decodes_to_the_same_pixels(syntax: str) -> None:
    np, cv2 = pytest.importorskip("numpy"), pytest.importorskip("cv2")
    ramp = (np.arange(64 * 48) % 251).astype(np.uint8).reshape(64, 48)
    if syntax == "jpeg":
        stream = cv2.imencode(".jpg", ramp)[1].tobytes()

        def decode(data: bytes) -> Any:
            return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    elif syntax == "jpeg_ls":
        jpeg_ls = pytest.importorskip("jpeg_ls")
        stream = bytes(jpeg_ls.encode(ramp))

        def decode(data: bytes) -> Any:
            return jpeg_ls.decode(np.frombuffer(data, np.uint8))
    else:
        openjpeg = pytest.importorskip("openjpeg.utils")
        stream = bytes(openjpeg.encode_array(ramp))
        decode = openjpeg.decode
    at = 2 if syntax != "jpeg_2000" else 4 + int.from_bytes(stream[4:6], "big")
    comment = struct.pack(">H", 10) + b"\0\1CANARY"
    mark = b"\xff\x64" if syntax == "jpeg_2000" else b"\xff\xfe"
    commented = stream[:at] + mark + comment + stream[at:]
    cleaned = codestream_scrub.clean(commented)
    assert b"CANARY" not in cleaned
    assert (np.asarray(decode(cleaned)) == np.asarray(decode(stream))).all()


def runs(*parts: bytes) -> bytes:
    """RLE of one segment: 48 pixels of one grey, then `parts`."""
    return b"".join((struct.pack("<16I", 1, 64, *[0] * 14), b"\xd1\x07", *parts))


def rle_dicom(frame: bytes) -> bytes:
    return dicom(
        pixels=encapsulate([frame + b"\0" * (len(frame) % 2)]),
        TransferSyntaxUID=RLELossless,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )


def test_nothing_but_the_runs_of_rle_comes_out() -> None:
    named = struct.pack("<2I", 1, 64 + 8) + b"CANARY^ZEBRA".ljust(64, b"\0") + b"\xd1\x07CANARY"
    out = deidentify.deidentify(rle_dicom(named), identity())
    assert b"CANARY" not in out
    new = pydicom.dcmread(io.BytesIO(out))
    (frame,) = pydicom.encaps.generate_frames(new.PixelData, number_of_frames=1)
    assert frame == runs()


@pytest.mark.parametrize(
    "frame",
    [
        b"CANARY",
        runs()[:65],
        struct.pack("<16I", 2, 64, 64, *[0] * 13) + b"\xd1\x07",
        struct.pack("<16I", 1, 32, *[0] * 14) + b"\xd1\x07",
        struct.pack("<16I", 1, 64, *[0] * 14) + b"\xd2\x07\x05CANARY",
    ],
    ids=range(5),
)
def test_rle_that_does_not_give_its_pixels_is_refused(frame: bytes) -> None:
    with pytest.raises(NotCleanable):
        codestream_scrub.clean_rle(frame, 1, 48)


def test_a_real_rle_picture_decodes_to_the_same_pixels() -> None:
    np = pytest.importorskip("numpy")
    source = pydicom.dcmread(io.BytesIO(dicom(rows=40, columns=33, pixels=bytes(40 * 33 * 2))))
    source.PixelData = (np.arange(40 * 33, dtype=np.uint16) % 4096 // 5).tobytes()
    source.compress(RLELossless, encoding_plugin="pydicom")
    stream = io.BytesIO()
    source.save_as(stream)
    out = deidentify.deidentify(stream.getvalue(), identity())
    new = pydicom.dcmread(io.BytesIO(out))
    assert (new.pixel_array == source.pixel_array).all()


# Text in the pixels


@pytest.mark.parametrize(
    ("bits", "words", "expected"),
    [
        ({"BitsStored": 12, "HighBit": 11}, (0xF123, 0x4FFF), (0x0123, 0x0FFF)),
        ({"BitsStored": 12, "HighBit": 15}, (0x123C, 0xFFF7), (0x1230, 0xFFF0)),
        ({"BitsStored": 16, "HighBit": 15}, (0xF123, 0x4FFF), (0xF123, 0x4FFF)),
        (
            {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1},
            (0x5123, 0x5FFF),
            (0x0123, 0xFFFF),
        ),
    ],
)
def test_bits_that_are_no_part_of_a_pixel_are_cleared(
    bits: dict[str, int], words: tuple[int, int], expected: tuple[int, int]
) -> None:
    data = dicom(pixels=struct.pack("<2H", *words) * 24, **bits)
    new = pydicom.dcmread(io.BytesIO(deidentify.deidentify(data, identity())))
    assert new.PixelData == struct.pack("<2H", *expected) * 24


@pytest.mark.parametrize(
    "bits", [{"BitsStored": 0}, {"BitsStored": 17}, {"HighBit": 16}, {"HighBit": 7}]
)
def test_bits_that_cannot_be_keep_the_picture_back(bits: dict[str, int]) -> None:
    with pytest.raises(Refused) as refused:
        deidentify.deidentify(dicom(**bits), identity())
    assert refused.value.code == "contradictory"


def table(data: Any) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [12, 0, 16]
    item.add_new(0x00283006, "OW" if isinstance(data, bytes) else "US", data)
    return Sequence([item])


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("data", [b"CANARY^ZEBRA^19470321 ab", [*b"CANARY^ZEBRA"]])
def test_a_lookup_table_that_is_a_text_is_left_out_and_listed(keyword: str, data: Any) -> None:
    source = dicom(BurnedInAnnotation="NO", **{keyword: table(data)})
    new = pydicom.dcmread(io.BytesIO(deidentify.deidentify(source, identity())))
    assert keyword not in new
    assert deidentify.burned_in(source) == ["table_left_out"]


@pytest.mark.parametrize(
    "values", [range(12), range(12, 0, -1), [0, 0, 0, 5, 5, 5, 5, 5, 5, 9, 9, 9]]
)
def test_a_rising_or_falling_curve_stays(values: Any) -> None:
    for data in (list(values), struct.pack("<12H", *values)):
        source = dicom(BurnedInAnnotation="NO", VOILUTSequence=table(data))
        new = pydicom.dcmread(io.BytesIO(deidentify.deidentify(source, identity())))
        assert list(new.VOILUTSequence[0].LUTData) == list(values)
        assert deidentify.burned_in(source) == []


def test_a_picture_whose_palette_is_a_text_is_left_out() -> None:
    palette = {}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [12, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = b"CANARY^ZEBRA^19470321 ab"
    coloured = dicom(PhotometricInterpretation="PALETTE COLOR", **palette)
    with pytest.raises(NotCleanable):
        deidentify.deidentify(coloured, identity())
    # a grey picture has no use for them
    assert b"CANARY" not in deidentify.deidentify(dicom(**palette), identity())


# Every accepted picture, as it is shown


def film() -> Any:
    """A drawn chest of 12 bits, (64, 64)."""
    return (
        pytest.importorskip("ml.preparation.phantom").draw(22, "left", rows=64, columns=64).pixels
    )


def lut(vr: str, first: int, bits: int, data: Any) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [4096, first, bits])
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    item.ModalityLUTType = "US"
    return item


CURVE = [round(4095 * (n / 4095) ** 0.8) for n in range(4096)]
PACKED = bytes(round(255 * (n / 4095) ** 0.8) for n in range(4096))
RECTANGLE = {
    "ShutterShape": "RECTANGULAR",
    "ShutterLeftVerticalEdge": 5,
    "ShutterRightVerticalEdge": 60,
    "ShutterUpperHorizontalEdge": 5,
    "ShutterLowerHorizontalEdge": 60,
}
SHIFTED = {"RescaleIntercept": -1024, "RescaleSlope": 1}
SHOWN: dict[str, dict[str, Any]] = {
    "first value negative, SS": SHIFTED | {"VOILUTSequence": [lut("SS", -1024, 12, CURVE)]},
    "first value negative, US": SHIFTED | {"VOILUTSequence": [lut("US", 64512, 12, CURVE)]},
    "8 bits in bytes": {"VOILUTSequence": [lut("US", 0, 8, PACKED)]},
    "8 bits in bytes, modality": {"ModalityLUTSequence": [lut("US", 0, 8, PACKED)]},
    "an empty item": {"VOILUTSequence": [Dataset(), lut("US", 0, 12, CURVE)]},
    "padding": {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 40},
    "a shutter": RECTANGLE,
    "a polygon": {
        "ShutterShape": "POLYGONAL",
        "VerticesOfThePolygonalShutter": [5, 30, 60, 5, 60, 60],
    },
}


def compare(data: bytes) -> Dataset:
    """The export of a picture is read as the picture itself is."""
    np, reader = pytest.importorskip("numpy"), pytest.importorskip("ml.images.reader")
    out = deidentify.deidentify(data, identity())
    before, after = reader.read(data), reader.read(out)
    assert (after.pixels == before.pixels).all()
    assert np.allclose([w[:2] for w in after.windows], [w[:2] for w in before.windows])
    assert after.shutters == before.shutters
    return pydicom.dcmread(io.BytesIO(out))


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("name", SHOWN)
def test_an_exported_picture_is_shown_as_the_original(name: str, implicit: bool) -> None:
    source = pydicom.dcmread(
        io.BytesIO(dicom(rows=64, columns=64, pixels=film().tobytes(), **SHOWN[name]))
    )
    if implicit:
        source.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, source, implicit_vr=implicit, little_endian=True, force_encoding=True)
    compare(stream.getvalue())


def test_padding_of_signed_pixels_is_exported() -> None:
    source = pydicom.dcmread(
        io.BytesIO(
            dicom(
                rows=64,
                columns=64,
                pixels=(film().astype("<i2") - 2000).tobytes(),
                PixelRepresentation=1,
                BitsStored=16,
                HighBit=15,
            )
        )
    )
    source.add_new("PixelPaddingValue", "US", 63536)
    stream = io.BytesIO()
    source.save_as(stream)
    assert compare(stream.getvalue()).PixelPaddingValue == -2000


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_a_retired_or_deflated_syntax_is_exported_as_plain(syntax: Any) -> None:
    pixels = film().astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    source = pydicom.dcmread(io.BytesIO(dicom(rows=64, columns=64, pixels=pixels)))
    for element in source:
        element.value  # noqa: B018 converts it before the byte order changes
    source.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream,
        source,
        implicit_vr=False,
        little_endian=syntax != ExplicitVRBigEndian,
        force_encoding=True,
    )
    new = compare(stream.getvalue())
    assert new.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_jpeg_2000_in_boxes_with_a_comment_and_bytes_behind_is_exported_bare() -> None:
    encode = pytest.importorskip("openjpeg.utils").encode_array
    stream = encode(film(), bits_stored=12, photometric_interpretation=2)
    odd = stream[:-2] + b"\xff\x64\x00\x0a\x00\x01CANARY" + stream[-2:] + b"CANARY"
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s6s", 14, b"uuid", b"CANARY")
    boxes += struct.pack(">I4s", len(odd) + 8, b"jp2c") + odd
    for frame in (odd, boxes):
        data = dicom(
            rows=64,
            columns=64,
            pixels=encapsulate([frame]),
            TransferSyntaxUID=JPEG2000Lossless,
        )
        new = compare(data)
        assert b"CANARY" not in new.PixelData
        (fragment,) = pydicom.encaps.generate_frames(new.PixelData, number_of_frames=1)
        assert fragment.startswith(b"\xff\x4f\xff\x51")
        assert fragment.rstrip(b"\0").endswith(b"\xff\xd9")


@pytest.mark.parametrize(
    ("tags", "codes"),
    [
        ({"BurnedInAnnotation": "NO"}, []),
        ({"BurnedInAnnotation": "YES"}, ["burned_in_yes"]),
        ({}, ["burned_in_unknown"]),
        ({"BurnedInAnnotation": "NO", "Modality": "SC"}, ["secondary_capture"]),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "BurnedInAnnotation": "NO"},
            ["secondary_capture"],
        ),
    ],
)
def test_burned_in_text_is_warned_of_by_rule(tags: dict[str, Any], codes: list[str]) -> None:
    assert deidentify.burned_in(dicom(**tags)) == codes


def test_an_overlay_in_spare_bits_is_warned_of() -> None:
    source = pydicom.dcmread(io.BytesIO(dicom(BurnedInAnnotation="NO")))
    source.add_new(0x60000010, "US", 8)
    source.add_new(0x60000102, "US", 12)
    stream = io.BytesIO()
    source.save_as(stream)
    assert deidentify.burned_in(stream.getvalue()) == ["overlay_in_pixels"]
    assert repeater_has_tag(0x60000010)


# The export


def done(clinic: Clinic, **tags: Any) -> Any:
    """A study with a real PNG as its outline, with a text chunk in it."""
    text = struct.pack(">I", 6) + b"tEXtCANARY"
    chunk = text + struct.pack(">I", zlib.crc32(b"tEXtCANARY"))
    study_id = clinic.submit(dicom(**tags)).study_id
    job_id = clinic.render(study_id)
    ticket = clinic.claim(job_id)
    assert ticket is not None
    outputs = {"probability": bytes(16), "mask": png(extra=chunk), "overlay": png()}
    clinic.store(ticket, **outputs)
    clinic.finish(ticket, {"prediction": prediction_of()})
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, study_id),
            finding="left",
            size="10_to_30",
            comment="CANARY^ZEBRA was here",
            now=NOW,
        )
    return study_id


def unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        return {name: archive.read(name) for name in archive.namelist()}


def export(clinic: Clinic, study_id: Any, looked: bool = True) -> tuple[str, dict[str, bytes]]:
    with clinic.session as session:
        made = deidentified_export.export(
            session, clinic.vault, clinic.mate, study_id, NOW, looked=looked
        )
    return made.name, unzip(made.data)


def test_an_export_holds_picture_outline_result_and_no_patient(clinic: Clinic) -> None:
    study_id = done(
        clinic,
        PatientName="CANARY^ZEBRA",
        PatientID="CANARY4711",
        AccessionNumber="CANARYACC",
        StudyDescription="CANARY",
    )
    name, files = export(clinic, study_id)
    assert sorted(files) == [
        *("image.dcm", "manifest.json", "mask.png", "masks.csv", "result.csv", "result.json")
    ]
    for data in (name.encode(), *files.values()):
        # Whole dates: four digits may well stand in a digest.
        dates = (b"19630501", b"1963-05-01", b"20260304", b"2026-03-04")
        for trace in (b"CANARY", b"ZEBRA", b"CANARY4711", b"mate", *dates):
            assert trace not in data
        assert study_id.hex[:6].upper().encode() not in data
    result = json.loads(files["result.json"])
    assert result["prediction"]["probability"] == 0.91
    stated = {"finding": "left", "size": "10_to_30", "verdict": "disagree", "reason": "wrong_side"}
    assert result["reviews"] == [stated | {"reasons": ["wrong_side"], "signed": False}]
    assert result["verdict"] == {
        "state": "preliminary",
        "finding": "left",
        "reason": "wrong_side",
        "reasons": ["wrong_side"],
    }
    (line,) = csv.DictReader(files["result.csv"].decode().splitlines())
    assert (line["picture"], line["probability"], line["finding"]) == ("1", "0.91", "left")
    assert (line["verdict_state"], line["reason"]) == ("preliminary", "wrong_side")
    assert result["prediction"]["model"]["retracted"] is None
    assert "by eye" in result["size_of_reviews"]
    manifest = json.loads(files["manifest.json"])
    assert manifest["files"]["image.dcm"]["bytes"] == len(files["image.dcm"])
    assert manifest["looked_for_burned_in_text"] is True
    assert files["mask.png"] == png()


def test_the_readers_outline_is_beside_the_models(clinic: Clinic) -> None:
    study_id = done(clinic)
    page = Page(clinic, study_id, clinic.mate)
    page.begin()
    page.save(drawn((3, 9)))
    page.measure(measured(6))
    _, files = export(clinic, study_id)
    assert files["reader-mask.png"] == mask_png.write([(3, 9)], 8, 6)
    assert files["reader-mask-by-a.png"] == files["reader-mask.png"]
    lines = list(csv.DictReader(files["masks.csv"].decode().splitlines()))
    mine = next(one for one in lines if one["by"] == "reader a")
    assert (mine["rows"], mine["columns"]) == ("8", "6")
    drawn_again = np.zeros(48, bool)
    drawn_again[3:9] = True
    wanted = rle.encode(drawn_again.reshape(8, 6))
    assert mine["EncodedPixels"] == wanted
    assert files["mask.png"] == png()
    (picture,) = json.loads(files["result.json"])["pictures"]
    assert "reader-mask.png" in picture["files"]
    (outline,) = picture["reader_outlines"]
    assert (outline["pixels"], outline["dice_to_model"]) == (6, 0.0)
    assert outline["measurements"]["side"] == "left"
    assert set(outline) == {"pixels", "dice_to_model", "dice_to_version_before", "measurements"}


def test_no_reader_of_many_is_left_out(clinic: Clinic) -> None:
    """28 readers: the last ones are called aa and ab."""
    study_id = done(clinic)
    people = [clinic.mate, *(colleague(clinic, f"r{number}") for number in range(27))]
    for number, person in enumerate(people):
        page = Page(clinic, study_id, person)
        page.begin()
        page.save(drawn((number, number + 1)), now=after(seconds=number))
    _, files = export(clinic, study_id)
    assert files["reader-mask-by-z.png"] == mask_png.write([(25, 26)], 8, 6)
    assert files["reader-mask-by-ab.png"] == mask_png.write([(27, 28)], 8, 6)
    named = {one["by"] for one in csv.DictReader(files["masks.csv"].decode().splitlines())}
    assert {"reader z", "reader aa", "reader ab"} < named
    assert sum(name.startswith("reader-mask-by-") for name in files) == len(people)
    assert [letters(number) for number in (0, 701, 702)] == ["a", "zz", "aaa"]


@pytest.mark.parametrize(
    ("finding", "reason", "reasons"),
    [
        ("right", "chest_drain", ["chest_drain"]),
        ("unsure", "other", ["other"]),
        ("unsure", "poor_image,other", ["poor_image", "other"]),
    ],
)
def test_an_export_without_the_ai_has_the_readers_reasons(
    clinic: Clinic, finding: str, reason: str, reasons: list[str]
) -> None:
    set_policy(clinic, AiShown.NEVER)
    study_id = clinic.submit().study_id
    clinic.segment(clinic.render(study_id))
    state(clinic, clinic.mate, study_id, finding, reason=reason)
    _, files = export(clinic, study_id)
    result = json.loads(files["result.json"])
    verdict = result["verdict"]
    assert result["prediction"] is None
    assert (verdict["reason"], verdict["reasons"]) == (reasons[0], reasons)
    (line,) = csv.DictReader(files["result.csv"].decode().splitlines())
    assert (line["probability"], line["reason"]) == ("", " ".join(reasons))


def test_of_pixels_that_are_not_square_the_readers_outline_has_the_files_size(
    clinic: Clinic,
) -> None:
    study_id = clinic.submit().study_id
    clinic.segment(clinic.render(study_id, source_size=[4, 6]))
    page = Page(clinic, study_id, clinic.mate)
    page.begin()
    page.save(drawn((0, 12)))
    _, files = export(clinic, study_id)
    assert mask_png.read(files["reader-mask.png"]) == ([(0, 6)], 4, 6)


def test_uids_and_pseudonyms_are_new_and_consistent(clinic: Clinic) -> None:
    examination = generate_uid()
    exam = done(clinic, StudyInstanceUID=examination, PatientID="A-1")
    second = clinic.submit(
        dicom(StudyInstanceUID=examination, PatientID="A-1"), now=after(minutes=1)
    )
    assert second.study_id == exam
    other = done(clinic, PatientID="B-2")
    files = [
        (export(clinic, exam)[1], "image-1.dcm"),
        (export(clinic, exam)[1], "image-2.dcm"),
        (export(clinic, other)[1], "image.dcm"),
        (export(clinic, exam)[1], "image-1.dcm"),
    ]
    heads = [pydicom.dcmread(io.BytesIO(found[name])) for found, name in files]
    assert [head.InstanceNumber for head in heads] == [1, 2, 1, 1]
    result = json.loads(files[0][0]["result.json"])
    assert [one["files"] for one in result["pictures"]] == [
        ["image-1.dcm", "mask-1.png"],
        ["image-2.dcm"],
    ]
    assert result["prediction"] is not None
    assert result["prediction"] == result["pictures"][0]["prediction"]
    assert heads[0].StudyInstanceUID == heads[1].StudyInstanceUID != heads[2].StudyInstanceUID
    assert heads[0].PatientID == heads[1].PatientID != heads[2].PatientID
    assert heads[0].SOPInstanceUID == heads[3].SOPInstanceUID != heads[1].SOPInstanceUID
    for head in heads:
        assert head.StudyInstanceUID.startswith("2.25.")
        assert head.StudyInstanceUID.is_valid
        assert head.StudyInstanceUID != examination


def test_exports_of_two_teams_cannot_be_joined(clinic: Clinic) -> None:
    data = dicom(PatientID="A-1")
    heads = []
    for actor in (clinic.mate, clinic.outsider):
        study_id = clinic.submit(data, actor=actor).study_id
        with clinic.session as session:
            made = deidentified_export.export(
                session, clinic.vault, actor, study_id, NOW, looked=True
            )
        heads.append(pydicom.dcmread(io.BytesIO(unzip(made.data)["image.dcm"])))
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert heads[0][keyword].value != heads[1][keyword].value


def test_the_log_of_an_export_does_not_lead_to_its_patient(clinic: Clinic) -> None:
    name, files = export(clinic, done(clinic, PatientID="A-1"))
    pseudonym = json.loads(files["manifest.json"])["patient"]
    assert name == f"pleura-{pseudonym}.zip"
    with clinic.session as session:
        rows = session.scalars(select(AuditEvent)).all()
    assert "study_exported" in [row.event for row in rows]
    assert not [row.event for row in rows if pseudonym in row.detail]


def test_burned_in_text_has_to_be_checked_by_a_person(clinic: Clinic) -> None:
    study_id = done(clinic)
    with pytest.raises(errors.Conflict, match=r"^look_first:"):
        export(clinic, study_id, looked=False)
    safe = done(clinic, BurnedInAnnotation="NO")
    assert export(clinic, safe, looked=False)[1]["image.dcm"]


def test_an_export_is_written_down_with_its_digest(clinic: Clinic) -> None:
    study_id = done(clinic)
    with clinic.session as session:
        planned = deidentified_export.plan(session, clinic.vault, clinic.mate, study_id, NOW)
    assert planned.warnings == ["burned_in_unknown"]
    export(clinic, study_id)
    with clinic.session as session:
        rows = session.scalars(
            select(AuditEvent)
            .where(AuditEvent.event.in_(("export_planned", "study_exported")))
            .order_by(AuditEvent.seq)
        ).all()
    assert [(row.event, row.study_id, row.actor_id) for row in rows] == [
        ("export_planned", study_id, clinic.mate.user_id),
        ("study_exported", study_id, clinic.mate.user_id),
    ]
    detail = json.loads(rows[1].detail)
    assert len(detail["sha256"]) == 64
    assert detail["warnings"] == ["burned_in_unknown"]


@pytest.mark.parametrize("person", ["owner", "outsider", "colleague", "admin", "auditor"])
def test_nobody_but_a_reader_of_the_team_exports(clinic: Clinic, person: str) -> None:
    study_id = done(clinic)
    actor = getattr(clinic, person)
    with clinic.session as session, pytest.raises(Denied):
        deidentified_export.export(session, clinic.vault, actor, study_id, NOW, looked=True)
    with clinic.session as session, pytest.raises(Denied):
        deidentified_export.plan(session, clinic.vault, actor, study_id, NOW)


def test_a_png_is_left_out_and_listed(clinic: Clinic) -> None:
    sent = clinic.submit(png(rows=640, columns=512))
    assert sent.remarks == ("not_dicom",)
    _, files = export(clinic, sent.study_id)
    assert sorted(files) == ["manifest.json", "masks.csv", "result.csv", "result.json"]
    assert json.loads(files["manifest.json"])["warnings"] == ["no_dicom"]
    assert json.loads(files["result.json"])["prediction"] is None


def test_a_stream_that_cannot_be_cleaned_is_left_out(clinic: Clinic) -> None:
    unknown = jpeg().replace(b"\xff\xda\x00\x08", b"\xff\xda\x00\x0a\0\0")
    sent = clinic.submit(compressed_dicom(unknown))
    assert sent.remarks == ("not_exportable",)
    study_id = sent.study_id
    _, files = export(clinic, study_id)
    assert "image.dcm" not in files
    assert json.loads(files["manifest.json"])["warnings"] == ["not_cleanable"]


def test_no_picture_is_read_where_pages_are_made(clinic: Clinic) -> None:
    study_id = done(clinic)
    called = set[str]()

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        called.add(frame.f_code.co_filename.rpartition("portal/")[2])

    with clinic.session as session:
        sys.setprofile(note)
        try:
            deidentified_export.plan(session, clinic.vault, clinic.mate, study_id, NOW)
            deidentified_export.export(
                session, clinic.vault, clinic.mate, study_id, NOW, looked=True
            )
        finally:
            sys.setprofile(None)
    assert "exchange/deidentified_export.py" in called
    assert not called & {"exchange/deidentify.py", "formats/dicom.py", "formats/patient_tags.py"}


@pytest.mark.parametrize(("limit", "most"), [("MOST_PICTURES", 0), ("MOST_BYTES", 100)])
def test_an_export_of_more_than_the_limits_is_refused_with_the_reason(
    clinic: Clinic, limit: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id = done(clinic)
    monkeypatch.setattr(deidentified_export, limit, most)
    with clinic.session as session, pytest.raises(errors.Conflict, match=r"^export_too_large:"):
        deidentified_export.plan(session, clinic.vault, clinic.mate, study_id, NOW)
    with pytest.raises(errors.Conflict, match=r"^export_too_large:"):
        export(clinic, study_id)


def test_who_would_be_one_more_to_wait_for_an_export_is_told_so(clinic: Clinic) -> None:
    study_id = done(clinic)
    for _ in range(PLACES):
        assert places.acquire(blocking=False)
    try:
        with pytest.raises(Busy):
            export(clinic, study_id)
    finally:
        for _ in range(PLACES):
            places.release()
    assert export(clinic, study_id)[1]["image.dcm"]


def test_every_warning_has_a_text() -> None:
    assert set(WARNINGS) >= deidentified_export.LOOK


@pytest.mark.parametrize(
    ("code", "is_left_out"),
    [("decode_failed", True), ("truncated", True), ("unsupported_modality", False)],
)
def test_a_picture_that_the_worker_found_damaged_is_left_out_and_named(
    clinic: Clinic, code: str, is_left_out: bool
) -> None:
    study = clinic.submit().study_id
    ticket = clinic.claim(clinic.job(study).id)
    assert ticket is not None
    clinic.fail(ticket, code, "permanent")
    with clinic.session as session:
        planned = deidentified_export.plan(session, clinic.vault, clinic.mate, study, NOW)
    assert ("image.dcm" not in planned.files) is is_left_out
    assert ("damaged" in planned.warnings) is is_left_out
    assert "damaged" in WARNINGS
