"""DICOM files as pictures: header checks first, then decoding, then the grey-scale pipeline.

Which files are read is decided in `xray_files`, by the rules that the portal accepts them by. Owns
what becomes of a read one: colour and geometry; grey values are ``ml.images.grayscale``'s, tags
``ml.images.dicom_tags``'s.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ml.images import decoders, dicom_tags, field_size, grayscale, shutter, square_pixels
from ml.images.picture import (
    Picture,
    Spacing,
    Unreadable,
    Window,
    automatic_window,
    colour_share,
    unreadable,
)
from xray_files import dates, grey_values, kinds, lookup_table, picture_header, pixel_frame
from xray_files.bad_file import BadFile
from xray_files.header import walk
from xray_files.listed_elements import PICTURE
from xray_files.picture_header import PictureHeader


def read(data: bytes) -> Picture:
    """Read one single-frame projection picture; reasons for refusal: ``ml.images.reader``."""
    with _quiet():
        try:
            found = walk(data, PICTURE, len(data))
            dataset = found.dataset(PICTURE)
            picture_header.check_modality(dataset)
            header = picture_header.read(dataset, found)
            stored = decoders.stored(header, pixel_frame.frame(found, header))
            return _picture(dataset, header, stored, _notes(dataset, found.mislabelled))
        except BadFile as bad:
            raise unreadable(bad) from None
        except (Unreadable, MemoryError):
            raise
        except Exception:
            # Decoders throw whatever they like on damaged bytes. The cause is dropped on purpose:
            # its text may quote the file.
            raise Unreadable(
                "decode_failed", "The DICOM file is damaged or its pixels could not be decoded."
            ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pydicom from warning about, and so printing, values of the header: patient data."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _notes(dataset: Dataset, mislabelled: bool) -> tuple[str, ...]:
    found = {
        "modality_missing": dicom_tags.text(dataset, "Modality") is None,
        "transfer_syntax_wrong": mislabelled,
        dates.DISPUTED: dates.is_age_disputed(dataset),
        "for_processing": dicom_tags.text(dataset, "PresentationIntentType") == "FOR PROCESSING",
    }
    return tuple(code for code, holds in found.items() if holds)


def _picture(
    dataset: Dataset, header: PictureHeader, stored: NDArray[np.generic], notes: tuple[str, ...]
) -> Picture:
    spacing = dicom_tags.spacing(dataset)
    if square_pixels.is_implausible(spacing):
        spacing, notes = None, (*notes, "pixel_aspect_implausible")
    aspect = square_pixels.aspect(dataset, spacing)
    shutters = shutter.of(dataset, header.rows, header.columns, aspect)
    visible = shutter.shown(shutters, header.rows, header.columns) if shutters else None
    colour, windows = 0.0, list[Window]()
    if header.photometric in kinds.GREY:
        pixels, bits, windows, valid = grayscale.canonical(dataset, header, stored, visible)
    else:
        if header.photometric == "PALETTE COLOR":
            stored = _of_palette(dataset, header, stored)
        bits, valid = 8 * stored.dtype.itemsize, visible
        colour = colour_share(stored, 2**bits - 1)
        # Rec. 601 luminance, as JPEG itself and OpenCV use.
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
        luminance = stored[..., :3].astype(np.float32) @ weights
        pixels = np.rint(luminance).astype(np.uint16)
    windows.append(automatic_window(pixels, valid))
    size = square_pixels.shape(header.rows, header.columns, aspect)
    if spacing is not None and aspect != 1:
        side = min(spacing.row_mm, spacing.column_mm)
        spacing = Spacing(side, side, spacing.source)
    spacing, notes = field_size.checked(spacing, size[0], size[1], notes)
    return Picture(
        pixels=np.ascontiguousarray(square_pixels.resampled(pixels, size)),
        bits=bits,
        media_type="application/dicom",
        windows=tuple(windows),
        photometric=header.photometric,
        spacing=spacing,
        view=dicom_tags.view(dataset),
        modality=dicom_tags.text(dataset, "Modality"),
        body_part=dicom_tags.text(dataset, "BodyPartExamined"),
        orientation=dicom_tags.orientation(dataset),
        patient_age_years=dicom_tags.age_years(dataset),
        patient_sex=dicom_tags.sex(dataset),
        colour=colour,
        notes=notes,
        shutters=shutter.scaled(shutters, size[1] / header.columns, size[0] / header.rows),
        source_size=(header.rows, header.columns) if aspect != 1 else None,
    )


def _of_palette(
    dataset: Dataset, header: PictureHeader, stored: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Stored values through the tables of the three colours, (rows, columns, 3)."""
    channels, depth = [], 8
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        table = lookup_table.read(dataset, name, *grey_values.stored_range(header))
        if table is None:
            raise ValueError("a colour without its table")
        depth = max(depth, table.depth)
        entries = np.array(table.entries, np.uint16)
        at = np.clip(stored.astype(np.int32) - table.first, 0, entries.size - 1)
        channels.append(entries[at])
    return np.stack(channels, axis=2).astype(np.uint8 if depth == 8 else np.uint16)
