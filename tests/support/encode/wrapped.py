"""Pictures as CR and DX files that a judge finds clean, of any depth; real X-rays if there are."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from tests.support.paths import XRAYS

CR, DX = UID("1.2.840.10008.5.1.4.1.1.1"), UID("1.2.840.10008.5.1.4.1.1.1.1")


def real() -> list[bytes]:
    """Some files of real X-rays as they are; none where the machine has none."""
    found = sorted((XRAYS / "siim" / "dicom").rglob("*.dcm"))
    return [path.read_bytes() for path in found[:: max(1, len(found) // 4)][:4]]


@cache
def grey(rows: int, columns: int) -> NDArray[np.float64]:
    """A picture, 0 to 1: a real X-ray where the machine has one, else a gradient."""
    files = real()
    if not files:
        return np.add.outer(np.linspace(0, 0.5, rows), np.linspace(0, 0.5, columns))
    pixels = dcmread(io.BytesIO(files[0])).pixel_array.astype(np.float64)
    small = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray((small - small.min()) / (small.max() - small.min()))


def wrapped(
    sop_class: UID = CR,
    bits: int = 12,
    *,
    inverted: bool = False,
    spaced: bool = True,
    rows: int = 96,
    columns: int = 80,
    character_set: str = "ISO_IR 192",
    **changes: Any,
) -> bytes:
    """A whole file; `changes` are of its elements, None removes one."""
    picture = Dataset()
    picture.file_meta = FileMetaDataset()
    picture.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    picture.file_meta.MediaStorageSOPClassUID = picture.SOPClassUID = sop_class
    picture.file_meta.MediaStorageSOPInstanceUID = picture.SOPInstanceUID = UID("2.25.101")
    picture.SpecificCharacterSet = character_set
    given: dict[str, Any] = {
        "StudyInstanceUID": "2.25.102",
        "SeriesInstanceUID": "2.25.103",
        "PatientName": "PHANTOM^ONE",
        "PatientID": "P-0001",
        "PatientBirthDate": "19630501",
        "PatientSex": "F",
        "PatientAge": "062Y",
        "StudyDate": "20260304",
        "StudyTime": "084500",
        "AccessionNumber": "A-77",
        "StudyID": "S-1",
        "ReferringPhysicianName": "",
        "SeriesNumber": "1",
        "InstanceNumber": "1",
        "Manufacturer": "Phantom",
        "BodyPartExamined": "CHEST",
        "PatientOrientation": ["L", "F"],
        "ViewPosition": "PA",
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1" if inverted else "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
    }
    given |= _of_dx(inverted) if sop_class == DX else {"Modality": "CR"}
    if spaced:
        given["ImagerPixelSpacing"] = ["0.2", "0.2"]
    for keyword, value in (given | changes).items():
        if value is not None:
            setattr(picture, keyword, value)
    values = grey(rows, columns) * (2**bits - 1)
    values = 2**bits - 1 - values if inverted else values
    picture.PixelData = np.round(values).astype("<u2").tobytes()
    picture["PixelData"].VR = "OW"
    stream = io.BytesIO()
    dcmwrite(stream, picture, enforce_file_format=True)
    return stream.getvalue()


def _of_dx(inverted: bool) -> dict[str, Any]:
    return {
        "Modality": "DX",
        "PresentationIntentType": "FOR PRESENTATION",
        "ImageType": ["ORIGINAL", "PRIMARY", ""],
        "ImageLaterality": "U",
        "AnatomicRegionSequence": Sequence([_code("51185008", "SCT", "Chest")]),
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": 1 if inverted else -1,
        "RescaleIntercept": "0",
        "RescaleSlope": "1",
        "RescaleType": "US",
        "PresentationLUTShape": "INVERSE" if inverted else "IDENTITY",
        "LossyImageCompression": "00",
        "BurnedInAnnotation": "NO",
        "DetectorType": "DIRECT",
        "ImagerPixelSpacing": ["0.2", "0.2"],
        "WindowCenter": "400",
        "WindowWidth": "800",
        "AcquisitionContextSequence": Sequence(),
        "PatientOrientation": ["L", "F"],
        "InstanceCreationDate": "20260304",
        "ViewCodeSequence": Sequence([_code("272479007", "SCT", "posterior-anterior", view=True)]),
        "PositionerType": "NONE",
    }


def _code(value: str, scheme: str, meaning: str, *, view: bool = False) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    if view:
        item.ViewModifierCodeSequence = Sequence()
    return item
