"""A mask's runs in the formats of the competition and of COCO: column after column.

The portal has no library for pictures: the mask is a string of bytes, of which each column is a
slice.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from portal.formats import mask_png
from worker.contract.outline_runs import Run

# The pictures of the SIIM-ACR competition, and so its masks, have this many rows and columns.
SIIM_SIZE: Final = (1024, 1024)
EMPTY: Final = "-1"
_INSIDE: Final = re.compile(rb"[^\x00]+")


def siim(runs: Sequence[Run], size: tuple[int, int]) -> str:
    """The competition's text of a mask of `size` (rows, columns), brought to 1024 × 1024 pixels."""
    return of_size(mask_png.resized(runs, size, SIIM_SIZE), SIIM_SIZE)


def of_size(runs: Sequence[Run], size: tuple[int, int]) -> str:
    """The same form at the mask's own size.

    Pairs "start length" down the first column, then the next; `start` counts from the end of the
    run before. "-1" for an empty mask.
    """
    found = _by_column(runs, *size)
    if not found:
        return EMPTY
    numbers, at = list[int](), 0
    for start, end in found:
        numbers += [start - at, end - start]
        at = end
    return " ".join(map(str, numbers))


def coco(runs: Sequence[Run], size: tuple[int, int]) -> dict[str, Any]:
    """Segmentation, area and box of a COCO annotation, at the picture's own size.

    Uncompressed counts: pixels outside and inside in turn, column after column.
    """
    rows, columns = size
    counts, at = list[int](), 0
    found = _by_column(runs, rows, columns)
    for start, end in found:
        counts += [start - at, end - start]
        at = end
    if at < rows * columns or not counts:
        counts.append(rows * columns - at)
    return {
        "segmentation": {"counts": counts, "size": [rows, columns]},
        "area": sum(end - start for start, end in runs),
        "bbox": _box(runs, columns),
    }


def _box(runs: Sequence[Run], columns: int) -> list[int]:
    """Left, top, width and height; zeros for an empty mask."""
    if not runs:
        return [0, 0, 0, 0]
    top, bottom = runs[0][0] // columns, (runs[-1][1] - 1) // columns
    left, right = columns, 0
    for start, end in runs:
        if start // columns != (end - 1) // columns:  # it goes on in the next row
            left, right = 0, columns
            break
        left, right = min(left, start % columns), max(right, (end - 1) % columns + 1)
    return [left, top, right - left, bottom - top + 1]


def _by_column(runs: Sequence[Run], rows: int, columns: int) -> list[Run]:
    """The same pixels as runs of the picture read column after column."""
    if not runs:
        return []
    plain = bytearray(rows * columns)
    for start, end in runs:
        plain[start:end] = b"\xff" * (end - start)
    turned = b"".join(plain[column::columns] for column in range(columns))
    return [(match.start(), match.end()) for match in _INSIDE.finditer(turned)]
