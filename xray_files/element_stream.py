"""The elements of a DICOM data set one after the other, by their lengths alone (DICOM PS3.5, 7.1).

No value is read. What has no stated length is walked through to its end without recursion; the
walk is bounded in steps, in depth and in bytes.
"""

import struct
from dataclasses import dataclass
from typing import Final

from xray_files.bad_file import BadFile

ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
UNDEFINED: Final = 0xFFFFFFFF
# VRs of a length of four and of two bytes.
_LONG: Final = frozenset(
    (
        *(b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT"),
        b"UV",
    )
)
_SHORT: Final = frozenset(
    (
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT"),
        *(b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    )
)
VRS: Final = _LONG | _SHORT
# Elements, items and their ends together; the header of a scanner has some hundred.
_MOST_STEPS: Final = 10_000
_DEEPEST: Final = 64
# How many elements in a row may have a VR that is none.
_MOST_ODD: Final = 8


@dataclass(frozen=True, slots=True)
class Found:
    """Where an element's value is. `vr` is empty where the file does not name it."""

    tag: int
    vr: bytes
    start: int
    length: int
    implicit: bool


class ElementStream:
    """Steps from element to element, with limits on their number and on the bytes passed over."""

    def __init__(self, data: bytes, most_bytes: int) -> None:
        self.data = data
        self.most_bytes = most_bytes
        self.taken = 0

    def element(self, at: int, implicit: bool, little: bool) -> Found:
        """The element that begins here."""
        self.step(at)
        order = "<" if little else ">"
        group, number = struct.unpack_from(f"{order}HH", self.data, at)
        tag = group << 16 | number
        if implicit or group == 0xFFFE:
            return self._implicit(tag, at, order)
        vr = self.data[at + 4 : at + 6]
        if vr in _LONG:
            if at + 12 > len(self.data):
                raise BadFile("truncated")
            length = struct.unpack_from(f"{order}I", self.data, at + 8)[0]
            return Found(tag, vr, at + 12, length, False)
        if vr in _SHORT or (vr.isalpha() and vr.isupper()):
            length = struct.unpack_from(f"{order}H", self.data, at + 6)[0]
            return Found(tag, vr, at + 8, length, False)
        return self._of_odd_vr(tag, at, order)

    def _implicit(self, tag: int, at: int, order: str) -> Found:
        return Found(tag, b"", at + 8, struct.unpack_from(f"{order}I", self.data, at + 4)[0], True)

    def _of_odd_vr(self, tag: int, at: int, order: str) -> Found:
        """An element whose VR is none: of its possible lengths the one that leads to another."""
        possible = self._possible(tag, at, order)
        for found in possible:
            if found.length != UNDEFINED and self._leads_on(found, order, _MOST_ODD):
                return found
        return possible[0]

    def _possible(self, tag: int, at: int, order: str) -> list[Found]:
        unpack = struct.unpack_from
        possible = [self._implicit(tag, at, order)]
        possible.append(Found(tag, b"UN", at + 8, unpack(f"{order}H", self.data, at + 6)[0], False))
        if at + 12 <= len(self.data):
            long = unpack(f"{order}I", self.data, at + 8)[0]
            possible.append(Found(tag, b"UN", at + 12, long, False))
        return possible

    def _leads_on(self, found: Found, order: str, most: int) -> bool:
        """Whether a later element with a VR follows, or one without that leads on itself."""
        behind = found.start + found.length
        if most == 0 or behind + 8 > len(self.data):
            return False
        tag = self._tag(behind, order)
        if tag <= found.tag:
            return False
        if self.data[behind + 4 : behind + 6] in VRS:
            return True
        return any(
            self._leads_on(one, order, most - 1)
            for one in self._possible(tag, behind, order)[1:]
            if one.length != UNDEFINED
        )

    def step(self, at: int) -> None:
        """Count a step, with at least the eight bytes that every element begins with."""
        self.taken += 1
        if self.taken > _MOST_STEPS:
            raise BadFile("too_many_elements")
        if at + 8 > len(self.data):
            raise BadFile("truncated")
        if at > self.most_bytes:
            raise BadFile("header_too_large", megabytes=self.most_bytes // 2**20)

    def end(self, found: Found, little: bool) -> int:
        """Where the element's value ends; sequences of no stated length are walked through."""
        if found.length != UNDEFINED:
            return self._behind(found.start, found.length)
        order = "<" if little else ">"
        at = found.start
        self.step(at)
        if self._tag(at, order) not in (ITEM, SEQUENCE_END):  # bytes up to the mark, no items
            mark = self.data.find(struct.pack(f"{order}HH", 0xFFFE, 0xE0DD), at)
            return self._behind(mark, 8) if mark >= 0 else self._behind(at, UNDEFINED)
        # What is open: a sequence (True) or an item, and whether it is written implicitly.
        opened = [(True, found.implicit)]
        while opened:
            self.step(at)
            in_sequence, implicit = opened[-1]
            tag = self._tag(at, order)
            if in_sequence and tag == ITEM:
                length = struct.unpack_from(f"{order}I", self.data, at + 4)[0]
                if length == UNDEFINED:
                    at += 8
                    if found.vr == b"UN":  # implicit by the standard, not in every file
                        implicit = self.data[at + 4 : at + 6] not in VRS
                    opened.append((False, implicit))
                else:
                    at = self._behind(at + 8, length)
            elif tag == (SEQUENCE_END if in_sequence else ITEM_END):
                opened.pop()
                at = self._behind(at, 8)
            elif in_sequence or tag >> 16 == 0xFFFE:
                raise BadFile("damaged")
            else:
                inner = self.element(at, implicit, little)
                if inner.length == UNDEFINED:
                    opened.append((True, inner.implicit))
                    at = inner.start
                else:
                    at = self._behind(inner.start, inner.length)
            if len(opened) > _DEEPEST:
                raise BadFile("too_many_elements")
        return at

    def _behind(self, start: int, length: int) -> int:
        if length == UNDEFINED or start + length > len(self.data):
            raise BadFile("truncated")
        return start + length

    def _tag(self, at: int, order: str) -> int:
        group, number = struct.unpack_from(f"{order}HH", self.data, at)
        return int(group << 16 | number)
