"""Frames as they are stored: native ones cut apart, compressed ones without what is around them."""

import io

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pack_bits
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from portal.formats.dicom_json import frames
from portal.formats.refusals import Refused
from tests.support.pictures import compressed_dicom, dicom, jpeg


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_native_pixels_are_those_of_the_file(syntax: str | None) -> None:
    tags = {"TransferSyntaxUID": syntax} if syntax else {}
    data = dicom(pixels=bytes(range(96)), **tags)
    (frame,), named = frames.read(data, [1])
    assert bytes(frame) == bytes(range(96))
    assert named == "1.2.840.10008.1.2.1"


def test_several_native_frames_are_cut_apart() -> None:
    data = dicom(pixels=bytes(range(96)) * 2, NumberOfFrames=2)
    found, _ = frames.read(data, [2, 1])
    assert [bytes(one) for one in found] == [bytes(range(96))] * 2
    with pytest.raises(Refused) as refused:
        frames.read(data, [3])
    assert refused.value.code == "no_pixels"


def test_frames_of_one_bit_begin_within_bytes() -> None:
    masks = np.zeros((3, 3, 5), np.uint8)  # 15 bits each
    masks[0, 0, 0] = masks[1, 2, 4] = masks[2, 1, 1] = 1
    data = dicom(
        rows=3,
        columns=5,
        pixels=pack_bits(masks.ravel(), pad=True),
        NumberOfFrames=3,
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
    )
    found, _ = frames.read(data, [1, 2, 3])
    for mask, frame in zip(masks, found, strict=True):
        bits = np.unpackbits(np.frombuffer(bytes(frame), np.uint8), bitorder="little")[:15]
        assert bits.tolist() == mask.ravel().tolist()


def test_a_compressed_stream_is_given_whole_from_however_many_pieces() -> None:
    stream = jpeg()
    (frame,), named = frames.read(compressed_dicom(stream), [1])
    assert bytes(frame).rstrip(b"\0") == stream
    assert named == JPEGBaseline8Bit
    pieces = dcmread(io.BytesIO(compressed_dicom(stream)))
    pieces.PixelData = encapsulate([stream], fragments_per_frame=3)
    saved = io.BytesIO()
    pieces.save_as(saved)
    (joined,), _ = frames.read(saved.getvalue(), [1])
    assert bytes(joined).rstrip(b"\0") == stream


def test_what_cannot_be_given_as_it_is_stored_is_refused() -> None:
    plain = dcmread(io.BytesIO(dicom()))
    plain.decode()
    plain.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    stream = io.BytesIO()
    dcmwrite(stream, plain, implicit_vr=False, little_endian=False, force_encoding=True)
    for data, code in (
        (stream.getvalue(), "unsupported_transfer_syntax"),
        (dicom(pixels=bytes(20)), "truncated"),
        (dicom(Rows=0), "contradictory"),
        (compressed_dicom(jpeg())[:-40], "truncated"),
    ):
        with pytest.raises(Refused) as refused:
            frames.read(data, [1])
        assert refused.value.code == code
