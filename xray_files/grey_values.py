"""From stored values to those that windows and tables refer to (PS3.3 C.11.1): their ranges."""

from __future__ import annotations

from pydicom.dataset import Dataset

from xray_files import lookup_table, values
from xray_files.lookup_table import LookupTable
from xray_files.picture_header import PictureHeader

MODALITY, VOI = "ModalityLUTSequence", "VOILUTSequence"


def stored_range(header: PictureHeader) -> tuple[int, int]:
    """The lowest and highest value that the stored bits can represent."""
    top: int = 2**header.stored - 1
    return (-(top + 1) // 2, top // 2) if header.signed else (0, top)


def rescale(dataset: Dataset) -> tuple[float, float]:
    """Slope and intercept; 1 and 0 where the header has none that is plausible."""
    slope = values.number(dataset, "RescaleSlope") or 1.0
    intercept = values.number(dataset, "RescaleIntercept") or 0.0
    if not 1e-6 < abs(slope) < 1e6 or abs(intercept) > 1e9:
        return 1.0, 0.0
    return slope, intercept


def modality_table(dataset: Dataset, header: PictureHeader) -> LookupTable | None:
    """The table that stored values go through instead of a rescale, if there is one."""
    found = lookup_table.tables(dataset, MODALITY, *stored_range(header))
    return found[0] if found else None


def modality_range(dataset: Dataset, header: PictureHeader) -> tuple[float, float]:
    """The lowest and highest value that windows and VOI tables refer to."""
    table = modality_table(dataset, header)
    if table is not None:
        return 0.0, 2.0**table.depth - 1
    slope, intercept = rescale(dataset)
    ends = sorted(value * slope + intercept for value in stored_range(header))
    return ends[0], ends[1]


def voi_table(dataset: Dataset, header: PictureHeader) -> LookupTable | None:
    """The first table that makes greys of modality values, if there is one."""
    found = lookup_table.tables(dataset, VOI, *modality_range(dataset, header))
    return found[0] if found else None
