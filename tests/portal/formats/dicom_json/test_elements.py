"""A file's elements as JSON: those that pydicom reads, bounded for hostile files."""

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from pydicom import FileDataset, dcmread, dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from portal.formats.dicom_json import elements
from portal.formats.refusals import Refused
from tests.support.paths import ROOT
from tests.support.pictures import dicom

CASES = sorted((ROOT.parent / "shared" / "cases").glob("*.dcm.gz"))


def rich(syntax: str) -> bytes:
    """A picture with elements of every representation, sequences and private elements."""
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "T-1", "Überblick"
    item.RequestedProcedureID = "R-9"
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "2.25.7"
    item.ReferencedSOPSequence = Sequence([inner, Dataset()])
    little = syntax != ExplicitVRBigEndian
    data = dicom(
        TransferSyntaxUID=syntax if little else ExplicitVRLittleEndian,
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Jürg=X",
        ImageType=["DERIVED", "PRIMARY", "", "X"],
        ImagerPixelSpacing=["0.143", "0.143"],
        WindowCenter="2048",
        InstanceNumber="7",
        LUTDescriptor=None,
        ProcedureCodeSequence=Sequence([item]),
        ReferencedImageSequence=Sequence([]),
        PatientComments="  Zeile eins\r\nzwei\\drei",
        RetrieveURL="https://x.example/a?b=c",
        DataSetTrailingPadding=None,
    )
    dataset = dcmread(io.BytesIO(data))
    dataset.add(DataElement(0x00090010, "LO", "PRIVATE"))
    dataset.add(DataElement(0x00091001, "UN", b"\1\2\3\4"))
    dataset.add(DataElement(0x00189074, "DT", "20260304"))
    dataset.add(DataElement(0x00189073, "FD", 1.5))
    dataset.add(DataElement(0x00287FE0, "UR", "x"))
    dataset.add(DataElement(0x00280009, "AT", [0x00181063, 0x00181065]))
    dataset.add(DataElement(0x00186016, "UL", 70000))
    dataset.add(DataElement(0x00186020, "SL", -5))
    dataset.add(DataElement(0x00282000, "OB", bytes(range(200)) * 10))
    if not little:
        return big_endian(dataset)
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=syntax == ImplicitVRLittleEndian)
    return stream.getvalue()


def big_endian(dataset: FileDataset) -> bytes:
    """The same in Explicit VR Big Endian; words of bytes are left as they are."""
    dataset.decode()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    stream = io.BytesIO()
    dcmwrite(stream, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    return stream.getvalue()


def by_pydicom(data: bytes) -> dict[str, Any]:
    """The same by pydicom, which has the pixels and long values in it."""
    dataset = dcmread(io.BytesIO(data))
    dataset.decode()
    made = dataset.to_json_dict(2**40, lambda _: "")
    assert isinstance(made, dict)
    return made


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_every_element_is_what_pydicom_reads(syntax: str) -> None:
    data = rich(syntax)
    found, named = elements.read(data)
    assert named == syntax
    json.dumps(found, allow_nan=False)
    expected = by_pydicom(data)
    assert set(found) == set(expected) | {"00083002"}
    for tag, element in expected.items():
        ours = found[tag]
        if "BulkDataURI" in ours or tag == "00080005":
            continue
        if tag == "00091001" and syntax == ImplicitVRLittleEndian:
            assert ours["vr"] == "UN"
        assert Dataset.from_json({tag: ours}) == Dataset.from_json({tag: element}), tag
    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Müller^Jürg", "Ideographic": "X"}]
    assert found["7FE00010"] == {"vr": found["7FE00010"]["vr"], "BulkDataURI": "#7FE00010"}


def test_a_deflated_file_is_read_as_well() -> None:
    found, _ = elements.read(dicom(TransferSyntaxUID=DeflatedExplicitVRLittleEndian))
    assert found["00100020"]["Value"] == ["P-0001"]


def test_long_values_are_fetched_by_the_way_to_them() -> None:
    item = Dataset()
    item.add(DataElement(0x00281101, "US", [256, 0, 16]))
    item.add(DataElement(0x00283006, "OW", bytes(range(256)) * 8))
    data = dicom(VOILUTSequence=Sequence([Dataset(), item]))
    found, _ = elements.read(data)
    (way,) = (item["00283006"]["BulkDataURI"] for item in found["00283010"]["Value"][1:])
    assert way == "#00283010/1/00283006"
    assert bytes(elements.bulk(data, way.removeprefix("#"))) == bytes(range(256)) * 8
    pixels = bytes(elements.bulk(data, "7FE00010"))
    assert pixels == bytes(96)
    for missing in ("00283010/2/00283006", "00283010/0/00283006", "00290011"):
        with pytest.raises(Refused):
            elements.bulk(data, missing)


def test_words_of_a_big_endian_file_are_turned() -> None:
    stored = bytes(range(96))
    data = big_endian(dcmread(io.BytesIO(dicom(pixels=stored))))
    turned = bytes(elements.bulk(data, "7FE00010"))
    assert turned[0::2] == stored[1::2]
    assert turned[1::2] == stored[0::2]


def test_what_is_no_value_of_its_representation_is_left_out() -> None:
    data = dicom(InstanceNumber="7").replace(b"IS\x02\x007 ", b"IS\x02\x00x ")
    found, _ = elements.read(data)
    assert found["00200013"] == {"vr": "IS"}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_files_that_were_found_outside_are_read(path: Path) -> None:
    data = gzip.decompress(path.read_bytes())
    found, syntax = elements.read(data)
    read = Dataset.from_json(json.loads(json.dumps(found, allow_nan=False)), lambda _: b"")
    assert read.Rows > 0
    assert syntax


def test_a_file_that_is_cut_off_is_refused_or_read_up_to_its_pixels() -> None:
    data = rich(ExplicitVRLittleEndian)
    whole, _ = elements.read(data)
    for end in range(0, len(data), 7):
        try:
            found, _ = elements.read(data[:end])
        except Refused:
            continue
        assert set(found) <= set(whole)


def test_changed_bytes_end_in_json_or_a_reason() -> None:
    data, chance = rich(ImplicitVRLittleEndian), random.Random(5)
    reasons = set()
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            changed[chance.randrange(130, len(changed))] = chance.randrange(256)
        try:
            found, _ = elements.read(bytes(changed))
            json.dumps(found, allow_nan=False)
        except Refused as refused:
            reasons.add(refused.code)
    assert reasons <= {
        *("truncated", "damaged", "too_many_elements", "no_pixels", "unreadable"),
        *("header_too_large", "unsupported_transfer_syntax"),
    }


def test_sequences_within_sequences_have_an_end() -> None:
    inner = Dataset()
    for _ in range(40):
        outer = Dataset()
        outer.ReferencedSeriesSequence = Sequence([inner])
        inner = outer
    with pytest.raises(Refused) as refused:
        elements.read(dicom(ReferencedSeriesSequence=Sequence([inner])))
    assert refused.value.code == "too_many_elements"
