"""The check of uploads: what is accepted, what is refused and why, and which patient it names."""

import io
import random
import struct
import sys
import time
import tracemalloc
import zipfile
import zlib
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from portal.exchange import deidentify
from portal.formats import upload_header, zip_archive
from portal.formats.refusals import REASONS
from portal.intake import check as intake
from portal.intake.check import Limits, Refused, check
from tests.support.paths import XRAYS
from tests.support.pictures import chunk, compressed_dicom, dicom, jpeg, png
from xray_files.streams import jpeg as jpeg_stream

LIMITS = Limits(2 * 1024 * 1024, max_header_bytes=1024 * 1024)


def headless(data: bytes) -> bytes:
    """The bytes behind preamble and file meta, as old systems wrote them."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    stream = io.BytesIO()
    pydicom.filewriter.write_dataset(_little_implicit(stream), dataset)
    return stream.getvalue()


def _little_implicit(stream: io.BytesIO) -> Any:
    from pydicom.filebase import DicomFileLike

    file = DicomFileLike(stream)
    file.is_little_endian, file.is_implicit_VR = True, True
    return file


def resaved(data: bytes, syntax: str) -> bytes:
    """The same data set in another transfer syntax."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for element in dataset:
        element.value  # noqa: B018 converts it before the byte order changes
    dataset.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        force_encoding=True,
    )
    return stream.getvalue()


def without_fragments() -> bytes:
    """Encapsulated pixels whose only item is the table of offsets."""
    whole = compressed_dicom(jpeg())
    at = whole.index(b"\xe0\x7f\x10\x00OW") + 12
    return whole[:at] + b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"


def with_empty_items(data: bytes, number: int) -> bytes:
    """The same encapsulated picture with empty items behind its pixels."""
    end = data.rindex(b"\xfe\xff\xdd\xe0")
    return data[:end] + b"\xfe\xff\x00\xe0\0\0\0\0" * number + data[end:]


def with_private(data: bytes, elements: bytes) -> bytes:
    """The same file with these elements before the patient's name."""
    at = data.index(b"\x10\x00\x10\x00PN")
    return data[:at] + elements + data[at:]


class Counted(bytes):
    """Bytes that count how often one of them or a part is asked for."""

    reads = 0

    def __getitem__(self, at: Any) -> Any:
        self.reads += 1
        return super().__getitem__(at)


def called_jpeg() -> bytes:
    """Bare pixels under the name of a compressed transfer syntax."""
    return dicom().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")


