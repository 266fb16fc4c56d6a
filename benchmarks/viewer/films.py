"""Films for comparing viewers: real X-rays as DX files that any viewer shows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

LARGE_ROWS, LARGE_COLUMNS, LARGE_BITS = 3000, 2500, 14
_NOISE = 24.0  # standard deviation in steps of 14 bits, as a detector has: no easy compression


@dataclass(frozen=True)
class Film:
    """A DICOM file, its StudyInstanceUID, and how it looks: 8-bit grey values."""

    data: bytes
    study_uid: str
    looks: NDArray[np.uint8]


def chests(folder: Path, count: int) -> list[Path]:
    """The first DICOM files of this folder: 8-bit grey X-rays, JPEG or uncompressed."""
    found = []
    for path in sorted(folder.rglob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.get("PhotometricInterpretation") == "MONOCHROME2" and header.BitsStored == 8:
            found.append(path)
        if len(found) == count:
            return found
    raise SystemExit(f"{folder} has fewer than {count} 8-bit X-rays")


def as_sent(path: Path) -> Film:
    """An X-ray with the stream of its file as it is."""
    given = pydicom.dcmread(path)
    made = _frame(given, given.Rows, given.Columns, 8)
    made.file_meta.TransferSyntaxUID = given.file_meta.TransferSyntaxUID
    if given.file_meta.TransferSyntaxUID.is_encapsulated:
        made.PixelData = encapsulate(list(generate_frames(given.PixelData, number_of_frames=1)))
        made["PixelData"].is_undefined_length = True
    else:
        made.PixelData = given.PixelData
    return _film(made, given.pixel_array)


def large(path: Path) -> Film:
    """The same X-ray enlarged to a detector's size and depth, with its noise, uncompressed."""
    small = pydicom.dcmread(path).pixel_array
    rows, columns = small.shape
    wide = min(columns, rows * LARGE_COLUMNS // LARGE_ROWS)
    left = (columns - wide) // 2
    cut = small[:, left : left + wide].astype(np.float32) * ((2**LARGE_BITS - 1) / 255)
    grown = cv2.resize(cut, (LARGE_COLUMNS, LARGE_ROWS), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(1).normal(0, _NOISE, grown.shape)
    pixels = np.clip(grown + noise, 0, 2**LARGE_BITS - 1).astype(np.uint16)
    given = pydicom.dcmread(path, stop_before_pixels=True)
    made = _frame(given, LARGE_ROWS, LARGE_COLUMNS, LARGE_BITS)
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.WindowCenter, made.WindowWidth = 2 ** (LARGE_BITS - 1), 2**LARGE_BITS
    made.PixelData = pixels.tobytes()
    return _film(made, (pixels >> (LARGE_BITS - 8)).astype(np.uint8))


def _frame(given: Dataset, rows: int, columns: int, bits: int) -> pydicom.FileDataset:
    """A DX file without pixels."""
    made = pydicom.FileDataset("", {}, preamble=b"\0" * 128)
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    made.SOPClassUID = DigitalXRayImageStorageForPresentation
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.PatientName, made.PatientID = "BENCHMARK^FILM", "BENCHMARK"
    made.PatientSex = given.get("PatientSex", "")
    made.StudyDate = made.SeriesDate = "20270105"
    made.StudyTime, made.AccessionNumber, made.StudyID = "120000", "", "1"
    made.Modality, made.BodyPartExamined, made.ViewPosition = "DX", "CHEST", "PA"
    made.SeriesNumber, made.InstanceNumber = 1, 1
    made.Rows, made.Columns, made.SamplesPerPixel = rows, columns, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits - 1, 0
    made.BitsAllocated = 8 if bits <= 8 else 16
    made.RescaleSlope, made.RescaleIntercept, made.RescaleType = 1, 0, "US"
    made.PresentationLUTShape = "IDENTITY"
    return made


def _film(made: pydicom.FileDataset, looks: NDArray[np.uint8]) -> Film:
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return Film(file.getvalue(), str(made.StudyInstanceUID), looks)


def kinds(folder: Path) -> Iterator[tuple[str, list[Film]]]:
    """Each kind of film with two of them: one to open first, one after it."""
    paths = chests(folder, 2)
    small = [as_sent(path) for path in paths]
    rows, columns = small[0].looks.shape
    yield f"{columns} × {rows}, 8 bit, as sent", small
    yield f"{LARGE_COLUMNS} × {LARGE_ROWS}, {LARGE_BITS} bit", [large(path) for path in paths]
