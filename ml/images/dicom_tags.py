"""Single facts from a DICOM header, each tolerant of what real files do wrong.

Owns the rules for spacing, windows and padding; view and age are read as in `xray_files`. A value
that cannot be understood is treated as absent; nothing here raises on a strange header.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ml.images.picture import Spacing, SpacingSource, Window
from xray_files import dates
from xray_files.values import code, number, numbers, word
from xray_files.view import orientation, view

__all__ = ["age_years", "number", "orientation", "spacing", "text", "view"]

# No detector's values come near: beyond it a window is a mistake.
_WINDOW_LIMIT = 1e6


def text(dataset: Dataset, keyword: str) -> str | None:
    """A tag's first value as upper-case text without padding, None when absent or empty."""
    return code(dataset, keyword) or None


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """A spacing tag as (row, column) mm, None when absent or no detector could have it."""
    found = numbers(dataset, keyword)
    if len(found) != 2 or not all(0.01 <= value <= 5.0 for value in found):
        return None
    return found[0], found[1]


def spacing(dataset: Dataset) -> Spacing | None:
    """Pixel spacing and where it holds (DICOM PS3.3 10.7.1.3, projection radiography).

    PixelSpacing is taken as at the patient only if the file indicates it: by a calibration type,
    or by an ImagerPixelSpacing that differs from it. ImagerPixelSpacing divided by the estimated
    magnification is 'corrected'. Anything else is at the detector.
    """
    pixel = _pair(dataset, "PixelSpacing")
    imager = _pair(dataset, "ImagerPixelSpacing")
    source: SpacingSource = "detector"
    found = imager or pixel or _pair(dataset, "NominalScannedPixelSpacing")
    differs = pixel and imager and not np.allclose(pixel, imager, rtol=1e-3)
    if pixel and (differs or text(dataset, "PixelSpacingCalibrationType")):
        found, source = pixel, "calibrated"
    elif imager:
        factor = number(dataset, "EstimatedRadiographicMagnificationFactor") or 0.0
        if 1.0 <= factor <= 3.0:
            found, source = (imager[0] / factor, imager[1] / factor), "corrected"
    return Spacing(found[0], found[1], source) if found else None


def age_years(dataset: Dataset) -> float | None:
    """The patient's age, from PatientAge or the dates of birth and picture."""
    found = dates.age(dates.patient_age(dataset))
    return dates.in_years(found) if found else None


def sex(dataset: Dataset) -> str | None:
    """M, F or O, else None."""
    value = text(dataset, "PatientSex")
    return value if value in ("M", "F", "O") else None


def windows(dataset: Dataset) -> tuple[list[Window], str]:
    """The header's windows in modality units as LINEAR_EXACT ramps, and the VOI LUT function."""
    curve = text(dataset, "VOILUTFunction") or "LINEAR"
    centres, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    try:
        names = dataset.get("WindowCenterWidthExplanation") or []
        names = [names] if isinstance(names, str) else [str(name) for name in names]
    except Exception:
        names = []
    found = []
    for index, (centre, width) in enumerate(zip(centres, widths, strict=False)):
        # PS3.3 C.11.2.1.2.1: a LINEAR window of less than 1 is none, of the others one of 0.
        least = 1.0 if curve == "LINEAR" else 1e-6
        if not least <= width < _WINDOW_LIMIT or abs(centre) > _WINDOW_LIMIT:
            continue
        if curve == "LINEAR":
            # PS3.3 C.11.2.1.2: its ramp is one step narrower and half a step lower.
            centre, width = centre - 0.5, max(width - 1.0, 1.0)
        # Explanations are free text of the sender: only these terms are passed on.
        name = names[index].strip().upper() if index < len(names) else ""
        name = name.lower() if name in _WINDOW_NAMES else f"window {index + 1}"
        found.append(Window(centre, width, name))
    return found, curve


_WINDOW_NAMES = frozenset({"NORMAL", "HARDER", "SOFTER", "WINDOW1", "WINDOW2", "USER"})


def not_padding(
    dataset: Dataset, values: NDArray[np.int32], signed: bool
) -> NDArray[np.bool_] | None:
    """Where stored values are picture and not PixelPaddingValue; None without padding."""
    first = word(dataset, "PixelPaddingValue", signed)
    if first is None:
        return None
    last = word(dataset, "PixelPaddingRangeLimit", signed)
    last = first if last is None else last
    valid = (values < min(first, last)) | (values > max(first, last))
    # All of it or none of it: then the tag means nothing for this picture.
    return valid if valid.any() and not valid.all() else None
