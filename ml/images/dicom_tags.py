"""Single facts from a DICOM header, each tolerant of what real files do wrong.

Owns the rules for spacing, view, age, orientation, windows and padding. A value that cannot be
understood is treated as absent; nothing here raises on a strange header.
"""

from __future__ import annotations

import math
import re
from datetime import date

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ml.images.picture import Spacing, SpacingSource, Window

# SNOMED CT and the older SNOMED RT codes of DICOM CID 4010 and 4011.
_VIEW_CODES = {
    "272479007": "PA",
    "R-10214": "PA",
    "399348003": "AP",
    "R-10206": "AP",
    "399173006": "LL",
    "R-10236": "LL",
    "399198007": "RL",
    "R-10232": "RL",
}
_VIEW_NAMES = {"PA": "PA", "AP": "AP", "LL": "LL", "RL": "RL", "LAT": "LL", "LATERAL": "LL"}
_AGE = re.compile(r"(\d{1,3})([DWMY]?)", re.ASCII)
# No detector's values come near: beyond it a window is a mistake.
_WINDOW_LIMIT = 1e6
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0, "": 1.0}


def text(dataset: Dataset, keyword: str) -> str | None:
    """A tag's value as upper-case text without padding, None when absent or empty."""
    try:
        value = str(dataset.get(keyword) or "").strip(" \0").upper()
    except Exception:  # a value that pydicom cannot convert counts as absent
        return None
    return value or None


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """A tag's values as finite floats; empty when absent or when any is not a number."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return []
        values = [value] if isinstance(value, str | int | float) else list(value)
        found = [float(item) for item in values]
    except Exception:
        return []
    return found if all(map(math.isfinite, found)) else []


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first of a tag's numbers, or None."""
    found = numbers(dataset, keyword)
    return found[0] if found else None


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


def view(dataset: Dataset) -> str | None:
    """PA, AP, LL or RL, from ViewPosition or else the view code; None for any other."""
    position = text(dataset, "ViewPosition")
    if position and position.split():
        return _VIEW_NAMES.get(position.split()[0])
    try:
        return _VIEW_CODES.get(str(dataset.ViewCodeSequence[0].CodeValue))
    except (AttributeError, IndexError):
        return None


def orientation(dataset: Dataset) -> tuple[str, str] | None:
    """PatientOrientation as (towards the right edge, towards the bottom), e.g. ('L', 'F')."""
    try:
        value = dataset.get("PatientOrientation")
    except Exception:
        return None
    if not value or isinstance(value, str) or len(value) != 2:
        return None
    first, second = (str(item).strip().upper() for item in value)
    return (first, second) if first and second else None


def age_years(dataset: Dataset) -> float | None:
    """The patient's age, from PatientAge (a bare number counts years) or the two dates."""
    match = _AGE.fullmatch(text(dataset, "PatientAge") or "")
    if match:
        return round(int(match[1]) * _YEARS[match[2]], 2)
    try:
        born, taken = (
            date.fromisoformat(str(dataset.get(name) or ""))
            for name in ("PatientBirthDate", "StudyDate")
        )
    except ValueError:
        return None
    # Whole years: a difference to the day would reveal too much about one of the dates.
    years = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return float(years) if 0 <= years <= 130 else None


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
        if not 0 < width < _WINDOW_LIMIT or abs(centre) > _WINDOW_LIMIT:
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


def not_padding(dataset: Dataset, values: NDArray[np.int32]) -> NDArray[np.bool_] | None:
    """Where stored values are picture and not PixelPaddingValue; None without padding."""
    first = number(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = number(dataset, "PixelPaddingRangeLimit")
    last = first if last is None else last
    valid = (values < min(first, last)) | (values > max(first, last))
    # All of it or none of it: then the tag means nothing for this picture.
    return valid if valid.any() and not valid.all() else None