ACCEPTED = {
    "12-bit DX": lambda: dicom(),
    "CR": lambda: dicom(Modality="CR"),
    "DR, as old systems write": lambda: dicom(Modality="DR"),
    "secondary capture": lambda: dicom(Modality="SC"),
    "other, colour": lambda: dicom(
        Modality="OT",
        PhotometricInterpretation="RGB",
        SamplesPerPixel=3,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=bytes(8 * 6 * 3),
    ),
    "MONOCHROME1": lambda: dicom(PhotometricInterpretation="MONOCHROME1"),
    "no modality but a DX class": lambda: dicom(Modality=None),
    "neither modality nor class": lambda: dicom(Modality=None, SOPClassUID=None),
    "implicit little endian": lambda: resaved(dicom(), ImplicitVRLittleEndian),
    "explicit big endian": lambda: resaved(dicom(), ExplicitVRBigEndian),
    "headless": lambda: headless(dicom()),
    "JPEG inside": lambda: compressed_dicom(jpeg()),
    "something behind the pixels": lambda: dicom(DigitalSignaturesSequence=Sequence([Dataset()])),
    "no tags about the patient": lambda: dicom(
        PatientName=None, PatientID=None, PatientBirthDate=None, StudyDate=None, SOPInstanceUID=None
    ),
    "grey PNG": lambda: png(),
    "16-bit PNG": lambda: png(depth=16),
    "colour PNG": lambda: png(colour=2),
    "grey JPEG": lambda: jpeg(),
    "colour JPEG": lambda: jpeg(samples=3),
    "JPEG in some hundred segments": lambda: jpeg()[:2] + b"\xff\xe1\0\2" * 500 + jpeg()[2:],
    "JPEG with fill bytes": lambda: jpeg()[:3] + b"\xff" * 5000 + jpeg()[3:],
    "a frame in some hundred fragments": lambda: with_empty_items(compressed_dicom(jpeg()), 500),
    "JPEG with padding behind it": lambda: jpeg() + bytes(10_000),
    "PNG with padding behind it": lambda: png() + bytes(10_000),
    "JPEG inside with padding behind it": lambda: compressed_dicom(jpeg() + bytes(10_000)),
    "deflated": lambda: dicom(TransferSyntaxUID=DeflatedExplicitVRLittleEndian),
    "explicit, named implicit": lambda: dicom().replace(
        b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x14\x001.2.840.10008.1.2\0\0\0"
    ),
    "private elements whose VR is none": lambda: with_private(
        dicom(),
        b"\x09\x00\x10\x00LO\x04\x00ACME"
        b"\x09\x00\x10\x10\0\0\x04\x00abcd"
        b"\x09\x00\x11\x10??\x06\x00abcdef"
        b"\x09\x00\x12\x10??\0\0\x02\0\0\0ab",
    ),
    "most of a megabyte of private data": lambda: with_private(
        dicom(), b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", 10**6) + bytes(10**6)
    ),
    "a private sequence of no length, of unknown VR": lambda: with_private(
        dicom(),
        b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        b"\x09\x00\x10\x00\x04\0\0\0ACME"
        b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
    ),
}
REFUSED = {
    "nothing": (lambda: b"", "empty"),
    "text": (lambda: b"This is a letter, not a picture.\n" * 20, "not_an_image"),
    "a PDF": (lambda: b"%PDF-1.7\n" + bytes(500), "not_an_image"),
    "a ZIP": (lambda: b"PK\x03\x04" + bytes(500), "not_an_image"),
    "a DICOM file that is a program": (lambda: b"MZ" + dicom()[2:], "disguised"),
    "a GIF": (lambda: b"GIF89a" + bytes(500), "not_an_image"),
    "too many bytes": (lambda: bytes(LIMITS.max_bytes + 1), "too_large"),
    "preamble alone": (lambda: bytes(128) + b"DICM", "truncated"),
    "DICOM cut in the pixels": (lambda: dicom()[:-10], "truncated"),
    "DICOM cut before the pixels": (lambda: dicom()[: dicom().index(b"PHANTOM") + 3], "truncated"),
    "fewer pixels than the header states": (
        lambda: dicom(rows=9, pixels=bytes(8 * 6 * 2)),
        "truncated",
    ),
    "DICOM without pixels": (lambda: dicom(PixelData=None), "no_pixels"),
    "DICOM of zero rows": (lambda: dicom(rows=0, pixels=b"\0\0"), "no_pixels"),
    "CT": (lambda: dicom(Modality="CT"), "unsupported_modality"),
    "MR": (lambda: dicom(Modality="MR"), "unsupported_modality"),
    "ultrasound": (lambda: dicom(Modality="US"), "unsupported_modality"),
    "a modality full of text": (lambda: dicom(Modality="<B>X</B>"), "unsupported_modality"),
    "a CT class without modality": (
        lambda: dicom(Modality=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.2"),
        "unsupported_modality",
    ),
    "a film of frames": (lambda: dicom(NumberOfFrames="12"), "not_single_frame"),
    "60,000 pixels high": (lambda: dicom(Rows=60_000), "too_many_pixels"),
    "115 megapixels": (lambda: dicom(Rows=12_000, Columns=9_600), "too_many_pixels"),
    "deflated to more than is inflated": (
        lambda: dicom(
            rows=4096,
            columns=4097,
            pixels=random.Random(1).randbytes(400_000).ljust(4096 * 4097 * 2, b"\0"),
            TransferSyntaxUID=DeflatedExplicitVRLittleEndian,
        ),
        "unfolds_too_large",
    ),
    "deflated without the noise that X-rays have": (
        lambda: dicom(
            rows=2000,
            columns=2000,
            pixels=bytes(2000 * 2000 * 2),
            TransferSyntaxUID=DeflatedExplicitVRLittleEndian,
        ),
        "unfolds_too_far",
    ),
    "deflated and cut off": (
        lambda: dicom(TransferSyntaxUID=DeflatedExplicitVRLittleEndian)[:-9],
        "truncated",
    ),
    "three samples of a grey picture": (
        lambda: dicom(SamplesPerPixel=3, pixels=bytes(8 * 6 * 2 * 3)),
        "contradictory",
    ),
    "a highest bit below the stored ones": (lambda: dicom(HighBit=3), "contradictory"),
    "a video inside": (
        lambda: compressed_dicom(jpeg()).replace(
            b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.10"
        ),
        "unsupported_transfer_syntax",
    ),
    "an unknown photometric": (
        lambda: dicom(PhotometricInterpretation="ARGB"),
        "unsupported_photometric",
    ),
    "32 bits": (
        lambda: dicom(BitsAllocated=32, PixelData=bytes(8 * 6 * 4)),
        "unsupported_photometric",
    ),
    "a larger JPEG than the header states": (
        lambda: compressed_dicom(jpeg(rows=20_000, columns=20_000)),
        "inconsistent",
    ),
    "a larger JPEG 2000 than the header states": (
        lambda: compressed_dicom(
            b"\xff\x4f\xff\x51\x00\x29\x00\x00"
            + struct.pack(">IIII", 30_000, 30_000, 0, 0)
            + b"\0" * 40
        ),
        "inconsistent",
    ),
    "fragments without an end": (
        lambda: compressed_dicom(jpeg()).replace(b"\xfe\xff\xdd\xe0\0\0\0\0", b""),
        "truncated",
    ),
    "a frame in very many fragments": (
        lambda: with_empty_items(compressed_dicom(jpeg()), 10_001),
        "too_many_parts",
    ),
    "a header of more than one megabyte": (
        lambda: with_private(
            dicom(), b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", 2**20) + bytes(2**20)
        ),
        "header_too_large",
    ),
    "a header of very many elements": (
        lambda: with_private(dicom(), b"\x09\x00\x10\x00LO\x02\x00ab" * 20_001),
        "too_many_elements",
    ),
    "no fragment at all": (lambda: without_fragments(), "no_pixels"),
    "native pixels called JPEG": (lambda: called_jpeg(), "damaged"),
    "PNG without its end": (lambda: png()[:-12], "truncated"),
    "PNG cut within a chunk": (lambda: png()[:50], "truncated"),
    "PNG with a wrong sum": (
        lambda: png().replace(b"IHDR\0\0\0\x06", b"IHDR\0\0\0\x07"),
        "damaged",
    ),
    "PNG without pixels": (
        lambda: png()[:33] + chunk(b"IEND", b""),
        "no_pixels",
    ),
    "PNG of 60,000 × 60,000": (lambda: png(rows=60_000, columns=60_000), "too_many_pixels"),
    "PNG of zero columns": (lambda: png(columns=0), "no_pixels"),
    "PNG of three bits": (lambda: png(depth=3), "unsupported_photometric"),
    "PNG of very many chunks": (
        lambda: png(extra=chunk(b"IDAT", b"") * 20_001),
        "too_many_parts",
    ),
    "JPEG of very many segments": (
        lambda: jpeg()[:2] + b"\xff\xe1\0\2" * 2001 + jpeg()[2:],
        "too_many_parts",
    ),
    "JPEG of very many bare markers": (
        lambda: jpeg()[:3] + b"\x01\xff" * 2001 + jpeg()[3:],
        "too_many_parts",
    ),
    "an animation": (lambda: png(extra=chunk(b"acTL", bytes(8))), "not_single_frame"),
    "JPEG without its end": (lambda: jpeg()[:-2], "truncated"),
    "JPEG without a frame": (lambda: b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9", "truncated"),
    "12-bit JPEG": (lambda: jpeg(bits=12), "unsupported_photometric"),
    "JPEG of 65,500 × 65,500": (lambda: jpeg(rows=65_500, columns=65_500), "too_many_pixels"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_lets_in(name: str) -> None:
    upload = check(f"{name}.dcm", ACCEPTED[name](), LIMITS)
    assert (upload.header["rows"], upload.header["columns"]) == (8, 6)


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_with_a_reason(name: str) -> None:
    make, code = REFUSED[name]
    with pytest.raises(Refused) as refused:
        check("x.dcm", make(), LIMITS)
    assert refused.value.code == code
    assert refused.value.message.endswith(".")
    assert "{" not in refused.value.message


def test_every_reason_is_tried_above() -> None:
    # What only a fault of our own leads to is tried in `formats/test_header_pool.py`, and what a
    # team’s rules do, whatever the file is, in `test_arrival.py` and `test_quarantined.py`.
    elsewhere = {"header_limit", "unreadable", "by_rule", "quarantined"}
    assert {code for _, code in REFUSED.values()} == set(REASONS) - elsewhere


def test_no_header_is_read_in_the_portals_own_process() -> None:
    called, data = set[str](), dicom()
    check("x", data, LIMITS)
    sys.setprofile(lambda frame, _what, _about: called.add(frame.f_code.co_filename))
    try:
        check("x", data, LIMITS)
    finally:
        sys.setprofile(None)
    assert [name for name in called if name.endswith("/header_pool.py")]
    assert [name for name in called if "/pydicom/" in name or "xray_files/header" in name] == []


def test_fill_bytes_before_a_marker_are_passed_over_at_once() -> None:
    filled = Counted(jpeg()[:3] + b"\xff" * 100_000 + jpeg()[3:])
    frame = jpeg_stream.frame(filled)
    assert frame is not None
    assert frame.size == (8, 6)
    assert filled.reads < 50


def test_a_small_zip_of_very_many_fragments_is_refused_piece_by_piece() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        noise = random.Random(1).randbytes(12_000)  # keeps the ratio below a bomb's
        packed.writestr("x.dcm", with_empty_items(compressed_dicom(jpeg()), 125_000) + noise)
    (member,) = zip_archive.members(stream.getvalue(), zip_archive.ArchiveLimits(2**20, 2**20))
    assert member.data is not None
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            upload_header.read(member.name, member.data, LIMITS)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.code == "too_many_parts"
    assert held < 3 * len(member.data)


def test_the_patients_data_are_read_for_display() -> None:
    upload = check("C:\\films\\one.dcm", dicom(PatientAge="062Y"), LIMITS)
    known = dict(upload.phi)
    assert known.pop("study_uid").startswith("1.2.826")
    assert known.pop("sop_uid").startswith("1.2.826")
    assert known == {
        "patient_name": "PHANTOM, ONE",
        "patient_id": "P-0001",
        "birth_date": "1963-05-01",
        "sex": "F",
        "age": "62Y",
        "study_date": "2026-03-04",
        "study_time": "08:45",
        "accession": "A-77",
        "description": "Thorax",
        "filename": "one.dcm",
    }
    assert upload.keys["patient_id"] == "P-0001"
    assert upload.header["view"] == "PA"


@pytest.mark.parametrize(
    ("charset", "written", "shown"),
    [
        ("ISO_IR 192", "Müller^Änne^von", "Müller, Änne von"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東", "Wang, XiaoDong (王, 小東)"),
        ("ISO_IR 192", "=王^小東", "王, 小東"),
        ("ISO_IR 192", "أحمد^علي", "أحمد, علي"),
        ("ISO_IR 100", "Müller^Änne", "Müller, Änne"),
        ("ISO_IR 192", "ONLYNAME", "ONLYNAME"),
        ("ISO_IR 192", "^", ""),
        ("ISO_IR 192", "<script>alert(1)</script>^X", "<script>alert(1)</script>, X"),
        ("ISO_IR 192", "A\u202eB^C\u200fD", "AB, CD"),
        ("ISO_IR 192", "A\x1b[31mB^C", "A[31mB, C"),
        ("ISO_IR 192", "{{7*7}}^${x}", "{{7*7}}, ${x}"),
        ("ISO_IR 192", "X" * 5000, "X" * 200),
    ],
)
def test_a_name_is_shown_as_text(charset: str, written: str, shown: str) -> None:
    data = dicom(SpecificCharacterSet=charset, PatientName=written)
    assert check("x", data, LIMITS).phi.get("patient_name", "") == shown


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyDate", "31.12.1999x"),
        ("StudyTime", "99:99"),
        ("PatientAge", "old"),
        ("PatientSex", "\\\\\\"),
        ("AccessionNumber", "\\".join("abc")),
        ("StudyInstanceUID", "1.2.3; DROP TABLE studies"),
        ("SpecificCharacterSet", "ISO 2022 NONSENSE"),
        ("ViewPosition", "sideways\\and\\more"),
        ("NumberOfFrames", "one"),
    ],
)
def test_a_wrong_tag_is_as_good_as_none(keyword: str, value: str) -> None:
    element = pydicom.DataElement(keyword, "LO", value, validation_mode=0)
    dataset = pydicom.dcmread(io.BytesIO(dicom()))
    dataset[keyword] = element
    stream = io.BytesIO()
    dataset.save_as(stream)
    upload = check("x", stream.getvalue(), LIMITS)
    assert "study_uid" not in upload.keys or keyword != "StudyInstanceUID"
    for text in upload.phi.values():
        assert len(text) <= 200


@pytest.mark.parametrize("depth", [20, 200, 20_000])
def test_sequences_in_sequences_end_soon(depth: int) -> None:
    """Up to 64 that are open are walked through: 20 sequences and their items; more are refused."""
    opening = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    whole = dicom()
    at = whole.index(b"\x10\x00\x10\x00PN")
    nested = whole[:at] + opening * depth + closing * depth + whole[at:]
    began = time.process_time()
    if depth <= 20:
        assert check("x", nested, LIMITS).header["rows"] == 8
    else:
        with pytest.raises(Refused) as refused:
            check("x", nested, LIMITS)
        assert refused.value.code == "too_many_elements"
    assert time.process_time() - began < 15


def test_a_header_of_very_many_elements_is_not_read_to_its_end() -> None:
    whole = dicom()
    at = whole.index(b"\x10\x00\x10\x00PN")
    many = whole[:at] + b"\x09\x00\x10\x00LO\x02\x00ab" * 100_000 + whole[at:]
    with pytest.raises(Refused) as refused:
        check("x", many, LIMITS)
    assert refused.value.code == "too_many_elements"


ITEM = b"\xfe\xff\x00\xe0"


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param((ITEM + bytes(4)) * 490_000, id="items"),
        pytest.param(
            ITEM
            + b"\xff" * 4
            + b"\x09\x00\x10\x00LO\0\0" * 490_000
            + b"\xfe\xff\x0d\xe0"
            + bytes(4),
            id="elements of an item",
        ),
        pytest.param(
            (ITEM + b"\xff" * 4 + b"\xfe\xff\x0d\xe0" + bytes(4)) * 240_000, id="open items"
        ),
    ],
)
def test_a_sequence_of_very_many_parts_is_not_read_to_its_end(inside: bytes) -> None:
    whole = dicom()
    at = whole.index(b"\x10\x00\x10\x00PN")
    opening, closing = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0" + bytes(4)
    data = whole[:at] + opening + inside + closing + whole[at:]
    assert len(inside) < 4 * 1024 * 1024
    began = time.process_time()
    with pytest.raises(Refused) as refused:
        check("x", data, Limits(len(data)))
    assert refused.value.code == "too_many_elements"
    assert time.process_time() - began < 15


def test_a_header_as_large_as_scanners_write_them_is_read() -> None:
    whole = dicom()
    at = whole.index(b"\x10\x00\x10\x00PN")
    private = b"".join(
        b"\x09\x00" + n.to_bytes(2, "little") + b"LO\x02\x00ab" for n in range(0x1000, 0x1800)
    )
    opening, closing = b"\x09\x00\x00\x20SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0" + bytes(4)
    item = ITEM + b"\x0a\0\0\0" + b"\x09\x00\x10\x00LO\x02\x00ab"
    data = whole[:at] + private + opening + item * 1000 + closing + whole[at:]
    assert check("x", data, Limits(len(data))).header["rows"] == 8


def test_a_file_cut_anywhere_is_refused_or_whole() -> None:
    for whole in (dicom(), compressed_dicom(jpeg()), png(), jpeg()):
        for length in range(len(whole)):
            with pytest.raises(Refused) as refused:
                check("x", whole[:length], LIMITS)
            assert refused.value.code in REASONS


def test_an_element_that_is_longer_than_its_file_is_one_that_is_cut_off() -> None:
    whole = dicom()
    at = whole.index(b"\x10\x00\x10\x00PN")
    private = b"\x09\x00\x10\x10UN\0\0" + struct.pack("<I", len(whole))
    with pytest.raises(Refused) as refused:
        check("x", whole[:at] + private + whole[at:], LIMITS)
    assert refused.value.code == "truncated"


def test_two_thousand_damaged_files_never_crash_the_check() -> None:
    chance = random.Random(7)
    wholes = [dicom(), compressed_dicom(jpeg()), png(), jpeg(), headless(dicom())]
    for _ in range(2000):
        data = bytearray(chance.choice(wholes))
        for _ in range(chance.randint(1, 12)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            check("x", bytes(data), LIMITS)
        except Refused as refused:
            assert refused.code in REASONS  # noqa: PT017 not being refused is right as well


@settings(max_examples=200)
@given(
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", bytes(128) + b"DICM"]),
    rest=st.binary(max_size=400),
    name=st.text(max_size=50),
)
def test_no_bytes_and_no_name_crash_the_check(start: bytes, rest: bytes, name: str) -> None:
    try:
        check(name, start + rest, LIMITS)
    except Refused as refused:
        assert refused.code in REASONS  # noqa: PT017 not being refused is right as well


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\..\\boot.ini", "/x/\x00y\n.png", "a" * 3000, "", "é" * 500]
)
def test_a_file_name_is_a_short_text_without_folders(name: str) -> None:
    shown = check(name, png(), LIMITS).phi["filename"]
    assert len(shown) <= 200
    assert "/" not in shown
    assert "\\" not in shown
    assert shown.isprintable()


def test_a_zip_bomb_in_a_png_is_never_inflated() -> None:
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 9))
    assert check("x", png(extra=bomb), LIMITS).header["rows"] == 8


