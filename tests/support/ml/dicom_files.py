"""Small DICOM and PNG files, made for a test."""

from __future__ import annotations

import io
import warnings
from typing import Any

import cv2
import gdcm
import numpy as np
import pydicom
import pytest
from openjpeg.utils import encode_array
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    generate_uid,
)

from ml.images import reader
from ml.images.reader import Picture, Unreadable

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


def with_stream(file: FileDataset, syntax: UID | str, *fragments: bytes, **tags: Any) -> bytes:
    """The same file with a compressed stream in these fragments behind an empty offset table."""
    items = [b"", *fragments]
    body = b"".join(
        b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item for item in map(_even, items)
    )
    file.PixelData = body + b"\xfe\xff\xdd\xe0\0\0\0\0"
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.file_meta.TransferSyntaxUID = UID(syntax)
    for keyword, value in tags.items():
        setattr(file, keyword, value)
    return written(file)


def _even(item: bytes) -> bytes:
    return item + b"\0" * (len(item) % 2)


def stream_by_gdcm(values: np.ndarray, bits: int, *, lossless: bool) -> bytes:
    """Grey values (rows, columns) as a JPEG stream, lossless or of the extended process."""
    rows, columns = values.shape
    kind = gdcm.TransferSyntax
    syntax = kind.JPEGLosslessProcess14_1 if lossless else kind.JPEGExtendedProcess2_4
    image = gdcm.Image()
    image.thisown = False  # `change` deletes it
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    allocated = 8 if bits <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, bits, bits - 1, 0))
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(kind(kind.ExplicitVRLittleEndian))
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(values.astype("<u2" if allocated == 16 else "u1").tobytes())
    image.SetDataElement(element)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(kind(syntax))
    codec = gdcm.JPEGCodec()
    codec.SetLossless(lossless)
    if not lossless:
        codec.SetQuality(100)
    change.SetUserCodec(codec)
    change.SetInput(image)
    assert change.Change()
    fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
    return fragments.GetFragment(0).GetByteValue().GetBuffer().encode("utf-8", "surrogateescape")
