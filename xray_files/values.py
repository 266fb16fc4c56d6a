"""Single values of a data set, each tolerant of what real files do wrong.

A value that cannot be understood is treated as absent; nothing here raises on a strange header.
"""

from __future__ import annotations

import math

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue


def first(dataset: Dataset, keyword: str) -> object:
    """A tag's first value as it is, None where there is none."""
    try:
        value = dataset.get(keyword)
    except Exception:  # a value that pydicom cannot convert is as good as none
        return None
    if isinstance(value, MultiValue | list | tuple):
        return value[0] if len(value) else None
    return value


def code(dataset: Dataset, keyword: str) -> str:
    """A tag's first value as upper-case text without padding, empty where absent."""
    value = first(dataset, keyword)
    try:
        return " ".join(str(value).replace("\0", " ").split()).upper() if value is not None else ""
    except Exception:
        return ""


def words(dataset: Dataset, keyword: str) -> list[str]:
    """All of a tag's values as upper-case texts without padding."""
    try:
        value = dataset.get(keyword)
        several = [value] if isinstance(value, str) else list(value or ())
        return [str(one).strip(" \0").upper() for one in several]
    except Exception:
        return []


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


def whole(dataset: Dataset, keyword: str, default: int) -> int:
    """A tag's first value as a whole number, or the default."""
    try:
        return int(str(first(dataset, keyword)).strip(" \0"))
    except (ValueError, OverflowError):
        return default


def word(dataset: Dataset, keyword: str, signed: bool) -> int | None:
    """The value of an element that is US or SS, by the pixels' own sign (PS3.5 A.1).

    Writers take the other of the two: 63536 beside signed pixels is -2000.
    """
    value = first(dataset, keyword)
    if isinstance(value, bytes):  # the file does not name which of the two it is
        little = dataset.original_encoding[1] is not False
        value = int.from_bytes(value[:2], "little" if little else "big")
    try:
        number = int(str(value).strip(" \0"))
    except (ValueError, OverflowError):
        return None
    if not -(2**15) <= number < 2**16:
        return None
    number &= 0xFFFF
    return number - 2**16 if signed and number >= 2**15 else number
