"""Run-length text of the SIIM-ACR masks: decode, encode, combine.

Owns the one place where the competition's text format is understood. The format is column-major
(down the first column, then the next), 0-based, and written as pairs "start length". ``start``
is the number of background pixels since the exclusive end of the previous run (not an absolute
index), so the pairs followed by the remaining background are exactly COCO's uncompressed counts.
"-1" means an empty mask.

The competition's own encoder loses a run that touches the last pixel, takes a transposed mask and
knows only the value 255; this one does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

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
    words = stripped.split()
    if len(words) % 2:
        raise ValueError("an odd number of values: they come in pairs of start and length")
    total = rows * columns
    # A number longer than the mask cannot fit and might overflow below: stop it as text.
    if max(len(word.lstrip("0")) for word in words) > len(str(total)):
        raise ValueError(f"a value is larger than the mask of {rows} x {columns}")
    counts = np.array(words, dtype=np.int64)
    if not counts[1::2].all():
        raise ValueError("a run has the length 0")
    edges = np.cumsum(counts)
    if edges[-1] > total:
        raise ValueError(f"the runs end at {edges[-1]}, beyond the mask of {rows} x {columns}")
    # Runs that touch share an index, once as an end and once as a start: two plain additions
    # instead of one keep both (neither starts nor ends repeat among themselves).
    steps = np.zeros(total + 1, dtype=np.int8)
    steps[edges[0::2]] += 1
    steps[edges[1::2]] -= 1
    flat = np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)
    return np.ascontiguousarray(flat.reshape(columns, rows).T)


def encode(mask: NDArray[np.generic]) -> str:
    """Write a mask (rows, columns), anything non-zero being foreground, as run-length text."""
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"a mask has two dimensions and at least one pixel, not {mask.shape}")
    flat = np.ravel(mask != 0, order="F")
    padded = np.zeros(flat.size + 2, dtype=np.int8)
    padded[1:-1] = flat
    edges = np.flatnonzero(np.diff(padded))
    if edges.size == 0:
        return EMPTY
    counts = np.diff(edges, prepend=0)
    return " ".join(map(str, counts.tolist()))


def combine(texts: Iterable[str], rows: int, columns: int) -> NDArray[np.bool_]:
    """The union of several run-length texts of one picture, shape (rows, columns)."""
    mask = np.zeros((rows, columns), dtype=np.bool_)
    for text in texts:
        mask |= decode(text, rows, columns)
    return mask
