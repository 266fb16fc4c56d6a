"""A made-up picture with a result of every kind: what the encode process tries itself with."""

from __future__ import annotations

import io
from typing import Final

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

from worker.contract.contents.object_content import (
    AiPart,
    Assessment,
    EarlierObject,
    Identity,
    ModelUsed,
    ObjectContent,
    ObjectKind,
    Outcome,
    ReaderFinding,
    ReaderPart,
    SignedBy,
    Tracked,
    TrackedOutline,
)
from worker.contract.contents.report_content import OutlineBy, OutlineForm

_SIDE: Final = 64
_CR: Final = "1.2.840.10008.5.1.4.1.1.1"
_SR: Final = "1.2.840.10008.5.1.4.1.1.88.34"
_AT: Final = "2026-01-01T00:00:00Z"


def of_every_kind() -> tuple[ObjectContent, bytes, list[bytes], bytes, bytes]:
    """Content, picture, outlines, report and the picture's file, from which all kinds are made."""
    grey = np.full((_SIDE, _SIDE), 128, np.uint8)
    mask = np.zeros_like(grey)
    mask[16:32, 16:32] = 255
    jpeg = cv2.imencode(".jpg", grey)[1].tobytes()
    png = cv2.imencode(".png", mask)[1].tobytes()
    pdf = b"%PDF-1.7\n"
    tracked = Tracked(uid="2.25.1", identifier="sample")
    content = ObjectContent(
        created=_AT,
        software="Pleura",
        device_uid="2.25.2",
        research="Research use only.",
        title="Report",
        identities={
            kind: Identity(series=f"2.25.1{number}", instance=f"2.25.2{number}")
            for number, kind in enumerate(ObjectKind)
        },
        before=[
            EarlierObject(
                kind=ObjectKind.STRUCTURED_REPORT,
                sop_class=_SR,
                series="2.25.31",
                instance="2.25.41",
            )
        ],
        signed=SignedBy(name="A Reader", organization="A team", at=_AT),
        ai=AiPart(
            outcome=Outcome.FOUND,
            headline="Found",
            model=ModelUsed(name="model", version="1", sha256="0" * 64),
            probability=0.9,
            tracked=tracked,
        ),
        reader=ReaderPart(
            finding=ReaderFinding.NONE, assessment=Assessment.REJECTED, tracked=tracked
        ),
        jpeg_bytes=len(jpeg),
        outlines=[
            TrackedOutline(
                by=OutlineBy.AI,
                form=OutlineForm.PNG,
                label="AI outline",
                rows=_SIDE,
                columns=_SIDE,
                bytes=len(png),
                tracked=tracked,
            )
        ],
        pdf_bytes=len(pdf),
        case="000000",
    )
    return content, jpeg, [png], pdf, _file()


def _file() -> bytes:
    picture = Dataset()
    picture.file_meta = FileMetaDataset()
    picture.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    picture.SOPClassUID = picture.file_meta.MediaStorageSOPClassUID = UID(_CR)
    picture.SOPInstanceUID = picture.file_meta.MediaStorageSOPInstanceUID = UID("2.25.3")
    picture.StudyInstanceUID, picture.SeriesInstanceUID = "2.25.4", "2.25.5"
    picture.Modality, picture.PatientOrientation = "CR", ["L", "F"]
    picture.PixelSpacing = picture.ImagerPixelSpacing = ["0.2", "0.2"]
    picture.RescaleSlope, picture.RescaleIntercept, picture.RescaleType = "1", "0", "US"
    picture.Rows = picture.Columns = _SIDE
    picture.SamplesPerPixel, picture.PhotometricInterpretation = 1, "MONOCHROME2"
    picture.BitsAllocated, picture.BitsStored, picture.HighBit = 16, 12, 11
    picture.PixelRepresentation = 0
    picture.PixelData = bytes(2 * _SIDE * _SIDE)
    stream = io.BytesIO()
    dcmwrite(stream, picture, enforce_file_format=True)
    return stream.getvalue()
