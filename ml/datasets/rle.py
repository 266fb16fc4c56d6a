"""Run-length text of the SIIM-ACR masks: decode, encode, combine.

The only module for the competition's text format. The format is column-major
(down the first column, then the next), 0-based, and written as pairs "start length". ``start``
is the number of background pixels since the exclusive end of the previous run (not an absolute
index), so the pairs followed by the remaining background are exactly COCO's uncompressed counts.
"-1" means an empty mask.

The competition's own encoder loses a run that touches the last pixel, takes a transposed mask and
allows only the value 255; this one does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

EMPTY = "-1"

_PAIRS = re.compile(r"[0-9]+(?:\s+[0-9]+)*", re.ASCII)


def decode(text: str, rows: int, columns: int) -> NDArray[np.bool_]:
    """Turn run-length text into a mask of shape (rows, columns).

    Raises ValueError, with the reason, for text that is not a mask of that size.
    """
    if rows < 1 or columns < 1:
        raise ValueError(f"a mask needs at least one row and column, not {rows} x {columns}")
    stripped = text.strip()
    if stripped == EMPTY:
        return np.zeros((rows, columns), dtype=np.bool_)
    if not stripped:
        raise ValueError("empty text: an empty mask is written -1")
    if not _PAIRS.fullmatch(stripped):
        raise ValueError("only whole numbers, or -1 alone, are allowed")
    numbers = stripped.split()
    if len(numbers) % 2:
        raise ValueError("an odd number of values: they come in pairs of start and length")
    total = rows * columns
    # A number longer than the mask cannot fit and might overflow below: stop it as text.
    if max(len(number.lstrip("0")) for number in numbers) > len(str(total)):
        raise ValueError(f"a value is larger than the mask of {rows} x {columns}")
    counts = np.array(numbers, dtype=np.int64)
    if not counts[1::2].all():
        raise ValueError("a run has the length 0")
    edges = np.cumsum(counts)
    if edges[-1] > total:
        raise ValueError(f"the runs end at {edges[-1]}, beyond the mask of {rows} x {columns}")
    flat = np.zeros(total, dtype=np.uint8)
    for start, end in edges.reshape(-1, 2).tolist():
        flat[start:end] = 1
    return _turned(flat.reshape(columns, rows)).view(np.bool_)


def area(text: str) -> int:
    """How many pixels a text outlines, without its mask; 0 for text that is none."""
    stripped = text.strip()
    if stripped == EMPTY or not _PAIRS.fullmatch(stripped):
        return 0
    return sum(map(int, stripped.split()[1::2]))


def encode(mask: NDArray[np.generic]) -> str:
    """Write a mask (rows, columns), anything non-zero being foreground, as run-length text."""
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"a mask has two dimensions and at least one pixel, not {mask.shape}")
    found = np.ascontiguousarray(mask if mask.dtype == np.bool_ else mask != 0).view(np.uint8)
    columns = np.flatnonzero(found.any(axis=0))
    if columns.size == 0:
        return EMPTY
    # Only the columns from the first to the last that holds something are looked at closely.
    first, behind = int(columns[0]), int(columns[-1]) + 1
    part = _turned(found[:, first:behind])
    # Background on both ends makes every run begin and end.
    padded = np.zeros(part.size + 2, dtype=np.uint8)
    padded[1:-1] = part.ravel()
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    counts = np.diff(edges, prepend=0)
    counts[0] += first * mask.shape[0]
    return " ".join(map(str, counts.tolist()))


def combine(texts: Iterable[str], rows: int, columns: int) -> NDArray[np.bool_]:
    """The union of several run-length texts of one picture, shape (rows, columns)."""
    mask = np.zeros((rows, columns), dtype=np.bool_)
    for text in texts:
        mask |= decode(text, rows, columns)
    return mask


def _turned(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows and columns swapped, as a copy: OpenCV's is ten times quicker than numpy's."""
    return np.asarray(cv2.transpose(mask), dtype=np.uint8).reshape(mask.shape[::-1])
