"""DICOM headers: which kind of picture a file holds, whether it is complete, whose it is.

The rules are those of `xray_files`, which the decoder follows as well. Wrong or missing tags never
raise: what cannot be understood counts as absent.
"""

import hashlib
from typing import Any

from pydicom.dataset import Dataset

from portal.formats import patient_tags
from portal.formats.codestream_scrub import is_cleanable
from portal.formats.refusals import Limits, check_size, refusing
from xray_files import kinds, lookup_table, picture_header, pixel_frame
from xray_files.header import Header, walk
from xray_files.listed_elements import EXPORT, INTAKE
from xray_files.picture_header import PictureHeader
from xray_files.view import view


@refusing
def read(data: bytes, limits: Limits) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """The patient's data, the keys and the picture's header (see `Upload`), or Refused."""
    found = walk(data, EXPORT, limits.max_header_bytes)
    dataset = found.dataset(INTAKE)
    picture_header.check_modality(dataset)
    checked = picture_header.read(dataset, found)
    check_size(checked.rows, checked.columns, limits)
    frame = pixel_frame.frame(found, checked)
    header = _header(dataset, checked)
    header["acquired"] = patient_tags.taken(dataset)
    header["mislabelled"] = found.mislabelled
    header["exportable"] = _is_exportable(found, checked, frame)
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