def test_a_file_that_names_another_encoding_than_it_has_is_read_with_a_remark() -> None:
    explicit, implicit = dicom(), resaved(dicom(), ImplicitVRLittleEndian)
    named = {b"1.2.840.10008.1.2.1\0": b"1.2.840.10008.1.2\0\0\0"}
    for old, new in named.items():
        wrong = check("x", explicit.replace(old, new), LIMITS)
        right = check("x", explicit, LIMITS)
        assert (wrong.header["mislabelled"], right.header["mislabelled"]) == (True, False)
        assert wrong.phi == right.phi
    at = implicit.index(b"1.2.840.10008.1.2\0")
    longer = implicit[: at - 2] + b"\x14\x001.2.840.10008.1.2.1\0" + implicit[at + 18 :]
    assert check("x", longer, LIMITS).header["mislabelled"]


def test_dates_with_points_make_a_child_a_child() -> None:
    upload = check("x", dicom(PatientBirthDate="2020.01.01", StudyDate="20260304"), LIMITS)
    assert upload.phi["birth_date"] == "2020-01-01"
    assert upload.phi["age"] == "6Y"


def test_a_row_that_runs_to_the_front_is_a_lateral_view() -> None:
    upload = check("x", dicom(ViewPosition=None, PatientOrientation=["A", "F"]), LIMITS)
    assert upload.header["view"] == "LL"


