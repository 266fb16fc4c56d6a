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
from xray_files import grey_values
from xray_files.lookup_table import LookupTable
from xray_files.picture_header import PictureHeader


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
    dataset: Dataset,
    header: PictureHeader,
    stored: NDArray[np.generic],
    visible: NDArray[np.bool_] | None = None,
) -> tuple[Pixels, int, list[Window], NDArray[np.bool_] | None]:
    """Canonical pixels, their bits, the header's windows in those units, and what is picture.

    visible: what a shutter leaves. The last is what is neither padding nor behind a shutter.
    """
    if stored.ndim != 2:
        raise ValueError("a grey picture has two dimensions")
    values, bits, low = _values(header, stored)
    valid = dicom_tags.not_padding(dataset, values, header.signed)
    slope, intercept = 1.0, 0.0
    table = grey_values.modality_table(dataset, header)
    if table is not None:
        values, bits, low = _looked_up(table, values), table.depth, 0
    else:
        slope, intercept = grey_values.rescale(dataset)
    inverted = header.photometric == "MONOCHROME1"
    voi_table = grey_values.voi_table(dataset, header)
    windows, curve = dicom_tags.windows(dataset)
    if windows and curve == "SIGMOID":
        # A sigmoid's tails stay apart in 16 bits, so nothing visible is lost by applying it.
        centre, width, _ = windows[0]
        steep = 4.0 * (values * slope + intercept - centre) / max(width, 1e-6)
        shown = np.rint(65535.0 / (1.0 + np.exp(-np.clip(steep, -50, 50))))
        bits, windows, scale = 16, [_whole(16)], _Scale(1.0, 0.0)
    elif not windows and voi_table is not None:
        modality_values = np.rint(values * slope + intercept).astype(np.int32)
        shown, bits = _looked_up(voi_table, modality_values), voi_table.depth
        # Files are known whose table has 12 bits and states 16: they would look black.
        windows, scale = [_whole(max(voi_table.entries).bit_length())], _Scale(1.0, 0.0)
    else:
        # Rescaling is linear, so the stored steps are kept as they are: no rounding, no loss.
        sign, start = (1, -low) if slope > 0 else (-1, low + 2**bits - 1)
        shown = values
        shown *= sign
        shown += start
        scale = _Scale(sign / slope, start - sign * intercept / slope)
    top = 2**bits - 1
    windows = [scale.window(window) for window in windows]
    np.clip(shown, 0, top, out=shown)
    if inverted:
        np.subtract(top, shown, out=shown)
        windows = [Window(top - w.centre, w.width, w.name) for w in windows]
    pixels: Pixels = shown.astype(np.uint16)
    inside = pixels if valid is None else pixels[valid]
    darkest, brightest = int(inside.min()), int(inside.max())
    if valid is not None:
        # As black as the picture's own black and no blacker: what looks at the whole picture (the
        # network's percentiles, the quality gate) must not lose its contrast to the padding.
        pixels[~valid] = darkest
    if visible is not None:
        valid = visible if valid is None else valid & visible
        valid = valid if valid.any() else None
    # A window that misses every pixel shows a black or white picture: better none than that.
    windows = [
        w
        for w in windows
        if w.centre + w.width / 2 > darkest and w.centre - w.width / 2 < brightest
    ]
    return pixels, bits, windows, valid


def _whole(bits: int) -> Window:
    """What a curve gives is shown as it is: it is the sender's own window."""
    top = 2**bits - 1
    return Window(top / 2, max(top, 1), "window 1")


def _values(
    header: PictureHeader, stored: NDArray[np.generic]
) -> tuple[NDArray[np.int32], int, int]:
    """Stored values (PS3.5 8.1.1), their bits, and the lowest value these can represent.

    Bits beside the stored ones may have any value (old files have overlays there).
    """
    bits = header.stored
    shift = header.high + 1 - bits
    # In place, here and above: memory that is touched first costs a fresh process the most.
    values = stored.astype(np.int32)
    values >>= shift
    values &= 2**bits - 1
    if not header.signed:
        return values, bits, 0
    sign = 2 ** (bits - 1)
    values ^= sign
    values -= sign
    return values, bits, -sign


def _looked_up(table: LookupTable, values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Values through a table, which goes on below and above its range with its ends."""
    entries = np.array(table.entries, np.int32)
    return entries[np.clip(values - table.first, 0, entries.size - 1)]
