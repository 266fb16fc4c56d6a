"""Portal and decoder read headers alike: same verdict, same age, same view, over mutated files."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from ml.images import reader
from ml.images.picture import _CODES, Unreadable
from ml.preparation import phantom
from portal.formats import upload_header
from portal.formats.refusals import Limits, Refused
from xray_files import dates

PLAIN = phantom.dicom(phantom.draw(22, "left", rows=32, columns=32), patient_age="")
SYNTAXES = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian),
    *(DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless),
)
DATES = (
    "2020.01.01",
    "20200101",
    "2020-01-01",
    "19500203",
    "2026.13.01",
    "x",
    "",
    "20260101120000",
)
VALUES: dict[str, tuple[Any, ...]] = {
    "PatientBirthDate": DATES,
    "StudyDate": DATES,
    "AcquisitionDate": DATES,
    "ContentDate": DATES,
    "SeriesDate": DATES,
    "PatientAge": ("006Y", "6", "17Y", "018M", "old", "", "0045Y", "45 y", "999Y", "131Y"),
    "ViewPosition": (
        *("PA", "ap ", "LL", "LATERAL", "RLO", "sideways", "", "PA\\AP", "LLAT", "R LAT"),
        *("LEFT LATERAL", "LATERAL_L", "PA/LAT"),
    ),
    "PatientOrientation": (
        *(["L", "F"], ["A", "F"], ["F", "A"], ["P", "H"], "L", ["", ""], ["R", "F", "X"]),
    ),
    "Modality": ("CR", "DX", "CT", "", "OT", "dx", "RG"),
    "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.2", ""),
    "Rows": (32, 31, 64, 0, 65535),
    "Columns": (32, 16, 0, 40000),
    "BitsAllocated": (8, 12, 16, 32, 0),
    "BitsStored": (0, 8, 12, 16, 40),
    "HighBit": (0, 7, 11, 15, 40),
    "PixelRepresentation": (0, 1, 7),
    "SamplesPerPixel": (0, 1, 3),
    "PlanarConfiguration": (0, 1, 9),
    "PhotometricInterpretation": (
        *("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "CMYK", ""),
    ),
    "NumberOfFrames": ("1", "2", "", "x", "0"),
    "RescaleSlope": ("1", "0", "-1", "1e30", "x"),
    "RescaleIntercept": ("0", "-1024", "1e30"),
    "WindowWidth": ("0.5", "400", "-1"),
    "PixelPaddingValue": (0, 4095, 63536),
    "PixelSpacing": (["0.2", "0.1"], ["1", "1"], ["0.2", "9"], "x"),
    "ShutterShape": ("RECTANGULAR", "CIRCULAR"),
    "SpecificCharacterSet": ("ISO_IR 100", "NONSENSE", ["", "ISO 2022 IR 87"]),
}
GONE = object()


def changed(changes: dict[str, Any], syntax: Any) -> bytes:
    """The phantom with these values in this transfer syntax; what can't be written is left out."""
    file = pydicom.dcmread(io.BytesIO(PLAIN))
    if syntax in (RLELossless, JPEGLSLossless):
        file.compress(syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        file.PixelData = np.frombuffer(file.PixelData, "<u2").astype(">u2").tobytes()
    for element in file:
        element.value  # noqa: B018 converts it before the byte order changes
    file.file_meta.TransferSyntaxUID = syntax
    for keyword, value in changes.items():
        if value is GONE:
            if keyword in file:
                delattr(file, keyword)
        else:
            setattr(file, keyword, value)
    return written(file, syntax)


def written(file: FileDataset, syntax: Any) -> bytes:
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream,
        file,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        force_encoding=True,
    )
    return stream.getvalue()


def compare(data: bytes) -> str:
    """What both make of a file, once it is the same."""
    try:
        upload = upload_header.read("x", data, Limits(2**24))
    except Refused as refused:
        code = refused.code
    else:
        code = "read"
    if code != "read":
        with pytest.raises(Unreadable) as unreadable:
            reader.read(data)
        assert unreadable.value.code == _CODES.get(code, code), code
        return code
    picture = reader.read(data)
    assert upload.header["view"] == (picture.view or "")
    shown = dates.age(upload.phi.get("age", ""))
    assert (dates.in_years(shown) if shown else None) == picture.patient_age_years
    assert upload.header["mislabelled"] == ("transfer_syntax_wrong" in picture.notes)
    size = upload.header["rows"], upload.header["columns"]
    assert (picture.source_size or (picture.rows, picture.columns)) == size
    return "read"


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(SYNTAXES),
    st.lists(
        st.sampled_from(sorted(VALUES)).flatmap(
            lambda word: st.tuples(st.just(word), st.sampled_from((*VALUES[word], GONE)))
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_they_agree_on_headers_with_other_values(syntax: Any, changes: list[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = changed(dict(changes), syntax)
        except Exception:  # pydicom does not write it
            return
    compare(data)


HEADER_END = PLAIN.index(b"\xe0\x7f\x10\x00")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(132, HEADER_END + 12), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_they_agree_on_headers_with_damaged_bytes(damage: list[tuple[int, int]]) -> None:
    data = bytearray(PLAIN)
    for at, value in damage:
        data[at] = value
    compare(bytes(data))


@pytest.mark.parametrize("wrong", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_they_agree_on_files_that_name_another_encoding(wrong: Any) -> None:
    other = {ExplicitVRLittleEndian: ImplicitVRLittleEndian}.get(wrong, ExplicitVRLittleEndian)
    file = pydicom.dcmread(io.BytesIO(PLAIN))
    file.file_meta.TransferSyntaxUID = wrong
    data = written(file, other)
    assert compare(data) == "read"
    np.testing.assert_array_equal(reader.read(data).pixels, reader.read(PLAIN).pixels)
    assert reader.read(data).notes == ("transfer_syntax_wrong",)


def test_a_frame_without_pixels_is_refused_by_both() -> None:
    file = pydicom.dcmread(io.BytesIO(PLAIN))
    file.compress(RLELossless, generate_instance_uid=False)
    file.PixelData = (b"\xfe\xff\x00\xe0" + bytes(4)) * 2 + b"\xfe\xff\xdd\xe0" + bytes(4)
    assert compare(written(file, RLELossless)) == "no_pixels"
