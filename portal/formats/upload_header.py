"""Uploaded bytes → a checked header, or `Refused` with a reason. Reads headers, never pixels.

The kind of a file follows from its bytes; its name is treated as patient data. Whatever shows in a
header is refused here and in the worker's decoder alike. The portal calls this in a process of its
own (`header_pool`).
"""

from dataclasses import dataclass, field
from typing import Any, Final

from portal.formats import dicom, png_jpeg
from portal.formats.display_text import clean
from portal.formats.polyglot import is_disguised
from portal.formats.refusals import Limits, refuse
from xray_files import kinds
from xray_files.streams import jpeg, png

_FILENAME_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """The header of an accepted file.

    `phi` is the patient's data as texts for display, to be sealed. `keys` are what equal studies
    and patients are found by, to be hashed: sop_uid, study_uid, series_uid, patient_id with its
    issuer, accession. `header` is about the picture alone: rows, columns, modality, view and the
    like, and when it was taken (`acquired`, see `patient_tags.taken`).
    """

    media_type: str
    phi: dict[str, str] = field(repr=False)
    keys: dict[str, str] = field(repr=False)
    header: dict[str, Any]


def read(filename: str, data: bytes, limits: Limits) -> Upload:
    """Read the header of a DICOM, PNG or JPEG file; Refused where it is not acceptable."""
    if not data:
        raise refuse("empty")
    if len(data) > limits.max_bytes:
        raise refuse("too_large", megabytes=limits.max_bytes // (1024 * 1024))
    name = {"filename": clean(filename.replace("\\", "/").rpartition("/")[2], _FILENAME_LENGTH)}
    kind = media_type(data)
    if kind == "application/dicom":
        phi, keys, header = dicom.read(data, limits)
        upload = Upload(kind, phi | name, keys, header)
    elif kind == "image/png":
        upload = Upload(kind, name, {}, png_jpeg.png(data, limits))
    elif kind == "image/jpeg":
        upload = Upload(kind, name, {}, png_jpeg.jpeg(data, limits))
    else:
        raise refuse("not_an_image")
    if is_disguised(data):
        raise refuse("disguised")
    return upload


def media_type(data: bytes) -> str | None:
    """What the bytes look like, by their beginning; None where they are no picture."""
    if kinds.looks_like_dicom(data):
        return "application/dicom"
    if data[: len(png.MARK)] == png.MARK:
        return "image/png"
    return "image/jpeg" if data[: len(jpeg.MARK)] == jpeg.MARK else None