def test_what_cannot_be_exported_is_known_at_the_door() -> None:
    unknown = jpeg().replace(b"\xff\xda\x00\x08", b"\xff\xda\x00\x0a\0\0")
    assert not check("x", compressed_dicom(unknown), LIMITS).header["exportable"]


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted_is_exported_unless_the_upload_states_that_it_is_not(name: str) -> None:
    data = ACCEPTED[name]()
    upload = check("x", data, LIMITS)
    if upload.media_type == "application/dicom":
        assert upload.header["exportable"]
        deidentify.deidentify(data, deidentify.Identity("PLR1", lambda kind, old: "2.25.1"))


@pytest.mark.skipif(not XRAYS.is_dir(), reason="needs the X-rays beside the repository")
def test_real_files_are_let_in_without_their_names_leaving_the_sealed_part() -> None:
    files = [*sorted(XRAYS.glob("dicom-odd/*/*.dcm")), *sorted(XRAYS.glob("siim/dicom/*"))[:30]]
    files += [*sorted(XRAYS.glob("siim/jpeg/*"))[:5], *sorted(XRAYS.glob("lungs/masks/*"))[:5]]
    refused = {}
    for path in files:
        try:
            upload = intake.check(path.name, path.read_bytes(), Limits(64 * 1024 * 1024))
        except Refused as reason:
            refused[path.name] = reason.code
        else:
            name = upload.phi.get("patient_name")
            assert not name or name not in str(upload.header)
            assert "CANARY" not in repr(upload)
    assert set(refused.values()) <= {"unsupported_transfer_syntax"}
    assert len(refused) < len(files) / 10
