"""Grey values of a DICOM picture: modality LUT, VOI LUT, photometric interpretation, padding.

Owns DICOM PS3.3 C.7.6.3, C.11.1 and C.11.2. Stored values become canonical ones without loss: a
linear rescale or window is carried along as numbers, only tables and curves are applied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ml.images import dicom_tags
from ml.images.picture import Pixels, Window


@dataclass(frozen=True)
class _Scale:
    """canonical = slope * modality value + offset, for windows that are given in the latter."""

    slope: float
    offset: float

    def window(self, window: Window) -> Window:
        return Window(
            window.centre * self.slope + self.offset, window.width * self.slope, window.name
        )


def canonical(
    dataset: Dataset, stored: NDArray[np.generic], inverted: bool
) -> tuple[Pixels, int, list[Window], NDArray[np.bool_] | None]:
    """Canonical pixels, their bits, the header's windows in those units, and what is no padding."""
    if stored.ndim != 2:
        raise ValueError("a grey picture has two dimensions")
    values, bits, low = _values(dataset, stored)
    valid = dicom_tags.not_padding(dataset, values)
    slope, intercept = 1.0, 0.0
    if dataset.get("ModalityLUTSequence"):
        values, bits = _looked_up(dataset, "ModalityLUTSequence", values)
        low = 0
    else:
        slope = dicom_tags.number(dataset, "RescaleSlope") or 1.0
        intercept = dicom_tags.number(dataset, "RescaleIntercept") or 0.0
        if not 1e-6 < abs(slope) < 1e6 or abs(intercept) > 1e9:
            slope, intercept = 1.0, 0.0  # not a plausible rescale
    windows, curve = dicom_tags.windows(dataset)
    if windows and curve == "SIGMOID":
        # A sigmoid's tails stay apart in 16 bits, so nothing visible is lost by applying it.
        centre, width, _ = windows[0]
        steep = 4.0 * (values * slope + intercept - centre) / max(width, 1e-6)
        shown = np.rint(65535.0 / (1.0 + np.exp(-np.clip(steep, -50, 50))))
        bits, windows, scale = 16, [], _Scale(1.0, 0.0)
    elif not windows and dataset.get("VOILUTSequence"):
        modality_values = np.rint(values * slope + intercept).astype(np.int32)
        shown, bits = _looked_up(dataset, "VOILUTSequence", modality_values)
        scale = _Scale(1.0, 0.0)
    else:
        # Rescaling is linear, so the stored steps are kept as they are: no rounding, no loss.
        sign, start = (1, -low) if slope > 0 else (-1, low + 2**bits - 1)
        shown = sign * values + start
        scale = _Scale(sign / slope, start - sign * intercept / slope)
    top = 2**bits - 1
    windows = [scale.window(window) for window in windows]
    shown = np.clip(shown, 0, top)
    if inverted:
        shown = top - shown
        windows = [Window(top - w.centre, w.width, w.name) for w in windows]
    pixels: Pixels = shown.astype(np.uint16)
    inside = pixels if valid is None else pixels[valid]
    darkest, brightest = int(inside.min()), int(inside.max())
    if valid is not None:
        # As black as the picture's own black and no blacker: what looks at the whole picture (the
        # network's percentiles, the quality gate) must not lose its contrast to the padding.
        pixels[~valid] = darkest
    # A window that misses every pixel shows a black or white picture: better none than that.
    windows = [
        w
        for w in windows
        if w.centre + w.width / 2 > darkest and w.centre - w.width / 2 < brightest
    ]
    return pixels, bits, windows, valid


def _values(dataset: Dataset, stored: NDArray[np.generic]) -> tuple[NDArray[np.int32], int, int]:
    """Stored values (PS3.5 8.1.1), their bits, and the lowest value these can represent.

    Bits beside the stored ones may have any value (old files have overlays there).
    """
    bits = int(
        dicom_tags.number(dataset, "BitsStored")
        or dicom_tags.number(dataset, "BitsAllocated")
        or 16
    )
    high = dicom_tags.number(dataset, "HighBit")
    shift = 0 if high is None else int(high) + 1 - bits
    if not 1 <= bits <= 16 or not 0 <= shift <= 16 - bits:
        raise ValueError("the stored bits do not fit into the allocated ones")
    values = (stored.astype(np.int32) >> shift) & (2**bits - 1)
    if dicom_tags.number(dataset, "PixelRepresentation") != 1:
        return values, bits, 0
    sign = 2 ** (bits - 1)
    return (values ^ sign) - sign, bits, -sign


def _looked_up(
    dataset: Dataset, keyword: str, values: NDArray[np.int32]
) -> tuple[NDArray[np.int32], int]:
    """Values through the first table of a sequence, and the bits of its entries.

    Below and above its range a table goes on with its first and last entry.
    """
    item = dataset[keyword][0]
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        little = dataset.original_encoding[1] is not False
        table = np.frombuffer(data, dtype="<u2" if little else ">u2")
    else:
        table = np.asarray(data)
    table = table.astype(np.int32)[: count or 2**16]
    if not 1 <= bits <= 16 or table.size == 0 or table.min() < 0 or table.max() > 65535:
        raise ValueError("a table that is none")
    # Some descriptors give fewer bits than their entries have.
    bits = max(bits, int(table.max()).bit_length())
    return table[np.clip(values - first, 0, table.size - 1)], bits
