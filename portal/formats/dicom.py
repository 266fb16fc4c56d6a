"""DICOM headers: which kind of picture a file holds, whether it is complete, whose it is.

The rules are those of `xray_files`, which the decoder follows as well. Wrong or missing tags never
raise: what cannot be understood counts as absent.
"""

import hashlib
from typing import Any, Final

from pydicom.dataset import Dataset

from portal.formats import patient_tags
from portal.formats.codestream_scrub import is_cleanable
from portal.formats.refusals import Limits, check_size, refuse, refusing
from xray_files import kinds, lookup_table, picture_header, pixel_frame
from xray_files.header import Header, walk
from xray_files.listed_elements import (
    COMMITMENT,
    EXPORT,
    INTAKE,
    MADE_BY,
    MOST_COMMITTED,
    OBJECT,
    STATION,
)
from xray_files.picture_header import PictureHeader
from xray_files.view import view

# As `worker.encode.parts` writes it into every object.
_MAKER: Final = "Pleura"


@refusing
def read(data: bytes, limits: Limits) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """The patient's data, the keys and the picture's header (see `Upload`), or Refused."""
    found = walk(data, EXPORT | MADE_BY | STATION, limits.max_header_bytes)
    dataset = found.dataset(INTAKE)
    picture_header.check_modality(dataset)
    checked = picture_header.read(dataset, found)
    check_size(checked.rows, checked.columns, limits)
    frame = pixel_frame.frame(found, checked)
    header = _header(dataset, checked)
    header["acquired"] = patient_tags.taken(dataset)
    header["mislabelled"] = found.mislabelled
    header["exportable"] = _is_exportable(found, checked, frame)
    header["sop_class"] = patient_tags.uid(dataset, "SOPClassUID")
    header["station"] = patient_tags.text(found.dataset(STATION), "StationName", 16)
    header["made_here"] = _is_made_here(found.dataset(MADE_BY))
    return patient_tags.phi(dataset), patient_tags.keys(dataset), header


@refusing
def picture(data: bytes) -> tuple[Dataset, PictureHeader, bytes]:
    """A stored file's listed elements, its checked header, and the one frame's bytes.

    The bytes are the pixels or the codestream, without what is around it.
    """
    found = walk(data, EXPORT, len(data))
    dataset = found.dataset(EXPORT)
    header = picture_header.read(dataset, found)
    return dataset, header, bytes(pixel_frame.frame(found, header))


@refusing
def pixels_digest(data: bytes) -> str:
    """SHA-256 of a checked file's pixels and of how they are read; no patient data is in it.

    Another compression of the same pixels has another digest: nothing is decoded here.
    """
    found = walk(data, INTAKE, len(data))
    header = picture_header.read(found.dataset(INTAKE), found)
    read_by = (
        *(header.rows, header.columns, header.allocated),
        *(header.photometric, header.transfer_syntax),
    )
    digest = hashlib.sha256("|".join(str(value) for value in read_by).encode())
    for part in pixel_frame.raw_parts(found, header):
        digest.update(part)
    return digest.hexdigest()


@refusing
def object_header(data: bytes, limits: Limits) -> dict[str, str | bool]:
    """What an object that is no picture is filed by: its class and UIDs, empty where it has none,
    and whether Pleura has made it. Refused where its header can't be walked.
    """
    dataset = walk(data, OBJECT, limits.max_header_bytes).dataset(OBJECT)
    return {
        "sop_class": patient_tags.uid(dataset, "SOPClassUID"),
        "sop_uid": patient_tags.uid(dataset, "SOPInstanceUID"),
        "study_uid": patient_tags.uid(dataset, "StudyInstanceUID"),
        "made_here": _is_made_here(dataset),
    }


@refusing
def commitment(data: bytes) -> dict[str, Any]:
    """What a request for storage commitment, or the report of one, names: the UID of its
    transaction, class and instance UIDs (`named`), and those that are not stored, with the reasons.
    Refused `too_many_elements` where they are more than are answered at once.
    """
    dataset = walk(data, COMMITMENT, len(data)).dataset(COMMITMENT)
    named, failed = _items(dataset, "ReferencedSOPSequence"), _items(dataset, "FailedSOPSequence")
    if len(named) + len(failed) > MOST_COMMITTED:
        raise refuse("too_many_elements")
    return {
        "transaction": patient_tags.uid(dataset, "TransactionUID"),
        "named": [_reference(item) for item in named],
        "not_stored": [(*_reference(item), _failure(item)) for item in failed],
    }


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    return list(dataset.get(keyword) or [])


def _reference(item: Dataset) -> tuple[str, str]:
    return (
        patient_tags.uid(item, "ReferencedSOPClassUID"),
        patient_tags.uid(item, "ReferencedSOPInstanceUID"),
    )


def _failure(item: Dataset) -> int:
    """The Failure Reason (0008,1197); 0 where it has none."""
    try:
        reason = int(item.get("FailureReason") or 0)
    except (TypeError, ValueError):
        return 0
    return reason if 0 <= reason <= 0xFFFF else 0


def _is_made_here(dataset: Dataset) -> bool:
    return all(
        patient_tags.text(dataset, word, 64) == _MAKER
        for word in ("Manufacturer", "ManufacturerModelName")
    )


def _header(dataset: Dataset, checked: PictureHeader) -> dict[str, Any]:
    return {
        "rows": checked.rows,
        "columns": checked.columns,
        "bits_allocated": checked.allocated,
        "photometric": checked.photometric,
        "colour": checked.photometric not in kinds.GREY,
        "transfer_syntax": checked.transfer_syntax,
        "modality": patient_tags.code(dataset, "Modality")[:16],
        "view": view(dataset) or "",
        "body_part": patient_tags.code(dataset, "BodyPartExamined")[:16],
    }


def _is_exportable(found: Header, checked: PictureHeader, frame: bytes | memoryview) -> bool:
    """Whether `portal.exchange.deidentify` can write the picture without its patient.

    A stream of which parts are unknown may hold a text, and colours that are no curve, too.
    """
    if checked.photometric == "PALETTE COLOR":
        dataset = found.dataset(EXPORT)
        for colour in ("Red", "Green", "Blue"):
            table = lookup_table.read(dataset, f"{colour}PaletteColorLookupTable", 0, 65535)
            if table is None or not table.is_curve:
                return False
    # RLE is written anew from its runs, which the decoder follows as well.
    native = not checked.encapsulated or checked.transfer_syntax == kinds.RLE
    return native or is_cleanable(frame)
