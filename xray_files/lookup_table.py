"""Lookup tables of DICOM headers as whole numbers (PS3.3 C.11.1.1, C.7.6.3.1.5).

Writers differ in everything that the standard leaves open: entries of 8 bits stand one in a byte or
one in a word, and the first mapped value is signed or not.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class LookupTable:
    """``entries[0]`` belongs to ``first`` and all values below; ``bits`` is the depth it states."""

    first: int
    bits: int
    entries: tuple[int, ...]

    @property
    def depth(self) -> int:
        """The bits of its largest entry at least: some descriptors state fewer."""
        return max(self.bits, max(self.entries).bit_length())

    @property
    def is_curve(self) -> bool:
        """Whether it rises or falls throughout, as what maps pixels to greys does.

        A text written as numbers does not: its letters go up and down.
        """
        pairs = list(itertools.pairwise(self.entries))
        return all(a <= b for a, b in pairs) or all(a >= b for a, b in pairs)


def tables(dataset: Dataset, keyword: str, low: float, high: float) -> list[LookupTable]:
    """The tables of a sequence that can be read, for inputs of low..high; empty items are none."""
    try:
        items = list(dataset.get(keyword) or ())
    except Exception:
        return []
    little = dataset.original_encoding[1] is not False
    found = (read(item, "LUT", low, high, little) for item in items)
    return [table for table in found if table is not None]


def read(
    dataset: Dataset, name: str, low: float, high: float, little: bool = True
) -> LookupTable | None:
    """The table of a data set, ``name`` being what its keywords begin with; None where none is."""
    descriptor = _descriptor(dataset, f"{name}Descriptor", little)
    raw = _raw(dataset, f"{name}Data", little)
    if descriptor is None or not raw:
        return None
    count, first, bits = descriptor
    if not 1 <= bits <= 16:
        return None
    if bits <= 8 and len(raw) == count + count % 2:
        # One entry in a byte. Of a word, the lower byte is the earlier entry.
        entries = tuple(raw[:count])
    else:
        words = len(raw) // 2
        entries = struct.unpack(f"<{words}H", raw[: words * 2])[:count]
    return LookupTable(_first(first, count, low, high), bits, entries) if entries else None


def _descriptor(dataset: Dataset, keyword: str, little: bool) -> tuple[int, int, int] | None:
    try:
        value = dataset.get(keyword)
        if isinstance(value, bytes):
            value = struct.unpack("<3H" if little else ">3H", value[:6])
        count, first, bits = (int(number) for number in value)
    except Exception:
        return None
    return (count & 0xFFFF) or 2**16, first, bits & 0xFFFF


def _raw(dataset: Dataset, keyword: str, little: bool) -> bytes:
    """The table's bytes as little endian words."""
    try:
        value = dataset.get(keyword)
        if not isinstance(value, bytes):
            several = [value] if isinstance(value, int) else list(value or ())
            return struct.pack(f"<{len(several)}H", *(int(one) & 0xFFFF for one in several))
    except Exception:
        return b""
    if little:
        return value
    swapped = bytearray(value[: len(value) // 2 * 2])
    swapped[::2], swapped[1::2] = swapped[1::2], swapped[::2]
    return bytes(swapped)


def _first(first: int, count: int, low: float, high: float) -> int:
    """The first mapped value, taken as signed or not, whichever the inputs reach more of."""
    unsigned = first & 0xFFFF
    possible = (unsigned, unsigned - 2**16)

    def covered(begin: int) -> float:
        return min(high, begin + count - 1) - max(low, begin)

    if unsigned < 2**15 or covered(possible[0]) == covered(possible[1]):
        return first
    return max(possible, key=covered)
